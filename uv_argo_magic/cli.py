"""`uv-argo VERB`: the same table in a terminal. Exit status: 0 ok, 1 the run failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from uv_argo_magic import config
from uv_argo_magic._os import paths
from uv_argo_magic.commands import runs
from uv_argo_magic.core.commands.table import read_argv, run_options
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.spec import json_request
from uv_argo_magic.core.view import messages, tables
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.engine.find_run import locate
from uv_argo_magic.errors import ArgoMagicError, PolicyError, ResolutionError, SpecError
from uv_argo_magic.history.store import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.protocol.state import Output, RunState
    from uv_argo_magic.core.requirements.model import Requirements


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the words ask; the exit status."""
    _open_streams()
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as interrupt:
        print("interrupted", file=sys.stderr)
        return 128 + (interrupt.number if isinstance(interrupt, _Terminated) else signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again when it flushes at exit.
        sys.stdout = None
        return 1
    except ArgoMagicError as error:
        print("\n".join(error._render_traceback_()), file=sys.stderr)
        return 2 if isinstance(error, SpecError | ResolutionError | PolicyError) else 1
    except OSError as error:
        print(f"uv-argo: {error}", file=sys.stderr)
        return 1


def _open_streams() -> None:
    """Have all three streams, as after `>&-` and in a daemon they are not there; what they cannot encode is escaped."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - lives as long as we do
        elif mode == "w" and isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _main(argv: Sequence[str]) -> int:
    line = read_argv(argv)
    if line.command == "run":
        return _run(line)
    if line.command == "edit":
        return _edit(line)
    if line.command == "doctor":
        return _doctor(line)
    history = History(paths.data_dir() / "runs", keep=0)
    answer: str | Table
    if line.command == "export":
        from uv_argo_magic.commands import export  # noqa: PLC0415 - the other verbs answer without it

        answer = export.export_run(line, history)
    elif line.command == "lock":
        from uv_argo_magic.commands import lock  # noqa: PLC0415
        from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415

        answer = lock.answer(line, history, CellContext.current(names={}, traits={}, line_offset=0))
    elif line.command == "verify":
        return _verify(line)
    else:
        configuration = config.configure(config.layers(config.line_values(run_options(line)), {}, {}))
        if line.command == "attach":
            return _attach(line.argument, history, configuration)
        answer = runs.answer(line, history, "terminal", configuration=configuration)
    text = tables.text(answer) if isinstance(answer, Table) else answer
    print(text, end="" if text.endswith("\n") else "\n", flush=True)
    return 0


def _verify(line: Line) -> int:
    from uv_argo_magic.commands import verify  # noqa: PLC0415 - the other verbs answer without it
    from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415

    table, same = verify.answer(line, CellContext.current(names={}, traits={}, line_offset=1))
    print(tables.text(table), flush=True)
    return 0 if same else 1


def _doctor(line: Line) -> int:
    from uv_argo_magic.commands import doctor  # noqa: PLC0415 - the other verbs answer without it
    from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415

    failed = False
    with _stop_on_signal():
        for check in doctor.examine(line, CellContext.current(names={}, traits={}, line_offset=0)):
            print(doctor.text(check), flush=True)
            failed = failed or check.outcome == "failed"
    return 1 if failed else 0


def _run(line: Line) -> int:
    from uv_argo_magic import cell_syntax  # noqa: PLC0415
    from uv_argo_magic.commands import export  # noqa: PLC0415 - the other verbs answer without it
    from uv_argo_magic.engine import run as engine  # noqa: PLC0415
    from uv_argo_magic.engine.spec_builder import CellContext, specify  # noqa: PLC0415
    from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415

    context = CellContext.current(names={}, traits={}, line_offset=0)
    code, name, requirements = _read_code(line)
    spec, configuration = specify(code, run_options(line), context, requirements)
    for note in (*configuration.notes, *spec.requirements.warnings):
        print(note, file=sys.stderr)
    for_file = "" if line.argument in {"", "-"} else str(Path(line.argument).absolute())
    prepared = engine.prepare(
        spec,
        notebook=for_file,
        upgrade=line.has("upgrade"),
        say=None if line.has("dry_run") else functools.partial(print, file=sys.stderr),
    )
    for note in messages.warnings(prepared.resolution):
        print(note, file=sys.stderr)
    if prepared.interpreter.target.minor == ".".join(map(str, sys.version_info[:2])) and (
        problem := cell_syntax.syntax_error(spec.cell, name, 0)
    ):
        raise rebuild.syntax_error(problem, cell_name=name)
    if line.has("dry_run"):
        print(export.export_prepared(prepared, line.text("to")) if line.has("to") else prepared.describe())
        return 0
    history = History(paths.data_dir() / "runs", keep=spec.settings.history)
    run = engine.start(prepared, history=history, notebook=for_file)
    # The file's own name: a traceback shows its lines as they are here.
    run.rebuild = lambda remote, state: rebuild.rebuild(remote, state=state, cell_name=name)
    streamer = Streamer(sys.stdout, sys.stderr, on_broken=lambda: run.ask_to_stop("the end of its output"))
    with _stop_on_signal():
        run.follow(streamer)
    if streamer.broken:
        raise streamer.broken
    run.raise_for_state()
    return 0


def _attach(name: str, history: History, configuration: config.Config) -> int:
    """Print a run from its beginning, and go on while it runs; an interrupt leaves it, and does not stop it."""
    from uv_argo_magic.engine import run as engine  # noqa: PLC0415 - the other verbs answer without it
    from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415

    ref = locate(name, history, configuration)
    if ref.remote is None or (ref.entry is not None and ref.entry.summary is not None):
        print(runs.log(ref.entry.state()) if ref.entry else "", end="")
        return 0
    run = engine.join(ref, history=history, settings=configuration.settings)
    run.rebuild = lambda remote, state: rebuild.rebuild(remote, state=state)
    streamer = Streamer(sys.stdout, sys.stderr)
    try:
        run.follow(streamer, stops=False)
    except KeyboardInterrupt:
        print(f"uv-argo: {run.id} goes on; uv-argo stop {run.id} stops it", file=sys.stderr)
        raise
    if streamer.broken:
        raise streamer.broken
    run.raise_for_state()
    return 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: the run is stopped as by an interrupt, so that it is not lost."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[None]:
    def end(number: int, _frame: object) -> None:
        raise _Terminated(number)

    # What somebody ignores (nohup) stays ignored; another thread than the main one may set nothing.
    main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if main and hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def _read_code(line: Line) -> tuple[str, str, Requirements | None]:
    """(code, its name in a traceback, what it needs where that does not stand on the line)."""
    if not line.has("request"):
        # The file's own name: a traceback shows its lines as they are here.
        return _source(line.argument), "<stdin>" if line.argument == "-" else line.argument, None
    source = line.text("request")
    for dest in ("deps", "requirements"):
        if line.has(dest):
            raise SpecError(f"--request says what its code needs; --{dest} cannot", hint="Write it into the request.")
    request = json_request.read(_source(source), source="stdin" if source == "-" else source)
    return request.code, "<pythonCode>", request.requirements


def _edit(line: Line) -> int:
    from uv_argo_magic.commands import edit, edit_terminal  # noqa: PLC0415 - the other verbs answer without it
    from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415

    context = CellContext.current(names={}, traits={}, line_offset=0)
    print(edit_terminal.edit_file(edit.find(line.argument, context), context))
    return 0


def _source(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        subject = "what came in" if name == "-" else name
        raise SpecError(f"{subject} is not UTF-8 text", hint="Save the file as UTF-8.") from error
    except OSError as error:
        raise SpecError(
            f"{name} cannot be read: {error.strerror}", hint="Name a file that can be read, or - for stdin."
        ) from error


class Streamer:
    """A renderer that passes on what is new: the cell's output to one stream, all about it to the other.

    Where a stream takes no more (its reader left, its disk is full), `broken` says why, and `on_broken` is called.
    """

    def __init__(self, out: TextIO, err: TextIO, on_broken: Callable[[], object] = bool) -> None:
        self._out, self._err = out, err
        self._on_broken = on_broken
        self._outputs = 0
        self._installed = 0
        self.broken: OSError | None = None

    def update(self, state: RunState) -> None:
        """Print what came since the last time."""
        if self.broken is None:
            try:
                self._update(state)
            except OSError as problem:
                self.broken = problem
                self._on_broken()

    def _update(self, state: RunState) -> None:
        for text in state.install_log[self._installed :]:
            self._err.write(text if text.endswith("\n") else text + "\n")
        for output in state.outputs[self._outputs :]:
            self._print(output)
        self._installed, self._outputs = len(state.install_log), len(state.outputs)
        self._out.flush()
        self._err.flush()

    def _print(self, output: Output) -> None:
        match output:
            case ev.Lines():
                self._out.write(output.text)
            case ev.Text():
                (self._out if output.stream == "stdout" else self._err).write(output.text)
            case ev.Display():
                self._out.write(runs.plain(output.data) + "\n")
            case Gap() | Restarted() | ev.Skipped():
                self._err.write(runs.remark(output))
            case ev.Result() | ev.ClearOutput():
                pass  # a script's last expression prints nothing, and a terminal keeps what it showed
            case _:  # pragma: no cover
                assert_never(output)
