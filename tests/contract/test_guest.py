"""The guest in a real process: what a cell does, and what the log says of it."""

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
from support.guest_process import HERE, NONCE, begin, text_of
from support.index_server import IndexServer

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader, remote_error
from uv_argo_magic.core.protocol.state import fold
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import Pushed
from uv_argo_magic.guest import processes
from uv_argo_magic.guest.install import environment

if TYPE_CHECKING:
    from pathlib import Path

    from uv_argo_magic.core.protocol.state import RunState


def run(home: Path, cell: str, **wanted: object) -> RunState:
    return begin(home, cell, **wanted).state()  # type: ignore[arg-type]


def reason(state: RunState) -> tuple[str, int]:
    assert state.exited is not None
    return state.exited.reason, state.exited.code


def result(state: RunState) -> str | None:
    found = [dict(out.data)["text/plain"] for out in state.outputs if isinstance(out, ev.Result)]
    return json.loads(found[0]) if found else None


def test_output_result_and_end(tmp_path: Path) -> None:
    state = run(tmp_path, "print('hi')\n6 * 7")
    assert (state.outcome, text_of(state), result(state), state.gaps, state.notes) == (
        "Succeeded",
        "hi\n",
        "42",
        (),
        (),
    )
    assert [phase for phase, _ in state.phases] == ["starting", "running", "ended"]  # no install step


def test_a_cell_whose_packages_nobody_left_says_so(tmp_path: Path) -> None:
    state = run(tmp_path, "print('hi')", env={"UV_ARGO_ROLE": "run"})
    assert (reason(state), text_of(state)) == (("guest", 70), "")
    assert state.exited
    assert "FileNotFoundError" in state.exited.detail


def test_an_install_alone_hands_over_without_an_end(tmp_path: Path) -> None:
    wanted = Lock(packages=(Package(name="six", version="1.16.0"),), target=Target(python=HERE))
    tree = tmp_path / "store" / "trees" / wanted.key
    (tree / "site").mkdir(parents=True)
    (tree / ".ok").write_text('{"packages": [["six", "1.16.0"]]}')
    env = {"UV_ARGO_ROLE": "install", "UV_INDEX_CORP_PASSWORD": "swordfish"}
    guest = begin(tmp_path, "print('hi')", resolution=wanted, env=env)
    log = guest.read()
    state = fold(log_reader.decode(log, NONCE))
    assert (guest.process.returncode, state.exited, text_of(state)) == (0, None, "")
    assert state.installed
    assert state.installed.cached
    assert "credentials" in state.notes[0]
    assert "swordfish" not in log
    assert NONCE not in "".join(path.name for path in (tmp_path / "store" / "handed").iterdir())


@pytest.mark.parametrize("cell", ["6 * 7;", "6 * 7;  # quiet", "x = 5", "None", "", "# nothing", "'a';\n"])
def test_what_has_no_result(tmp_path: Path, cell: str) -> None:
    state = run(tmp_path, cell)
    assert (state.outcome, result(state)) == ("Succeeded", None)


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
def test_the_cell_is_main(tmp_path: Path, cell: str, expected: str | None) -> None:
    state = run(tmp_path, cell)
    assert state.outcome == "Succeeded", state.error
    assert result(state) == expected


@pytest.mark.parametrize("cell", ["next(iter([]))", "import asyncio\nawait asyncio.sleep(0)\nnext(iter([]))"])
def test_a_cell_that_raises_stop_iteration_fails(tmp_path: Path, cell: str) -> None:
    state = run(tmp_path, cell)
    assert (state.outcome, json.loads(state.error)["ename"]) == ("Failed", "StopIteration")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_child_processes_of_a_script_find_its_functions(tmp_path: Path, method: str) -> None:
    cell = (
        "import multiprocessing as mp\ndef square(x):\n    return x * x\n"
        f"if __name__ == '__main__':\n    with mp.get_context('{method}').Pool(2) as pool:\n"
        "        print(pool.map(square, range(5)))\n"
    )
    state = run(tmp_path, cell, script=True)
    assert (state.outcome, text_of(state)) == ("Succeeded", "[0, 1, 4, 9, 16]\n"), text_of(state, "stderr")


NASTY = [
    "a\nb\n",
    "no newline at the end",
    "\r 1\r 2\r 3",
    "a\rb\n",
    "x" * 50_000 + "\n",
    "x" * 50_000,
    "\n\n\n",
    f"@uv-argo:{NONCE} {{}}\nmore\n",
    "time=2026-01-01 level=INFO argo=true\n",
    'Error: exit status 3\n{"argo":true}\n',
    "żółć 🎉 \u2028 \x0b \x85\n" * 3,
    "\x1b[31mred\x1b[0m\n",
    "nul \x00 in it\n",
    "part" + "\n" + "@uv-argo:",
    "{{workflow.name}} {{=1}}\n",
    "a\r\nb\r\n",
]


NASTIEST = (NASTY[1], NASTY[5], NASTY[10], NASTY[13])
WAYS = {
    "print": "print(TEXT, end='')",
    "buffer": "import sys; sys.stdout.buffer.write(TEXT.encode())",
    "fd": "import os\ndata = TEXT.encode()\nwhile data:\n    data = data[os.write(1, data):]",
    "child": (
        "import subprocess, sys\ncopy = 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())'\n"
        "subprocess.run([sys.executable, '-c', copy], input=TEXT.encode(), check=True)"
    ),
}


@pytest.mark.parametrize(
    ("way", "text"),
    [
        pytest.param(way, text, marks=() if way == "print" or text in NASTIEST else pytest.mark.slow)
        for way in WAYS
        for text in NASTY
    ],
)
def test_every_byte_of_stdout_arrives_once_and_in_order(tmp_path: Path, way: str, text: str) -> None:
    state = run(tmp_path, f"TEXT = {text!r}\n{WAYS[way]}\n")
    assert (state.outcome, text_of(state)) == ("Succeeded", text)


def test_binary_rubbish_is_replaced_not_lost(tmp_path: Path) -> None:
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


def test_a_partial_line_is_seen_before_its_end(tmp_path: Path) -> None:
    guest = begin(tmp_path, "import time\nprint('thinking', end='')\ntime.sleep(1000)")
    seen = b""
    while b"thinking" not in seen:
        seen += os.read(guest.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
    guest.process.send_signal(signal.SIGTERM)
    assert b'"reason":"stopped"' in seen + guest.read().encode()


def test_a_million_lines_are_head_and_tail_and_a_file(tmp_path: Path) -> None:
    state = run(tmp_path, "for i in range(1_000_000): print('line', i)", log_budget=400_000)
    (skipped,) = [out for out in state.outputs if isinstance(out, ev.Skipped)]
    lines = text_of(state).splitlines()
    assert (lines[0], lines[-1]) == ("line 0", "line 999999")
    assert len(lines) + skipped.lines == 1_000_000
    whole = (tmp_path / "run" / "output.log").read_bytes()
    assert whole.count(b"\n") == 1_000_000
    assert skipped.path == str(tmp_path / "run" / "output.log")


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
def test_how_it_ends(tmp_path: Path, cell: str, expected: tuple[str, int]) -> None:
    state = run(tmp_path, "print('before')\n" + cell)
    assert (reason(state), text_of(state)) == (expected, "before\n")


def test_a_syntax_error_ends_it_before_anything_runs(tmp_path: Path) -> None:
    state = run(tmp_path, "print('before')\nthis is no Python")
    assert (reason(state), text_of(state), json.loads(state.error)["ename"]) == (("error", 1), "", "SyntaxError")


def test_output_before_a_crash_is_kept(tmp_path: Path) -> None:
    state = run(tmp_path, "import os, time\nprint('one')\nos.kill(os.getpid(), 9)")
    assert text_of(state) == "one\n"


def test_threads_and_exit_handlers_run_to_their_end(tmp_path: Path) -> None:
    cell = (
        "import atexit, threading, time\natexit.register(print, 'handler')\n"
        "threading.Thread(target=lambda: (time.sleep(.2), print('thread'))).start()\nprint('main')"
    )
    assert text_of(run(tmp_path, cell)) == "main\nthread\nhandler\n"


def test_processes_left_behind_end_with_the_cell(tmp_path: Path) -> None:
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


def test_the_surroundings_are_the_same_everywhere(tmp_path: Path) -> None:
    cell = "import os\n' '.join(sorted(os.environ))"
    state = run(tmp_path, cell, env={"SECRET_OF_THE_KERNEL": "x", "LC_ALL": "C.UTF-8"})
    seen = (result(state) or "").strip("'").split()
    assert "LC_ALL" in seen
    assert not [name for name in seen if name.startswith(("UV_", "SECRET", "PYTHON", "MPL"))]


def test_the_interpreters_own_packages_are_out_of_reach(tmp_path: Path) -> None:
    state = run(tmp_path, "import pip")
    assert json.loads(state.error)["ename"] == "ModuleNotFoundError"


def at_its_deadline(home: Path, cell: str) -> RunState:
    """The end of a cell that prints "begun"; on a slow machine, the deadline that lets it begin is a later one."""
    for seconds in (0.5, 5.0, 50.0):
        state = run(home / str(seconds), cell, run_timeout=seconds)
        if text_of(state).startswith("begun\n"):
            break
    return state


def test_a_deadline_ends_the_cell_politely(tmp_path: Path) -> None:
    cell = "import time\ntry:\n    print('begun')\n    time.sleep(1000)\nfinally:\n    print('cleaned')"
    state = at_its_deadline(tmp_path, cell)
    assert (reason(state), text_of(state)) == (("deadline", 143), "begun\ncleaned\n")
    assert state.exited is not None
    assert state.exited.detail == "run_timeout"


def test_a_cell_that_ignores_every_polite_signal_is_killed(tmp_path: Path) -> None:
    cell = (
        "import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('begun')\ntime.sleep(1000)"
    )
    state = at_its_deadline(tmp_path, cell)
    assert (reason(state), text_of(state)) == (("deadline", 143), "begun\n")


def test_the_end_of_the_lifeline_stops_the_run(tmp_path: Path) -> None:
    guest = begin(tmp_path, "import time\nprint('up', flush=True)\ntime.sleep(1000)")
    seen = b""
    while b"up\n" not in seen:
        seen += os.read(guest.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
    guest.let_go()
    assert reason(guest.state()) == ("stopped", 143)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_values_go_in_and_come_out(tmp_path: Path) -> None:
    state = run(tmp_path, "y = [x, x]", push=(Pushed(name="x", text="5"),), pull=("y", "nope"))
    values = {value.name: value for value in state.values}
    assert json.loads(values["y"].body) == [5, 5]
    assert values["nope"].problem == "the cell does not define nope"


def test_a_big_display_travels_in_parts_and_comes_out_whole(tmp_path: Path) -> None:
    state = run(tmp_path, "display({'text/plain': 'a', 'text/html': 'é\"\\\\' * 100_000}, raw=True)")
    (shown,) = [out for out in state.outputs if isinstance(out, ev.Display)]
    assert json.loads(dict(shown.data)["text/html"]) == 'é"\\' * 100_000


def test_no_line_of_the_log_is_long(tmp_path: Path) -> None:
    log = begin(tmp_path, "print('x' * 100_000)\ndisplay('y' * 100_000)\nraise ValueError('z' * 100_000)").read()
    assert max(map(len, log.split("\n"))) <= 8192


def test_what_cannot_be_resolved_here_is_resolved_there(tmp_path: Path) -> None:
    wanted = Unresolved(lines=("no-such-package-of-ours",), reason="the index did not respond")
    state = run(tmp_path, "print('never')", resolution=wanted, offline=True)
    assert (state.outcome, text_of(state)) == ("InstallFailed", "")
    assert "no-such-package-of-ours" in "".join(state.install_log)


def test_a_guest_that_breaks_says_so(tmp_path: Path) -> None:
    guest = begin(tmp_path, "print(1)", env={"UV_ARGO_RUN": str(tmp_path / "run" / "program.py")})
    state = guest.state()
    assert reason(state) == ("guest", 70)
    assert state.exited is not None
    assert "NotADirectoryError" in state.exited.detail


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_is_left_in_the_run_folder_but_the_log(tmp_path: Path) -> None:
    run(tmp_path, "open('file', 'w').write('x');")
    assert {entry.name for entry in (tmp_path / "run").iterdir()} <= {
        "program.py",
        "cell.py",
        "cell.json",
        "output.log",
    }


@pytest.mark.parametrize("leave", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_what_was_flushed_has_left(tmp_path: Path, leave: str) -> None:
    state = run(tmp_path, f"import os\nfor i in range(3):\n    print(i, flush=True)\n{leave}")
    assert text_of(state) == "0\n1\n2\n"


def test_a_forked_process_prints_and_leaves(tmp_path: Path) -> None:
    state = run(
        tmp_path, "import os\nif os.fork() == 0:\n    print('child')\n    os._exit(0)\nos.wait()\nprint('parent')"
    )
    assert text_of(state) == "child\nparent\n"


def test_the_streams_are_named_as_in_a_notebook(tmp_path: Path) -> None:
    state = run(tmp_path, "import sys\nsys.stdout.name, sys.stderr.name, sys.stdout.encoding")
    assert result(state) == "('stdout', 'stderr', 'UTF-8')"


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("input('name?')", "input()"),
        ("import getpass\ngetpass.getpass()", "getpass()"),
        ("x = 1\nbreakpoint()", "breakpoint()"),
    ],
)
def test_questions_have_nobody_to_answer_them(tmp_path: Path, cell: str, what: str) -> None:
    state = run(tmp_path, cell)
    error = json.loads(state.error)
    assert error["ename"] == "StdinNotImplementedError"
    assert error["evalue"].startswith(what + " is not available, because the cell runs without a terminal; ")
    assert text_of(state) == ""


def test_a_debugger_of_ones_own_choice_stays(tmp_path: Path) -> None:
    cell = "breakpoint('asked')"
    spec_env = (("PYTHONBREAKPOINT", "builtins.print"),)
    state = begin(tmp_path, cell, cell_env=spec_env).state()
    assert (state.outcome, text_of(state)) == ("Succeeded", "asked\n")


def test_a_value_that_cannot_be_shown_says_so_in_the_cells_own_frames(tmp_path: Path) -> None:
    cell = "class A:\n    def __repr__(self): raise ValueError('no') from KeyError('k')\n[A()]"
    state = run(tmp_path, cell)
    (shown,) = (output for output in state.outputs if isinstance(output, ev.Traceback))
    assert state.outcome == "Succeeded"
    assert shown.text.count("  File ") == 1
    assert "KeyError: 'k'" in shown.text
    assert shown.text.endswith("ValueError: no\n")
    assert shown.result
    error = remote_error.parse(shown.error)
    assert (error.evalue, error.cause.evalue, len(error.frames)) == ("no", "'k'", 1)


def test_a_text_for_sys_exit_is_told_once(tmp_path: Path) -> None:
    state = run(tmp_path, "import sys; sys.exit('words')")
    assert (text_of(state), text_of(state, "stderr")) == ("", "")
    assert json.loads(state.error)["evalue"] == "words"


def test_pandas_takes_the_place_for_a_notebook(tmp_path: Path) -> None:
    # A module of that name with what is asked of it: the real one is in tests/fidelity.
    (tmp_path / "pandas.py").write_text(
        "told = {'display.max_columns': 0}\nget_option = told.get\ndef set_option(name, value): told[name] = value\n"
    )
    state = run(tmp_path / "run", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport pandas\npandas.told")
    assert result(state) == "{'display.max_columns': 20}"


def test_displays_beyond_the_budget_are_counted_and_the_log_stays_short(tmp_path: Path) -> None:
    cell = "h = display('first', display_id=True)\nfor i in range(3000): display(i)\nfor i in range(3000): h.update(i)"
    log = begin(tmp_path, cell, log_budget=20_000).read()
    state = fold(log_reader.decode(log, NONCE))
    assert len(log) < 30_000
    shown = [out for out in state.outputs if isinstance(out, ev.Display)]
    assert "omitted: the log is full; raise its limit with --set log_budget=SIZE" in dict(shown[-1].data)["text/plain"]
    (note,) = state.notes
    assert note.startswith(f"{6001 - len(shown) + 1} displays omitted")


def test_a_display_that_fits_compressed_is_shown(tmp_path: Path) -> None:
    log = begin(tmp_path, "display({'text/html': '<p>word</p>' * 10_000}, raw=True)", log_budget=20_000).read()
    state = fold(log_reader.decode(log, NONCE))
    assert len(log) < 4_000
    assert [dict(out.data) for out in state.outputs] == [{"text/html": json.dumps("<p>word</p>" * 10_000)}]


def test_no_budget_is_no_limit(tmp_path: Path) -> None:
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


def test_a_spent_budget_that_lost_nothing_says_nothing(tmp_path: Path) -> None:
    state = run(tmp_path, "print('x' * 30_000)\nprint('last')", log_budget=20_000)
    assert text_of(state).endswith("last\n")
    assert not [out for out in state.outputs if isinstance(out, ev.Skipped)]


def test_clearing_what_is_clear_costs_no_log(tmp_path: Path) -> None:
    cell = "d = display.__self__\nfor i in range(5000): d.clear_output(wait=True); print('step', i)"
    log = begin(tmp_path, cell, log_budget=20_000).read()
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
def test_odd_ends_are_told_as_they_are(tmp_path: Path, cell: str, expected: tuple[str, int]) -> None:
    assert reason(run(tmp_path, cell)) == expected


def test_a_full_disk_costs_the_whole_output_and_not_the_run(tmp_path: Path) -> None:
    state = run(tmp_path, "for i in range(50_000): print(i)", env={"UV_ARGO_OUTPUT": "/dev/full"})
    assert (reason(state), text_of(state).count("\n")) == (("ok", 0), 50_000)
    (note,) = state.notes
    assert note.startswith("cannot write the full output to a file: ")


@pytest.mark.parametrize("name", ["plain", "a 'b\" $c", "long" + "x" * 150])
def test_a_command_runs_by_the_venvs_python_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    scripts = tmp_path / "site" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "tool").write_text("#!/elsewhere/python3\nimport sys\nprint(sys.prefix, sys.argv[1:])\n")
    home = tmp_path / name / "venv"
    environment.thin_venv(str(home))
    environment.add_folders(str(home), [str(tmp_path / "site")])
    done = subprocess.run([home / "bin" / "tool", "a b"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{home} ['a b']\n"


def test_uv_sees_neither_colours_nor_settings_of_the_surroundings(tmp_path: Path) -> None:
    wanted = Unresolved(lines=("no-such-package-of-ours",), reason="the index did not respond")
    state = run(tmp_path, "1", resolution=wanted, offline=True, env={"CLICOLOR_FORCE": "1", "FORCE_COLOR": "1"})
    assert "\x1b" not in "".join(state.install_log)


def test_a_syntax_error_shows_only_the_cell(tmp_path: Path) -> None:
    error = json.loads(run(tmp_path, "this is no Python").error)
    assert (error["frames"], error["syntax"]["lineno"]) == ([], 2)


def test_a_cell_sees_what_its_python_has_where_it_is_to_and_its_own_packages_first(tmp_path: Path) -> None:
    venv.create(tmp_path / "image", symlinks=True)
    python = tmp_path / "image" / "bin" / "python"
    (beneath,) = (tmp_path / "image").glob("lib/python*/site-packages")
    package = Package(name="both", version="2.0", sha256="0" * 64)
    lock = Lock(packages=(package,), target=Target(python=HERE), base_digest="x")
    above = tmp_path / "store" / "trees" / lock.key / "site"
    above.mkdir(parents=True)
    (above.parent / ".ok").write_text('{"packages": [["both", "2.0"]]}')
    for folder, modules in ((beneath, {"own": "1.0", "both": "1.0"}), (above, {"both": "2.0"})):
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
    listed = "[('both', '1.0'), ('both', '2.0'), ('own', '1.0')]"
    assert text_of(state) == f"2.0 1.0 True\n{listed}\n2.0 1.0\n", state
    # And by itself it does not, with nothing to install either.
    cell = "try: import own\nexcept ImportError: print('apart')"
    assert text_of(run(tmp_path / "apart", cell, python=str(python))) == "apart\n"
    assert (
        text_of(run(tmp_path / "over", "print(__import__('own').version)", python=str(python), base="own")) == "1.0\n"
    )


@pytest.mark.parametrize(
    ("asked", "settings", "installed"),
    [
        ("alpha", {}, {"alpha": "1.0", "beta": "2.0"}),
        ("alpha", {"constraints": ("beta<2",)}, {"alpha": "1.0", "beta": "1.0"}),
        ("alpha", {"overrides": ("beta==1.0",)}, {"alpha": "1.0", "beta": "1.0"}),
        ("complete", {}, {"alpha": "1.0"}),
        ("alpha --hash=sha256:" + "0" * 64, {}, None),
        ("right hash", {}, {"alpha": "1.0", "beta": "2.0"}),
    ],
)
def test_what_is_resolved_there_keeps_to_what_was_said_here(tmp_path: Path, asked, settings, installed) -> None:
    with IndexServer() as index:
        right = index.add("alpha", "1.0", requires=["beta"]).sha256
        index.add("beta", "1.0")
        index.add("beta", "2.0")
        text = {"complete": "alpha", "right hash": f"alpha --hash=sha256:{right}"}.get(asked, asked)
        wanted = replace(parse(text, file=True), complete=asked == "complete")
        state = run(
            tmp_path, "pass", requirements=wanted, resolution=Unresolved(lines=wanted.lines, reason="no index here"),
            env={"UV_CACHE_DIR": str(tmp_path / "cache")}, index_url=index.url, **settings,
        )  # fmt: skip
    if installed is None:
        assert reason(state)[0] == "install"
        assert "hash" in "".join(state.install_log).lower()
    else:
        assert (reason(state), dict(state.installed.packages)) == (("ok", 0), installed)


def test_processes_that_the_kernel_killed_for_memory_are_counted(tmp_path, monkeypatch):
    new, old = tmp_path / "memory.events", tmp_path / "memory.oom_control"
    monkeypatch.setattr(processes, "OOM_COUNTERS", (str(new), str(old)))
    assert processes.oom_kills() == 0
    new.write_text("low 7\noom 4\noom_kill 2\noom_group_kill 1\n")
    old.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert processes.oom_kills() == 5
    old.write_text("oom_kill many\n")
    assert processes.oom_kills() == 2


def test_files_that_a_cell_leaves_are_listed(tmp_path: Path) -> None:
    cell = (
        "import os\nos.makedirs('out')\nopen('out/a.csv', 'w').write('12')\nopen(b'\\xff', 'w').close()\nprint('x')\n"
    )
    files = run(tmp_path, cell).files
    assert files is not None
    assert files.files == (("\N{REPLACEMENT CHARACTER}", "0"), ("out/a.csv", "2"))
    assert (files.count, files.bytes) == (2, 2)
    assert run(tmp_path / "other", "print('x')").files is None
