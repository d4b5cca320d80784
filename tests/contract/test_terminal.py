"""`uv-argo` as a process: what ends it, and what that leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.index_server import IndexServer

from uv_argo_magic.cli import main
from uv_argo_magic.history.store import History
from uv_argo_magic.uv import interpreters

MAIN = "import sys; from uv_argo_magic.cli import main; sys.exit(main())"
CELL = """
import os, time
print("up", flush=True)
try:
    time.sleep(60)
finally:
    print("cleaned", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_polite_signal_stops_the_run_and_its_end_is_kept(tmp_path, number):
    (tmp_path / "cell.py").write_text(CELL)
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "run", "cell.py"],
        cwd=tmp_path,
        env=os.environ | {"UV_ARGO_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "up\n"
    time.sleep(0.3)  # in the middle of a write, the interrupt may have that text written twice
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "cleaned\n")
    assert err.endswith("interrupted\n")
    assert History(tmp_path / "home" / "data" / "runs").last().outcome == "Stopped"


def test_a_request_runs_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    code = "import alpha\nprint('{{x}}', alpha.VERSION)"
    with IndexServer() as index:
        index.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        request = {"pythonCode": code, "dependencies": ["alpha"], "requirementsFile": "alpha<2  # why\n"}
        (tmp_path / "r.json").write_text(json.dumps(request))
        assert main(["run", "--request", "r.json", "--set", f"index_url={index.url}"]) == 0
    assert capsys.readouterr().out == "{{x}} 1\n"
    (tmp_path / "r.json").write_text(json.dumps({"pythonCode": "1 / 0"}))
    assert main(["run", "--request", "r.json"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


WATCHED_MAIN = """
import json, sys
started = []
sys.addaudithook(lambda event, args: started.append(args[1][0]) if event == "subprocess.Popen" else None)
from uv_argo_magic.cli import main
status = main()
print(json.dumps([status, started, sorted(sys.modules)]), file=sys.stderr)
"""
HEAVY = {
    "IPython", "ipywidgets", "hera", "kubernetes", "importlib.metadata", "html", "packaging.specifiers",
    "packaging.tags", "tomllib", "zipfile", "uv_argo_magic.core.protocol.remote_error",
    "uv_argo_magic.core.protocol.values", "uv_argo_magic.core.resolution.install_errors",
    "uv_argo_magic.core.requirements.parser", "uv_argo_magic.uv.resolver",
}  # fmt: skip
"""What takes longer to import than a small script to run."""


def test_a_run_without_dependencies_starts_one_process_imports_little_and_leaves_nothing(tmp_path):
    (tmp_path / "hello.py").write_text("print('hello')\n")
    (tmp_path / "tmp").mkdir()
    for _ in range(2):  # the first packs the guest
        completed = subprocess.run(
            [sys.executable, "-c", WATCHED_MAIN, "run", "hello.py"],
            cwd=tmp_path,
            env=os.environ | {"UV_ARGO_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    status, started, modules = json.loads(completed.stderr)
    assert (status, completed.stdout) == (0, "hello\n")
    assert started == [interpreters.find().path]
    assert HEAVY.intersection(modules) == set()
    assert list((tmp_path / "tmp").iterdir()) == []
