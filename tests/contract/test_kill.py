"""SIGKILL of any process of a run at any moment: nothing goes on running, and no tree of the store is broken."""

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
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import start
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
        # Many files, so that a kill has a real chance to come in the middle of an install.
        files = {f"heavy/part{i}.py": f"VALUE = {i}\n" * 200 for i in range(400)} | {"heavy/__init__.py": ""}
        server.add("heavy", "1.0", files=files)
        yield server


def processes(folder: Path) -> dict[int, str]:
    """Live processes that began in this folder or name it: process id -> what it is of a run."""
    found = {}
    mark = os.fsencode(str(folder))
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "stat").read_bytes().rsplit(b")", 1)[-1].split()[0] == b"Z":
                continue
            command = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_bytes().rsplit(b")", 1)[-1].split()[1])
            about = command + b"\0" + (entry / "environ").read_bytes() + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if mark in about:
            found[int(entry.name)] = what(command, parent)
    return found


def what(command: bytes, parent: int) -> str:
    if b"program.py" in command:
        try:
            above = Path(f"/proc/{parent}/cmdline").read_bytes()
        except OSError:
            above = b""
        return "supervisor" if b"program.py" in above else "the process above"
    if b"pip\0install" in command:
        return "uv"
    if b"uv_argo_guest" in command:
        return "cell"
    if b"engine.run import start" in command:
        return "kernel"
    return "child"


def begin(folder: Path, index: IndexServer) -> subprocess.Popen[bytes]:
    environ = os.environ | {"UV_ARGO_HOME": str(folder), "TMPDIR": str(folder), "UV_CACHE_DIR": str(folder / "uv")}
    return subprocess.Popen(
        [sys.executable, "-c", KERNEL, index.url], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def wait_for_the_end(folder: Path, seconds: float = 15.0) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    left = processes(folder)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = processes(folder)
    return left


def trees(folder: Path) -> list[Path]:
    return list((folder / "cache" / "store" / "trees").glob("*"))


@pytest.mark.parametrize(
    "victim",
    ["kernel", "supervisor", "the process above", "cell", "uv", "kernel and supervisor", "cell and supervisor"],
)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_killed(victim: str, seed: int, tmp_path: Path, index: IndexServer) -> None:
    kernel = begin(tmp_path, index)
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == b"started\n"
    chance = random.Random(f"{victim} {seed}")
    wanted = set(victim.split(" and "))
    found: dict[str, int] = {}
    deadline = time.monotonic() + 20
    # The cell's own child shows that the install is over: it may have been too short to be seen.
    while not wanted <= found.keys() and not ("uv" in wanted and "child" in found) and time.monotonic() < deadline:
        # The oldest of a name: what it forks looks like itself until it has become another program.
        found = {name: pid for pid, name in sorted(processes(tmp_path).items(), reverse=True)}
    assert wanted <= found.keys() or (wanted == {"uv"} and "child" in found)
    time.sleep(chance.uniform(0, 0.05 if victim == "uv" else 0.5))
    for name in wanted & found.keys():
        with contextlib.suppress(ProcessLookupError):
            os.kill(found[name], signal.SIGKILL)
    if victim == "uv" and wait_for_the_end(tmp_path, 3):
        kernel.kill()  # the install was over: the run goes on, and ends with its kernel
    left = wait_for_the_end(tmp_path)
    kernel.kill()
    kernel.communicate()
    assert left == {}
    if victim == "kernel":
        assert not list(tmp_path.glob("uv-argo-*"))
    for tree in trees(tmp_path):
        assert json.loads((tree / ".ok").read_text())["packages"] == [["heavy", "1.0"]]
        assert len(list((tree / "site" / "heavy").glob("part*.py"))) == 400


WARM = """
import sys, time
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import start
run = start(prepare(RunSpec(cell="pass")), warm=True)
run.wait()
run._is_read.wait()
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("seed", range(4))
def test_the_process_that_waits_ends_with_the_kernel(seed: int, tmp_path: Path) -> None:
    environ = os.environ | {"UV_ARGO_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    kernel = subprocess.Popen([sys.executable, "-c", WARM], env=environ, stdout=subprocess.PIPE)
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == b"ready\n"
    time.sleep(random.Random(seed).uniform(0, 0.3))
    kernel.kill()
    kernel.communicate()
    assert wait_for_the_end(tmp_path) == {}
    assert not list(tmp_path.glob("uv-argo-*/work"))
