"""What is answered while a cell blocks, in a real kernel, and the private parts of ipykernel that this relies on."""

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
BUSY = """
import threading
from ipywidgets import HTML, Button
from uv_argo_magic.renderers import kernel_messages
shell, button, clicked, pages = get_ipython(), Button(), threading.Event(), []
button.on_click(lambda _: clicked.set())
kernel_messages.at_once(button)
listener = kernel_messages.of(shell)
took = []
def take(message, waiting):
    took.append((message.id, waiting))
with listener.blocking(kernel_messages.Blocked(parent=shell.get_parent(), on_request=take)):
    print(button.comm.comm_id, HTML("other").comm.comm_id, flush=True)
    for _ in range(200):
        listener.pump()
        if clicked.wait(0.05):
            print("clicked", flush=True)
            break
"""


def test_the_parts_of_ipykernel_that_this_relies_on_exist():
    names = set(Kernel.class_trait_names()) | set(vars(Kernel)) | set(Kernel.__annotations__)
    of_7 = {"shell_channel_thread", "shell_channel_thread_main", "_shell_parent"}
    assert {"shell_stream", "iopub_socket", "session", "_topic", "kernel_info"} <= names
    assert of_7 <= names if MAJOR >= 7 else "_parents" in names and "self.msg_queue" in inspect.getsource(Kernel)


def printed(client, seconds=30):
    """The next text on stdout."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=seconds)
        if message["msg_type"] == "stream":
            return message["content"]["text"].strip()
        if message["msg_type"] == "error":
            raise AssertionError(message["content"]["evalue"])
    raise AssertionError("nothing was printed")


def reply(client, kind, seconds=30):
    """The next reply of this kind on the shell channel."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            message = client.get_shell_msg(timeout=1)
        except queue.Empty:
            continue
        if message["msg_type"] == kind:
            return message
    raise AssertionError(f"no {kind} came")


@pytest.fixture(scope="module")
def client():
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(os.environ))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute("from uv_argo_magic.renderers import kernel_messages; kernel_messages.of(get_ipython())")
    reply(client, "execute_reply")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_while_a_cell_blocks_a_new_page_and_a_click_are_answered(client):
    executed = client.execute(BUSY)
    comm_id, other = printed(client).split()
    page = Session(key=client.session.key)
    for kind, content in (
        ("kernel_info_request", {}),
        ("comm_open", {"comm_id": "control", "target_name": WIDGET_CONTROL, "data": {}}),
        ("comm_msg", {"comm_id": "control", "data": {"method": "request_states"}}),
        ("comm_info_request", {"target_name": "jupyter.widget"}),
    ):
        client.shell_channel.send(page.msg(kind, content, metadata={"version": "1.0.0"}))
    assert reply(client, "kernel_info_reply")["content"]["implementation"] == "ipython"
    comms = reply(client, "comm_info_reply")["content"]["comms"]
    assert {comm_id, other} <= set(comms)
    assert "control" not in comms
    while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "comm_msg":
        pass
    assert comm_id in message["content"]["data"]["states"]
    request = page.msg("comm_msg", {"comm_id": other, "data": {"method": "request_state"}})
    client.shell_channel.send(request)
    while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "comm_msg":
        pass
    assert message["parent_header"]["msg_id"] == request["header"]["msg_id"]
    assert message["content"]["data"]["state"]["value"] == "other"
    queued = client.execute("listener.has_other_page('none', 0.0), took")
    click = {"method": "custom", "content": {"event": "click"}}
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm_id, "data": click}))
    assert printed(client) == "clicked"
    assert reply(client, "execute_reply")["parent_header"]["msg_id"] == executed
    while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "execute_result":
        pass
    assert message["content"]["data"]["text/plain"] == f"(True, [({queued!r}, 0)])"


def message(session, kind="comm_msg", comm="c", code="1"):
    contents = {
        "comm_msg": {"comm_id": comm, "data": {}},
        "comm_open": {"comm_id": comm, "target_name": comm},
        "comm_close": {"comm_id": comm},
        "execute_request": {"code": code},
    }
    return session.serialize(session.msg(kind, contents.get(kind, {})), ident=b"front")


class FakeKernel:
    """A kernel of ipykernel 6: one queue, and a stream whose messages come into it."""

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
        self.msg_queue._queue += [(0, None, (one,)) for one in self.arrived]
        self.arrived = []

    def receive(self, _stream, _ident, message):
        self.received.append(message["content"]["comm_id"])


@pytest.fixture
def kernel():
    return FakeKernel()


def parent(name="running"):
    return {"header": {"msg_id": name, "session": "page"}}


def test_a_kernel_with_one_queue_loses_only_what_was_answered(kernel):
    listener, session = KernelMessages(kernel), kernel.session
    listener.install()
    others = [
        message(session, comm="d"),
        message(session, kind="comm_open", comm="other"),
        message(session, kind="inspect_request"),
        message(Session(key=b"stranger")),
        [b"no message"],
        [],
    ]
    asked = []
    kernel.arrived = [*others, message(session), message(session, kind="kernel_info_request")]
    with listener.blocking(Blocked(parent=parent(), on_request=lambda one, waiting: asked.append(waiting))):
        listener.pump()
        assert [item[2][0] for item in kernel.msg_queue._queue] == others
        kernel.arrived = [message(session, kind="execute_request"), message(session, kind="execute_request")]
        listener.pump()
        listener.pump()
    assert kernel.received == ["c"]
    assert asked == [0, 1, 0, 1]  # at each look into the queue
    assert ("kernel_info_reply", {"status": "ok", "implementation": "ipython"}) in kernel.sent
    states = [content["execution_state"] for kind, content in kernel.sent if kind == "status"]
    assert states == ["busy", "idle", "busy"] * 2
    with ThreadPoolExecutor(1) as other:
        kernel.arrived = [message(session)]
        other.submit(listener.pump).result()
    assert kernel.received == ["c"]


def test_without_a_blocking_cell_only_our_own_widgets_are_heard(kernel):
    listener, session = KernelMessages(kernel), kernel.session
    started = time.monotonic()
    answered = [message(session)]
    left = [
        message(session, kind="kernel_info_request"),
        message(session, comm="control"),
        message(session, kind="comm_open", comm=WIDGET_CONTROL),
    ]
    kernel.arrived = [*answered, *left]
    listener.pump()
    assert kernel.received == ["c"]
    assert [item[2][0] for item in kernel.msg_queue._queue] == left
    assert listener.has_other_page("another", started)
    assert not listener.has_other_page(session.session, started)
    assert not listener.has_other_page("another", time.monotonic())


def test_messages_come_first_where_they_arrive_in_a_thread_of_their_own(kernel):
    passed, installed = [], []
    kernel.shell_channel_thread = SimpleNamespace(
        io_loop=SimpleNamespace(add_callback=lambda call: call(), call_later=lambda _, call: call())
    )
    kernel.shell_channel_thread_main = passed.append
    kernel.shell_stream.on_recv = lambda call, copy: installed.append(call)
    shell = SimpleNamespace(kernel=kernel)
    listener = kernel_messages.of(shell)
    assert kernel_messages.of(shell) is listener
    (receive,) = installed
    session = kernel.session
    receive(message(session))
    other = message(session, comm="d")
    receive(other)
    assert (kernel.received, passed) == (["c"], [other])
    before = message(session, kind="execute_request")
    receive(before)
    asked = []
    for running in ("unknown", json.loads(before[3])["msg_id"]):
        with listener.blocking(Blocked(parent=parent(running), on_request=lambda one, waiting: asked.append(waiting))):
            receive(message(session, kind="execute_request"))
            receive(message(session, kind="comm_close", comm="control"))
    assert asked == [None, 1]
    assert kernel.received == ["c", "control", "control"]


def test_other_kernels_and_widgets_are_left_alone():
    assert kernel_messages.of(SimpleNamespace()) is None
    assert kernel_messages.of(SimpleNamespace(kernel=object())) is None
    bare = SimpleNamespace(comm=None)
    kernel_messages.at_once(bare)
    assert vars(bare) == {"comm": None}
