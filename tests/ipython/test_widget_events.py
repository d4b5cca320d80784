"""The private parts of ipykernel that clicks on a busy kernel rely on, in the release installed here."""

from __future__ import annotations

import inspect
import os
import time

import ipykernel
import pytest
from ipykernel.comm.comm import BaseComm
from ipykernel.kernelbase import Kernel
from jupyter_client.manager import KernelManager

MAJOR, MINOR = ipykernel.version_info[:2]
BUSY = """
import threading
from ipywidgets import Button
from uv_argo_magic.renderers import widget_events
button, clicked = Button(), threading.Event()
widget_events.hear_at_once(button, clicked.set)
print(button.comm.comm_id, flush=True)
for _ in range(100):
    if clicked.wait(0.1) or widget_events.waiting(button, get_ipython().kernel):
        print("clicked", flush=True)
        break
"""


def test_the_parts_of_ipykernel_that_clicks_rely_on_are_there():
    if MAJOR < 7:
        assert {"msg_queue", "shell_stream"} <= set(Kernel.class_trait_names()) | set(vars(Kernel))
    if (MAJOR, MINOR) >= (7, 4):
        assert list(inspect.signature(BaseComm._reply_subshell_for).parameters) == ["self", "data", "default"]
        assert '"_reply_subshell_for"' in inspect.getsource(inspect.getmodule(Kernel))


@pytest.fixture
def client():
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(os.environ))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


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


def test_a_click_reaches_a_cell_that_blocks(client):
    client.execute(BUSY)
    comm_id = printed(client)
    click = {"method": "custom", "content": {"event": "click"}}
    message = client.session.msg("comm_msg", {"comm_id": comm_id, "data": click})
    client.shell_channel.send(message)
    started = time.monotonic()
    assert printed(client) == "clicked"
    assert time.monotonic() - started < 5
