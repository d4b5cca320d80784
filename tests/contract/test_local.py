"""The local backend with real processes: outcomes, cleanup, spare processes and limits."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from support.open_files import many_open_files
from support.waiting import LIMIT, gated, until

from uv_argo_magic.backends import local, local_limits
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings
from uv_argo_magic.engine import stages, start_run
from uv_argo_magic.engine.front_end import SourceFrontEnd
from uv_argo_magic.engine.preparation.build import guest_text
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.errors import BackendUnavailable, RunError
from uv_argo_magic.history.run_files import RunFiles
from uv_argo_magic.history.store import History
from uv_argo_magic.renderers.streamer import Streamer

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run


@pytest.fixture(autouse=True)
def fail_on_thread_errors(tmp_path, monkeypatch):
    """Fail a test if an exception ended one of its threads."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "a 'home' with blanks"))
    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    yield
    assert errors == []


def start(cell: str, history: History | None = None) -> Run:
    return start_run.start(prepare(RunSpec(cell=cell)), backend=LocalBackend(), history=history)


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
def test_outcome_and_phase_are_reported(cell, outcome, phase):
    run = start(cell)
    run.wait(60)
    run._is_read.wait(60)  # the rest of the log, after the record with the outcome
    assert (run.state.outcome, run.state.node.phase if run.state.node else "") == (outcome, phase)


def test_stop_while_python_starts_interrupts_the_cell(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os, time\nopen(os.environ['BEGUN'], 'w')\ntime.sleep(1)\n")
    begun = tmp_path / "begun"
    settings = Settings(variables=(("PYTHONPATH", str(tmp_path)), ("BEGUN", str(begun))))
    run = start_run.start(prepare(RunSpec(cell="print('ran')", settings=settings)), backend=LocalBackend())
    deadline = time.monotonic() + 30
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.stop()
    run.wait(60)
    assert (run.state.outcome, run.logs()) == ("Stopped", "")
    assert '"ename": "KeyboardInterrupt"' in run.state.error


def test_interrupted_submission_leaves_no_process(tmp_path, monkeypatch):
    prepared = prepare(RunSpec(cell="import time; time.sleep(1000)"))
    started = []
    popen = subprocess.Popen

    def interrupt_after_start(command, **kwargs):
        started.append(popen(command, **kwargs))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    backend = LocalBackend()
    backend.target(prepared.spec)
    monkeypatch.setattr(subprocess, "Popen", interrupt_after_start)
    with pytest.raises(KeyboardInterrupt):
        backend.submit(prepared.program, prepared.spec, "r1")
    assert started[0].wait(60) == -signal.SIGKILL
    assert (backend._runs, list(tmp_path.glob("uv-argo-*"))) == ({}, [])


def test_run_that_is_interrupted_before_it_is_shown_is_stopped(monkeypatch):
    runs = []

    class Interrupted(SourceFrontEnd):
        def follow(self, run, prepared):
            runs.append(run)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.carry_out(RunSpec(cell="import time; time.sleep(1000)"), Interrupted("cell.py", ""))
    assert runs[0].wait(60).outcome == "Stopped"
    runs[0]._is_read.wait(60)


def test_interrupt_within_an_update_repeats_no_output():
    class Out(io.StringIO):
        is_interrupted = False

        def write(self, text):
            super().write(text)
            if not self.is_interrupted:
                self.is_interrupted = True
                signal.raise_signal(signal.SIGINT)

    cell = "import time\ntry:\n    print('up', flush=True); time.sleep(1000)\nfinally:\n    print('cleaned')"
    out = Out()
    with pytest.raises(KeyboardInterrupt):
        start(cell).follow(Streamer(out, io.StringIO()))
    assert out.getvalue() == "up\ncleaned\n"


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems, a file descriptor reports the supervisor's end")
def test_killed_supervisor_is_reported():
    run = start("import os, time; os.kill(os.getppid(), 9); time.sleep(1000)")
    run.wait(60)
    with pytest.raises(RunError, match="SIGKILL"):
        run.raise_for_state()


@pytest.mark.parametrize("cell", ["1", "1 / 0", "import sys; sys.exit(3)"])
def test_run_removes_its_own_folder(cell):
    backend = LocalBackend()
    prepared = prepare(RunSpec(cell=cell))
    name = backend.submit(prepared.program, prepared.spec, "r1").name
    assert not isinstance(list(backend.watch(name))[-1], str)
    assert not backend._runs[name].folder.exists()
    backend.delete(name)


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems, a file descriptor reports the supervisor's end")
def test_folder_of_killed_run_is_removed_at_exit():
    backend = LocalBackend()
    prepared = prepare(RunSpec(cell="import os, time; os.kill(os.getppid(), 9); time.sleep(1000)"))
    name = backend.submit(prepared.program, prepared.spec, "r1").name
    assert not isinstance(list(backend.watch(name))[-1], str)
    assert backend._runs[name].folder.exists()
    backend._remove_folders()  # called by `atexit`
    assert not backend._runs[name].folder.exists()
    backend.delete(name)


def test_run_succeeds_if_history_disk_is_full(tmp_path, monkeypatch, capsys):
    def raise_disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFiles, "append", raise_disk_full)
    run = start("print(1)", History(tmp_path / "runs"))
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "1\n"
    assert "not stored in the history: [Errno 28]" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_uv_settings_in_environment_are_not_inherited(monkeypatch):
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "1990-01-01")
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "x")
    run = start("import os\nprint(*open(f'/proc/{os.getppid()}/environ').read().split('\\0'), sep='\\n')")
    run.wait(60)
    names = {line.partition("=")[0] for line in run.logs().splitlines()}
    assert "UV_INDEX_MINE_PASSWORD" in names
    assert "UV_EXCLUDE_NEWER" not in names


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("broken", ["python", "folder"])
def test_failed_start_leaves_no_folder_or_descriptor(tmp_path, monkeypatch, broken):
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
    # Can be fewer, since threads of earlier tests close their descriptors.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert [path.name for path in tmp_path.glob("uv-argo-*")] == []


def test_spare_process_with_earlier_variables_is_not_used(monkeypatch):
    monkeypatch.setenv("LANG", "C.UTF-8")
    backend = LocalBackend()
    popen = subprocess.Popen

    def change_variable_after_start(command, **kwargs):
        process = popen(command, **kwargs)
        if command[-1].endswith("program.py"):
            os.environ["LANG"] = "C"  # by another thread, such as the notebook's
        return process

    monkeypatch.setattr(subprocess, "Popen", change_variable_after_start)
    backend.warm(guest_text(), RunSpec(cell=""))
    assert backend._spare is not None
    run = start_run.start(prepare(RunSpec(cell="import os\nprint(os.environ['LANG'])")), backend=backend)
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "C\n")
    run._is_read.wait(60)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems lack a way to read the umask")
def test_spare_process_with_earlier_umask_is_not_used():
    backend = LocalBackend()
    backend.warm(guest_text(), RunSpec(cell=""))
    previous = os.umask(0o77)
    try:
        cell = "import os\nprint(oct(os.umask(0)))"
        run = start_run.start(prepare(RunSpec(cell=cell)), backend=backend)
        assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "0o77\n")
    finally:
        os.umask(previous)
    run._is_read.wait(60)


FORK = """
import os, sys, uv_argo_magic
from uv_argo_magic.backends import lookup
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine.preparation.build import guest_text
lookup.load("local").warm(guest_text(), RunSpec(cell=""))
child = os.fork()
name = "parent" if child else "child"
print(name, uv_argo_magic.run(f"print('run of the {name}')").logs(), end="", flush=True)
if child:
    print("exit status", os.waitpid(child, 0)[1])
else:
    os._exit(0)
"""


def test_forked_process_has_its_own_runs(tmp_path):
    environ = os.environ | {"UV_ARGO_HOME": str(tmp_path)}
    command = [sys.executable, "-c", FORK]
    out = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    lines = out.stdout.splitlines()
    assert sorted(lines) == ["child run of the child", "exit status 0", "parent run of the parent"], out.stderr


def test_cells_run_beside_many_open_files():
    backend = LocalBackend()
    cell = "import subprocess\nprint(1, flush=True)\nsubprocess.run(['echo', '2'])"
    with many_open_files():
        runs = [start_run.start(prepare(RunSpec(cell=cell)), backend=backend, warm=True) for _ in range(3)]
        for run in runs:
            assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "1\n2\n")
            run._is_read.wait(60)
        run = start_run.start(prepare(RunSpec(cell=cell)), backend=backend)
        assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "1\n2\n")
        run._is_read.wait(60)


def test_new_tmpdir_is_used_at_once(tmp_path, monkeypatch):
    tempfile.gettempdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    backend = LocalBackend()
    run = start_run.start(prepare(RunSpec(cell="import os\nprint(os.getcwd())")), backend=backend)
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs().startswith(str(tmp_path))
    run._is_read.wait(60)


def test_spare_process_without_its_folder_is_not_used():
    backend = LocalBackend()
    backend.warm(guest_text(), RunSpec(cell=""))
    shutil.rmtree(backend._spare.folder)
    run = start_run.start(prepare(RunSpec(cell="print(1)")), backend=backend)
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "1\n")
    run._is_read.wait(60)


def test_concurrent_warming_starts_one_spare_process():
    backend = LocalBackend()
    run = start_run.start(prepare(RunSpec(cell="1")), backend=backend)
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
    run = start_run.start(prepare(RunSpec(cell="print(2)")), backend=backend)
    assert backend._runs[run.name] is spare
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "2\n")
    run._is_read.wait(60)


def test_spare_process_for_the_next_run_of_a_sequence_starts_early(monkeypatch, tmp_path):
    backend = LocalBackend()
    end = tmp_path / "end"

    def has_spare(*, is_expected: bool) -> bool:
        backend.warm(guest_text(), RunSpec(cell=""))
        run = start_run.start(prepare(RunSpec(cell=gated(end))), backend=backend)
        until(lambda: run.state.hello and (backend._spare or not is_expected))
        end.touch()
        run.wait(60)
        run._is_read.wait(60)
        end.unlink()
        return backend._spare is not None

    monkeypatch.setattr(local, "SEQUENCE", LIMIT)
    assert [has_spare(is_expected=False), has_spare(is_expected=True), has_spare(is_expected=True)] == [
        False, True, True,
    ]  # fmt: skip
    monkeypatch.setattr(local, "SEQUENCE", 0.0)  # as after a pause
    assert not has_spare(is_expected=False)


LIMITED = """
import os, resource, subprocess, sys
child = subprocess.run([sys.executable, "-c", "x = bytearray(2**28)"], capture_output=True, text=True)
cpus, limit, failed = len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA)[0], child.returncode
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit a process from outside")
def test_resources_limit_cell_and_its_children():
    spec = RunSpec(cell=LIMITED, pull=("cpus", "limit", "failed"), resources=Resources(cpu="500m", memory="100M..200M"))
    run = start_run.start(prepare(spec), backend=LocalBackend())
    run.wait(60)
    assert run.values == {"cpus": 1, "limit": 200_000_000, "failed": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_cell_without_resources_has_no_limits():
    backend = LocalBackend()
    cell = "import os, resource\ncpus, limit = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA)[0] < 0"
    for resources in (Resources(cpu="1", memory="1Gi"), Resources()):
        run = start_run.start(prepare(RunSpec(cell=cell, pull=("cpus", "limit"), resources=resources)), backend=backend)
        run.wait(60)
    assert run.values == {"cpus": os.sched_getaffinity(0), "limit": True}


REPORT = "\nprint(resource.getrlimit(resource.RLIMIT_DATA)[0], len(os.sched_getaffinity(0)))"


def test_prelude_is_empty_without_limits():
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
    ids=["memory", "cpu", "both"],
)
def test_prelude_sets_limits(resources, memory, cpus):
    program = local_limits.prelude(resources) + REPORT
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == [str(memory), str(cpus or len(os.sched_getaffinity(0)))]
