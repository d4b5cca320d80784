"""history/store.py and other processes: concurrent writes, and stops of runs without a client."""

import json
import os
import signal
import subprocess
import sys

import pytest

from uv_argo_magic._os import process_id
from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.resolution.lock import Unresolved
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.history import store


def test_processes_write_and_prune_concurrently(tmp_path):
    code = (
        "import sys; from pathlib import Path; from uv_argo_magic.history.store import History;"
        "from uv_argo_magic.core.spec.run_spec import RunSpec;"
        "from uv_argo_magic.core.resolution.lock import Unresolved;"
        "from uv_argo_magic.core.protocol.state import RunState\n"
        "h = History(Path(sys.argv[1]), keep=5)\n"
        "for i in range(15):\n"
        "    f = h.begin(f'p{sys.argv[2]}-{i}', spec=RunSpec(cell='1'), resolution=Unresolved(lines=(), reason=''))\n"
        "    f.append('x'); f.finish(RunState(ended_at=1.0, outcome='Succeeded')); f.make_room(); h.list()\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(i)]) for i in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert 5 <= len(store.History(tmp_path, keep=5).list()) <= 7  # a race can leave entries that the next run removes
    unresolved = Unresolved(lines=(), reason="")
    files = store.History(tmp_path, keep=5).begin("last", spec=RunSpec(cell="1"), resolution=unresolved)
    files.finish(RunState(ended_at=1.0, outcome="Succeeded"))
    files.make_room()
    assert len(store.History(tmp_path).list()) == 5


@pytest.fixture
def abandoned(tmp_path):
    """A history with one run that no process follows."""
    history = store.History(tmp_path)
    files = history.begin("r1", spec=RunSpec(cell="1"), resolution=Unresolved(lines=(), reason=""))
    spec = files.folder / "spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"started": "long ago"}))
    return history, files


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_stop_terminates_supervisor_of_abandoned_run(abandoned):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as supervisor:
        history, files = abandoned
        files.note("pid", str(supervisor.pid))
        assert history.last().live
        assert history.stop(history.last(), "a test")
        assert supervisor.wait(60) == -signal.SIGTERM
    assert not history.last().live


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_reused_process_id_is_not_the_run(abandoned):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as other:
        history, files = abandoned
        files.note("pid", str(other.pid))
        files.note("pid-started", "another time")
        assert not history.last().live
        assert not history.stop(history.last(), "a test")
        assert other.poll() is None
        other.kill()


def test_process_marks_identify_processes(monkeypatch):
    mark = process_id.mark(os.getpid())
    assert mark
    assert process_id.alive(os.getpid(), mark)
    assert not process_id.alive(os.getpid(), mark + "0")
    assert not process_id.alive(os.getpid(), "")
    assert process_id.mark(0) == process_id.mark(-1) == ""
    monkeypatch.setattr(process_id, "PLATFORM", "darwin")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    assert process_id.mark(process.pid) == ""
