"""Clicks that act while the cell blocks the kernel's main thread, in a way for each release of ipykernel.

    ipykernel 6        delivers to the blocked main thread: `waiting` looks into its queue and removes nothing
    ipykernel 7.0-7.3  delivers to a thread of its own: nothing to do
    ipykernel 7.4      delivers to the shell that wrote last, the blocked one: `hear_at_once` replaces its routing

ipykernel has no public API for this: https://github.com/ipython/ipykernel/issues/65 (and jupyter-widgets/ipywidgets
issue 3468) asks for one. tests/ipython/test_widget_events.py fails when ipykernel changes the private parts used here.

Rules:
- Other kernels are left alone: the kernel's stop button always works.
- The click also arrives in the usual way, later: the callback must accept a second call.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DELIMITER = b"<IDS|MSG>"


def hear_at_once(button: Any, act: Callable[[], None]) -> None:
    """Call `act` at a click, in the thread that receives it, where the kernel routes messages of a comm (7.4)."""
    comm = getattr(button, "comm", None)
    if not hasattr(comm, "_reply_subshell_for"):
        return

    def route(data: Any, default: Any) -> Any:
        if _is_click(data):
            act()
        return default

    comm._reply_subshell_for = route  # type: ignore[union-attr]  # noqa: SLF001


def hear_beside(widget: Any) -> None:
    """Deliver the browser's messages for this widget to the subshell that the front end names, not to a blocked cell.

    JupyterLab names one subshell per widget; ipykernel 7.4 takes the one that wrote to the widget last instead.
    """
    comm = getattr(widget, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default  # type: ignore[union-attr]  # noqa: SLF001


def waiting(button: Any, kernel: Any) -> bool:
    """Whether a click waits in the queue of a kernel with one queue (6.x); for its main thread."""
    queue = getattr(getattr(kernel, "msg_queue", None), "_queue", None)
    stream = getattr(kernel, "shell_stream", None)
    if queue is None or stream is None or threading.current_thread() is not threading.main_thread():
        return False
    stream.flush()  # from the socket into the queue, as the kernel's own `do_one_iteration` does first
    comm_id = button.comm.comm_id
    return any(_is_signed_click(args[0], comm_id, kernel.session) for _, _, args in list(queue) if args)


def _is_signed_click(frames: Any, comm_id: str, session: Any) -> bool:
    """Whether these frames are a signed message of a click on that comm."""
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        parts = [bytes(frame) for frame in frames]
        signature, *sections = parts[parts.index(DELIMITER) + 1 :][:5]
        header, content = json.loads(sections[0]), json.loads(sections[3])
        if header["msg_type"] == "comm_msg" and content["comm_id"] == comm_id and _is_click(content["data"]):
            return session.auth is None or session.sign(sections) == signature
    return False


def _is_click(data: Any) -> bool:
    content = data.get("content") if isinstance(data, dict) else None
    return isinstance(content, dict) and content.get("event") == "click"
