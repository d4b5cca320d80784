"""SIGKILL while several processes install, publish and remove environments; no environment may be broken.

UV_ARGO_TEST_KILLS is the number of kills; the default is small enough for every run of the tests.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from support.index_server import IndexServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="kills groups of processes")]

KILLS = int(os.environ.get("UV_ARGO_TEST_KILLS", "12"))
PARTS = 300
RUN = """
import sys, uv_argo_magic
settings = {"index_url": sys.argv[1], "panel": "none"} | ({"venv": sys.argv[2]} if sys.argv[2] else {})
code = "import importlib, heavy\\nparts = [importlib.import_module(f'heavy.part{i}').VALUE for i in range(300)]\\n"
code += "assert sum(parts) == 44850"
uv_argo_magic.run(code, deps="heavy", settings=settings)
"""
PRUNE = "import sys; from uv_argo_magic.cli import main; sys.exit(main(['env', 'prune', '--keep', '0']))"


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        files = {f"heavy/part{i}.py": f"VALUE = {i}\n" for i in range(PARTS)} | {"heavy/__init__.py": ""}
        server.add("heavy", "1.0", files=files)
        yield server


def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its group; the supervisor detects it because its lifeline closes."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("kind", ["store", "venv"])
def test_killed_processes_leave_no_broken_environment(index, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    venv = str(tmp_path / "venv") if kind == "venv" else ""
    rng = random.Random(19)
    broken = []
    for number in range(KILLS // 2):
        processes = [start(RUN, index.url, venv) for _ in range(2 if kind == "store" else 1)]
        if kind == "store":
            processes.append(start(PRUNE))
        time.sleep(rng.uniform(0.2, 2.0))
        for process in processes:
            kill(process)
        # The next run starts immediately, and installs the environment if it is missing.
        for _ in range(50):
            completed = subprocess.run(
                [sys.executable, "-c", RUN, index.url, venv], capture_output=True, text=True, check=False, timeout=120
            )
            if "is in use by" not in completed.stderr:  # the killed processes have not ended yet
                break
            time.sleep(0.1)
        if completed.returncode:
            broken.append((number, completed.stderr[-500:]))
        if rng.random() < 0.5:
            subprocess.run([sys.executable, "-c", PRUNE], capture_output=True, check=True, timeout=60)
            if venv:
                subprocess.run(["rm", "-rf", venv], check=True)
    assert broken == []
