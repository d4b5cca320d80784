"""history/recorder.py: runs are recorded while they run, and continue if the disk is full."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from uv_argo_magic.history.recorder import Recorder


def fail(_text):
    raise OSError(28, "No space left on device")


def test_failed_write_is_reported_once(capsys):
    notes = []
    files = SimpleNamespace(
        folder=Path("runs/r1"), append=fail, note=lambda *note: notes.append(note), stop_asked=lambda: "a test",
        must_make_room=lambda seconds: True,
    )  # fmt: skip
    recorder = Recorder(files)
    recorder.note("name", "p1")
    assert (recorder.stop_asked(), recorder.must_make_room()) == ("a test", True)
    recorder.append("hello\n")
    recorder.append("again\n")
    recorder.note("pid", "7")
    assert notes == [("name", "p1")]
    assert (recorder.stop_asked(), recorder.must_make_room()) == ("", False)
    assert capsys.readouterr().err.splitlines() == [
        "uv-argo: the rest of this run is not stored in the history: [Errno 28] No space left on device"
    ]
    assert recorder.values_folder == Path("runs/r1/values")


def test_run_without_history_is_not_recorded():
    recorder = Recorder(None)
    recorder.append("hello\n")
    recorder.make_room()
    assert recorder.values_folder is None
