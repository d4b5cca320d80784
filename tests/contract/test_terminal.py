"""`uv-argo` in a terminal: signals, exit status, encodings, the home folder and output."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from support.index_server import IndexServer

import uv_argo_magic
from uv_argo_magic.cli import main
from uv_argo_magic.history.store import History
from uv_argo_magic.uv import interpreters

MAIN = "import sys; from uv_argo_magic.cli import main; sys.exit(main())"
CELL = """
import os, time
try:
    print("up", flush=True)
    time.sleep(1000)
finally:
    print("cleaned", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_stops_run_and_records_outcome(tmp_path, number):
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
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "cleaned\n")
    assert err.endswith("interrupted\n")
    assert History(tmp_path / "home" / "data" / "runs").last().outcome == "Stopped"


def test_run_request_executes_its_code(tmp_path, monkeypatch, capsys):
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


AUDITED_MAIN = """
import json, sys
started = []
program = {"subprocess.Popen": lambda args: args[1][0], "os.posix_spawn": lambda args: args[0]}
sys.addaudithook(lambda event, args: started.append(program[event](args)) if event in program else None)
from uv_argo_magic.cli import main
status = main()
print(json.dumps([status, started, sorted(sys.modules)]), file=sys.stderr)
"""
HEAVY = {
    "IPython", "ipywidgets", "hera", "kubernetes", "importlib.metadata", "html", "packaging.specifiers",
    "packaging.tags", "tomllib", "zipfile", "email.message", "pickle", "uv_argo_magic.core.protocol.remote_error",
    "uv_argo_magic.core.protocol.values", "uv_argo_magic.core.resolution.install_errors",
    "uv_argo_magic.core.requirements.parser", "uv_argo_magic.uv.resolver",
}  # fmt: skip
"""Modules whose import takes longer than a small script."""


def test_run_starts_one_process_and_imports_no_heavy_modules(tmp_path):
    (tmp_path / "hello.py").write_text("print('hello')\n")
    (tmp_path / "tmp").mkdir()
    # A UV_ARGO_ variable of the tests could be a setting of an installed backend, which takes a scan of packages.
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_ARGO_")}
    for _ in range(2):  # the first run packs the guest
        completed = subprocess.run(
            [sys.executable, "-c", AUDITED_MAIN, "run", "hello.py"],
            cwd=tmp_path,
            env=env | {"UV_ARGO_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")},
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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit('bye')", 1, "bye\n"),
        ("import os; os._exit(7)", 7, "CellFailed: The cell's process exited immediately with status 7"),
        ("import os; os.kill(os.getpid(), 9)", 137, "CellFailed: The cell's process was killed by signal 9"),
        ("1 / 0", 1, "Traceback (most recent call last):"),
        ("import sys; sys.exit()", 0, ""),
    ],
)
def test_exit_status_is_that_of_the_script(folder, capsys, script, status, error):
    (folder / "script.py").write_text(script)
    assert main(["run", "script.py"]) == status
    stderr = capsys.readouterr().err
    assert stderr.startswith(error)
    assert bool(stderr) == bool(error)


def test_arguments_after_two_dashes_are_passed_to_script(folder, capsys):
    (folder / "args.py").write_text("import sys\nprint(sys.argv[1:])\n")
    assert main(["run", "args.py", "--timeout", "1m", "--", "-b", "two words", "--", "$x"]) == 0
    assert capsys.readouterr().out == "['-b', 'two words', '--', '$x']\n"
    assert main(["run", "args.py", "one"]) == 2
    assert "Write -- before the script's arguments: -- one" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16"])
def test_script_runs_with_declared_encoding(folder, capsys, encoding):
    declaration = f"# -*- coding: {encoding} -*-\n" if encoding in ("latin-1", "cp1252") else ""
    (folder / "script.py").write_text(
        f"{declaration}print('caf\xe9', open(__file__, encoding='utf-8').read()[-3:])\n", encoding=encoding
    )
    status = main(["run", "script.py"])
    captured = capsys.readouterr()
    if encoding == "utf-16":
        assert (status, captured.err.splitlines()[0]) == (2, "SpecError: script.py is not UTF-8 text")
    else:
        assert (status, captured.out) == (0, "caf\xe9 ])\n\n")


def test_notebook_is_not_run_as_script(folder, capsys):
    for name in ("study.ipynb", "study.py"):
        (folder / name).write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
        assert main(["run", name]) == 2
        assert f"{name} is a notebook, not a Python file" in capsys.readouterr().err


@pytest.mark.parametrize("home", ["/", "/nonexistent-home"])
def test_unusable_home_is_reported_and_not_created(tmp_path, monkeypatch, capsys, home):
    monkeypatch.delenv("UV_ARGO_HOME", raising=False)
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(tmp_path)
    before = set(Path("/").iterdir())
    (tmp_path / "script.py").write_text("1\n")
    assert main(["run", "script.py"]) == 2
    assert f"the home folder cannot be used: HOME is {home}\n" in capsys.readouterr().err
    assert set(Path("/").iterdir()) == before


def test_unwritable_home_is_reported_with_hint(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("1\n")
    assert main(["run", "script.py"]) != 0
    stderr = capsys.readouterr().err
    assert f"cannot write the history: [Errno 20] Not a directory: '{tmp_path / 'file'}" in stderr
    assert "set UV_ARGO_HOME to a writable folder" in stderr


def run_in_terminal(command, **variables):
    """Return the output of a command in a terminal of 80 columns."""
    output = []

    def read(fd):
        data = os.read(fd, 4096)
        output.append(data)
        return data

    pid, fd = pty.fork()
    if not pid:
        environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
        os.execve(sys.executable, [sys.executable, "-c", MAIN, *command], environ | {"TERM": "xterm"} | variables)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with contextlib.suppress(OSError):  # the terminal is closed
        while read(fd):
            pass
    os.waitpid(pid, 0)
    os.close(fd)
    return b"".join(output).decode()


def test_tables_fit_terminal_and_have_colours(folder):
    long = "numpy_pandas_and_a_long_line = 'of code that is longer than any terminal is wide, by far'\n"
    (folder / "long.py").write_text(long)
    assert main(["run", "long.py"]) == 0
    table = run_in_terminal(["runs"])
    assert table.startswith("\x1b[1mRUN ")
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", table).splitlines())) <= 80
    assert "\x1b[1;31mSpecError\x1b[0m: unknown command" in run_in_terminal(["nope"])
    assert "\x1b" not in run_in_terminal(["runs"], NO_COLOR="1")


def test_tables_in_a_pipe_are_not_cut(folder, monkeypatch, capsys):
    (folder / "long.py").write_text("numpy_pandas_and_a_long_line = 1\n")
    assert main(["run", "long.py"]) == 0
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["runs"]) == 0
    assert "  numpy_pandas_and_a_long_line = 1\n" in capsys.readouterr().out


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"uv-argo {uv_argo_magic.__version__}\n"


def test_logs_command_prints_output_beyond_the_log_budget(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    (tmp_path / "cell.py").write_text("for i in range(20_000): print('line', i)")
    assert main(["run", str(tmp_path / "cell.py"), "--set", "log_budget=100k"]) == 0
    shown = capsys.readouterr()
    assert "lines omitted; full output: " in shown.err
    assert shown.out.count("\n") < 20_000
    assert main(["logs"]) == 0
    assert capsys.readouterr().out == "".join(f"line {i}\n" for i in range(20_000))


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("x = 1\nif x\n    y\n", "  File \"cell.py\", line 2\n    if x\n        ^\nSyntaxError: expected ':'\n"),
        ("exec('a b')\n", '  File "<string>", line 1\n    a b\n      ^\nSyntaxError: invalid syntax\n'),
    ],
)
def test_syntax_error_is_shown_with_its_line_and_a_caret(tmp_path, monkeypatch, capsys, code, end):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cell.py").write_text(code)
    assert main(["run", "cell.py"]) == 1
    assert capsys.readouterr().err.endswith(end)
