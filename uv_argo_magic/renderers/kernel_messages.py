"""Reply to messages of the front end while a cell blocks the kernel's main thread.

Clicks in a panel must be handled at once. A reloaded page requests the kernel's information before it shows any widget,
and would wait until the cell ends. ipykernel and JupyterLab have no public API for this:
https://github.com/ipython/ipykernel/issues/65, https://github.com/jupyterlab/jupyterlab/issues/2833.

    ipykernel 7    messages arrive in a separate thread, in which `KernelMessages` is called before the kernel
    ipykernel 6    messages arrive in the blocked thread: `pump` takes them from the kernel's queue

Rules:
- Only the messages in `_answer` are handled here, if they have a valid signature. Those that are not about our widgets
  are handled only while a cell is in `blocking`. All other messages, and any that fail, are left to the kernel.
- Other kernels are not changed; the kernel's stop button always works.
- tests/ipython/test_kernel_messages.py fails if ipykernel changes the private parts used here.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DELIMITER = b"<IDS|MSG>"
WIDGET_CONTROL = "jupyter.widget.control"
"""The comm with which a front end requests the state of all widgets."""
BUSY_AGAIN = 1.0
"""Seconds after which a page that requested widgets gets the kernel's status again, because it sets it to idle."""


@frozen
class Message:
    """A message of the front end; `identities` are the routing identities of its socket."""

    header: dict[str, Any]
    metadata: dict[str, Any]
    content: dict[str, Any]
    identities: list[bytes]
    buffers: list[bytes]

    @property
    def id(self) -> str:
        """The message id."""
        return str(self.header["msg_id"])

    @property
    def kind(self) -> str:
        """The message type, such as "comm_msg"."""
        return str(self.header["msg_type"])

    @property
    def session(self) -> str:
        """The session id of the page, or other client, that sent the message."""
        return str(self.header["session"])

    @property
    def parent(self) -> dict[str, Any]:
        """The message in ipykernel's internal form."""
        return {
            "header": self.header, "msg_id": self.id, "msg_type": self.kind, "parent_header": {},
            "metadata": self.metadata, "content": self.content, "buffers": self.buffers,
        }  # fmt: skip


@dataclass(kw_only=True)
class Blocked:
    """A cell that blocks the main thread: its request, and a function to call for each further request to run a cell.

    `on_request` gets the message, and the number of cells queued before it (None: unknown).
    """

    parent: dict[str, Any]
    on_request: Callable[[Message, int | None], object]

    @property
    def id(self) -> str:
        """The message id of the cell's request."""
        return str(self.parent["header"]["msg_id"])


@dataclass(kw_only=True)
class _Requests:
    """The message ids of requests to run a cell, in order, since this process started to listen."""

    ids: list[str] = field(default_factory=list)

    def waiting(self, running: str, new: str) -> int | None:
        """The number of requests between the running cell and a new one; None if unknown."""
        if running not in self.ids:
            return None
        del self.ids[: self.ids.index(running)]
        return len([one for one in self.ids if one not in (running, new)])


def of(shell: Any) -> KernelMessages | None:
    """The messages of this shell's kernel, from the first call on; None without a supported kernel."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    existing = getattr(kernel, "uv_argo_messages", None)
    if existing is not None:
        return existing  # type: ignore[no-any-return]  # an attribute that we have set
    if not all(hasattr(kernel, name) for name in ("session", "shell_stream", "iopub_socket", "comm_manager")):
        return None
    kernel.uv_argo_messages = messages = KernelMessages(kernel)
    messages.install()
    return messages


def at_once(widget: Any) -> None:
    """Deliver the browser's messages for this widget at once, in the thread that receives them."""
    comm = getattr(widget, "comm", None)
    if comm is not None:
        comm.uv_argo_at_once = True


class KernelMessages:
    """Receives the messages of one kernel."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._blocked: Blocked | None = None
        self._requests = _Requests()
        self._pages: dict[str, float] = {}

    def install(self) -> None:
        """Receive messages before the kernel does, if they arrive in a separate thread."""
        thread = getattr(self._kernel, "shell_channel_thread", None)
        if thread is not None and hasattr(self._kernel, "shell_channel_thread_main"):
            stream = self._kernel.shell_stream
            thread.io_loop.add_callback(lambda: stream.on_recv(self._receive, copy=False))

    @contextlib.contextmanager
    def blocking(self, blocked: Blocked) -> Iterator[None]:
        """Handle messages for a cell that blocks the main thread in the `with` block."""
        self._blocked = blocked
        try:
            yield
        finally:
            self._blocked = None

    def has_other_page(self, session: str, since: float) -> bool:
        """Whether a page other than `session` requested the widgets after `since` (seconds of time.monotonic)."""
        return any(asked_at > since for page, asked_at in list(self._pages.items()) if page != session)

    def pump(self) -> None:
        """Handle the queued messages of ipykernel 6; must be called in the main thread."""
        queue = getattr(getattr(self._kernel, "msg_queue", None), "_queue", None)
        if queue is None or threading.current_thread() is not threading.main_thread():
            return
        stream = self._kernel.shell_stream
        stream.flush()  # from the socket to the queue, like the kernel's `do_one_iteration`
        if self._blocked is not None:
            self._requests.ids[:] = [self._blocked.id]  # all other requests are in the queue
        for item in list(queue):
            arguments = item[2]
            if arguments and self._is_answered(arguments[0]):
                queue.remove(item)
        stream.flush()  # send the replies

    def _receive(self, frames: list[Any]) -> Any:
        """Handle a message in the thread that receives it."""
        return None if self._is_answered(frames) else self._kernel.shell_channel_thread_main(frames)

    def _is_answered(self, frames: list[Any]) -> bool:
        with contextlib.suppress(Exception):  # unexpected messages are left to the kernel
            message = _read(frames, self._kernel.session)
            return message is not None and self._answer(message)
        return False

    def _answer(self, message: Message) -> bool:
        """Handle a message that cannot wait; return False for a message that the kernel has to handle."""
        blocked, manager = self._blocked, self._kernel.comm_manager
        if message.kind == "execute_request":
            self._take_note(message)
            return False
        if message.kind in {"comm_msg", "comm_close"}:
            comm = manager.comms.get(message.content.get("comm_id"))
            is_control = getattr(comm, "target_name", "") == WIDGET_CONTROL
            if not (getattr(comm, "uv_argo_at_once", False) or (blocked and (is_control or _asks_for_state(message)))):
                return False
        elif message.kind == "comm_open":
            if message.content.get("target_name") != WIDGET_CONTROL:
                return False
            self._pages[message.session] = time.monotonic()
        elif message.kind == "comm_info_request":  # sent by a page that gets no timely reply on its control comm
            self._pages[message.session] = time.monotonic()
        if blocked is None and message.kind not in {"comm_msg", "comm_close"}:
            return False
        self._send_status("busy", message.parent)
        if message.kind == "kernel_info_request":
            self._reply(message, {"status": "ok", **self._kernel.kernel_info})
        elif message.kind == "comm_info_request":
            target = message.content.get("target_name")
            names = {one: comm.target_name for one, comm in list(manager.comms.items())}
            known = {one: {"target_name": name} for one, name in names.items() if target in {None, name}}
            self._reply(message, {"status": "ok", "comms": known})
        elif _asks_for_state(message):
            with self._as_parent(message):
                manager.comm_msg(None, None, message.parent)
        else:
            getattr(manager, message.kind)(None, None, message.parent)
        self._send_status("idle", message.parent)
        self._restore_busy()
        if message.kind == "comm_close":  # the page has its widgets, and will set the status to idle
            self._later(self._restore_busy)
        return True

    def _take_note(self, message: Message) -> None:
        if message.id in self._requests.ids:
            return
        self._requests.ids.append(message.id)
        if self._blocked is not None:
            self._blocked.on_request(message, self._requests.waiting(self._blocked.id, message.id))

    @contextlib.contextmanager
    def _as_parent(self, message: Message) -> Iterator[None]:
        """What this thread sends meanwhile names the message as its parent, by which a page recognizes an answer."""
        of_thread = getattr(self._kernel, "_shell_parent", None)
        if of_thread is not None:  # ipykernel 7
            token = of_thread.set(message.parent)
            try:
                yield
            finally:
                of_thread.reset(token)
        else:
            parents = self._kernel._parents  # noqa: SLF001 - `set_parent` would change the parent of the cell's output
            before, parents["shell"] = parents["shell"], message.parent
            try:
                yield
            finally:
                parents["shell"] = before

    def _reply(self, message: Message, content: dict[str, Any]) -> None:
        kind = message.kind.replace("_request", "_reply")
        self._kernel.session.send(self._kernel.shell_stream, kind, content, message.parent, message.identities)

    def _restore_busy(self) -> None:
        """Report the kernel as busy if a cell still blocks it."""
        if self._blocked is not None:
            self._send_status("busy", self._blocked.parent)

    def _send_status(self, status: str, parent: dict[str, Any]) -> None:
        self._kernel.session.send(
            self._kernel.iopub_socket, "status", {"execution_state": status}, parent=parent,
            ident=self._kernel._topic("status"),  # noqa: SLF001 - no public name
        )  # fmt: skip

    def _later(self, call: Callable[[], object]) -> None:
        thread = getattr(self._kernel, "shell_channel_thread", None)
        if thread is not None:
            thread.io_loop.call_later(BUSY_AGAIN, call)


KINDS = frozenset({
    "execute_request", "comm_open", "comm_msg", "comm_close", "kernel_info_request", "comm_info_request",
})  # fmt: skip


def _asks_for_state(message: Message) -> bool:
    """Whether a page asks one widget for its state, as it does if the states of all come too late."""
    return message.kind == "comm_msg" and message.content.get("data", {}).get("method") == "request_state"


def _read(frames: list[Any], session: Any) -> Message | None:
    """A message of one of the KINDS with a valid signature; None for any other message."""
    start = next(at for at, frame in enumerate(frames) if bytes(frame) == DELIMITER)
    header = json.loads(bytes(frames[start + 2]))
    if header["msg_type"] not in KINDS:
        return None
    signature, *sections = [bytes(frame) for frame in frames[start + 1 : start + 6]]
    if session.auth is not None and session.sign(sections) != signature:
        return None
    return Message(
        header=header,
        metadata=json.loads(sections[2]),
        content=json.loads(sections[3]),
        identities=[bytes(frame) for frame in frames[:start]],
        buffers=[bytes(frame) for frame in frames[start + 6 :]],
    )
