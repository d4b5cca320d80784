"""history/store.py: storing, finding and removing runs."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import signal
import stat
import threading

import pytest
from support.waiting import until

from uv_argo_magic.commands import registry
from uv_argo_magic.core.commands.table import read_argv
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.requirements.model import Requirement, Requirements
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import Pushed, RunSpec, Settings
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.history import run_files, store
from uv_argo_magic.history.entry import SCHEMA, summarize

NONCE = "abc"
LOCK = Lock(packages=(Package(name="numpy", version="2.0"),), target=Target(python="3.12.1"))
SPEC = RunSpec(
    cell="\nimport numpy\nprint('hé')\r\n",
    requirements=Requirements(items=(Requirement(name="numpy", specifier=">=2"),)),
    push=(Pushed(name="x", text="swordfish-value"),),
    settings=Settings(
        variables=(("TOKEN", "swordfish"),),
        index_url="https://me:swordfish@index.example.com/simple",
        find_links=("/wheels", "https://me:swordfish@files.example.com/"),
    ),
)


def record(kind, n, **fields):
    return f"@uv-argo:{NONCE} " + json.dumps({"k": kind, "b": "b1", "n": n, "t": 100.0 + n, **fields}) + "\n"


LOG = (
    record("hello", 1, protocol=1, python="3.12.1", platform="linux", pid=7)
    + record("phase", 2, phase="installing")
    + record("uv", 3, text="Resolved 1 package")
    + record("installed", 4, packages=[["numpy", "2.0"]], seconds=0.5, cached=False)
    + record("phase", 5, phase="running")
    + "hé\r\n"
    + record("error", 7, error={"ename": "ValueError", "evalue": "no\nway"})
    + record("exit", 8, reason="error", code=1)
)


@pytest.fixture
def history(tmp_path):
    return store.History(tmp_path / "runs")


def begin(history, run_id="20260101-one", **keywords):
    return history.begin(
        run_id, **{"spec": SPEC, "resolution": LOCK, "notebook": "a.ipynb", "nonce": NONCE, **keywords}
    )


def finish_run(files):
    files.finish(finished_state())
    files.make_room()


def finished_state(log=LOG, run_id="20260101-one"):
    submitted = ev.Submitted(name="local-1", location="", t=100.0, requirements=("numpy>=2",), sent=SPEC.sent)
    return fold([submitted, *log_reader.decode(log, NONCE)], RunState(run=run_id))


def kill_owner(entry):
    """Make a run look as if the process that followed it had ended."""
    path = entry.folder / "spec.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | {"started": "long ago"}), encoding="utf-8")


def test_stored_run_is_read_back(history):
    files = begin(history)
    assert history.get("2026").outcome == "Running"
    assert history.last().live
    assert history.last().seconds > 0
    for piece in (LOG[:300], LOG[300:]):
        files.append(piece)
    state = finished_state()
    files.finish(state)
    entry = history.get("20260101-one")
    assert entry.log() == LOG == history.log("2026")
    stored_state = entry.state()
    assert stored_state == state
    assert (entry.outcome, entry.live) == ("Failed", False)
    assert entry.summary.ename == "ValueError"
    assert entry.summary.evalue == "no\nway"
    assert entry.summary.exit == 1
    assert entry.summary.stages == state.phases
    assert entry.packages == (("numpy", "2.0"),)
    assert entry.installed == LOCK.packages
    assert entry.cell == SPEC.cell
    assert entry.cell_digest == SPEC.cell_digest
    assert entry.requirements == ("numpy>=2",)
    assert entry.lock() == LOCK


def test_delayed_write_happens_before_a_read(history):
    files = begin(history, later=True)
    files.note("name", "local-1")
    files.append(LOG)
    files.finish(finished_state())
    assert [path.name for path in files.folder.iterdir()] == []
    assert files.stop_asked() == ""
    entry = history.get("2026")
    assert (entry.log(), entry.note("name"), entry.note("nonce")) == (LOG, "local-1", NONCE)
    assert entry.state() == finished_state()
    files.note("name", "another")
    assert history.get("2026").note("name") == "another"


def test_delayed_write_happens_soon(history):
    files = begin(history, later=True)
    until((files.folder / "spec.json").exists)
    files.append(LOG)
    assert (files.folder / "log.txt").read_bytes().decode() == LOG


def test_failed_delayed_write_is_reported(history, capsys):
    files = begin(history, later=True)
    files.folder.rmdir()
    files.folder.write_text("in the way", encoding="utf-8")
    run_files.write_all()
    assert "20260101-one is not stored in the history" in capsys.readouterr().err


def test_every_file_has_a_schema(history):
    begin(history).finish(finished_state())
    folder = history.root / "20260101-one"
    for name in ("spec.json", "lock.json", "state.json"):
        assert json.loads((folder / name).read_text(encoding="utf-8"))["schema"] == SCHEMA


def test_stored_files_are_private_and_contain_no_secrets(history):
    files = begin(history)
    files.append("x")
    files.finish(finished_state())
    for path in files.folder.rglob("*"):
        if path.is_file():
            assert "swordfish" not in path.read_text(encoding="utf-8")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    spec = json.loads((files.folder / "spec.json").read_text(encoding="utf-8"))["spec"]
    assert spec["settings"]["index_url"] == "https://***@index.example.com/simple"
    assert spec["settings"]["find_links"] == ["/wheels", "https://***@files.example.com/"]
    assert spec["settings"]["variables"] == [["TOKEN", "***"]]
    assert run_files.masked(RunSpec(cell=""))["settings"]["index_url"] == ""


def test_unresolved_run_is_stored(history):
    unresolved = Unresolved(lines=("numpy",), reason="no network")
    begin(history, resolution=unresolved)
    assert history.last().lock() == unresolved
    assert history.last().packages == ()


def test_outcome_of_stopped_and_lost_runs_is_stored(history):
    log = record("hello", 1, protocol=1, python="3", platform="", pid=7)
    for run_id, last, outcome in (
        ("r1", [ev.StopRequested(by="me", t=1.0), ev.LogEnded(t=2.0)], "Stopped"),
        ("r2", [ev.LogEnded(t=2.0)], "Lost"),
    ):
        files = begin(history, run_id)
        files.append(log)
        files.finish(fold(last, finished_state(log, run_id)))
        entry = history.get(run_id)
        assert entry.outcome == entry.state().outcome == outcome


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([ev.StopRequested(by="the Stop button", t=2.0), ev.NodePhase(phase="Failed", message="stopped")], "Stopped"),
        ([ev.NodePhase(phase=ev.NOT_STARTED, message="it did not start: cannot pull x:1; use another")], "NotStarted"),
    ],
)
def test_reason_for_waiting_is_stored(history, events, outcome):
    waiting = ev.NodePhase(phase="Pending", message="cannot pull x:1; use another", t=1.0)
    submitted = ev.Submitted(name="uv-argo-x", location="c", t=0.5)
    files = begin(history)
    state = fold([submitted, waiting, *events, ev.LogEnded(t=3.0)], RunState(run=files.folder.name))
    files.finish(state)
    stored_state = history.last().state()
    assert (stored_state.outcome, state.outcome) == (outcome, outcome)
    assert messages.sentence(stored_state) == messages.sentence(state)
    assert "cannot pull x:1" in messages.sentence(stored_state)
    assert messages.hint(stored_state) == messages.hint(state) == "Use another."


def test_failure_of_the_backend_is_stored(history):
    files = begin(history)
    log = record("hello", 1, protocol=1, python="3.12.1", platform="Linux", pid=1) + record(
        "exit", 2, reason="stopped", code=0
    )
    evicted = ev.NodePhase(phase="Failed", message="the pod was evicted", t=3.0)
    state = fold([evicted, *log_reader.decode(log, NONCE)], RunState(run=files.folder.name))
    files.append(log)
    files.finish(state)
    stored_state = history.last().state()
    assert (state.outcome, stored_state.outcome, stored_state.node.message) == (
        "InstallFailed",
        "InstallFailed",
        "the pod was evicted",
    )


def test_get_suggests_similar_ids(history):
    with pytest.raises(SpecError, match=r"no such run: x$") as exc_info:
        history.get("x")
    assert "The history has no runs" in exc_info.value.hint
    begin(history, "20260101-one")
    begin(history, "20260101-two")
    with pytest.raises(SpecError, match="2 runs begin with 2026") as exc_info:
        history.get("2026")
    assert "20260101-one" in exc_info.value.hint
    with pytest.raises(SpecError, match="did you mean 20260101-two"):
        history.get("20260101-tow")
    with pytest.raises(SpecError):
        history.get("")


def test_exact_id_takes_precedence_over_prefix(history):
    begin(history, "r1")
    begin(history, "r10")
    assert history.get("r1").id == "r1"


def test_last_run_of_the_notebook(history):
    with pytest.raises(SpecError, match="the history has no runs"):
        history.last()
    begin(history, "r1", notebook="a.ipynb")
    begin(history, "r2", notebook="b.ipynb")
    assert history.last().id == "r2"
    assert history.last("a.ipynb").id == "r1"
    with pytest.raises(SpecError):
        history.last("c.ipynb")


@pytest.mark.parametrize("invalid", ["", ".", "..", "a/b", "../x", "-x", "a" * 200, "a b", "ä"])
def test_unsafe_ids_are_rejected(history, invalid):
    with pytest.raises(ValueError, match="not a run id"):
        begin(history, invalid)


def test_ids_are_unique(history):
    begin(history)
    with pytest.raises(FileExistsError):
        begin(history)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 100_000, "null", "{}", "\udcff", '{"schema": 2}', '{"schema": 1}',
     '{"schema": 1, "run": "bad", "spec": {}}',
     '{"schema": 1, "run": "bad", "begun": "x", "spec": {"cell": "", "backend": ""}, "cell_digest": ""}'],
)  # fmt: skip
def test_broken_and_foreign_folders_are_ignored(history, text):
    begin(history, "good")
    broken = history.root / "bad"
    broken.mkdir()
    (broken / "spec.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    (history.root / "file").write_text("x", encoding="utf-8")
    (history.root / "link").symlink_to(history.root / "good")
    assert [entry.id for entry in history.list()] == ["good"]
    history.prune()
    assert broken.exists()


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": 9}', '{"schema": 1}', '{"schema": 1, "ended": 1, "packages": 3}']
)
def test_invalid_state_is_ignored(history, text):
    files = begin(history)
    (files.folder / "state.json").write_text(text, encoding="utf-8")
    (files.folder / "lock.json").write_text(text, encoding="utf-8")
    assert history.last().summary is None
    assert history.last().lock() is None
    assert history.last().packages == ()


def test_unknown_fields_are_ignored(history):
    files = begin(history)
    finish_run(files)
    path = files.folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"new": 1}), encoding="utf-8")
    assert history.last().summary.ename == "ValueError"


def test_oldest_ended_runs_are_removed(tmp_path):
    history = store.History(tmp_path, keep=3)
    live = begin(history, "r0")
    for i in range(1, 6):
        finish_run(begin(history, f"r{i}"))
    assert [entry.id for entry in history.list()] == ["r5", "r4", "r3", "r0"]
    finish_run(live)
    assert [entry.id for entry in history.list()] == ["r5", "r4", "r3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r3", "r4", "r5"]


def test_lost_runs_are_removed(tmp_path):
    history = store.History(tmp_path, keep=1)
    begin(history, "r0")
    kill_owner(history.last())
    assert history.last().outcome == "Lost"
    assert history.last().seconds == 0
    finish_run(begin(history, "r1"))
    assert [entry.id for entry in history.list()] == ["r1"]


def test_keep_0_keeps_all_runs_up_to_max_bytes(tmp_path):
    history = store.History(tmp_path, keep=0, max_bytes=36_000)
    for i in range(4):
        files = begin(history, f"r{i}")
        files.append("x" * 8_000)
        finish_run(files)
    assert [entry.id for entry in history.list()] == ["r3", "r2", "r1"]
    files = begin(history, "r9")
    files.append("x" * 50_000)
    finish_run(files)
    assert [entry.id for entry in history.list()] == ["r9"]  # the newest is never removed


def test_notes_are_stored(history):
    files = begin(history)
    files.note("name", "wörk")
    assert history.last().note("name") == "wörk"
    assert history.last().note("nope") == ""
    for invalid in ("", "../x", "A", "a/b"):
        with pytest.raises(ValueError, match="not a key"):
            files.note(invalid, "x")


def test_stop_request_is_read_by_the_follower(history):
    files = begin(history)
    assert files.stop_asked() == ""

    def follow():
        until(files.stop_asked)
        finish_run(files)

    follower = threading.Thread(target=follow)
    follower.start()
    assert history.stop(history.last(), "a test")
    follower.join()
    assert files.stop_asked() == "a test"
    assert history.last().outcome == "Failed"
    assert not history.stop(history.last(), "again")


def test_stop_ends_supervisor_if_request_cannot_be_written(history, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    files = begin(history)
    kills = []
    monkeypatch.setattr(os, "kill", lambda *arguments: kills.append(arguments))
    with monkeypatch.context() as full:
        full.setattr(store.atomic_write, "write", refuse)
        with pytest.raises(BackendUnavailable, match="No space left on device"):
            history.stop(history.last(), "a test")
    files.note("pid", str(os.getpid()))
    monkeypatch.setattr(store.atomic_write, "write", refuse)
    assert history.stop(history.last(), "a test")
    assert kills == [(os.getpid(), signal.SIGTERM)]


def test_summary_of_an_incomplete_state():
    summary = summarize(RunState(error="not JSON"))
    assert (summary.outcome, summary.exit, summary.ename, summary.packages) == ("Lost", None, "", ())
    assert dataclasses.asdict(summary)["ended"] > 0


def test_unwritable_history_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailable, match="cannot write the history"):
        store.History(tmp_path / "file" / "runs").begin("r1", spec=SPEC, resolution=LOCK)


@pytest.mark.parametrize(
    "argv", [["stop"], ["stop", "no"], ["logs"], ["logs", "no"], ["last"], ["packages", "r1", "r2"]]
)
def test_commands_read_each_run_once(history, monkeypatch, argv):
    for run_id in ("r1", "r2", "r3"):
        history.begin(run_id, spec=RunSpec(cell="1"), resolution=LOCK)
    reads, read_one = [], store.read_entry

    def read(folder):
        reads.append(folder.name)
        return read_one(folder)

    monkeypatch.setattr(store, "read_entry", read)
    monkeypatch.setattr(store, "STOP_SECONDS", 0.0)
    context = CellContext.current(names={}, traits={}, line_offset=0)
    request = registry.Request(
        line=read_argv(argv), front_end="terminal", get_context=lambda: context, get_history=lambda: history
    )
    with contextlib.suppress(SpecError):
        list(registry.dispatch(request, registry.COMMANDS))
    assert sorted(reads) == ["r1", "r2", "r3"]
