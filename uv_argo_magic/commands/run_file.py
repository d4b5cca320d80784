"""`uv-argo run` and `uv-argo attach`: a run in a terminal, its output on stdout and everything about it on stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from uv_argo_magic import cell_syntax
from uv_argo_magic.core.commands.table import run_options
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.view import messages, run_text
from uv_argo_magic.engine import run as engine
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.engine.find_run import locate
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.store import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import Output, RunState
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.prepare import Prepared


def run(request: Request) -> Iterator[str]:
    """Run a file, or the code of a request in JSON.

    Raises:
        ArgoMagicError: the run was not accepted, or ended badly.
        OSError: stdout or stderr could not be written.
    """
    line = request.line
    code, name, requirements = _read_code(line)
    # Locks and history belong to the file, as they belong to a notebook.
    path = "" if line.argument in {"", "-"} else str(Path(line.argument).absolute())
    front_end = TerminalFrontEnd(line, name, path, request.history)
    execute(code, run_options(line), request.context, front_end, requirements)
    yield from ()


def attach(request: Request) -> Iterator[str]:
    """Print a run from its beginning, and follow it while it is live; an interrupt does not stop the run."""
    configuration, history = request.configuration(), request.history
    ref = locate(request.line.argument, history, configuration)
    if ref.remote is None or (ref.entry is not None and ref.entry.summary is not None):
        yield run_text.log(ref.entry.state()) if ref.entry else ""
        return
    joined = engine.join(
        ref,
        history=history,
        settings=configuration.settings,
        hooks=engine.Hooks(rebuild=_rebuild),
    )
    streamer = Streamer(sys.stdout, sys.stderr)
    try:
        joined.follow(streamer, stops=False)
    except KeyboardInterrupt:
        print(f"uv-argo: {joined.id} is still running. To stop it: uv-argo stop {joined.id}", file=sys.stderr)
        raise
    if streamer.broken:
        raise streamer.broken
    joined.raise_for_state()


def _rebuild(remote: RemoteError, state: RunState, name: str = "") -> BaseException:
    from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415 - 20 ms, and most runs succeed

    return rebuild.rebuild(remote, state=state, cell_name=name)


def _read_code(line: Line) -> tuple[str, str, Requirements | None]:
    """(code, its name in a traceback, its requirements if they are not those of the line)."""
    if not line.has("request"):
        # The file's own name: a traceback shows its lines as they are here.
        return _source(line.argument), "<stdin>" if line.argument == "-" else line.argument, None
    source = line.text("request")
    for dest in ("deps", "requirements"):
        if line.has(dest):
            raise SpecError(f"--{dest} cannot be used with --request", hint="Write the requirements into the request.")
    from uv_argo_magic.core.spec import json_request  # noqa: PLC0415 - 30 ms, and few runs come as JSON

    request = json_request.read(_source(source), source="stdin" if source == "-" else source)
    return request.code, "<pythonCode>", request.requirements


def _source(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        subject = "stdin" if name == "-" else name
        raise SpecError(f"{subject} is not UTF-8 text", hint="Save the file as UTF-8.") from error
    except OSError as error:
        raise SpecError(
            f"cannot read {name}: {error.strerror}", hint="Name a readable file, or - for stdin."
        ) from error


class TerminalFrontEnd:
    """The engine's front end for `uv-argo run`; `name` is that of the file in tracebacks."""

    command = "uv-argo"
    keeps_warm = False

    def __init__(self, line: Line, name: str, path: str, history: History) -> None:
        self.document = path
        self._line = line
        self._name = name
        self._history = history

    def check_syntax(self, cell: str, code: str, python: str) -> None:  # noqa: ARG002 - the protocol's signature
        """Refuse a file that is not Python, if the run's Python has the version of this one.

        Raises:
            CellFailed: the file has a syntax error.
        """
        if cell_syntax.is_this_version(python):
            cell_syntax.refuse_invalid_python(self._name, cell, offset=0)

    def notify(self, note: str) -> None:
        """Print a note to stderr."""
        print(note, file=sys.stderr)

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:  # noqa: ARG002 - the protocol's signature
        """Print the notes to stderr."""
        for note in notes:
            self.notify(note)

    def show_plan(self, prepared: Prepared) -> None:
        """Print what would run, or write it to the file of `--to`."""
        from uv_argo_magic.commands import export  # noqa: PLC0415 - 20 ms of every run, and only `--dry-run` needs it

        to = self._line.text("to")
        print(export.export_prepared(prepared, to) if to else prepared.describe())

    def history(self, settings: Settings) -> History:
        """The history of this machine."""
        return History(self._history.root, keep=settings.history)

    def rebuild(self, remote: RemoteError, state: RunState) -> BaseException:
        """The exception, with the lines of the file as they are here."""
        return _rebuild(remote, state, self._name)

    def bind(self, values: dict[str, object]) -> None:
        """Nothing: a terminal has no variables."""

    def follow(self, run: engine.Run, prepared: Prepared) -> bool:  # noqa: ARG002 - the protocol's signature
        """Print the run's output as it comes.

        Raises:
            OSError: stdout or stderr could not be written; the run was stopped.
        """
        streamer = Streamer(sys.stdout, sys.stderr, on_broken=lambda: run.ask_to_stop("the end of its output"))
        run.follow(streamer)
        if streamer.broken:
            raise streamer.broken
        return True


class Streamer:
    """A renderer that prints new output: the cell's to one stream, everything about the run to the other.

    If a stream cannot be written (its reader exited, its disk is full), `broken` is the error and `on_broken` is
    called.
    """

    def __init__(self, out: TextIO, err: TextIO, on_broken: Callable[[], object] = bool) -> None:
        self._out, self._err = out, err
        self._on_broken = on_broken
        self._outputs = 0
        self._installed = 0
        self._note = ""
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
        if (note := messages.status_note(state)) != self._note:
            self._note = note
            if note:
                self._err.write(f"uv-argo: {note}\n")
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
                self._out.write(run_text.bundle(output.data) + "\n")
            case Gap() | Restarted() | ev.Skipped():
                self._err.write(run_text.remark(output) + "\n")
            case ev.Result() | ev.ClearOutput():
                pass  # a script's last expression prints nothing, and a terminal keeps what it showed
            case _:  # pragma: no cover
                assert_never(output)
