"""--detach and attach in a real kernel: each message in the cell that it belongs to, whichever cell runs meanwhile."""

from __future__ import annotations

import os
import queue
import threading
import time
from types import SimpleNamespace

import pytest
from jupyter_client.manager import KernelManager
from support.waiting import until

from uv_argo_magic import config
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import values
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.core.view import ansi
from uv_argo_magic.engine import run as engine
from uv_argo_magic.errors import BackendError, BackendUnavailable, CellFailed, SpecError, Stopped
from uv_argo_magic.notebook import background
from uv_argo_magic.testing import FakeBackend, play, write


class Kernel:
    """A kernel, and what it published: (the cell's first line, message type, content), in order."""

    def __init__(self, home):
        self.manager = KernelManager()
        self.manager.start_kernel(env=os.environ | {"UV_ARGO_HOME": str(home)})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.cells, self.seen = {}, []

    def run(self, code, *, stdin=True):
        asked = self.client.execute(code, allow_stdin=stdin, stop_on_error=False)
        self.cells[asked] = code.split("\n")[0]
        while True:  # late answers to the client's first questions come by the same way
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == asked:
                return reply["content"]

    def until(self, wanted, seconds=60):
        """The first message that `wanted` accepts: of those that came, or the next that come."""
        for one in self.seen:
            if wanted(*one):
                return one
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=0.5)
            except queue.Empty:
                continue
            cell = self.cells.get(message["parent_header"].get("msg_id"), "")
            self.seen.append((cell, message["msg_type"], message["content"]))
            if wanted(*self.seen[-1]):
                return self.seen[-1]
        raise AssertionError(f"it never came; seen: {[(cell, kind) for cell, kind, _ in self.seen]}")

    def text(self, cell, name="stdout"):
        return "".join(
            content["text"]
            for at, kind, content in self.seen
            if (at, kind) == (cell, "stream") and content["name"] == name
        )


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    one = Kernel(tmp_path_factory.mktemp("home"))
    one.run("%load_ext uv_argo_magic")
    yield one
    one.client.stop_channels()
    one.manager.shutdown_kernel(now=True)


SLOW = "%%argo --detach -o slow --pull total"


def test_output_lands_in_its_own_cell_while_others_run(kernel):
    began = kernel.run(
        f"{SLOW}\nimport time\nfor i in range(3):\n    print('line', i); time.sleep(0.3)\ntotal = 5\n6 * 7"
    )
    assert began["status"] == "ok"
    assert kernel.run("print('another', slow.status)")["status"] == "ok"
    assert kernel.run("%argo attach")["status"] == "ok"
    assert kernel.run("assert 'total' not in globals(); slow.result(), total")["status"] == "ok"
    kernel.until(lambda cell, kind, content: cell == SLOW and content.get("data", {}).get("text/plain") == "42")
    empty = {"text/html": "", "text/plain": ""}
    kernel.until(lambda cell, kind, content: (cell, kind, content.get("data")) == (SLOW, "update_display_data", empty))
    lines = "line 0\nline 1\nline 2\n"
    assert kernel.text(SLOW) == lines
    assert kernel.text("%argo attach") in {lines, ""}
    assert kernel.text("print('another', slow.status)").startswith("another ")
    kinds = [
        (kind, set(content["data"])) for cell, kind, content in kernel.seen if cell == SLOW and kind.endswith("_data")
    ]
    form, live = {"text/html", "text/plain"}, {"application/vnd.jupyter.widget-view+json", "text/plain"}
    assert kinds[:2] == [("display_data", form), ("display_data", live)]
    assert ("update_display_data", form) in kinds
    _, _, bound = kernel.until(lambda cell, kind, _: "assert" in cell and kind == "execute_result")
    assert bound["data"]["text/plain"] == "({'total': 5}, 5)"


BAD = "%%argo --detach -o bad"


@pytest.fixture(scope="module")
def error(kernel):
    """The error that a run of this kernel ended with; the kernel calls the run `bad`."""
    assert kernel.run(f"{BAD}\nprint('before')\n1 / 0")["status"] == "ok"
    return kernel.until(lambda cell, kind, _: (cell, kind) == (BAD, "error"))[2]


def test_its_error_is_its_cells_and_is_raised_when_the_result_is_asked_for(kernel, error):
    assert error["ename"] == "ZeroDivisionError"
    # Between its letters stand the colours of IPython.
    assert "1 / 0" in ansi.strip("\n".join(error["traceback"]))
    raised = kernel.run("bad.result()")
    assert (raised["status"], raised["ename"]) == ("error", "ZeroDivisionError")


def test_a_run_that_ended_is_shown_again_from_the_history(kernel, error):
    kernel.seen.clear()
    assert kernel.run("wanted = bad.id")["status"] == "ok"
    assert kernel.run("%argo attach $wanted")["status"] == "ok"
    kernel.until(lambda cell, kind, content: cell == "%argo attach $wanted" and content.get("name") == "stderr")
    (panel,) = [content for _, kind, content in kernel.seen if kind == "display_data"]
    assert panel["data"]["text/plain"] == "argo Failed (ZeroDivisionError)"
    assert kernel.text("%argo attach $wanted") == "before\n"
    assert "ZeroDivisionError" in kernel.text("%argo attach $wanted", "stderr")
    assert "1 / 0" in ansi.strip(kernel.text("%argo attach $wanted", "stderr"))


BLOCKED = "%%argo --detach -o waited"


def test_where_nobody_would_see_it_the_cell_waits(kernel):
    kernel.seen.clear()
    assert kernel.run(f"{BLOCKED}\nimport time; time.sleep(0.5); print('done')", stdin=False)["status"] == "ok"
    kernel.run("print('next')")
    kernel.until(lambda cell, kind, _: (cell, kind) == ("print('next')", "stream"))
    assert kernel.text(BLOCKED) == "done\n"
    texts = [content["data"]["text/plain"] for cell, kind, content in kernel.seen if kind == "display_data"]
    assert "cannot show output later" in texts[0]


STOPPED = "%%argo --detach -o stopped"


def test_stop_from_another_cell_keeps_the_output_and_raises_stopped(kernel):
    kernel.seen.clear()
    kernel.run(f"{STOPPED}\nprint('so far', flush=True)\nimport time; time.sleep(1000)")
    kernel.until(lambda cell, kind, _: (cell, kind) == (STOPPED, "stream"))
    assert kernel.run("%argo stop")["status"] == "ok"
    ended = "argo Stopped"
    kernel.until(lambda cell, _, content: (cell, content.get("data", {}).get("text/plain")) == (STOPPED, ended))
    assert kernel.run("stopped.result()")["ename"] == Stopped.__name__
    assert kernel.run("%argo attach")["status"] == "ok"
    kernel.until(lambda cell, kind, _: (cell, kind) == ("%argo attach", "stream"))
    assert (kernel.text("%argo attach"), kernel.text("%argo attach", "stderr")) == ("so far\n", "")


CAPTURE = "%%capture captured"


def test_under_capture_the_cell_waits_and_all_of_it_is_captured(kernel):
    kernel.seen.clear()
    cell = f"{CAPTURE}\n%%argo --detach\nimport sys, time\nprint('out')\nprint('err', file=sys.stderr)\ndisplay(1)\n2"
    assert kernel.run(cell)["status"] == "ok"
    assert (
        kernel.run("assert (captured.stdout, captured.stderr) == ('out\\n', 'err\\n'), captured.stderr")["status"]
        == "ok"
    )
    texts = "[output.data['text/plain'] for output in captured.outputs]"
    expected = (
        "['--detach ignored: this front end cannot show output later, so the cell waits.', '1', '2', 'argo Succeeded']"
    )
    assert kernel.run(f"assert {texts} == {expected}, {texts}")["status"] == "ok"
    assert {kind for cell, kind, _ in kernel.seen if cell == CAPTURE} <= {"status", "execute_input"}


@pytest.mark.parametrize(
    ("panel", "stdin", "refused"),
    [("auto", True, False), ("static", True, True), ("text", True, True), ("auto", False, True), ("none", True, False)],
)
def test_who_can_be_left_alone(panel, stdin, refused):
    parent = {"content": {"allow_stdin": stdin}}
    publisher = SimpleNamespace(session=object(), pub_socket=object())
    shell = SimpleNamespace(kernel=object(), display_pub=publisher, get_parent=lambda: parent)
    assert bool(background.why_not(shell, Settings(panel=panel))) is refused
    assert "needs a notebook" in background.why_not(SimpleNamespace(), Settings())
    captured = SimpleNamespace(kernel=object(), display_pub=SimpleNamespace(), get_parent=lambda: parent)
    assert "cannot show output later" in background.why_not(captured, Settings())


HALF = "%%argo -o halved"


def test_half_an_emoji_arrives_escaped_and_loses_nothing(kernel):
    """In stdout, stderr, a display, the result, and an exception's message and notes."""
    kernel.seen.clear()
    code = """
import sys
half = "\\ud83d"
print("out", half); print("err", half, file=sys.stderr)
display({"text/plain": half, "text/html": f"<b>{half}</b>"}, metadata={half: half}, raw=True)
print("after")
class Half:
    def __repr__(self):
        return "result " + half
Half()
"""
    assert kernel.run(HALF + code)["status"] == "ok"
    shown = kernel.until(lambda cell, kind, content: kind == "execute_result")[2]
    assert shown["data"]["text/plain"] == "result \\ud83d"
    assert kernel.text(HALF) == "out \\ud83d\nafter\n"
    assert kernel.text(HALF, "stderr") == "err \\ud83d\n"
    displays = [content for _, kind, content in kernel.seen if kind == "display_data"]
    (display,) = [content for content in displays if content["data"].get("text/plain") == "\\ud83d"]
    assert display["data"]["text/html"] == "<b>\\ud83d</b>"
    raised = kernel.run(f"{HALF}\nerror = ValueError('bad \\ud83d'); error.__notes__ = ['note \\ud83d']\nraise error")
    assert (raised["ename"], raised["evalue"]) == ("ValueError", "bad \\ud83d")
    assert kernel.run("%argo last")["status"] == "ok"


STUBBORN = "%%argo"
GATE = """import threading
from uv_argo_magic.backends import base
from uv_argo_magic.notebook import background
local, gate = base.load("local"), threading.Event()
def stop(name, real=local.stop):
    gate.wait(60)
    real(name)
local.stop = stop
"""


def test_a_stopped_cell_is_free_and_its_panel_tells_the_end(kernel):
    kernel.seen.clear()
    assert kernel.run(GATE)["status"] == "ok"
    asked = kernel.client.execute(f"{STUBBORN}\nimport time\nprint('on', flush=True)\ntime.sleep(1000)")
    kernel.cells[asked] = STUBBORN
    kernel.until(lambda cell, kind, _: (cell, kind) == (STUBBORN, "stream"))
    kernel.manager.interrupt_kernel()
    while (reply := kernel.client.get_shell_msg(timeout=30))["parent_header"].get("msg_id") != asked:
        pass
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    check = "assert sum(not one.state.ended for one in background.RUNS.values()) == 1; gate.set(); del local.stop"
    while (status := kernel.run(check)["status"]) == "aborted":  # the kernel still drops what came with the interrupt
        pass
    assert status == "ok"
    ended = "argo Stopped"
    kernel.until(lambda cell, _, content: (cell, content.get("data", {}).get("text/plain")) == (STUBBORN, ended))


class Follows:
    """A run of this kernel that another thread ends."""

    def __init__(self):
        self.id, self.state, self.settings = "r9", play("out\n"), Settings(panel="none")
        self.name = "fake-1"
        self.over = threading.Event()
        self.problem = None

    def lock(self):
        return None

    def follow(self, *shown):
        self.over.wait(60)
        for one in shown:
            one.update(self.state)

    def raise_for_state(self):
        if self.problem:
            raise self.problem


class Sent:
    def __init__(self):
        self.sent = []

    def send(self, _socket, kind, content, *, parent, ident):
        self.sent.append((kind, content, parent))


@pytest.mark.parametrize("problem", [None, Stopped("s"), CellFailed("no")])
def test_a_view_ends_with_its_run_and_shows_only_failures(problem):
    sent = Sent()
    parent = {"header": {"msg_id": "first"}}
    display = SimpleNamespace(session=sent, pub_socket=object())
    shell = SimpleNamespace(kernel=object(), display_pub=display, get_parent=lambda: parent)
    run = Follows()
    run.problem = problem
    thread = background.show(run, shell, Settings(panel="none"))
    assert background.RUNS["r9"] is run
    run.state = play(
        write("more\n", ("result", {"data": {"text/plain": "1"}}), ("clear", {}), ("exit", {"reason": "ok"}))
    )
    run.over.set()
    thread.join(60)
    assert not thread.is_alive()
    assert all(one[2] is parent for one in sent.sent)
    kinds = [kind for kind, *_ in sent.sent]
    assert ("error" in kinds) is isinstance(problem, CellFailed)
    assert {"stream", "clear_output"} <= set(kinds)


def test_a_run_of_another_kernel_is_named(shell):
    entry = SimpleNamespace(
        id="elsewhere",
        live=True,
        unseen=False,
        summary=None,
        backend="local",
        note=lambda _: "local-1",
        spec=lambda: None,
    )
    history = SimpleNamespace(read=lambda: SimpleNamespace(find=lambda _: entry))
    with pytest.raises(SpecError, match="elsewhere runs in another kernel") as caught:
        background.attach("elsewhere", shell, history, "", config.configure(()))
    assert "%argo stop elsewhere" in caught.value.hint


class Endless(FakeBackend):
    """A backend whose run ends when the test lets it, whatever it was asked."""

    def __init__(self):
        super().__init__()
        self.over = threading.Event()

    def watch(self, name):
        self.over.wait(60)
        yield "last words\n"


class Impatient:
    """A renderer that is interrupted so many times."""

    def __init__(self, times):
        self.times = times

    def update(self, state):
        if self.times:
            self.times -= 1
            raise KeyboardInterrupt


class Fragile:
    """A renderer that fails at the first state, and counts the others."""

    def __init__(self):
        self.calls = 0

    def update(self, state):
        self.calls += 1
        if self.calls == 1:
            raise ValueError("not yet")


def test_a_renderer_that_fails_once_is_reported_and_goes_on(capsys):
    run = started(FakeBackend(["one\n", write(("exit", {"reason": "ok"}))]))
    fragile = Fragile()
    run.follow(fragile, fragile)
    assert fragile.calls >= 2
    assert capsys.readouterr().err.count("Cannot update the view of the run") == 1


def started(backend):
    name = backend.submit(SimpleNamespace(nonce="n"), RunSpec(cell=""), "r1").name
    submitted = ev.Submitted(name=name, location="nowhere", t=1.0)
    return engine.Run(backend, run_id="r1", submitted=submitted, nonce="n", settings=Settings())


def test_a_second_interrupt_leaves_at_once_and_says_what_is_left(capsys):
    backend = Endless()
    run = started(backend)
    with pytest.raises(KeyboardInterrupt):
        run.follow(Impatient(2))
    assert not run.state.ended
    until(lambda: backend.stopped == [run.name])
    stderr = capsys.readouterr().err
    assert f"{run.id} has not ended yet. To request a stop again: uv-argo stop {run.id}\n" in stderr
    assert f"To stop it without uv-argo-magic:\n    true {run.name}\n" in stderr
    backend.over.set()
    assert run.wait(60).outcome == "Stopped"


@pytest.mark.parametrize("how", ["interrupt", "button"])
def test_a_stopped_cell_is_free_before_its_run_has_ended(how, capsys):
    backend = Endless()
    run = started(backend)
    views = []
    first = Impatient(1 if how == "interrupt" else 0)
    if how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            run.follow(first, hand_over=lambda: views.append(threading.Thread(target=run.follow, args=(first,))))
    else:
        threading.Timer(0.1, run.ask_to_stop, ("the Stop button",)).start()
        run.follow(first, hand_over=lambda: views.append(threading.Thread(target=run.follow, args=(first,))))
        with pytest.raises(Stopped, match="is being stopped by the Stop button") as caught:
            run.raise_for_state()
        assert caught.value.hint
    assert not run.state.ended
    assert backend.stopped == [run.name]
    assert capsys.readouterr().err == ""
    (view,) = views
    view.start()
    backend.over.set()
    view.join(60)
    assert (run.state.outcome, run.logs()) == ("Stopped", "last words\n")


def test_a_second_interrupt_of_a_handed_over_run_says_what_is_left_as_well(capsys):
    run = started(Endless())
    views = []
    with pytest.raises(KeyboardInterrupt):
        run.follow(Impatient(2), hand_over=lambda: views.append(1))
    assert views == [1]
    assert "To stop it without uv-argo-magic" in capsys.readouterr().err
    run._backend.over.set()


@pytest.mark.parametrize(("problem", "asked"), [(BackendUnavailable("away"), 3), (BackendError("you may not"), 1)])
def test_a_place_that_does_not_answer_is_asked_again(problem, asked, monkeypatch):
    monkeypatch.setattr(engine, "ASK_AGAIN", 0.01)
    backend = Endless()
    tries = []

    def stop(name):
        tries.append(name)
        if len(tries) < 3:
            raise problem

    backend.stop = stop
    run = started(backend)
    run.ask_to_stop("a test")
    until(lambda: len(tries) == asked)
    backend.over.set()
    assert f"Could not stop the run: {problem}." in run.wait(60).notes
    assert run.state.notes == (f"Could not stop the run: {problem}.",)
    assert len(tries) == asked


def test_one_interrupt_waits_for_the_last_words(capsys):
    backend = Endless()
    run = started(backend)
    threading.Timer(0.2, backend.over.set).start()
    with pytest.raises(KeyboardInterrupt):
        run.follow(Impatient(1))
    assert (run.state.outcome, run.logs(), capsys.readouterr().err) == ("Stopped", "last words\n", "")


def test_several_views_in_several_threads_see_the_same_end():
    backend = Endless()
    run = started(backend)
    ends = []
    views = [threading.Thread(target=lambda: ends.append(run.follow(SimpleNamespace(update=str)))) for _ in range(3)]
    for view in views:
        view.start()
    backend.over.set()
    for view in views:
        view.join(60)
    assert [state.outcome for state in ends] == ["Lost"] * 3


def test_the_result_binds_what_was_pulled():
    run = started(Endless())
    bound = {}
    run._hooks = engine.Hooks(bind=bound.update)
    run._state = play(write(("value", {"name": "x", "body": values.encode("x", 5, 99)}), ("exit", {"reason": "ok"})))
    run._ended.set()
    run._backend.over.set()
    assert run.result(0) == {"x": 5} == bound


VALUE = "%%argo --detach -o valued"


def test_the_value_of_a_detached_cell_can_be_had(kernel):
    kernel.seen.clear()
    assert kernel.run(f"{VALUE}\n[6, 7]")["status"] == "ok"
    check = "shown = valued.value(); assert (repr(shown), valued.result()) == ('[6, 7]', {}), shown"
    assert kernel.run(check)["status"] == "ok"
    assert kernel.run(f"{VALUE} --pull _\n[6, 7]")["status"] == "ok"
    assert (
        kernel.run("_before = _; assert valued.value() == [6, 7], valued.value(); assert _ is _before")["status"]
        == "ok"
    )
    assert kernel.run(f"{VALUE}\nx = 1")["status"] == "ok"
    assert kernel.run("assert valued.value() is None")["status"] == "ok"
