"""SIGKILL of each process of a run at random times: no process keeps running, and no environment is broken."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.index_server import IndexServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds a run's processes in /proc")

KERNEL = """
import sys
from uv_argo_magic.core import requirements
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
cell = '''
import os, subprocess, time
import heavy
subprocess.Popen(["sleep", "1000"])
if os.fork() == 0:
    os.setsid()
time.sleep(1000)
'''
spec = RunSpec(cell=cell, requirements=requirements.parse("heavy"), settings=Settings(index_url=sys.argv[1]))
run = start(prepare(spec))
print("started", flush=True)
run.wait()
"""


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        # Many files, so that a kill is likely to hit the install.
        files = {f"heavy/part{i}.py": f"VALUE = {i}\n" * 200 for i in range(400)} | {"heavy/__init__.py": ""}
        server.add("heavy", "1.0", files=files)
        yield server


def processes(folder: Path) -> dict[int, str]:
    """Live processes that use or name this folder: process id -> role in the run."""
    found = {}
    folder_bytes = os.fsencode(str(folder))
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "stat").read_bytes().rsplit(b")", 1)[-1].split()[0] == b"Z":
                continue
            command = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_bytes().rsplit(b")", 1)[-1].split()[1])
            description = command + b"\0" + (entry / "environ").read_bytes() + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if folder_bytes in description:
            found[int(entry.name)] = role_of(command, parent)
    return found


def role_of(command: bytes, parent: int) -> str:
    if b"program.py" in command:
        try:
            parent_command = Path(f"/proc/{parent}/cmdline").read_bytes()
        except OSError:
            parent_command = b""
        return "supervisor" if b"program.py" in parent_command else "parent of supervisor"
    if b"pip\0install" in command:
        return "uv"
    if b"uv_argo_guest" in command:
        return "cell"
    if b"engine.start_run import start" in command:
        return "kernel"
    return "child"


def begin(folder: Path, index: IndexServer) -> subprocess.Popen[bytes]:
    environ = os.environ | {"UV_ARGO_HOME": str(folder), "TMPDIR": str(folder), "UV_CACHE_DIR": str(folder / "uv")}
    return subprocess.Popen(
        [sys.executable, "-c", KERNEL, index.url], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def wait_for_end(folder: Path, seconds: float = 15.0) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    remaining = processes(folder)
    while remaining and time.monotonic() < deadline:
        time.sleep(0.02)
        remaining = processes(folder)
    return remaining


def environments(folder: Path) -> list[Path]:
    return list((folder / "cache" / "store" / "trees").glob("*"))


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "victim",
    ["kernel", "supervisor", "parent of supervisor", "cell", "uv", "kernel and supervisor", "cell and supervisor"],
)
@pytest.mark.parametrize("seed", range(3))
def test_killed_process_leaves_no_process_or_broken_environment(
    victim: str, seed: int, tmp_path: Path, index: IndexServer
) -> None:
    kernel = begin(tmp_path, index)
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == b"started\n"
    rng = random.Random(f"{victim} {seed}")
    roles = set(victim.split(" and "))
    pids: dict[str, int] = {}
    deadline = time.monotonic() + 20
    # The cell's child process shows that the install is over, which can be too short to observe.
    while not roles <= pids.keys() and not ("uv" in roles and "child" in pids) and time.monotonic() < deadline:
        # The oldest process of each role, since a forked process looks the same until it runs another program.
        pids = {name: pid for pid, name in sorted(processes(tmp_path).items(), reverse=True)}
    assert roles <= pids.keys() or (roles == {"uv"} and "child" in pids)
    time.sleep(rng.uniform(0, 0.05 if victim == "uv" else 0.5))
    for name in roles & pids.keys():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[name], signal.SIGKILL)
    if victim == "uv" and wait_for_end(tmp_path, 3):
        kernel.kill()  # the install was over, so the run continues until its kernel ends
    remaining = wait_for_end(tmp_path)
    kernel.kill()
    kernel.communicate()
    assert remaining == {}
    if victim == "kernel":
        assert not list(tmp_path.glob("uv-argo-*"))
    for environment in environments(tmp_path):
        assert json.loads((environment / ".ok").read_text())["packages"] == [["heavy", "1.0"]]
        assert len(list((environment / "site" / "heavy").glob("part*.py"))) == 400


WARM = """
import sys, time
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
run = start(prepare(RunSpec(cell="pass")), warm=True)
run.wait()
run._is_read.wait()
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.sample(2)
@pytest.mark.parametrize("seed", range(4))
def test_spare_process_ends_with_the_kernel(seed: int, tmp_path: Path) -> None:
    environ = os.environ | {"UV_ARGO_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    kernel = subprocess.Popen([sys.executable, "-c", WARM], env=environ, stdout=subprocess.PIPE)
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == b"ready\n"
    time.sleep(random.Random(seed).uniform(0, 0.3))
    kernel.kill()
    kernel.communicate()
    assert wait_for_end(tmp_path) == {}
    assert not list(tmp_path.glob("uv-argo-*/work"))
