"""The local backend with a real process: how a run's end is told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from uv_argo_magic.backends import local_limits
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings
from uv_argo_magic.engine import run as engine
from uv_argo_magic.engine.build import guest_text
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.errors import BackendUnavailable, RunError
from uv_argo_magic.history.run_files import RunFiles
from uv_argo_magic.history.store import History


@pytest.fixture(autouse=True)
def broken_threads(tmp_path, monkeypatch):
    """What the threads of a test died of: nothing, or the test fails."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "a 'home' with blanks"))
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    yield
    assert seen == []


def start(cell: str, history: History | None = None) -> engine.Run:
    return engine.start(prepare(RunSpec(cell=cell)), backend=LocalBackend(), history=history)


@pytest.mark.parametrize(
    ("cell", "outcome", "phase"),
    [
        ("1", "Succeeded", "Succeeded"),
        ("import sys; sys.exit(200)", "Failed", "Failed"),
        ("import sys; sys.exit(-1)", "Failed", "Failed"),
        ("import os; os._exit(137)", "Failed", "Failed"),
        ("import os, shutil; shutil.rmtree(os.path.dirname(os.getcwd())); 1 / 0", "Failed", "Failed"),
        ("import os, shutil; shutil.rmtree(os.path.dirname(os.getcwd()))", "Succeeded", "Succeeded"),
    ],
)
def test_every_end_is_read_to_the_end(cell, outcome, phase):
    run = start(cell)
    run.wait(60)
    run._is_read.wait(60)  # the rest of the log, after the record that ended the run
    assert (run.state.outcome, run.state.node.phase if run.state.node else "") == (outcome, phase)


def test_a_stop_while_the_cells_python_starts_interrupts_the_cell_and_shows_no_code_of_ours(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os, time\nopen(os.environ['BEGUN'], 'w')\ntime.sleep(1)\n")
    begun = tmp_path / "begun"
    settings = Settings(variables=(("PYTHONPATH", str(tmp_path)), ("BEGUN", str(begun))))
    run = engine.start(prepare(RunSpec(cell="print('ran')", settings=settings)), backend=LocalBackend())
    deadline = time.monotonic() + 30
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.stop()
    run.wait(60)
    assert (run.state.outcome, run.logs()) == ("Stopped", "")
    assert '"ename": "KeyboardInterrupt"' in run.state.error


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the supervisor's end is told by a file descriptor")
def test_a_killed_supervisor_is_named():
    run = start("import os, time; os.kill(os.getppid(), 9); time.sleep(1000)")
    run.wait(60)
    with pytest.raises(RunError, match="SIGKILL"):
        run.raise_for_state()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the supervisor's end is told by a file descriptor")
@pytest.mark.parametrize("cell", ["1", "import os, time; os.kill(os.getppid(), 9); time.sleep(1000)"])
def test_a_client_that_ends_before_it_has_deleted_the_run_leaves_no_folder(cell, tmp_path, monkeypatch):
    folders = tmp_path / "tmp"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    backend = LocalBackend()
    prepared = prepare(RunSpec(cell=cell))
    name = backend.submit(prepared.program, prepared.spec, "r1").name
    assert list(folders.iterdir())
    assert not isinstance(list(backend.watch(name))[-1], str)
    backend._remove_folders()  # what `atexit` calls
    assert list(folders.iterdir()) == []


def test_a_history_on_a_full_disk_costs_its_record_and_not_the_run(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFiles, "append", full)
    run = start("print(1)", History(tmp_path / "runs"))
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "1\n"
    assert "not kept in the history: [Errno 28]" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_settings_of_uv_in_this_environment_do_not_reach_the_install(monkeypatch):
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "1990-01-01")
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "x")
    run = start("import os\nprint(*open(f'/proc/{os.getppid()}/environ').read().split('\\0'), sep='\\n')")
    run.wait(60)
    names = {line.partition("=")[0] for line in run.logs().splitlines()}
    assert "UV_INDEX_MINE_PASSWORD" in names
    assert "UV_EXCLUDE_NEWER" not in names


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("broken", ["python", "folder"])
def test_a_process_that_cannot_be_started_leaves_nothing(tmp_path, monkeypatch, broken):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prepared = prepare(RunSpec(cell="1"))
    python = tmp_path / "python"
    python.write_text("not executable")
    backend = LocalBackend(store=tmp_path / "python" / "store" if broken == "folder" else tmp_path / "store")
    if broken == "python":
        monkeypatch.setattr("uv_argo_magic.uv.interpreters.find", lambda _: SimpleNamespace(path=str(python)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BackendUnavailable, match="cannot start" if broken == "python" else "cannot create a folder"):
        backend.submit(prepared.program, prepared.spec, "r1")
    # Fewer: what earlier tests have left is closed by their threads meanwhile.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert [path.name for path in tmp_path.glob("uv-argo-*")] == []


def test_warming_from_many_threads_leaves_one_spare():
    backend = LocalBackend()
    run = engine.start(prepare(RunSpec(cell="1")), backend=backend)
    run.wait(60)
    run._is_read.wait(60)
    threads = [threading.Thread(target=backend.warm, args=(guest_text(), RunSpec(cell="1"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    spare = backend._spare
    assert spare is not None
    assert spare.process.poll() is None
    run = engine.start(prepare(RunSpec(cell="print(2)")), backend=backend)
    assert backend._runs[run.name] is spare
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "2\n")
    run._is_read.wait(60)


LIMITED = """
import os, resource, subprocess, sys
child = subprocess.run([sys.executable, "-c", "x = bytearray(2**28)"], capture_output=True, text=True)
cpus, limit, failed = len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA)[0], child.returncode
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit a process from outside")
def test_resources_are_limits_of_the_cell_and_its_children():
    spec = RunSpec(cell=LIMITED, pull=("cpus", "limit", "failed"), resources=Resources(cpu="500m", memory="100M..200M"))
    run = engine.start(prepare(spec), backend=LocalBackend())
    run.wait(60)
    assert run.values == {"cpus": 1, "limit": 200_000_000, "failed": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_cell_without_resources_has_no_limits():
    backend = LocalBackend()
    cell = "import os, resource\ncpus, limit = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA)[0] < 0"
    for resources in (Resources(cpu="1", memory="1Gi"), Resources()):
        run = engine.start(prepare(RunSpec(cell=cell, pull=("cpus", "limit"), resources=resources)), backend=backend)
        run.wait(60)
    assert run.values == {"cpus": os.sched_getaffinity(0), "limit": True}


REPORT = "\nprint(resource.getrlimit(resource.RLIMIT_DATA)[0], len(os.sched_getaffinity(0)))"


def test_without_limits_nothing_runs_first():
    assert local_limits.prelude(Resources()) == ""
    assert local_limits.prelude(Resources(gpu="1", disk="1Gi")) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
@pytest.mark.parametrize(
    ("resources", "memory", "cpus"),
    [
        (Resources(memory="1Gi..2Gi"), 2 * 2**30, 0),
        (Resources(cpu="500m"), -1, 1),
        (Resources(cpu="9999", memory="1G"), 10**9, 0),
    ],
)
def test_a_process_limits_itself(resources, memory, cpus):
    program = local_limits.prelude(resources) + REPORT
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == [str(memory), str(cpus or len(os.sched_getaffinity(0)))]
