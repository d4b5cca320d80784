"""Concurrent runs on this machine: the fork server starts their supervisors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import LIMIT, until

from uv_argo_magic._os import process_id
from uv_argo_magic.backends import fork_server
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine import start_run
from uv_argo_magic.engine.preparation.build import guest_text
from uv_argo_magic.engine.preparation.prepare import prepare

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")

PROCESS = f"""
import os, resource, signal, sys
with open(f"/proc/{{os.getppid()}}/cmdline") as file:
    is_forked = {fork_server.PROGRAM.name!r} in file.read()
signals = [(number.name, str(signal.getsignal(number))) for number in signal.Signals]
limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
session = os.getsid(0) == os.getpid()
descriptors = [len(os.listdir(f"/proc/{{pid}}/fd")) for pid in (os.getpid(), os.getppid())]
settings = [sorted(os.environ), list(sys.flags), os.umask(0o22)]
process = [signals, signal.pthread_sigmask(0, []), limits, session, descriptors, settings]
del file
"""
WAITING = "import time\nwhile True: time.sleep(0.01)"


class Machine:
    """A local backend on which one run is in progress, so that it forks spare processes."""

    def __init__(self) -> None:
        self.backend = LocalBackend()
        self.first = self.start(WAITING)
        until(lambda: self.first.state.hello)  # by then, the store has the guest

    def start(self, cell: str, **options) -> Run:
        return start_run.start(prepare(RunSpec(cell=cell, **options)), backend=self.backend)

    def warm(self) -> None:
        self.backend.warm(guest_text(), RunSpec(cell=""))

    def run(self, cell: str, **options) -> Run:
        """Run a cell in a spare process."""
        self.warm()
        run = self.start(cell, **options)
        run.wait(60)
        run._is_read.wait(60)
        return run

    @property
    def server(self) -> subprocess.Popen[bytes]:
        return self.backend._fork_server[1]._process

    def close(self) -> None:
        self.first.stop()
        self.first._is_read.wait(60)
        if self.backend._spare:
            self.backend._spare.close()
        if self.backend._fork_server:
            self.backend._fork_server[1].close()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    machine = Machine()
    yield machine
    machine.close()
    assert errors == []


def test_cell_of_a_forked_supervisor_has_the_same_process(machine):
    forked = machine.run(PROCESS, pull=("is_forked", "process")).values
    machine.close()
    alone = machine.run(PROCESS, pull=("is_forked", "process")).values
    assert (forked["is_forked"], alone["is_forked"]) == (True, False)
    assert forked["process"] == alone["process"]


def test_outcomes_of_forked_supervisors_are_reported(machine):
    cells = (
        "print(1)",
        "import sys; sys.exit(3)",
        "1 / 0",
        "import os, time; os.kill(os.getppid(), 9); time.sleep(60)",
    )
    runs = [machine.run(cell) for cell in cells]
    assert [run.state.outcome for run in runs] == ["Succeeded", "Failed", "Failed", "Lost"]
    assert "SIGKILL" in runs[-1].state.node.message
    assert runs[0].logs() == "1\n"


def test_killed_guardian_is_reported(machine):
    machine.warm()
    run = machine.start("print(1)\n" + WAITING)
    until(run.logs)
    guardian = machine.backend._runs[run.name].process
    os.kill(guardian.pid, signal.SIGKILL)
    assert guardian.wait() == -signal.SIGKILL
    assert guardian.poll() == -signal.SIGKILL
    run.wait(60)
    run._is_read.wait(60)
    assert "SIGKILL" in run.state.node.message


def test_stopped_run_ends(machine):
    machine.warm()
    run = machine.start("try:\n    print(1)\n    " + WAITING.replace("\n", "\n    ") + "\nfinally:\n    print(2)")
    until(run.logs)
    run.stop()
    run.wait(60)
    assert (run.state.outcome, run.logs()) == ("Stopped", "1\n2\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_runs_continue_without_the_fork_server(machine, monkeypatch, number):
    monkeypatch.setattr(fork_server, "PATIENCE", 0.2)
    machine.run("1")
    before = machine.server
    before.send_signal(number)
    assert [machine.run(f"print({value})").logs() for value in (1, 2)] == ["1\n", "2\n"]
    monkeypatch.setattr(fork_server, "PATIENCE", LIMIT)  # a new fork server can start slowly
    assert machine.run(PROCESS, pull=("is_forked",)).values == {"is_forked": True}
    assert machine.server is not before
    assert before.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("has_spare", [False, True])
def test_changed_files_of_the_guest_are_not_used(machine, has_spare):
    machine.run("1")
    if has_spare:
        machine.warm()
    (folder,) = (Path(os.environ["UV_ARGO_HOME"]) / "cache" / "store" / "guest").glob("*/uv_argo_guest")
    changed = folder / "execute.py"
    changed.chmod(0o644)
    changed.write_text("raise SystemExit('changed')")
    (folder / "display.py").unlink()
    assert machine.run("print(1)").logs() == "1\n"
    assert "changed" not in changed.read_text()


def test_new_variables_reach_a_forked_supervisor(machine, monkeypatch):
    machine.run("1")
    monkeypatch.setenv("TZ", "Etc/GMT+7")
    run = machine.run("import os\nprint(os.environ['TZ'])\n" + PROCESS, pull=("is_forked",))
    assert (run.logs(), run.values) == ("Etc/GMT+7\n", {"is_forked": True})


def test_descriptors_and_folders_are_released(machine, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    machine.run("1")
    machine.warm()
    before = count_descriptors()
    for _ in range(3):
        machine.run("1")
        machine.warm()
    assert count_descriptors() <= before
    for delay in range(10):  # it creates files while it starts
        machine.warm()
        time.sleep(delay / 500)
        machine.backend._spare.close()
        machine.backend._spare = None
    assert list(tmp_path.glob("uv-argo-*")) == []


def test_processes_end_with_the_client():
    program = (
        "import os, signal, sys\nsys.path.insert(0, sys.argv[1])\n"
        "import uv_argo_magic\nruns = [uv_argo_magic.submit('import time; time.sleep(600)') for _ in range(3)]\n"
        "from uv_argo_magic.backends import lookup\nlocal = lookup.load('local')\n"
        "pids = [supervisor.process.pid for supervisor in local._runs.values()]\n"
        "print(*pids, local._fork_server[1]._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2])
    ended = subprocess.run([sys.executable, "-c", program, root], check=False, stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in ended.stdout.split()]
    assert len(pids) == 4
    until(lambda: not any(map(process_id.mark, pids)))


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
