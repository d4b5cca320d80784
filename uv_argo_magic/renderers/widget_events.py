"""A click that acts while the cell blocks the kernel's main thread: by three ways, as the kernel's release needs it.

    ipykernel 6        delivers to the main thread, which waits: it looks at what has come, and takes nothing away
    ipykernel 7.0-7.3  delivers to a thread of its own: nothing is to be done
    ipykernel 7.4      delivers to the shell that wrote last, the blocked one: its hook before any queue is used

Rules:
- What is not as known here is left alone: the kernel's stop button always works.
- The click arrives by its usual way as well, later: what it calls must not mind a second time.
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
    """Call `act` at a click in the thread that receives it, where the kernel has a hook for that (7.4)."""
    comm = getattr(button, "comm", None)
    if not hasattr(comm, "_reply_subshell_for"):
        return

    def route(data: Any, default: Any) -> Any:
        if _is_click(data):
            act()
        return default

    comm._reply_subshell_for = route  # type: ignore[union-attr]  # noqa: SLF001


def hear_beside(widget: Any) -> None:
    """Have what the browser says of this widget arrive beside a cell that blocks, where the front end asks for that.

    JupyterLab names a thread of its own for each widget; ipykernel 7.4 takes the one that wrote to it last instead.
    """
    comm = getattr(widget, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default  # type: ignore[union-attr]  # noqa: SLF001


def waiting(button: Any, kernel: Any) -> bool:
    """Whether a click lies in the queue of a kernel that has one queue only (6.x); for its main thread."""
    queue = getattr(getattr(kernel, "msg_queue", None), "_queue", None)
    stream = getattr(kernel, "shell_stream", None)
    if queue is None or stream is None or threading.current_thread() is not threading.main_thread():
        return False
    stream.flush()  # from the socket into the queue, as the kernel's own `do_one_iteration` does first
    wanted = button.comm.comm_id
    return any(_clicked(args[0], wanted, kernel.session) for _, _, args in list(queue) if args)


def _clicked(frames: Any, wanted: str, session: Any) -> bool:
    """Whether these frames are a signed message that tells of a click on that comm."""
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        parts = [bytes(frame) for frame in frames]
        signature, *said = parts[parts.index(DELIMITER) + 1 :][:5]
        header, content = json.loads(said[0]), json.loads(said[3])
        if header["msg_type"] == "comm_msg" and content["comm_id"] == wanted and _is_click(content["data"]):
            return session.auth is None or session.sign(said) == signature
    return False


def _is_click(data: Any) -> bool:
    content = data.get("content") if isinstance(data, dict) else None
    return isinstance(content, dict) and content.get("event") == "click"
