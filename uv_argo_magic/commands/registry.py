"""The handlers of the commands; each front end adds its own to COMMANDS.

Rules:
- A handler is imported when its command is used, so that `%load_ext` and `uv-argo runs` do not import uv.
- Each command in the table has a handler in every front end that offers it (tests/unit/commands/test_registry.py).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic import config
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from uv_argo_magic.core.commands.parser import FrontEnd, Line
    from uv_argo_magic.core.view.tables import Table
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.errors import ArgoMagicError
    from uv_argo_magic.history.store import History


@frozen
class Request:
    """One use of a command: its line and its front end.

    `get_context` returns the current context. In a notebook, `shell` is IPython's shell.
    """

    line: Line
    front_end: FrontEnd
    get_context: Callable[[], CellContext]
    get_history: Callable[[], History]
    shell: object = None

    @property
    def context(self) -> CellContext:
        """The context in which the command runs."""
        return self.get_context()

    @property
    def history(self) -> History:
        """The history of this machine."""
        return self.get_history()

    @property
    def notebook(self) -> str | None:
        """The notebook whose last run is meant by default; None in a terminal, which uses the last of all runs."""
        return self.context.notebook if self.front_end == "notebook" else None

    def configuration(self) -> config.Config:
        """The configuration with the options of the line.

        Raises:
            SpecError: an option, a variable or a configuration file is invalid.
        """
        context = self.context
        line_values = config.line_values(run_options(self.line))
        return config.configure(
            config.layers(line_values, {}, context.traits, context.environ, context.folder), context.environ
        )


@frozen
class Failure:
    """The command is complete and reports a failure; front ends without an exit status raise `error`."""

    error: ArgoMagicError | None = None


@frozen
class Value:
    """The value of the command in a notebook, as in `run = %argo attach`."""

    value: object


@frozen
class TableUpdate:
    """A table that replaces the previous one; a terminal prints only `new`, the added lines."""

    table: Table
    new: str


Result: TypeAlias = "str | Table | TableUpdate | Failure | Value"
"""A part of the output of a command, its failure or its value."""
Handler: TypeAlias = "Callable[[Request], Iterable[Result]]"

COMMANDS: Mapping[str, str] = {
    "help": "uv_argo_magic.commands.runs:explain",
    "runs": "uv_argo_magic.commands.runs:list_runs",
    "last": "uv_argo_magic.commands.runs:show_last",
    "logs": "uv_argo_magic.commands.runs:show_logs",
    "packages": "uv_argo_magic.commands.runs:show_packages",
    "stop": "uv_argo_magic.commands.runs:stop",
    "sessions": "uv_argo_magic.commands.sessions:list_sessions",
    "vars": "uv_argo_magic.commands.sessions:list_variables",
    "restart": "uv_argo_magic.commands.sessions:restart",
    "lock": "uv_argo_magic.commands.lock:handle",
    "policy": "uv_argo_magic.commands.policy:handle",
    "bake": "uv_argo_magic.commands.bake:handle",
    "env": "uv_argo_magic.commands.environments:handle",
    "verify": "uv_argo_magic.commands.verify:handle",
    "export": "uv_argo_magic.commands.export:handle",
    "doctor": "uv_argo_magic.commands.doctor:handle",
}
"""Command -> its handler ("module:function"), if all front ends handle it in the same way."""


def load(target: str) -> Handler:
    """Import the handler "module:function"."""
    module, _, function = target.partition(":")
    handler: Handler = getattr(importlib.import_module(module), function)
    return handler


def dispatch(request: Request, handlers: Mapping[str, str]) -> Iterator[Result]:
    """Run a command, and yield its results as they become known.

    Raises:
        ArgoMagicError: the command failed.
    """
    yield from load(handlers[request.line.command])(request)
