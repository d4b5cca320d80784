"""cli.py, commands/terminal.py, commands/runs.py: commands in a terminal, with their output and exit status."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from support import fake_engine

from uv_argo_magic import cli
from uv_argo_magic.commands import registry, runs, terminal
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.core.view import tables
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.history import store
from uv_argo_magic.history.store import History
from uv_argo_magic.renderers.streamer import Streamer

LOCK = Lock(packages=(Package(name="numpy", version="2.0"),), target=Target(python="3.12.1"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("print(1)\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def engine(monkeypatch):
    return fake_engine.install(monkeypatch)


@pytest.fixture
def history(home):
    return History(home / "home" / "data" / "runs")


def store_run(history, run_id="r1", *lines, reason="ok", code=0, live=False, cell="\nprint(1)\n"):
    files = history.begin(run_id, spec=RunSpec(cell=cell), resolution=LOCK, nonce="n")
    log = "".join(f"@uv-argo:n {json.dumps(line)}\n" if isinstance(line, dict) else line for line in lines)
    files.append(log)
    if not live:
        started_at = history.get(run_id).begun
        state = fold(
            [ev.Submitted(name="x", location="", t=started_at), *log_reader.decode(log, "n")], RunState(run=run_id)
        )
        files.finish(fold([ev.Exited(boot="b", n=99, t=started_at + 1.5, reason=reason, code=code)], state))
    return files


def run_command(line, history, front_end, notebook=""):
    context = CellContext.current(names={}, traits={}, line_offset=0, notebook=notebook)
    request = registry.Request(line=line, front_end=front_end, get_context=lambda: context, get_history=lambda: history)
    return "".join(map(terminal._text, registry.dispatch(request, registry.COMMANDS)))


def test_run_writes_output_to_its_stream(engine, capsys):
    engine.events = fake_engine.ended(
        "ok",
        ev.InstallLog(boot="b", n=1, t=1.0, text="Resolved"),
        ev.Text(boot="b", n=2, t=1.0, stream="stderr", text="warn\n"),
        ev.Text(boot="b", n=3, t=1.0, stream="stdout", text="par"),
        ev.Lines(text="tial\n"),
        ev.Display(boot="b", n=5, t=1.0, data=(("text/plain", '"<figure>"'),)),
        ev.Display(boot="b", n=6, t=1.0, data=(("image/png", '"abc"'),)),
        ev.Result(boot="b", n=7, t=1.0, data=(("text/plain", '"silent"'),)),
        ev.Traceback(boot="b", n=8, t=1.0, text="ValueError: no html\n"),
        ev.Skipped(boot="b", n=9, t=1.0, lines=3, bytes=30, path="over/there"),
    )
    assert cli.main(["run", "script.py", "--deps", "numpy", "pandas>=2", "-p", "3.12"]) == 0
    out, err = capsys.readouterr()
    assert out == "partial\n<figure>\n[image/png]\n"
    assert err == "Resolved\nwarn\nValueError: no html\n[3 lines omitted; full output: over/there]\n"
    assert engine.spec.cell == "print(1)\n"
    assert engine.spec.line_offset == 0
    assert engine.spec.requirements.lines == ("numpy", "pandas>=2")


def test_streamer_prints_each_output_once():
    out, err = io.StringIO(), io.StringIO()
    streamer = Streamer(out, err)
    state = fold([ev.Lines(text="a\n")])
    streamer.update(state)
    streamer.update(state)
    note = ev.Note(boot="b", n=4, t=1.0, text="the environment\nstays")
    state = fold([ev.Lines(text="b\n"), ev.ClearOutput(boot="b", n=3, t=1.0), note], state)
    streamer.update(state)
    streamer.update(state)
    assert out.getvalue() == "a\nb\n"
    assert err.getvalue() == "uv-argo: the environment stays\n"


def test_run_reads_code_from_stdin(engine, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffx = 'é'\r\n".encode()), "ascii"))
    assert cli.main(["run", "-"]) == 0
    assert engine.spec.cell == "x = 'é'\r\n"


def test_run_reports_syntax_errors_before_the_run(engine, home, capsys):
    (home / "script.py").write_text("x = 1\ndef (:\n")
    assert cli.main(["run", "script.py"]) == 1
    assert "script.py" in (stderr := capsys.readouterr().err)
    assert re.search(r"line 2|script\.py:2", stderr)  # the first without colours, the second with colours
    assert engine.started == []


def test_run_reads_a_json_request(engine, home, monkeypatch):
    (home / "uv-argo.toml").write_text('deps = "polars"')
    (home / "r.json").write_text('{"pythonCode": "print(1)", "dependencies": "numpy", "requirementsFile": "scipy\\n"}')
    assert cli.main(["run", "--request", "r.json"]) == 0
    assert (engine.spec.cell, engine.spec.requirements.lines) == ("print(1)", ("numpy", "scipy"))
    code = '# /// script\\n# dependencies = [\\"six\\"]\\n# ///\\n'
    for text, requirements in [("print(2)", ()), (code, ("six",))]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f'{{"pythonCode": "{text}"}}'.encode())))
        assert cli.main(["run", "--request", "-", "-p", "3.12"]) == 0
        assert (engine.spec.python, engine.spec.requirements.lines) == ("3.12", requirements)


class FullDisk(io.StringIO):
    def write(self, _text):
        raise OSError(28, "No space left on device")


def test_run_stops_if_its_output_cannot_be_written(engine, monkeypatch, capsys):
    engine.events = fake_engine.ended("ok", ev.Lines(text="one\n"))
    monkeypatch.setattr(sys, "stdout", FullDisk())
    assert cli.main(["run", "script.py"]) == 1
    assert "No space left" in capsys.readouterr().err
    assert engine.stopped == ["the end of its output"]


def test_characters_missing_in_the_encoding_are_escaped(history, monkeypatch):
    store_run(history, "r1", "hé\n")
    monkeypatch.setattr(sys, "stdout", ascii_stdout := io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert cli.main(["logs"]) == 0
    assert ascii_stdout.buffer.getvalue() == b"h\\xe9\n"


def test_dry_run_starts_no_run(engine, capsys):
    assert cli.main(["run", "script.py", "--dry-run"]) == 0
    assert "would run" in capsys.readouterr().out
    assert engine.started == []


def test_exit_status_of_failures_and_interrupts(engine, capsys):
    engine.events = fake_engine.ended("error", code=1)
    assert cli.main(["run", "script.py"]) == 1
    assert "CellFailed: ValueError: no" in capsys.readouterr().err
    engine.interrupt = True
    assert cli.main(["run", "script.py"]) == 130


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu"], "unknown command rnu; did you mean run?"),
        (["run"], "run needs FILE"),
        (["run", "--deps", "numpy", "script.py"], "run needs FILE"),
        (["run", "script.py", "--dpes", "x"], "unknown option --dpes; did you mean --deps?"),
        (["run", "nope.py"], "cannot read nope.py: No such file or directory"),
        (["run", "script.py", "--deps", "num/py"], ""),
        (["run", "script.py", "--request", "r.json"], "run takes FILE or --request, not both"),
        (["run", "--request", "nope.json"], "cannot read nope.json: No such file or directory"),
        (["run", "--request", "script.py"], "script.py is not JSON"),
        (["run", "--request", "r.json", "--deps", "x"], "--deps cannot be used with --request"),
        (["run", "script.py", "--to", "x.py"], "--to needs --dry-run"),
        (["export"], "the history has no runs"),
        (["logs"], "the history has no runs"),
        (["stop"], "no run is in progress"),
        (["runs", "-n", "x"], "-n needs an integer"),
    ],
)
def test_exit_status_of_wrong_usage(engine, argv, message, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"SpecError: {message}")
    assert len(err.splitlines()) >= 2
    assert engine.started == []


def test_run_rejects_a_file_that_is_not_utf_8(engine, home, capsys):
    (home / "script.py").write_bytes(b"\xff\xfe")
    assert cli.main(["run", "script.py"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_broken_pipe_shows_no_traceback(monkeypatch):
    def leave(*_):
        raise BrokenPipeError

    monkeypatch.setattr(terminal, "_main", leave)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert cli.main([]) == 1


def test_without_arguments_the_overview_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["uv-argo"])
    assert cli.main() == 0
    assert "Usage: uv-argo COMMAND [OPTIONS]" in capsys.readouterr().out
    assert cli.main(["help", "logs"]) == cli.main(["logs", "--help"]) == 0
    first, second = capsys.readouterr().out.split("logs: ")[1:]
    assert first == second


def test_runs_last_and_packages(history, capsys):
    store_run(history, "r1")
    store_run(history, "r2", reason="exit", code=3, cell="x" * 90)
    store_run(history, "r3", live=True)
    assert cli.main(["runs", "-n", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["RUN", "STATUS", "STARTED", "DURATION", "BACKEND", "REQUIREMENTS", "CELL"]
    assert [line.split()[:2] for line in lines[1:]] == [["r3", "Running"], ["r2", "Failed"]]
    assert lines[2].endswith("x…")
    assert re.search(r"1\.5 s +local +- ", lines[2])
    assert cli.main(["last"]) == 0
    assert capsys.readouterr().out.startswith("r3: Running after ")
    assert cli.main(["packages", "r1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split() for line in out[:3]] == [["r1"], ["PACKAGE", "VERSION", "SIZE", "SHA-256"], ["numpy", "2.0"]]
    assert out[3] == "1 package"
    assert cli.main(["packages", "r1", "r2"]) == 0
    assert capsys.readouterr().out == "From r1 to r2: no changes\n"
    assert cli.main(["packages", "r1", "r2", "r3"]) == 2


def test_last_shows_the_outcome(history):
    store_run(
        history,
        "r1",
        {"k": "phase", "b": "b", "n": 1, "t": 5.0, "phase": "running"},
        {"k": "error", "b": "b", "n": 2, "t": 6.0, "error": {"ename": "ValueError", "evalue": "a\nb"}},
        reason="error",
        code=1,
    )
    text = tables.text(runs.last(history.last()))
    assert "r1: Failed after 1.5 s" in text
    assert "  backend  local\n" in text
    assert "  error    ValueError: a" in text
    assert "  cell     print(1)" in text
    assert "  phases   queued" in text
    store_run(history, "r2", reason="exit", code=3)
    assert ("  exit", "3") in runs.last(history.last()).rows


def test_logs_are_readable_or_raw(history, capsys):
    store_run(
        history,
        "r1",
        {"k": "uv", "b": "b", "n": 1, "t": 5.0, "text": "Resolved"},
        "plain\n",
        {"k": "text", "b": "b", "n": 3, "t": 5.0, "stream": "stderr", "text": "odd"},
        {"k": "result", "b": "b", "n": 4, "t": 5.0, "data": {"text/plain": "42"}},
        {"k": "clear", "b": "b", "n": 5, "t": 5.0},
        {"k": "text", "b": "b", "n": 9, "t": 5.0, "stream": "stdout", "text": "end"},
        {"k": "error", "b": "b", "n": 10, "t": 6.0, "error": {"ename": "ValueError", "evalue": "no"}},
        reason="error",
        code=1,
    )
    assert cli.main(["logs", "r1"]) == 0
    gap = "[3 lines of the log missing: not received]\n"
    assert capsys.readouterr().out == f"Resolved\nplain\nodd42\n{gap}end\nValueError: no\n"
    assert cli.main(["logs", "r1", "--raw"]) == 0
    assert "@uv-argo:n {" in capsys.readouterr().out


def test_stop_requests_the_end_of_a_run(history, capsys, monkeypatch):
    monkeypatch.setattr(store, "STOP_SECONDS", 0.0)
    files = store_run(history, "r1", live=True)
    data = json.loads((files.folder / "spec.json").read_text(encoding="utf-8"))
    # No process responds to the request, as if the process that follows the run were busy.
    assert data["pid"]
    assert run_command(terminal.read_argv(["stop"]), history, "terminal") == "Stop requested for r1"
    assert "terminal" in files.stop_asked()
    files.finish(RunState(outcome="Stopped", ended_at=1.0))
    assert cli.main(["stop", "r1"]) == 0
    assert "is not running: Stopped" in capsys.readouterr().out


def test_runs_are_listed_per_notebook(history):
    for run_id, notebook in (("r1", "a.ipynb"), ("r2", "b.ipynb")):
        history.begin(run_id, spec=RunSpec(cell="1"), resolution=LOCK, notebook=notebook)
    from uv_argo_magic.core.commands.table import read_line

    output = run_command(read_line("runs", {}), history, "notebook", "a.ipynb")
    assert "r1" in output
    assert "r2" not in output
    assert "r2" in run_command(read_line("runs --all", {}), history, "notebook", "a.ipynb")
    assert "a.ipynb" in run_command(read_line("last", {}), history, "notebook", "a.ipynb")


def test_texts_without_runs_and_code():
    assert runs.runs(()) == "No runs in the history."
    assert runs.first_line(" \n\n a\nb") == "a"
    assert runs.first_line("") == ""
