"""The commands of `%argo` that only exist in notebooks: attach shows a run in the cell, edit opens the editor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.commands.registry import Value
from uv_argo_magic.notebook import background, editor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.commands.registry import Request


def attach(request: Request) -> Iterator[Value]:
    """Show a run again; the value is the run, if it is live."""
    yield Value(
        value=background.attach(
            request.line.argument, request.shell, request.history, request.context.notebook, request.configuration()
        )
    )


def edit(request: Request) -> Iterator[Value]:
    """Open the editor of a requirements file."""
    editor.open_editor(request.line, request.shell, request.get_context, request.history)
    yield from ()
