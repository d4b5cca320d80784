"""The `run` command: run a file from a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic import cell_syntax
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.engine.front_end import SourceFrontEnd
from uv_argo_magic.errors import SpecError
from uv_argo_magic.renderers.streamer import Streamer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine import run as engine
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.history.store import History


def run(request: Request) -> Iterator[str]:
    """Run a file, or the code in a JSON request.

    Raises:
        ArgoMagicError: the run was not accepted, or failed.
        OSError: stdout or stderr could not be written.
    """
    line = request.line
    code, name, requirements = _read_code(line)
    # Locks and history are stored by file, as they are by notebook.
    path = "" if line.argument in {"", "-"} else str(Path(line.argument).absolute())
    front_end = TerminalFrontEnd(line, name, path, request.get_history)
    options = run_options(line)
    if options.detach:
        _refuse_detach(request)
    execute(code, options, request.context, front_end, requirements)
    yield from ()


def _refuse_detach(request: Request) -> None:
    """Refuse --detach if runs end with this process.

    Raises:
        SpecError: the backend runs processes on this machine.
    """
    name = request.configuration().backend
    if base.Capability.LOCAL in lookup.load(name).capabilities:
        raise SpecError(
            f"runs on the {name} backend end with this process",
            hint="Leave out --detach, or use a cluster: -b argo.",
        )


def _read_code(line: Line) -> tuple[str, str, Requirements | None]:
    """(code, its name in tracebacks, the requirements of a request)."""
    if not line.has("request"):
        # With the name of a file, tracebacks show its lines.
        is_stdin = line.argument == "-"
        code = cell_syntax.read_script(_read(line.argument), "stdin" if is_stdin else line.argument)
        return code, "<stdin>" if is_stdin else line.argument, None
    source = line.text("request")
    for dest in ("deps", "requirements"):
        if line.has(dest):
            raise SpecError(f"--{dest} cannot be used with --request", hint="Write the requirements into the request.")
    from uv_argo_magic.core.spec import json_request  # noqa: PLC0415 - 18 ms, and few runs use JSON

    name = "stdin" if source == "-" else source
    try:
        text = _read(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 text", hint="Save the file as UTF-8.") from error
    request = json_request.read(text, source=name)
    return request.code, "<pythonCode>", request.requirements


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise SpecError(
            f"cannot read {name}: {error.strerror}", hint="Name a readable file, or use - for stdin."
        ) from error


class TerminalFrontEnd(SourceFrontEnd):
    """The engine's front end for `uv-argo run`."""

    def __init__(self, line: Line, name: str, path: str, get_history: Callable[[], History]) -> None:
        super().__init__(name, path)
        self._line = line
        self._get_history = get_history

    def notify(self, note: str) -> None:
        """Print a note to stderr."""
        print(note, file=sys.stderr)

    def show_plan(self, prepared: Prepared) -> None:
        """Print what would run, or write it to the file given by `--to`."""
        from uv_argo_magic.commands import export  # noqa: PLC0415 - 21 ms, and only `--dry-run` needs it

        to = self._line.text("to")
        print(export.export_prepared(prepared, to) if to else prepared.describe())

    def history(self, settings: Settings) -> History:
        """The history of this machine."""
        return self._get_history().limited(settings.history)

    def follow(self, run: engine.Run, prepared: Prepared) -> bool:  # noqa: ARG002 - the protocol's signature
        """Print the output of the run as it arrives; with `--detach`, only its id and how to see it.

        Raises:
            OSError: stdout or stderr could not be written; the run was stopped.
        """
        if self._line.has("detach"):
            print(run.id, flush=True)
            self.notify(
                f"uv-argo: {run.name} continues. To see it: uv-argo attach {run.id}. To stop it: uv-argo stop {run.id}"
            )
            return False
        streamer = Streamer(sys.stdout, sys.stderr, on_broken=lambda: run.ask_to_stop("the end of its output"))
        run.follow(streamer)
        if streamer.broken:
            raise streamer.broken
        return True
