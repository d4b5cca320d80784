"""Run a command line of `uv-argo`.

Exit status: 0 for success, 1 if the run or command failed, 2 for invalid usage or requirements, 130 for an interrupt.
`run` and `attach` return that of the script, or 128 plus the number of the signal that ended it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import threading
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.commands import registry
from uv_argo_magic.core.commands.table import read_argv
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.errors import ArgoMagicError, PolicyError, ResolutionError, RunError, SpecError
from uv_argo_magic.history.store import History

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from uv_argo_magic.core.view.tables import Table

HANDLERS = {
    **registry.COMMANDS,
    "run": "uv_argo_magic.commands.run_file:run",
    "attach": "uv_argo_magic.commands.attach:handle",
    "edit": "uv_argo_magic.commands.edit_terminal:handle",
}
"""Command -> its handler in a terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit status."""
    _open_streams()
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as interrupt:
        print("interrupted", file=sys.stderr)
        return 128 + (interrupt.number if isinstance(interrupt, _Terminated) else signal.SIGINT)
    except BrokenPipeError:
        # The reader of our output has exited. Python would print another error when it flushes stdout at exit.
        sys.stdout = None
        return 1
    except RunError as error:
        if not _is_exit(error):
            _print_error(error)
        return _status(error)
    except ArgoMagicError as error:
        _print_error(error)
        return 2 if isinstance(error, SpecError | ResolutionError | PolicyError) else 1
    except OSError as error:
        print(f"uv-argo: {error}", file=sys.stderr)
        return 1


def _is_exit(error: RunError) -> bool:
    """Whether the script called `sys.exit`; if its argument was a text, print it, as Python does."""
    if type(error).__name__ != "SystemExit":
        return False
    if not str(error).lstrip("-").isdecimal():
        print(error, file=sys.stderr)
    return True


def _status(error: RunError) -> int:
    """The exit status for a failed run."""
    exited = error.state.exited if error.state else None
    if exited is None:
        return 1
    if exited.reason == "signal":
        return 128 + abs(exited.code)
    return exited.code if exited.reason in ("error", "exit") and 0 < exited.code < 256 else 1


def _print_error(error: ArgoMagicError) -> None:
    lines = error._render_traceback_()
    name = type(error).__name__
    if _has_colour(sys.stderr):
        lines = [
            f"\x1b[1;31m{name}\x1b[0m{line.removeprefix(name)}" if line.startswith(name) else line for line in lines
        ]
    print("\n".join(lines), file=sys.stderr)


def _has_colour(stream: TextIO) -> bool:
    """Whether the stream is a terminal with colours, which the user has not turned off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _open_streams() -> None:
    """Open closed standard streams (`>&-`, a daemon), and make the others escape characters that they cannot encode."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # uses the lowest free number, which is `fd`
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open until exit
        elif mode == "w" and isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _main(argv: Sequence[str]) -> int:
    if list(argv) in (["--version"], ["-V"]):
        from importlib.metadata import version  # noqa: PLC0415 - 12 ms, and only --version needs it

        print(f"uv-argo {version('uv-argo-magic')}")
        return 0
    request = registry.Request(
        line=read_argv(argv),
        front_end="terminal",
        get_context=lambda: CellContext.current(names={}, traits={}, line_offset=0),
        get_history=_history,
    )
    status = 0
    with _stop_on_signal():
        for result in registry.dispatch(request, HANDLERS):
            match result:
                case registry.Failure():
                    status = 1
                case registry.Value():
                    pass  # for notebooks
                case _:
                    text = _text(result.new if isinstance(result, registry.TableUpdate) else result)
                    print(text, end="" if text.endswith("\n") or not text else "\n", flush=True)
    return status


def _history() -> History:
    return History(paths.data_dir() / "runs", keep=0)


def _text(result: str | Table) -> str:
    if isinstance(result, str):
        return result
    from uv_argo_magic.core.view import tables  # noqa: PLC0415 - 3 ms, and `run` prints no tables

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0  # a pipe or file gets whole lines
    return tables.text(result, width, bold=_has_colour(sys.stdout))


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which stop the run like an interrupt."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[None]:
    def end(number: int, _frame: object) -> None:
        raise _Terminated(number)

    # Ignored signals (nohup) stay ignored. Only the main thread can set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if is_main and hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers}
    for number, handler in previous.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)
