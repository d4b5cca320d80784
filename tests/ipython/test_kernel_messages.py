"""Messages handled while a cell blocks, in a real kernel, and the private parts of ipykernel that this relies on."""

from __future__ import annotations

import inspect
import json
import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ipykernel
import pytest
from ipykernel.kernelbase import Kernel
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session

from uv_argo_magic.renderers import kernel_messages
from uv_argo_magic.renderers.kernel_messages import WIDGET_CONTROL, Blocked, KernelMessages

MAJOR = ipykernel.version_info[0]
BLOCKING_CELL = """
import threading
from ipywidgets import HTML, Button
from uv_argo_magic.renderers import kernel_messages
shell, button, clicked, pages = get_ipython(), Button(), threading.Event(), []
button.on_click(lambda _: clicked.set())
kernel_messages.at_once(button)
listener = kernel_messages.of(shell)
requests = []
def take(message, waiting):
    requests.append((message.id, waiting))
with listener.blocking(kernel_messages.Blocked(parent=shell.get_parent(), on_request=take)):
    print(button.comm.comm_id, HTML("other").comm.comm_id, flush=True)
    for _ in range(200):
        listener.pump()
        if clicked.wait(0.05):
            print("clicked", flush=True)
            break
"""


def test_ipykernel_has_the_private_parts_that_we_use():
    names = set(Kernel.class_trait_names()) | set(vars(Kernel)) | set(Kernel.__annotations__)
    names_of_7 = {"shell_channel_thread", "shell_channel_thread_main", "_shell_parent"}
    assert {"shell_stream", "iopub_socket", "session", "_topic", "kernel_info"} <= names
    assert names_of_7 <= names if MAJOR >= 7 else "_parents" in names and "self.msg_queue" in inspect.getsource(Kernel)


def next_output(client, seconds=30):
    """Wait for the next text on stdout."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=seconds)
        if message["msg_type"] == "stream":
            return message["content"]["text"].strip()
        if message["msg_type"] == "error":
            raise AssertionError(message["content"]["evalue"])
    raise AssertionError("no output")


def next_reply(client, kind, seconds=30):
    """Wait for the next reply of this kind on the shell channel."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            message = client.get_shell_msg(timeout=1)
        except queue.Empty:
            continue
        if message["msg_type"] == kind:
            return message
    raise AssertionError(f"no {kind} received")


@pytest.fixture(scope="module")
def client():
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(os.environ))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute("from uv_argo_magic.renderers import kernel_messages; kernel_messages.of(get_ipython())")
    next_reply(client, "execute_reply")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_blocking_cell_responds_to_new_pages_and_clicks(client):
    request_id = client.execute(BLOCKING_CELL)
    comm_id, other_id = next_output(client).split()
    page = Session(key=client.session.key)
    for kind, content in (
        ("kernel_info_request", {}),
        ("comm_open", {"comm_id": "control", "target_name": WIDGET_CONTROL, "data": {}}),
        ("comm_msg", {"comm_id": "control", "data": {"method": "request_states"}}),
        ("comm_info_request", {"target_name": "jupyter.widget"}),
    ):
        client.shell_channel.send(page.msg(kind, content, metadata={"version": "1.0.0"}))
    assert next_reply(client, "kernel_info_reply")["content"]["implementation"] == "ipython"
    comms = next_reply(client, "comm_info_reply")["content"]["comms"]
    assert {comm_id, other_id} <= set(comms)
    assert "control" not in comms
    while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "comm_msg":
        pass
    assert comm_id in message["content"]["data"]["states"]
    request = page.msg("comm_msg", {"comm_id": other_id, "data": {"method": "request_state"}})
    client.shell_channel.send(request)
    while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "comm_msg":
        pass
    assert message["parent_header"]["msg_id"] == request["header"]["msg_id"]
    assert message["content"]["data"]["state"]["value"] == "other"
    queued_id = client.execute("listener.has_other_page('none', 0.0), requests")
    click = {"method": "custom", "content": {"event": "click"}}
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm_id, "data": click}))
    assert next_output(client) == "clicked"
    assert next_reply(client, "execute_reply")["parent_header"]["msg_id"] == request_id
    while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "execute_result":
        pass
    assert message["content"]["data"]["text/plain"] == f"(True, [({queued_id!r}, 0)])"


def build_message(session, kind="comm_msg", comm="c", code="1"):
    contents = {
        "comm_msg": {"comm_id": comm, "data": {}},
        "comm_open": {"comm_id": comm, "target_name": comm},
        "comm_close": {"comm_id": comm},
        "execute_request": {"code": code},
    }
    return session.serialize(session.msg(kind, contents.get(kind, {})), ident=b"front")


class FakeKernel:
    """A kernel like that of ipykernel 6: one queue, filled from a stream."""

    def __init__(self):
        self.session = Session(key=b"key")
        self.sent, self.received, self.arrived = [], [], []
        self.msg_queue = SimpleNamespace(_queue=[])
        self.shell_stream = SimpleNamespace(flush=self.flush)
        self.iopub_socket = "iopub"
        self.kernel_info = {"implementation": "ipython"}
        comms = {
            "c": SimpleNamespace(target_name="jupyter.widget", uv_argo_at_once=True),
            "d": SimpleNamespace(target_name="jupyter.widget"),
            "control": SimpleNamespace(target_name=WIDGET_CONTROL),
        }
        self.comm_manager = SimpleNamespace(
            comms=comms, comm_msg=self.receive, comm_open=self.receive, comm_close=self.receive
        )
        self.session.send = lambda stream, kind, content, *_, **__: self.sent.append((kind, content))

    def _topic(self, name):
        return name.encode()

    def flush(self):
        self.msg_queue._queue += [(0, None, (message,)) for message in self.arrived]
        self.arrived = []

    def receive(self, _stream, _ident, message):
        self.received.append(message["content"]["comm_id"])


@pytest.fixture
def kernel():
    return FakeKernel()


def parent(name="running"):
    return {"header": {"msg_id": name, "session": "page"}}


def test_kernel_with_one_queue_drops_only_handled_messages(kernel):
    listener, session = KernelMessages(kernel), kernel.session
    listener.install()
    others = [
        build_message(session, comm="d"),
        build_message(session, kind="comm_open", comm="other"),
        build_message(session, kind="inspect_request"),
        build_message(Session(key=b"stranger")),
        [b"no message"],
        [],
    ]
    waiting_counts = []
    kernel.arrived = [*others, build_message(session), build_message(session, kind="kernel_info_request")]
    with listener.blocking(
        Blocked(parent=parent(), on_request=lambda _request, waiting: waiting_counts.append(waiting))
    ):
        listener.pump()
        assert [item[2][0] for item in kernel.msg_queue._queue] == others
        kernel.arrived = [
            build_message(session, kind="execute_request"),
            build_message(session, kind="execute_request"),
        ]
        listener.pump()
        listener.pump()
    assert kernel.received == ["c"]
    assert waiting_counts == [0, 1, 0, 1]  # each time the queue is read
    assert ("kernel_info_reply", {"status": "ok", "implementation": "ipython"}) in kernel.sent
    states = [content["execution_state"] for kind, content in kernel.sent if kind == "status"]
    assert states == ["busy", "idle", "busy"] * 2
    with ThreadPoolExecutor(1) as pool:
        kernel.arrived = [build_message(session)]
        pool.submit(listener.pump).result()
    assert kernel.received == ["c"]


def test_only_our_widgets_are_handled_without_a_blocking_cell(kernel):
    listener, session = KernelMessages(kernel), kernel.session
    started = time.monotonic()
    handled = [build_message(session)]
    unhandled = [
        build_message(session, kind="kernel_info_request"),
        build_message(session, comm="control"),
        build_message(session, kind="comm_open", comm=WIDGET_CONTROL),
    ]
    kernel.arrived = [*handled, *unhandled]
    listener.pump()
    assert kernel.received == ["c"]
    assert [item[2][0] for item in kernel.msg_queue._queue] == unhandled
    assert listener.has_other_page("another", started)
    assert not listener.has_other_page(session.session, started)
    assert not listener.has_other_page("another", time.monotonic())


def test_messages_are_handled_in_the_shell_channel_thread(kernel):
    forwarded, handlers = [], []
    kernel.shell_channel_thread = SimpleNamespace(
        io_loop=SimpleNamespace(add_callback=lambda call: call(), call_later=lambda _, call: call())
    )
    kernel.shell_channel_thread_main = forwarded.append
    kernel.shell_stream.on_recv = lambda call, copy: handlers.append(call)
    shell = SimpleNamespace(kernel=kernel)
    listener = kernel_messages.of(shell)
    assert kernel_messages.of(shell) is listener
    (receive,) = handlers
    session = kernel.session
    receive(build_message(session))
    other = build_message(session, comm="d")
    receive(other)
    assert (kernel.received, forwarded) == (["c"], [other])
    earlier = build_message(session, kind="execute_request")
    receive(earlier)
    waiting_counts = []
    for running in ("unknown", json.loads(earlier[3])["msg_id"]):
        with listener.blocking(
            Blocked(parent=parent(running), on_request=lambda _request, waiting: waiting_counts.append(waiting))
        ):
            receive(build_message(session, kind="execute_request"))
            receive(build_message(session, kind="comm_close", comm="control"))
    assert waiting_counts == [None, 1]
    assert kernel.received == ["c", "control", "control"]


def test_unsupported_kernels_and_widgets_are_unchanged():
    assert kernel_messages.of(SimpleNamespace()) is None
    assert kernel_messages.of(SimpleNamespace(kernel=object())) is None
    bare = SimpleNamespace(comm=None)
    kernel_messages.at_once(bare)
    assert vars(bare) == {"comm": None}
