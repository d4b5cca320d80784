"""Which function handles each command; a front end adds its own to COMMANDS.

Rules:
- A handler is imported when its command is used: `%load_ext` and `uv-argo runs` do not import uv.
- Every command of the table has a handler in each front end that offers it (tests/unit/commands/test_registry.py).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic import config
from uv_argo_magic.core.commands.table import run_options
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
    """One command: its line, and the front end that it comes from.

    `get_context` gives the context as it is now; `shell` is IPython's, in a notebook.
    """

    line: Line
    front_end: FrontEnd
    get_context: Callable[[], CellContext]
    get_history: Callable[[], History]
    shell: object = None

    @property
    def context(self) -> CellContext:
        """Where the command was given."""
        return self.get_context()

    @property
    def history(self) -> History:
        """The runs of this machine."""
        return self.get_history()

    @property
    def notebook(self) -> str | None:
        """The notebook to whose runs "the last run" refers; None in a terminal: any run."""
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
    """The command is complete and reports a failure; `error` is for front ends that have no exit status."""

    error: ArgoMagicError | None = None


@frozen
class Value:
    """The value of the command for a notebook: what `run = %argo attach` binds."""

    value: object


@frozen
class Growing:
    """A table that replaces the one that the command showed before; `new` is what was added, for a terminal."""

    table: Table
    new: str


Answer: TypeAlias = "str | Table | Growing | Failure | Value"
"""A part of what a command prints, in order; or how it ended."""
Handler: TypeAlias = "Callable[[Request], Iterable[Answer]]"

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
"""The commands that all front ends handle alike: name -> "module:function"."""


def load(target: str) -> Handler:
    """The handler that "module:function" names."""
    module, _, function = target.partition(":")
    handler: Handler = getattr(importlib.import_module(module), function)
    return handler


def dispatch(request: Request, handlers: Mapping[str, str]) -> Iterator[Answer]:
    """Handle a command; the answers come as they are known.

    Raises:
        ArgoMagicError: the command failed.
    """
    yield from load(handlers[request.line.command])(request)
