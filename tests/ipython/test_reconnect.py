"""A cell that is run again from another page takes its run over, in a real kernel; from the same page it does not."""

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
    """A kernel with two pages: each sends requests under a session of its own."""

    def __init__(self, home):
        self.manager = KernelManager()
        self.manager.start_kernel(env=os.environ | {"UV_ARGO_HOME": str(home)})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.sessions = [self.client.session, Session(key=self.client.session.key)]
        self.replies, self.texts, self.plain = {}, {}, {}

    def run(self, page, code, cell):
        """Ask for a cell; the id of the request."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": True, "stop_on_error": False}  # fmt: skip
        message = self.sessions[page].msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def until(self, wanted, seconds=LIMIT):
        """Read messages until `wanted` is true."""

        def is_true():
            self.read()
            return wanted()

        until(is_true, lambda: (self.replies, self.texts, self.plain), seconds=seconds)

    def read(self):
        """Read every message that has come."""
        for channel in (self.client.iopub_channel, self.client.shell_channel):
            while channel.msg_ready():
                message = channel.get_msg(timeout=0)
                asked, content = message["parent_header"].get("msg_id"), message["content"]
                if message["msg_type"] == "execute_reply":
                    self.replies[asked] = content["status"]
                elif message["msg_type"] == "stream":
                    self.texts[asked] = self.texts.get(asked, "") + content["text"]
                elif "text/plain" in content.get("data", {}):
                    self.plain.setdefault(asked, []).append(content["data"]["text/plain"])

    def ended(self, *asked):
        self.until(lambda: all(one in self.replies for one in asked))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    made = Pages(tmp_path_factory.mktemp("home"))
    made.ended(made.run(0, "%load_ext uv_argo_magic", "load"))
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


@pytest.fixture
def cell(tmp_path):
    """The text of a cell that waits at its end for `gate`."""
    gate = tmp_path / "gate"
    yield SimpleNamespace(
        gate=gate,
        text=f"%%argo\nimport os, time\nprint('begun', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\nprint('ended')\n6 * 7",
    )
    gate.touch()


def test_another_page_takes_the_run_over_and_gets_all_of_it(pages, cell):
    first = pages.run(0, cell.text, "a")
    pages.until(lambda: "begun" in pages.texts.get(first, ""))
    again = pages.run(1, cell.text, "a")
    pages.ended(first)  # at once: the run goes on
    pages.until(lambda: "begun" in pages.texts.get(again, ""))
    assert pages.replies[first] == "ok"
    cell.gate.touch()
    pages.ended(again)
    pages.until(lambda: "42" in pages.plain[again])
    assert pages.texts[again] == "begun\nended\n"
    assert pages.texts[first] == "begun\n"
    assert any(text.startswith("Showing the run ") for text in pages.plain[again])
    assert "42" not in pages.plain[first]


def test_the_same_page_starts_a_second_run(pages, cell):
    first = pages.run(0, cell.text, "b")
    pages.until(lambda: "begun" in pages.texts.get(first, ""))
    again = pages.run(0, cell.text, "b")
    cell.gate.touch()
    pages.ended(first, again)
    pages.until(lambda: pages.texts.get(again) == "begun\nended\n")
    assert pages.texts[first] == "begun\nended\n"
    assert not any(text.startswith("Showing the run ") for text in pages.plain[again])


def test_cells_that_wait_run_first_and_the_run_is_shown_when_it_is_their_turn(pages, cell):
    first = pages.run(0, cell.text, "c")
    pages.until(lambda: "begun" in pages.texts.get(first, ""))
    other = pages.run(0, "print('other')", "d")
    again = pages.run(1, cell.text, "c")
    with pytest.raises(AssertionError):
        pages.until(lambda: first in pages.replies, seconds=1)
    cell.gate.touch()
    pages.ended(first, other, again)
    pages.until(lambda: pages.texts.get(again) == "begun\nended\n")
    assert any(text.startswith("Showing the run ") for text in pages.plain[again])


def test_a_detached_run_is_taken_over_while_it_goes_on(pages, cell):
    text = cell.text.replace("%%argo", "%%argo --detach")
    first = pages.run(0, text, "e")
    pages.ended(first)
    again = pages.run(1, text, "e")
    pages.ended(again)
    cell.gate.touch()
    pages.until(lambda: pages.texts.get(again) == "begun\nended\n")
    pages.until(lambda: pages.texts.get(first) == "begun\nended\n")
    assert any(text.startswith("Showing the run ") for text in pages.plain[again])


def request(cell="x", code="1", page="p", number="m"):
    return {"header": {"msg_id": number, "session": page}, "metadata": {"cellId": cell}, "content": {"code": code}}


def test_what_is_remembered_of_cells():
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
