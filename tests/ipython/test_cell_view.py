"""The panel before there is a run: shown, stopped, interrupted, and left behind where no run follows."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from support.waiting import until

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.resolution.lock import Lock, Target
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.errors import ResolutionError, Stopped
from uv_argo_magic.notebook import cell_view, reconnect
from uv_argo_magic.notebook.cell_view import CellView
from uv_argo_magic.renderers.panel import WidgetPanel
from uv_argo_magic.uv.runner import Cancelled

PREPARED = SimpleNamespace(
    spec=RunSpec(cell="1"), resolution=Lock(packages=(), target=Target(python="3.12.1")),
    interpreter=SimpleNamespace(image=""),
)  # fmt: skip


class Run(SimpleNamespace):
    """A run; other than of a SimpleNamespace, there are weak references to it."""


class Sent:
    """A session that keeps what a cell would show."""

    def __init__(self):
        self.plain = []

    def send(self, _socket, _kind, content, **_):
        self.plain.append(content.get("data", {}).get("text/plain"))


@pytest.fixture
def shown(monkeypatch):
    """What a notebook's cell shows, as its text/plain."""
    plain = []
    monkeypatch.setattr(cell_view, "FIRST", 0.0)
    monkeypatch.setattr(
        "uv_argo_magic.renderers.cell_output.OutputSink.publish",
        lambda _, data, metadata, **more: plain.append(data.get("text/plain")),
    )
    return plain


@pytest.fixture
def notebook(monkeypatch):
    """A shell of a notebook without a kernel that could be listened to."""
    publisher = SimpleNamespace(session=Sent(), pub_socket=object())
    request = {"content": {"allow_stdin": True, "code": "%%argo"}, "header": {"msg_id": "m", "session": "s"}}
    return SimpleNamespace(
        kernel=object(), display_pub=publisher, get_parent=lambda: request, custom_exceptions=(Exception,)
    )


def wait(cancelled):
    assert cancelled.wait(60)
    raise Cancelled("Cancelled.")


def stop_button(view):
    (panel,) = [one for one in view._views if isinstance(one, WidgetPanel)]
    return panel._live and panel._live._button


def test_the_panel_shows_while_packages_are_resolved_and_goes_on_with_the_run(notebook, shown):
    view = CellView(notebook, Settings(), "r1", is_detached=False)
    visible = threading.Event()

    def work(_):
        assert visible.wait(60)
        return PREPARED

    threading.Thread(target=lambda: (until(lambda: "argo Pending" in shown), visible.set())).start()
    assert view.prepare(work) is PREPARED
    assert shown == ["argo Pending", ""]
    state = fold([ev.Preparing(t=1.0), ev.Submitted(name="n", location="", t=2.0)], RunState(run="r1"))
    ended = fold([ev.Exited(boot="b", n=1, t=5.0, reason="ok")], state)
    run = Run(id="r1", name="n", state=ended, lock=lambda: PREPARED.resolution, follow=lambda *views, **_: [
        one.update(ended) for one in views
    ])  # fmt: skip
    assert view.follow(run, PREPARED)
    assert shown == ["argo Pending", "", "argo Succeeded", ""]
    view.abandon()
    assert len(shown) == 4


def test_stop_ends_the_work(notebook, shown):
    view = CellView(notebook, Settings(), "r1", is_detached=False)
    threading.Thread(target=lambda: (until(lambda: stop_button(view)), stop_button(view).click())).start()
    with pytest.raises(Stopped, match="stopped by the Stop button"):
        view.prepare(wait)
    assert shown[-2:] == ["argo Stopped", ""]
    view.abandon()
    assert shown[-2:] == ["argo Stopped", ""]


def test_an_interrupt_ends_the_work(notebook, shown, monkeypatch):
    view = CellView(notebook, Settings(), "r1", is_detached=False)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "_show", interrupt)
    view._is_shown = False
    with pytest.raises(KeyboardInterrupt, match="stopped by an interrupt"):
        view.prepare(wait)
    assert shown == []


def test_a_resolution_that_fails_leaves_a_panel_that_says_so(notebook, shown):
    view = CellView(notebook, Settings(), "r1", is_detached=False)

    def work(_):
        until(lambda: shown)
        raise ResolutionError("No versions fit.")

    with pytest.raises(ResolutionError):
        view.prepare(work)
    view.abandon()
    assert shown[-2:] == ["argo NotStarted", ""]


def test_where_nothing_is_live_the_work_is_done_at_once(shown):
    view = CellView(SimpleNamespace(), Settings(panel="none"), "r1", is_detached=True)
    assert view.prepare(lambda _: PREPARED) is PREPARED
    assert not view.is_detached
    view.abandon()
    assert shown == []


def test_a_request_that_came_before_the_run_gets_it(notebook, shown):
    view = CellView(notebook, Settings(), "r1", is_detached=False)
    request = view._request | {"metadata": {"cellId": "c"}}
    view._request = request
    again = SimpleNamespace(
        id="m2", session="other", metadata={"cellId": "c"}, content={"code": request["content"]["code"]}
    )
    view._take_note(again, 0)
    assert not view._left.is_set()
    run = Run(id="r1", name="n", state=RunState(run="r1"), lock=lambda: None, follow=lambda *_, **__: None)
    assert not view.follow(run, PREPARED)
    assert view.is_left
    assert reconnect.find({"header": {"msg_id": "m2"}}).run is run
