"""Running a cell again from another page takes over its run, in a real kernel; from the same page, it does not."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session
from support.waiting import LIMIT, until

from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.notebook import reconnect


class Pages:
    """A kernel with two pages, each with its own session."""

    def __init__(self, home):
        self.manager = KernelManager()
        self.manager.start_kernel(env=os.environ | {"UV_ARGO_HOME": str(home)})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.sessions = [self.client.session, Session(key=self.client.session.key)]
        self.replies, self.texts, self.plain = {}, {}, {}

    def run(self, page, code, cell):
        """Send a cell, and return the ID of the request."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": True, "stop_on_error": False}  # fmt: skip
        message = self.sessions[page].msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def until(self, is_wanted, seconds=LIMIT):
        """Read messages until `is_wanted()` is true."""

        def is_true():
            self.read()
            return is_wanted()

        until(is_true, lambda: (self.replies, self.texts, self.plain), seconds=seconds)

    def read(self):
        """Read all messages received so far."""
        for channel in (self.client.iopub_channel, self.client.shell_channel):
            while channel.msg_ready():
                message = channel.get_msg(timeout=0)
                request_id, content = message["parent_header"].get("msg_id"), message["content"]
                if message["msg_type"] == "execute_reply":
                    self.replies[request_id] = content["status"]
                elif message["msg_type"] == "stream":
                    self.texts[request_id] = self.texts.get(request_id, "") + content["text"]
                elif "text/plain" in content.get("data", {}):
                    self.plain.setdefault(request_id, []).append(content["data"]["text/plain"])

    def wait_for_replies(self, *request_ids):
        self.until(lambda: all(request_id in self.replies for request_id in request_ids))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    instance = Pages(tmp_path_factory.mktemp("home"))
    instance.wait_for_replies(instance.run(0, "%load_ext uv_argo_magic", "load"))
    yield instance
    instance.client.stop_channels()
    instance.manager.shutdown_kernel(now=True)


@pytest.fixture
def cell(tmp_path):
    """A cell that waits before its end for the file `gate`."""
    gate = tmp_path / "gate"
    yield SimpleNamespace(
        gate=gate,
        text=f"%%argo\nimport os, time\nprint('begun', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\nprint('ended')\n6 * 7",
    )
    gate.touch()


def test_another_page_takes_over_the_run_with_all_output(pages, cell):
    first = pages.run(0, cell.text, "a")
    pages.until(lambda: "begun" in pages.texts.get(first, ""))
    second = pages.run(1, cell.text, "a")
    pages.wait_for_replies(first)  # before the run ends
    pages.until(lambda: "begun" in pages.texts.get(second, ""))
    assert pages.replies[first] == "ok"
    cell.gate.touch()
    pages.wait_for_replies(second)
    pages.until(lambda: "42" in pages.plain[second])
    assert pages.texts[second] == "begun\nended\n"
    assert pages.texts[first] == "begun\n"
    assert any(text.startswith("Showing the run ") for text in pages.plain[second])
    assert "42" not in pages.plain[first]


def test_same_page_starts_a_second_run(pages, cell):
    first = pages.run(0, cell.text, "b")
    pages.until(lambda: "begun" in pages.texts.get(first, ""))
    second = pages.run(0, cell.text, "b")
    cell.gate.touch()
    pages.wait_for_replies(first, second)
    pages.until(lambda: pages.texts.get(second) == "begun\nended\n")
    assert pages.texts[first] == "begun\nended\n"
    assert not any(text.startswith("Showing the run ") for text in pages.plain[second])


def test_queued_cells_run_before_the_run_is_taken_over(pages, cell):
    first = pages.run(0, cell.text, "c")
    pages.until(lambda: "begun" in pages.texts.get(first, ""))
    other = pages.run(0, "print('other')", "d")
    second = pages.run(1, cell.text, "c")
    with pytest.raises(AssertionError):
        pages.until(lambda: first in pages.replies, seconds=1)
    cell.gate.touch()
    pages.wait_for_replies(first, other, second)
    pages.until(lambda: pages.texts.get(second) == "begun\nended\n")
    assert any(text.startswith("Showing the run ") for text in pages.plain[second])


def test_detached_run_is_taken_over(pages, cell):
    text = cell.text.replace("%%argo", "%%argo --detach")
    first = pages.run(0, text, "e")
    pages.wait_for_replies(first)
    second = pages.run(1, text, "e")
    pages.wait_for_replies(second)
    cell.gate.touch()
    pages.until(lambda: pages.texts.get(second) == "begun\nended\n")
    pages.until(lambda: pages.texts.get(first) == "begun\nended\n")
    assert any(text.startswith("Showing the run ") for text in pages.plain[second])


def request(cell="x", code="1", page="p", number="m"):
    return {"header": {"msg_id": number, "session": page}, "metadata": {"cellId": cell}, "content": {"code": code}}


def test_last_run_of_each_cell_is_remembered():
    run = SimpleNamespace(state=RunState())
    assert reconnect.remember({}, run, None) is None
    assert reconnect.remember(request(cell=""), run, None) is None
    started = reconnect.remember(request(), run, None)
    assert reconnect.find({}) is None
    assert reconnect.find(request()) is None
    assert reconnect.find(request(page="q")) is started
    assert reconnect.find(request(page="q", code="2")) is None
    run.state = RunState(phase="ended")
    assert reconnect.find(request(page="q")) is None
    for number in range(reconnect.KEPT):
        reconnect.remember(request(cell=f"x{number}"), run, None)
    assert len(reconnect._last) == reconnect.KEPT
    assert reconnect.current_request(SimpleNamespace()) == {}
