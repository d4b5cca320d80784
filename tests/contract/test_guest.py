"""The guest in a real process: running cells, their output and outcome in the log, limits and stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import venv
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.guest_process import ALARMS, HERE, NONCE, check_interrupted_writes, start_guest, text_of
from support.index_server import IndexServer

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader, remote_error
from uv_argo_magic.core.protocol.state import fold
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import Pushed
from uv_argo_magic.guest import processes
from uv_argo_magic.guest.install import thin_venv

if TYPE_CHECKING:
    from pathlib import Path

    from uv_argo_magic.core.protocol.state import RunState


def run(home: Path, cell: str, **options: object) -> RunState:
    return start_guest(home, cell, **options).state()  # type: ignore[arg-type]


def reason(state: RunState) -> tuple[str, int]:
    assert state.exited is not None
    return state.exited.reason, state.exited.code


def result(state: RunState) -> str | None:
    results = [dict(out.data)["text/plain"] for out in state.outputs if isinstance(out, ev.Result)]
    return json.loads(results[0]) if results else None


def test_cell_reports_output_result_and_phases(tmp_path: Path) -> None:
    state = run(tmp_path, "print('hi')\n6 * 7")
    assert (state.outcome, text_of(state), result(state), state.gaps, state.notes) == (
        "Succeeded",
        "hi\n",
        "42",
        (),
        (),
    )
    assert [phase for phase, _ in state.phases] == ["starting", "running", "ended"]  # no install step


def test_missing_handover_of_install_is_reported(tmp_path: Path) -> None:
    state = run(tmp_path, "print('hi')", env={"UV_ARGO_ROLE": "run"})
    assert (reason(state), text_of(state)) == (("guest", 70), "")
    assert state.exited
    assert "FileNotFoundError" in state.exited.detail


def test_install_role_hands_over_without_an_exit_record(tmp_path: Path) -> None:
    lock = Lock(packages=(Package(name="six", version="1.16.0"),), target=Target(python=HERE))
    tree = tmp_path / "store" / "trees" / lock.key
    (tree / "site").mkdir(parents=True)
    (tree / ".ok").write_text('{"packages": [["six", "1.16.0"]]}')
    env = {"UV_ARGO_ROLE": "install", "UV_INDEX_CORP_PASSWORD": "swordfish"}
    guest = start_guest(tmp_path, "print('hi')", resolution=lock, env=env)
    log = guest.read()
    state = fold(log_reader.decode(log, NONCE))
    assert (guest.process.returncode, state.exited, text_of(state)) == (0, None, "")
    assert state.installed
    assert state.installed.cached
    assert "credentials" in state.notes[0]
    assert "swordfish" not in log
    assert NONCE not in "".join(path.name for path in (tmp_path / "store" / "handed").iterdir())


@pytest.mark.sample(3)
@pytest.mark.parametrize("cell", ["6 * 7;", "6 * 7;  # quiet", "x = 5", "None", "", "# nothing", "'a';\n"])
def test_cell_without_a_last_expression_has_no_result(tmp_path: Path, cell: str) -> None:
    state = run(tmp_path, cell)
    assert (state.outcome, result(state)) == ("Succeeded", None)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import asyncio\nasync def f():\n    return 5\nawait f()", "5"),
        ("import asyncio\nasync def f():\n    return 5\ntask = asyncio.create_task(f())\nawait task", "5"),
        ("from __future__ import annotations\ndef f(x: nope): ...\nf.__annotations__", "{'x': 'nope'}"),
        ("'''doc'''\n__doc__", "'doc'"),
        ("__name__", "'__main__'"),
        ("import inspect\ndef f():\n    return 1\ninspect.getsource(f)", "'def f():\\n    return 1\\n'"),
        ("import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))).__name__", "'A'"),
        ("import os\nsorted(os.listdir())", "[]"),
        (
            "import sys\n('__file__' in globals(), [arg.rpartition('/')[2] for arg in sys.argv])",
            "(False, ['ipykernel_launcher.py'])",
        ),
        ("import sys\n[n for n in vars(sys.modules['__main__']) if not n.startswith('__')]", "['sys']"),
    ],
)
def test_cell_runs_as_main_module(tmp_path: Path, cell: str, expected: str | None) -> None:
    state = run(tmp_path, cell)
    assert state.outcome == "Succeeded", state.error
    assert result(state) == expected


@pytest.mark.parametrize("cell", ["next(iter([]))", "import asyncio\nawait asyncio.sleep(0)\nnext(iter([]))"])
def test_stop_iteration_fails_the_cell(tmp_path: Path, cell: str) -> None:
    state = run(tmp_path, cell)
    assert (state.outcome, json.loads(state.error)["ename"]) == ("Failed", "StopIteration")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_child_processes_find_functions_of_script(tmp_path: Path, method: str) -> None:
    cell = (
        "import multiprocessing as mp\ndef square(x):\n    return x * x\n"
        f"if __name__ == '__main__':\n    with mp.get_context('{method}').Pool(2) as pool:\n"
        "        print(pool.map(square, range(5)))\n"
    )
    state = run(tmp_path, cell, script=True)
    assert (state.outcome, text_of(state)) == ("Succeeded", "[0, 1, 4, 9, 16]\n"), text_of(state, "stderr")


TEXTS = {
    "lines": "a\nb\n",
    "no final newline": "no newline at the end",
    "only carriage returns": "\r 1\r 2\r 3",
    "carriage return": "a\rb\n",
    "long line": "x" * 50_000 + "\n",
    "long text": "x" * 50_000,
    "empty lines": "\n\n\n",
    "record of the protocol": f"@uv-argo:{NONCE} {{}}\nmore\n",
    "log line of Argo": "time=2026-01-01 level=INFO argo=true\n",
    "error of Argo": 'Error: exit status 3\n{"argo":true}\n',
    "unicode": "żółć 🎉 \u2028 \x0b \x85\n" * 3,
    "escape sequences": "\x1b[31mred\x1b[0m\n",
    "null byte": "nul \x00 in it\n",
    "start of a record": "part" + "\n" + "@uv-argo:",
    "expression of Argo": "{{workflow.name}} {{=1}}\n",
    "Windows newlines": "a\r\nb\r\n",
}
QUICK = ("no final newline", "start of a record")
"""The texts that are always tried with each writer."""
WRITERS = {
    "print": "print(TEXT, end='')",
    "buffer": "import sys; sys.stdout.buffer.write(TEXT.encode())",
    "fd": "import os\ndata = TEXT.encode()\nwhile data:\n    data = data[os.write(1, data):]",
    "child": (
        "import subprocess, sys\ncopy = 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())'\n"
        "subprocess.run([sys.executable, '-c', copy], input=TEXT.encode(), check=True)"
    ),
}


@pytest.mark.parametrize(
    ("writer", "name"),
    [
        pytest.param(writer, name, marks=() if writer == "print" or name in QUICK else pytest.mark.slow)
        for writer in WRITERS
        for name in TEXTS
    ],
)
def test_stdout_arrives_unchanged(tmp_path: Path, writer: str, name: str) -> None:
    state = run(tmp_path, f"TEXT = {TEXTS[name]!r}\n{WRITERS[writer]}\n")
    assert (state.outcome, text_of(state)) == ("Succeeded", TEXTS[name])


def test_invalid_utf8_is_replaced(tmp_path: Path) -> None:
    state = run(tmp_path, "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 3)\nprint('end');")
    assert text_of(state) == bytes(range(256)).decode("utf-8", "replace") * 3 + "end\n"


def test_streams_and_displays_keep_their_order(tmp_path: Path) -> None:
    cell = (
        "import sys, os\n"
        "for i in range(3):\n    print('out', i)\n    print('err', i, file=sys.stderr)\n    display(i)\n"
        "print('before')\nos.system('echo child')\nprint('after')"
    )
    state = run(tmp_path, cell)
    kinds = [
        out.text if isinstance(out, ev.Lines | ev.Text) else json.loads(dict(out.data)["text/plain"])
        for out in state.outputs
        if isinstance(out, ev.Lines | ev.Text | ev.Display)
    ]
    assert "".join(kinds) == "out 0\nerr 0\n0out 1\nerr 1\n1out 2\nerr 2\n2before\nchild\nafter\n"


def test_partial_line_is_sent_immediately(tmp_path: Path) -> None:
    guest = start_guest(tmp_path, "import time\nprint('thinking', end='')\ntime.sleep(1000)")
    log = b""
    while b"thinking" not in log:
        log += os.read(guest.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
    guest.process.send_signal(signal.SIGTERM)
    assert b'"reason":"stopped"' in log + guest.read().encode()


def test_long_output_is_shortened_and_kept_in_a_file(tmp_path: Path) -> None:
    state = run(tmp_path, "for i in range(1_000_000): print('line', i)", log_budget=400_000)
    (skipped,) = [out for out in state.outputs if isinstance(out, ev.Skipped)]
    lines = text_of(state).splitlines()
    assert (lines[0], lines[-1]) == ("line 0", "line 999999")
    assert len(lines) + skipped.lines == 1_000_000
    full_output = (tmp_path / "output.log").read_bytes()
    assert full_output.count(b"\n") == 1_000_000
    assert skipped.path == str(tmp_path / "output.log")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import sys; sys.exit(0)", ("ok", 0)),
        ("import sys; sys.exit()", ("ok", 0)),
        ("import sys; sys.exit(3)", ("error", 3)),
        ("import sys; sys.exit('words')", ("error", 1)),
        ("1 / 0", ("error", 1)),
        ("import os; os._exit(0)", ("ok", 0)),
        ("import os; os._exit(7)", ("exit", 7)),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", ("signal", -11)),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ("signal", -9)),
        ("import ctypes; ctypes.string_at(0)", ("signal", -11)),
        ("input('who? ')", ("error", 1)),
        ("raise KeyboardInterrupt", ("error", 1)),
    ],
)
def test_exit_reason_and_code_are_reported(tmp_path: Path, cell: str, expected: tuple[str, int]) -> None:
    state = run(tmp_path, "print('before')\n" + cell)
    assert (reason(state), text_of(state)) == (expected, "before\n")


def test_syntax_error_prevents_execution(tmp_path: Path) -> None:
    state = run(tmp_path, "print('before')\nthis is no Python")
    assert (reason(state), text_of(state), json.loads(state.error)["ename"]) == (("error", 1), "", "SyntaxError")


def test_output_before_a_crash_is_kept(tmp_path: Path) -> None:
    state = run(tmp_path, "import os, time\nprint('one')\nos.kill(os.getpid(), 9)")
    assert text_of(state) == "one\n"


def test_threads_and_exit_handlers_are_completed(tmp_path: Path) -> None:
    cell = (
        "import atexit, threading, time\natexit.register(print, 'handler')\n"
        "threading.Thread(target=lambda: (time.sleep(.2), print('thread'))).start()\nprint('main')"
    )
    assert text_of(run(tmp_path, cell)) == "main\nthread\nhandler\n"


def test_remaining_child_processes_are_terminated(tmp_path: Path) -> None:
    cell = (
        "import subprocess, os, time\nprint(subprocess.Popen(['sleep', '1000']).pid)\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n    os.setsid()\n    os.write(w, b'%d' % os.getpid())\n    time.sleep(1000)\n"
        "print(int(os.read(r, 99)))"
    )
    state = run(tmp_path, cell)
    assert state.outcome == "Succeeded"
    for pid in map(int, text_of(state).split()):
        assert not alive(pid)
    assert state.notes == ("the cell left 2 processes running; terminated",)


def test_cell_has_a_minimal_environment(tmp_path: Path) -> None:
    cell = "import os\n' '.join(sorted(os.environ))"
    state = run(tmp_path, cell, env={"SECRET_OF_THE_KERNEL": "x", "LC_ALL": "C.UTF-8"})
    names = (result(state) or "").strip("'").split()
    assert "LC_ALL" in names
    assert not [name for name in names if name.startswith(("UV_", "SECRET", "PYTHON", "MPL"))]


def test_cell_cannot_import_packages_of_interpreter(tmp_path: Path) -> None:
    state = run(tmp_path, "import pip")
    assert json.loads(state.error)["ename"] == "ModuleNotFoundError"


def run_until_deadline(home: Path, cell: str) -> RunState:
    """Run a cell that prints "begun" until its deadline, which is later if the machine is too slow to start it."""
    for seconds in (0.5, 5.0, 50.0):
        state = run(home / str(seconds), cell, run_timeout=seconds)
        if text_of(state).startswith("begun\n"):
            break
    return state


def test_deadline_interrupts_the_cell(tmp_path: Path) -> None:
    cell = "import time\ntry:\n    print('begun')\n    time.sleep(1000)\nfinally:\n    print('cleaned')"
    state = run_until_deadline(tmp_path, cell)
    assert (reason(state), text_of(state)) == (("deadline", 143), "begun\ncleaned\n")
    assert state.exited is not None
    assert state.exited.detail == "run_timeout"


def test_cell_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    cell = (
        "import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('begun')\ntime.sleep(1000)"
    )
    state = run_until_deadline(tmp_path, cell)
    assert (reason(state), text_of(state)) == (("deadline", 143), "begun\n")


def test_closed_lifeline_stops_the_run(tmp_path: Path) -> None:
    guest = start_guest(tmp_path, "import time\nprint('up', flush=True)\ntime.sleep(1000)")
    log = b""
    while b"up\n" not in log:
        log += os.read(guest.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
    guest.close_lifeline()
    assert reason(guest.state()) == ("stopped", 143)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_values_are_pushed_and_pulled(tmp_path: Path) -> None:
    state = run(tmp_path, "y = [x, x]", push=(Pushed(name="x", text="5"),), pull=("y", "nope"))
    values = {value.name: value for value in state.values}
    assert json.loads(values["y"].body) == [5, 5]
    assert values["nope"].problem == "the cell does not define nope"


def test_large_display_arrives_unchanged(tmp_path: Path) -> None:
    state = run(tmp_path, "display({'text/plain': 'a', 'text/html': 'é\"\\\\' * 100_000}, raw=True)")
    (display,) = [out for out in state.outputs if isinstance(out, ev.Display)]
    assert json.loads(dict(display.data)["text/html"]) == 'é"\\' * 100_000


def test_log_lines_are_short(tmp_path: Path) -> None:
    log = start_guest(tmp_path, "print('x' * 100_000)\ndisplay('y' * 100_000)\nraise ValueError('z' * 100_000)").read()
    assert max(map(len, log.split("\n"))) <= 8192


def test_unresolved_requirements_are_resolved_by_guest(tmp_path: Path) -> None:
    unresolved = Unresolved(lines=("no-such-package-of-ours",), reason="the index did not respond")
    state = run(tmp_path, "print('never')", resolution=unresolved, offline=True)
    assert (state.outcome, text_of(state)) == ("InstallFailed", "")
    assert "no-such-package-of-ours" in "".join(state.install_log)


def test_internal_error_of_guest_is_reported(tmp_path: Path) -> None:
    guest = start_guest(tmp_path, "print(1)", env={"UV_ARGO_RUN": str(tmp_path / "run" / "program.py")})
    state = guest.state()
    assert reason(state) == ("guest", 70)
    assert state.exited is not None
    assert "NotADirectoryError" in state.exited.detail


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_run_folder_of_a_pod_contains_only_program_and_log(tmp_path: Path) -> None:
    environ = {"UV_ARGO_LIFELINE": "-1", "UV_ARGO_OUTPUT": str(tmp_path / "run" / "output.log")}
    run(tmp_path, "open('file', 'w').write('x'); print(1)", env=environ)
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {"program.py", "cell.py", "output.log"}


@pytest.mark.parametrize("leave", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_flushed_output_survives_a_crash(tmp_path: Path, leave: str) -> None:
    state = run(tmp_path, f"import os\nfor i in range(3):\n    print(i, flush=True)\n{leave}")
    assert text_of(state) == "0\n1\n2\n"


def test_interrupted_writes_are_neither_lost_nor_repeated(tmp_path: Path) -> None:
    state = run(tmp_path, ALARMS)
    check_interrupted_writes(state)


def test_forked_process_can_print_and_exit(tmp_path: Path) -> None:
    state = run(
        tmp_path, "import os\nif os.fork() == 0:\n    print('child')\n    os._exit(0)\nos.wait()\nprint('parent')"
    )
    assert text_of(state) == "child\nparent\n"


def test_streams_have_name_and_encoding_of_a_notebook(tmp_path: Path) -> None:
    state = run(tmp_path, "import sys\nsys.stdout.name, sys.stderr.name, sys.stdout.encoding")
    assert result(state) == "('stdout', 'stderr', 'UTF-8')"


@pytest.mark.parametrize(
    ("cell", "function"),
    [
        ("input('name?')", "input()"),
        ("import getpass\ngetpass.getpass()", "getpass()"),
        ("x = 1\nbreakpoint()", "breakpoint()"),
    ],
)
def test_input_is_not_available(tmp_path: Path, cell: str, function: str) -> None:
    state = run(tmp_path, cell)
    error = json.loads(state.error)
    assert error["ename"] == "StdinNotImplementedError"
    assert error["evalue"].startswith(function + " is not available, because the cell runs without a terminal; ")
    assert text_of(state) == ""


def test_custom_breakpoint_hook_is_kept(tmp_path: Path) -> None:
    cell = "breakpoint('called')"
    spec_env = (("PYTHONBREAKPOINT", "builtins.print"),)
    state = start_guest(tmp_path, cell, cell_env=spec_env).state()
    assert (state.outcome, text_of(state)) == ("Succeeded", "called\n")


def test_error_in_repr_shows_only_frames_of_cell(tmp_path: Path) -> None:
    cell = "class A:\n    def __repr__(self): raise ValueError('no') from KeyError('k')\n[A()]"
    state = run(tmp_path, cell)
    (traceback,) = (output for output in state.outputs if isinstance(output, ev.Traceback))
    assert state.outcome == "Succeeded"
    assert traceback.text.count("  File ") == 1
    assert "KeyError: 'k'" in traceback.text
    assert traceback.text.endswith("ValueError: no\n")
    assert traceback.result
    error = remote_error.parse(traceback.error)
    assert (error.evalue, error.cause.evalue, len(error.frames)) == ("no", "'k'", 1)


def test_sys_exit_message_is_reported_once(tmp_path: Path) -> None:
    state = run(tmp_path, "import sys; sys.exit('words')")
    assert (text_of(state), text_of(state, "stderr")) == ("", "")
    assert json.loads(state.error)["evalue"] == "words"


def test_pandas_uses_notebook_options(tmp_path: Path) -> None:
    # A fake module with the functions that the guest uses; tests/fidelity uses the real one.
    (tmp_path / "pandas.py").write_text(
        "options = {'display.max_columns': 0}\nget_option = options.get\n"
        "def set_option(name, value): options[name] = value\n"
    )
    state = run(tmp_path / "run", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport pandas\npandas.options")
    assert result(state) == "{'display.max_columns': 20}"


def test_displays_beyond_log_budget_are_omitted(tmp_path: Path) -> None:
    cell = "h = display('first', display_id=True)\nfor i in range(3000): display(i)\nfor i in range(3000): h.update(i)"
    log = start_guest(tmp_path, cell, log_budget=20_000).read()
    state = fold(log_reader.decode(log, NONCE))
    assert len(log) < 30_000
    displays = [out for out in state.outputs if isinstance(out, ev.Display)]
    assert (
        "omitted: the log is full; raise its limit with --set log_budget=SIZE" in dict(displays[-1].data)["text/plain"]
    )
    (note,) = state.notes
    assert note.startswith(f"{6001 - len(displays) + 1} displays omitted")


def test_large_display_is_compressed(tmp_path: Path) -> None:
    log = start_guest(tmp_path, "display({'text/html': '<p>word</p>' * 10_000}, raw=True)", log_budget=20_000).read()
    state = fold(log_reader.decode(log, NONCE))
    assert len(log) < 4_000
    assert [dict(out.data) for out in state.outputs] == [{"text/html": json.dumps("<p>word</p>" * 10_000)}]


def test_log_budget_0_is_unlimited(tmp_path: Path) -> None:
    state = run(
        tmp_path,
        "for i in range(100_000): print('line', i)\ndisplay(1)\nx = 'v'",
        log_budget=0,
        value_limit=0,
        pull=("x",),
    )
    assert len(text_of(state).splitlines()) == 100_000
    assert not [out for out in state.outputs if isinstance(out, ev.Skipped)]
    assert [value.problem for value in state.values] == [""]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("line", ["x" * 50, "ä" * 25, "x\r" * 25])
def test_small_log_budget_is_kept(tmp_path: Path, line: str, stream: str) -> None:
    line = "'%d ' % i + " + repr(line)
    cell = f"import sys\nfor i in range(2000): print({line}, file=sys.{stream}, flush=True)\nprint('last')"
    log = start_guest(tmp_path, cell, log_budget=20_000).read()
    assert len(log) < 25_000
    state = fold(log_reader.decode(log, NONCE))
    (index,) = [index for index, out in enumerate(state.outputs) if isinstance(out, ev.Skipped)]
    tail = [out for out in state.outputs[index + 1 :] if out.stream == stream]
    assert tail[0].text.split()[0].isdecimal()
    assert sum(len(out.text) for out in tail) > 3000


def test_nothing_is_omitted_if_output_just_fits(tmp_path: Path) -> None:
    state = run(tmp_path, "print('x' * 30_000)\nprint('last')", log_budget=20_000)
    assert text_of(state).endswith("last\n")
    assert not [out for out in state.outputs if isinstance(out, ev.Skipped)]


def test_repeated_clear_output_does_not_fill_the_log(tmp_path: Path) -> None:
    cell = "d = display.__self__\nfor i in range(5000): d.clear_output(wait=True); print('step', i)"
    log = start_guest(tmp_path, cell, log_budget=20_000).read()
    assert len(log) < 30_000
    assert "step 4999" in log
    assert "step 4998" not in log


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import sys\nclass A:\n    def __str__(self): 1 / 0\nsys.exit(A())", ("error", 1)),
        ("import sys\nclass A:\n    def __eq__(self, other): 1 / 0\nsys.exit(A())", ("error", 1)),
        ("import sys; sys.exit(0.0)", ("error", 1)),
        ("import sys; sys.exit(False)", ("ok", 0)),
        ("import sys; sys.settrace(lambda *a: 1 / 0)", ("ok", 0)),
    ],
)
def test_unusual_exits_are_reported(tmp_path: Path, cell: str, expected: tuple[str, int]) -> None:
    assert reason(run(tmp_path, cell)) == expected


def test_run_succeeds_if_output_file_cannot_be_written(tmp_path: Path) -> None:
    state = run(tmp_path, "for i in range(50_000): print(i)", env={"UV_ARGO_OUTPUT": "/dev/full"})
    assert (reason(state), text_of(state).count("\n")) == (("ok", 0), 50_000)
    (note,) = state.notes
    assert note.startswith("cannot write the full output to a file: ")


@pytest.mark.parametrize(
    "name", ["plain", "a 'b\" $c", "long" + "x" * 150], ids=["plain", "special characters", "long"]
)
def test_scripts_of_venv_run_in_folders_with_any_name(tmp_path: Path, name: str) -> None:
    scripts = tmp_path / "site" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "tool").write_text("#!/elsewhere/python3\nimport sys\nprint(sys.prefix, sys.argv[1:])\n")
    home = tmp_path / name / "venv"
    thin_venv.create(str(home))
    thin_venv.add_folders(str(home), [str(tmp_path / "site")])
    completed = subprocess.run([home / "bin" / "tool", "a b"], capture_output=True, text=True, check=True)
    assert completed.stdout == f"{home} ['a b']\n"


def test_uv_output_has_no_colours(tmp_path: Path) -> None:
    unresolved = Unresolved(lines=("no-such-package-of-ours",), reason="the index did not respond")
    state = run(tmp_path, "1", resolution=unresolved, offline=True, env={"CLICOLOR_FORCE": "1", "FORCE_COLOR": "1"})
    assert "\x1b" not in "".join(state.install_log)


def test_syntax_error_shows_no_frames_of_guest(tmp_path: Path) -> None:
    error = json.loads(run(tmp_path, "this is no Python").error)
    assert (error["frames"], error["syntax"]["lineno"]) == ([], 2)


def test_base_own_adds_packages_of_python_after_those_of_cell(tmp_path: Path) -> None:
    venv.create(tmp_path / "image", symlinks=True)
    python = tmp_path / "image" / "bin" / "python"
    (base_site,) = (tmp_path / "image").glob("lib/python*/site-packages")
    package = Package(name="both", version="2.0", sha256="0" * 64)
    lock = Lock(packages=(package,), target=Target(python=HERE), base_digest="x")
    cell_site = tmp_path / "store" / "trees" / lock.key / "site"
    cell_site.mkdir(parents=True)
    (cell_site.parent / ".ok").write_text('{"packages": [["both", "2.0"]]}')
    for folder, modules in ((base_site, {"own": "1.0", "both": "1.0"}), (cell_site, {"both": "2.0"})):
        for name, version in modules.items():
            (folder / f"{name}.py").write_text(f"version = {version!r}")
            (folder / f"{name}-{version}.dist-info").mkdir()
            (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    cell = (
        "import importlib.metadata as m, subprocess, sys\n"
        "print(__import__('both').version, __import__('own').version, sys.prefix != sys.base_prefix)\n"
        "print(sorted((d.metadata['Name'], d.version) for d in m.distributions()), flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import both, own; print(both.version, own.version)'])"
    )
    state = run(tmp_path, cell, python=str(python), base="own", resolution=lock)
    distributions = "[('both', '1.0'), ('both', '2.0'), ('own', '1.0')]"
    assert text_of(state) == f"2.0 1.0 True\n{distributions}\n2.0 1.0\n", state
    # Without base=own, the cell cannot import it.
    cell = "try: import own\nexcept ImportError: print('missing')"
    assert text_of(run(tmp_path / "without", cell, python=str(python))) == "missing\n"
    assert (
        text_of(run(tmp_path / "base", "print(__import__('own').version)", python=str(python), base="own")) == "1.0\n"
    )


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("requirement", "settings", "installed"),
    [
        ("alpha", {}, {"alpha": "1.0", "beta": "2.0"}),
        ("alpha", {"constraints": ("beta<2",)}, {"alpha": "1.0", "beta": "1.0"}),
        ("alpha", {"overrides": ("beta==1.0",)}, {"alpha": "1.0", "beta": "1.0"}),
        ("complete", {}, {"alpha": "1.0"}),
        ("alpha --hash=sha256:" + "0" * 64, {}, None),
        ("correct hash", {}, {"alpha": "1.0", "beta": "2.0"}),
    ],
    ids=["latest", "constraints", "overrides", "complete", "wrong hash", "correct hash"],
)
def test_guest_resolves_with_settings_and_hashes(tmp_path: Path, requirement, settings, installed) -> None:
    with IndexServer() as index:
        sha256 = index.add("alpha", "1.0", requires=["beta"]).sha256
        index.add("beta", "1.0")
        index.add("beta", "2.0")
        text = {"complete": "alpha", "correct hash": f"alpha --hash=sha256:{sha256}"}.get(requirement, requirement)
        requirements = replace(parse(text, file=True), complete=requirement == "complete")
        state = run(
            tmp_path, "pass", requirements=requirements, resolution=Unresolved(lines=requirements.lines, reason=""),
            env={"UV_CACHE_DIR": str(tmp_path / "cache")}, index_url=index.url, **settings,
        )  # fmt: skip
    if installed is None:
        assert reason(state)[0] == "install"
        assert "hash" in "".join(state.install_log).lower()
    else:
        assert (reason(state), dict(state.installed.packages)) == (("ok", 0), installed)


def test_oom_kills_are_counted(tmp_path, monkeypatch):
    new, old = tmp_path / "memory.events", tmp_path / "memory.oom_control"
    monkeypatch.setattr(processes, "OOM_COUNTERS", (str(new), str(old)))
    assert processes.oom_kills() == 0
    new.write_text("low 7\noom 4\noom_kill 2\noom_group_kill 1\n")
    old.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert processes.oom_kills() == 5
    old.write_text("oom_kill many\n")
    assert processes.oom_kills() == 2


def test_files_written_by_cell_are_listed(tmp_path: Path) -> None:
    cell = (
        "import os\nos.makedirs('out')\nopen('out/a.csv', 'w').write('12')\nopen(b'\\xff', 'w').close()\nprint('x')\n"
    )
    files = run(tmp_path, cell).files
    assert files is not None
    assert files.files == (("\N{REPLACEMENT CHARACTER}", "0"), ("out/a.csv", "2"))
    assert (files.count, files.bytes) == (2, 2)
    assert run(tmp_path / "other", "print('x')").files is None
