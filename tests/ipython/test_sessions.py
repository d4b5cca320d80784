"""Sessions in a notebook: commands, errors, interrupts and restarts of the kernel."""

from __future__ import annotations

import os
import re
import signal
import socket
from types import SimpleNamespace

import pytest
from support.kernel import Kernel
from support.session_notebook import end_all

from uv_argo_magic.core.view import ansi
from uv_argo_magic.notebook import late_output
from uv_argo_magic.sessions import workers


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_ARGO_HOME", str(folder))
        yield folder
        end_all()


@pytest.fixture(scope="module")
def kernels(home):
    """A function that starts kernels of one notebook."""
    started = []
    environ = {"UV_ARGO_PANEL": "none", "UV_ARGO_BACKEND": "local", "JPY_SESSION_NAME": str(home / "study.ipynb")}

    def start(**more):
        started.append(Kernel(environ | more))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()


@pytest.fixture(scope="module")
def kernel(kernels):
    return kernels()


def test_session_commands(kernel):
    assert "No session main to restart" in kernel.run("%argo restart").text
    kernel.run("%%argo -s\nnumbers = list(range(1000))")
    sessions = kernel.run("%argo sessions").text
    assert "main" in sessions
    assert "study.ipynb" in sessions
    assert "ends in" in sessions
    variables = kernel.run("%argo vars").text
    assert "numbers" in variables
    assert "8.1 kB" in variables
    assert "Session main ended. It starts again" in kernel.run("%argo restart main").text
    assert "restarts with its next cell" in kernel.run("%argo sessions").text
    assert "NameError" in kernel.run("%%argo -s\nnumbers").error
    kernel.run("%%argo -s\nn = 1")
    assert "Session main ended. Its variables are lost: n (int)." in kernel.run("%argo stop main").text
    assert "No sessions." in kernel.run("%argo sessions").text
    assert "session main not found" in kernel.run("%argo vars").error


def test_traceback_shows_lines_of_earlier_cells(kernel):
    kernel.run("%%argo -s\ndef divide(a):\n    return 1 / a")
    error = ansi.strip(kernel.run("%%argo -s\ndivide(0)").error)
    assert error.count("Cell In[") == 2
    assert "return" in error
    assert "/cells/" not in error


def test_interrupt_does_not_end_the_session(kernel):
    kernel.run("%%argo -s\nkept = 1")
    request = kernel.begin("%%argo -s\nimport time\nprint('begun')\ntime.sleep(1000)")
    kernel.finish(request, until="begun")
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in kernel.finish(request).error
    assert "1" in kernel.run("%%argo -s\nkept").text


def test_completion_uses_names_of_the_session(kernel):
    def matches(code):
        reply = kernel.client.complete(code, len(code), reply=True, timeout=60)["content"]
        return [code[: reply["cursor_start"]] + match for match in reply["matches"]]

    kernel.run("%%argo -s\ntheirs = {'alpha': [1], 'beta': 2}")
    kernel.run("theirs_here = 1")
    assert matches("%%argo -s\nthei") == ["%%argo -s\ntheirs"]
    assert matches("%%argo -s\nx = theirs.popi") == ["%%argo -s\nx = theirs.popitem"]
    assert matches("%%argo -s\ntheirs['al") == ["%%argo -s\ntheirs['alpha']"]
    assert matches("%%argo -s\ntheirs['alpha'].ext") == ["%%argo -s\ntheirs['alpha'].extend"]
    assert matches("%%argo -s\nother = 1\noth") == ["%%argo -s\nother = 1\nother"]
    assert "theirs_here" in matches("thei")


def test_invalid_session_names_are_rejected(kernel):
    assert "main" in kernel.run("%%argo -s --set run_timeout=5m\n'main'").text
    assert "invalid session name: 9 lives" in kernel.run('%%argo -s "9 lives"\n1').error
    assert "'my-model.2'" in kernel.run("%%argo -s my-model.2\n'my-model.2'").text
    assert "Session my-model.2 ended." in kernel.run("%argo stop my-model.2").text
    assert "invalid session name: an empty string" in kernel.run("%%argo --session=\n1").error
    assert "--restart needs --session" in kernel.run("%%argo --restart\n1").error


def test_next_kernel_rejoins_the_session_of_a_killed_kernel(kernels):
    first = kernels()
    first.run("%argo sessions --take main")
    request = first.begin("%%argo -s survivor\nimport time\nprint('begun')\ntime.sleep(0.5)\nleft = 'left'")
    first.finish(request, until="begun")
    first.close()
    second = kernels()
    assert "Lost" not in second.run("%argo runs").text
    while "begun" not in (attached := second.run("%argo attach").text):
        assert "Pending" in attached  # attach shows the output read so far
    assert "Lost" not in attached
    text = second.run("%%argo -s survivor\nleft").text
    assert "Rejoined session survivor" in text
    assert "'left'" in text


def test_session_can_be_taken_from_a_stopped_kernel(kernels):
    first, second = kernels(), kernels()
    name = "-s stopped"
    first.run(f"%%argo {name}\nx = 1")
    running = first.begin(f"%%argo {name}\nimport time\nfor i in range(8):\n    print('first', i); time.sleep(0.2)")
    first.finish(running, until="first 1")
    stopped = first.manager.provisioner.pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        error = second.run(f"%%argo {name}\nx").error
        assert f"another kernel uses the session stopped: process {stopped} on {socket.gethostname()}" in error
        assert "currently suspended" in error
        assert "%argo sessions --take stopped" in error
        second.run("%argo sessions --take stopped")
        result = second.run(f"%%argo {name}\nprint('second', x); x = 2")
        assert "second 1\n" in result.text
        assert "first" not in result.text
    finally:
        os.kill(stopped, signal.SIGCONT)
    first_text = first.finish(running).text
    assert "first 7\n" in first_text
    assert "second" not in first_text
    error_in_first = first.run(f"%%argo {name}\nx").error
    assert f"another kernel uses the session stopped: process {second.manager.provisioner.pid}" in error_in_first
    assert "currently suspended" not in error_in_first
    assert "2" in second.run(f"%%argo {name}\nx").text


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_session_of_a_killed_kernel_is_free(kernels, number):
    first, second = kernels(), kernels()
    first.run("%%argo -s killed\nx = 1")
    first.manager.provisioner.process.send_signal(number)
    first.manager.provisioner.process.wait(30)
    assert "1" in second.run("%%argo -s killed\nx").text
    second.run("%argo stop killed")


def test_session_without_interactive_front_end_ends_with_kernel(kernels):
    batch = kernels()
    batch.run("%%argo -s batch\nx = 1", stdin=False)
    assert "1" in batch.run("%%argo -s batch\nx", stdin=False).text
    batch.close()
    error = kernels().run("%%argo -s batch\nx").error
    assert "SessionLost" in error
    assert "the kernel has ended" in error


def test_input_prompts_in_the_notebook(kernel):
    request = kernel.begin("%%argo -s\nname = input('Name: ')\nprint('hello', name)")
    prompt = kernel.client.get_stdin_msg(timeout=60)
    assert (prompt["content"]["prompt"], prompt["content"]["password"]) == ("Name: ", False)
    kernel.client.input("Ada")
    assert "hello Ada" in kernel.finish(request).text
    error = kernel.run("%%argo -s\ninput()", stdin=False).error
    assert "StdinNotImplementedError" in error


def test_late_output_is_shown_in_its_cell(kernel):
    first = kernel.begin("%%argo -s\nimport threading\nthreading.Timer(0.2, print, ['late']).start()")
    kernel.finish(first)
    second = kernel.begin("%%argo -s\nimport time; time.sleep(0.5); print('second')")
    result = kernel.finish(second, others=(first,))
    assert "late" not in result.text
    assert "late" in kernel.others[first].text


BROKEN = """
class Broken:
    def _repr_svg_(self): raise ValueError("no picture")
    def __repr__(self): return "Broken()"
class Worse:
    def __repr__(self): raise RuntimeError("no text")
"""


def outcome(kernel, code):
    """The status of a cell, and its messages: type, text and exception."""
    messages = []

    def record(message):
        content = message["content"]
        if message["msg_type"] not in {"status", "execute_input"}:
            frames = [line for line in content.get("traceback", ()) if "Cell" in ansi.strip(line)]
            text = content.get("text") or content.get("data")
            messages.append((message["msg_type"], text, content.get("ename"), content.get("evalue"), len(frames)))

    reply = kernel.client.execute_interactive(code, output_hook=record, timeout=60)
    return reply["content"]["status"], messages


@pytest.mark.parametrize("line", ["%%argo", "%%argo -s"])
@pytest.mark.parametrize("last", ["Broken()", "Worse()", "display(Broken(), Worse())\nprint('after')"])
def test_failing_repr_has_the_same_output_as_in_a_plain_cell(kernel, line, last):
    plain = outcome(kernel, f"{BROKEN}{last}")
    assert "error" in [kind for kind, *_ in plain[1]]
    assert outcome(kernel, f"{line}{BROKEN}{last}") == plain


def test_traceback_of_a_display_in_a_thread_is_in_its_cell(kernel):
    first = kernel.begin(f"%%argo -s{BROKEN}import threading\nthreading.Timer(0.2, display, [Broken()]).start()")
    kernel.finish(first)
    kernel.finish(kernel.begin("%%argo -s\nimport time; time.sleep(0.5)"), others=(first,))
    assert "ValueError: no picture" in kernel.others[first].text
    assert "Broken()" in kernel.others[first].text


def test_end_of_a_session_is_announced_under_its_last_cell(kernel):
    kernel.run("%%argo -s short\n1")
    last = kernel.begin("%%argo -s short --set keep=4\n'the last'")
    kernel.finish(last)
    waiting = kernel.begin("import time; time.sleep(6)")
    kernel.finish(waiting, others=(last,))
    (first_type, first), (second_type, second) = kernel.others[last].messages
    assert (first_type, second_type) == ("display_data", "update_display_data")
    assert first["transient"]["display_id"] == second["transient"]["display_id"]
    assert re.fullmatch(r"Session short ends at \d\d:\d\d unless one of its cells .*", first["data"]["text/plain"])
    assert re.fullmatch(
        r"Session short ended at \d\d:\d\d: idle for 4 s\. %argo restart short .*", second["data"]["text/plain"]
    )
    assert "uv_argo" in first["metadata"]
    assert "idle for 4 s. Lost:" not in kernel.run("%%argo -s short\n1").text


def test_next_cell_removes_the_announced_end(monkeypatch):
    published = []

    class Sink:
        def __init__(self, shell):
            self.shell = shell

        def publish(self, data, metadata, *, transient, update):
            published.append((self.shell.name, data["text/plain"], transient["display_id"], update))

    monkeypatch.setattr(late_output, "CellSink", Sink)
    monkeypatch.setattr(late_output, "can_send_later", lambda shell: True)
    monkeypatch.setattr(workers, "show_late", None)
    monkeypatch.setattr(workers, "show_end", None)
    late_output.expect("run-1", SimpleNamespace(kernel=1, name="first"), "removed")
    event = {"event": "ending", "setting": "max_age", "reason": "", "session": "removed", "run": "run-1", "at": 0.0}
    workers._on_event(event)
    late_output.expect("run-2", SimpleNamespace(kernel=1, name="second"), "removed")
    (cell, text, display_id, update), removal = published
    assert (cell, update) == ("first", False)
    assert "by its max_age" in text
    assert removal == ("first", "", display_id, True)
    workers._on_event(event | {"run": "run-2"})
    assert published[2][0] == "second"
    workers._on_event(event | {"run": "of another kernel", "session": "other"})
    assert len(published) == 3
