"""`uv-argo` as a process: what ends it, and what that leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from uv_argo_magic.history import History

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
