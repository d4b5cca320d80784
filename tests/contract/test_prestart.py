"""The process that `uv-argo run` starts before it imports anything: when there is one, and that none is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from uv_argo_magic.backends import prestart
from uv_argo_magic.core.spec.program import GUEST_NAME

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MAIN = "import sys; from uv_argo_magic.cli import main; sys.exit(main())"
CELL = "import os\nprint('-c' in open(f'/proc/{os.getppid()}/cmdline').read().split('\\0'))\n"
"""Prints whether its supervisor was started from the record of an earlier one."""


class Terminal:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.record = folder / "home" / "cache" / "prestart"
        (folder / "cell.py").write_text(CELL)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"UV_ARGO_HOME": str(self.folder / "home"), "TMPDIR": str(self.temporary)} | variables
        return subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            check=False,
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def is_clean(self) -> bool:
        """Whether every folder of a run is removed, after a while."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and list(self.temporary.iterdir()):
            time.sleep(0.02)
        return not list(self.temporary.iterdir())


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    for name in ("UV_ARGO_BACKEND", *prestart.ELSEWHERE):
        monkeypatch.delenv(name, raising=False)
    found = Terminal(tmp_path)
    assert found.run("run", "cell.py").stdout == "False\n"
    return found


def test_the_second_run_has_a_process_that_waited(terminal):
    done = terminal.run("run", "cell.py", "--", "--python")
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
    assert terminal.is_clean()


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["-b", "local"], {}),
        (["--set", "variables=A=1"], {}),
        ([], {"UV_ARGO_BACKEND": "local "}),
    ],
)
def test_a_run_that_needs_another_process_has_its_own(terminal, words, variables):
    done = terminal.run("run", "cell.py", *words, **variables)
    assert done.stdout.strip() in ("False", "")
    assert (done.returncode == 0) == bool(done.stdout)
    assert terminal.is_clean()


@pytest.mark.parametrize(
    "words", [["missing.py"], ["cell.py", "--set", "nonsense=1"], ["cell.py", "--deps", "a b c ==="]]
)
def test_a_command_that_fails_leaves_nothing(terminal, words):
    assert terminal.run("run", *words).returncode == 2
    assert terminal.is_clean()


def test_a_record_of_another_guest_or_python_is_not_used_and_is_replaced(terminal):
    text = terminal.record.read_text()
    for old, new in [("supervisor.py:", "supervisor.py:1"), (f"{prestart._python()}\n", "/nowhere/python\n")]:
        terminal.record.write_text(text.replace(old, new))
        assert terminal.run("run", "cell.py").stdout == "False\n"
        assert terminal.record.read_text() == text
    for broken in ("", "nonsense", "a\nb\nc\nd\ne\nf"):
        terminal.record.write_text(broken)
        assert terminal.run("run", "cell.py").stdout == "False\n"
        assert terminal.record.read_text() == text


def test_a_removed_store_is_made_again(terminal):
    for path in sorted((terminal.folder / "home" / "cache" / "store").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert terminal.run("run", "cell.py").stdout == "False\n"
    assert terminal.run("run", "cell.py").stdout == "True\n"


def test_a_stop_reaches_it_and_a_kill_is_reported(terminal):
    (terminal.folder / "cell.py").write_text("import os, signal, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)\n")
    done = terminal.run("run", "cell.py")
    assert done.returncode == 1
    assert "SIGKILL" in done.stderr
    assert terminal.is_clean()


def test_without_the_standard_streams_the_run_starts_its_own_process(terminal):
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" run cell.py 0<&-', sys.executable, MAIN],
        cwd=terminal.folder,
        env=os.environ | {"UV_ARGO_HOME": str(terminal.folder / "home"), "TMPDIR": str(terminal.temporary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (closed.stdout, closed.returncode) == ("False\n", 0)
    assert terminal.is_clean()


def test_nothing_is_imported_before_the_process_starts():
    code = (
        "import sys; before = set(sys.modules)\n"
        "from uv_argo_magic.backends import prestart\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('uv_argo_magic')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "__future__",
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "warnings",
        "_warnings",
    }


def test_the_names_are_those_of_the_program():
    assert f"from {GUEST_NAME} import supervisor" in prestart.BOOT
