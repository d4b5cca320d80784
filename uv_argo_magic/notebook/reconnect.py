"""If a cell is run again in another page, show the run that it started, instead of starting a second one.

A reloaded page receives no further output of the cells that it ran before. If such a cell is run again, the new
execution continues the run and shows all of its output. In the same page, running a cell again starts a new run, as
usual in Jupyter.

Rules:
- Two executions belong to the same cell if the front end sends the same cell id, and the text is the same.
- The blocked execution returns early only if no other cell is queued between the two, because that cell would run
  before the end of the run. Otherwise the new execution shows the run when its turn comes, even if the run has ended.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.renderers import kernel_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Run
    from uv_argo_magic.renderers.kernel_messages import Message

KEPT = 50
"""Maximum number of cells whose last run is remembered."""


@frozen
class Started:
    """The run that a cell started, and the page of the request."""

    run: Run
    prepared: Prepared
    page: str
    cell: tuple[str, str]


_last: OrderedDict[tuple[str, str], Started] = OrderedDict()
"""Cell -> its last run."""
_claims: dict[str, Started] = {}
"""Message id of a queued request -> the run that it will show."""


def remember(request: dict[str, Any], run: Run, prepared: Prepared) -> Started | None:
    """Remember the run that this request started; None if the front end sends no cell ids."""
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
    """Whether this request is for the same cell in another page; if so, it will show the run when its turn comes."""
    is_again = _cell(message.metadata, message.content) == started.cell and message.session != started.page
    if is_again:
        _claims[message.id] = started
    return is_again


def find(request: dict[str, Any]) -> Started | None:
    """The run that this request has to show instead of starting one, or None."""
    claimed = _claims.pop(str(request.get("header", {}).get("msg_id")), None)
    if claimed is not None:
        return claimed
    started = _last.get(_cell(request.get("metadata"), request.get("content")) or ("", ""))
    is_other_page = started is not None and started.page != _page(request)
    return started if started is not None and is_other_page and not started.run.state.ended else None


def watch_pages(shell: Any) -> Callable[[], bool]:
    """A function that returns whether another page was opened on this kernel since this call, as after a reload."""
    listener, request, since = kernel_messages.of(shell), current_request(shell), time.monotonic()
    return lambda: listener is not None and listener.has_other_page(_page(request), since)


def current_request(shell: Any) -> dict[str, Any]:
    """The front end's request to run the current cell; empty without a kernel."""
    request = shell.get_parent() if hasattr(shell, "get_parent") else None
    return request if isinstance(request, dict) else {}


def _page(request: dict[str, Any]) -> str:
    return str(request.get("header", {}).get("session", ""))


def _cell(metadata: object, content: object) -> tuple[str, str] | None:
    """The cell's id and text."""
    if not isinstance(metadata, dict) or not isinstance(content, dict):
        return None
    cell, code = metadata.get("cellId"), content.get("code")
    return (cell, code) if isinstance(cell, str) and cell and isinstance(code, str) else None
