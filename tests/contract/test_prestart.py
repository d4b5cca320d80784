"""The process that `uv-argo run` starts before its imports: when it is used, and that it leaves nothing behind."""

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

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"UV_ARGO_HOME": str(self.folder / "home"), "TMPDIR": str(self.temporary)} | variables
        return subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            check=False,
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def is_clean(self) -> bool:
        """Whether all run folders are removed within ten seconds."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and list(self.temporary.iterdir()):
            time.sleep(0.02)
        return not list(self.temporary.iterdir())


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    for name in ("UV_ARGO_BACKEND", *prestart.ELSEWHERE):
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal(tmp_path)
    assert terminal.run("run", "cell.py").stdout == "False\n"
    return terminal


def test_second_run_uses_prestarted_process(terminal):
    completed = terminal.run("run", "cell.py", "--", "--python")
    assert (completed.stdout, completed.stderr, completed.returncode) == ("True\n", "", 0)
    assert terminal.is_clean()


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["-b", "local"], {}),
        (["--set", "variables=A=1"], {}),
        ([], {"UV_ARGO_BACKEND": "local "}),
    ],
)
def test_run_with_other_settings_starts_its_own_process(terminal, arguments, variables):
    completed = terminal.run("run", "cell.py", *arguments, **variables)
    assert completed.stdout.strip() in ("False", "")
    assert (completed.returncode == 0) == bool(completed.stdout)
    assert terminal.is_clean()


@pytest.mark.parametrize(
    "arguments", [["missing.py"], ["cell.py", "--set", "nonsense=1"], ["cell.py", "--deps", "a b c ==="]]
)
def test_failed_command_leaves_no_run_folder(terminal, arguments):
    assert terminal.run("run", *arguments).returncode == 2
    assert terminal.is_clean()


def test_outdated_or_damaged_record_is_replaced(terminal):
    text = terminal.record.read_text()
    for old, new in [("supervisor.py:", "supervisor.py:1"), (f"{prestart._python()}\n", "/nowhere/python\n")]:
        terminal.record.write_text(text.replace(old, new))
        assert terminal.run("run", "cell.py").stdout == "False\n"
        assert terminal.record.read_text() == text
    for broken in ("", "nonsense", "a\nb\nc\nd\ne\nf"):
        terminal.record.write_text(broken)
        assert terminal.run("run", "cell.py").stdout == "False\n"
        assert terminal.record.read_text() == text


def test_removed_store_is_recreated(terminal):
    for path in sorted((terminal.folder / "home" / "cache" / "store").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert terminal.run("run", "cell.py").stdout == "False\n"
    assert terminal.run("run", "cell.py").stdout == "True\n"


def test_killed_prestarted_process_is_reported(terminal):
    (terminal.folder / "cell.py").write_text("import os, signal, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)\n")
    completed = terminal.run("run", "cell.py")
    assert completed.returncode == 1
    assert "SIGKILL" in completed.stderr
    assert terminal.is_clean()


def test_run_with_closed_stdin_starts_its_own_process(terminal):
    completed = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" run cell.py 0<&-', sys.executable, MAIN],
        cwd=terminal.folder,
        env=os.environ | {"UV_ARGO_HOME": str(terminal.folder / "home"), "TMPDIR": str(terminal.temporary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (completed.stdout, completed.returncode) == ("False\n", 0)
    assert terminal.is_clean()


def test_prestart_imports_no_other_modules():
    code = (
        "import sys; before = set(sys.modules)\n"
        "from uv_argo_magic.backends import prestart\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('uv_argo_magic')))"
    )
    completed = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert set(completed.stdout.split()) <= {
        "__future__",
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "warnings",
        "_warnings",
    }


def test_boot_code_uses_name_of_guest():
    assert f"from {GUEST_NAME} import supervisor" in prestart.BOOT
