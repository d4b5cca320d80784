"""A cell that is run again from another page shows the run that it started, instead of starting a second one.

A page that was reloaded gets no more output of the cells that it ran before. If such a cell is run again, the new
execution takes the run over and shows all of its output. In the same page, running a cell again starts another run, as
everywhere in Jupyter.

Rules:
- Two executions are of one cell if the front end names the same cell, and its text is the same.
- The blocked execution returns early only if no other cell waits in between: that cell would run before the run has
  ended. Otherwise the new execution shows the run when its turn comes, even if the run has ended by then.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.renderers import kernel_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.engine.prepared import Prepared
    from uv_argo_magic.engine.run import Run
    from uv_argo_magic.renderers.kernel_messages import Message

KEPT = 50
"""Cells whose last run is remembered."""


@frozen
class Started:
    """The run that a cell started, from which page."""

    run: Run
    prepared: Prepared
    page: str
    cell: tuple[str, str]


_last: OrderedDict[tuple[str, str], Started] = OrderedDict()
"""Cell -> its last run."""
_claims: dict[str, Started] = {}
"""The id of a request that waits in the kernel's queue -> the run that it will show."""


def remember(request: dict[str, Any], run: Run, prepared: Prepared) -> Started | None:
    """Remember the run that this request started; None if the front end does not name its cells."""
    cell = _cell(request.get("metadata"), request.get("content"))
    if cell is None:
        return None
    started = Started(run=run, prepared=prepared, page=_page(request), cell=cell)
    _last[cell] = started
    _last.move_to_end(cell)
    while len(_last) > KEPT:
        _last.popitem(last=False)
    return started


def claim(started: Started, message: Message) -> bool:
    """Whether this request is for the same cell from another page; it then gets the run when its turn comes."""
    is_again = _cell(message.metadata, message.content) == started.cell and message.session != started.page
    if is_again:
        _claims[message.id] = started
    return is_again


def find(request: dict[str, Any]) -> Started | None:
    """The run that this request shows instead of starting one."""
    claimed = _claims.pop(str(request.get("header", {}).get("msg_id")), None)
    if claimed is not None:
        return claimed
    started = _last.get(_cell(request.get("metadata"), request.get("content")) or ("", ""))
    is_other_page = started is not None and started.page != _page(request)
    return started if started is not None and is_other_page and not started.run.state.ended else None


def watch_pages(shell: Any) -> Callable[[], bool]:
    """A function that tells whether another page was opened on this kernel since this call, as after a reload."""
    listener, request, since = kernel_messages.of(shell), current_request(shell), time.monotonic()
    return lambda: listener is not None and listener.has_other_page(_page(request), since)


def current_request(shell: Any) -> dict[str, Any]:
    """The front end's request to run the present cell; empty without a kernel."""
    request = shell.get_parent() if hasattr(shell, "get_parent") else None
    return request if isinstance(request, dict) else {}


def _page(request: dict[str, Any]) -> str:
    return str(request.get("header", {}).get("session", ""))


def _cell(metadata: object, content: object) -> tuple[str, str] | None:
    """The cell's id and its text."""
    if not isinstance(metadata, dict) or not isinstance(content, dict):
        return None
    cell, code = metadata.get("cellId"), content.get("code")
    return (cell, code) if isinstance(cell, str) and cell and isinstance(code, str) else None
