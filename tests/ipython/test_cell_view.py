"""The panel before a run starts: shown, stopped, interrupted, and closed if no run follows."""

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
    """A run that supports weak references, which a SimpleNamespace does not."""


class RecordingSession:
    """A session that records the messages of a cell."""

    def __init__(self):
        self.plain = []

    def send(self, _socket, _kind, content, **_):
        self.plain.append(content.get("data", {}).get("text/plain"))


@pytest.fixture
def displays(monkeypatch):
    """The text/plain of each display of a cell."""
    displays = []
    monkeypatch.setattr(cell_view, "FIRST", 0.0)
    monkeypatch.setattr(
        "uv_argo_magic.renderers.cell_output.OutputSink.publish",
        lambda _, data, metadata, **more: displays.append(data.get("text/plain")),
    )
    return displays


@pytest.fixture
def notebook(monkeypatch):
    """The shell of a notebook whose kernel does not allow reading its messages."""
    publisher = SimpleNamespace(session=RecordingSession(), pub_socket=object())
    request = {"content": {"allow_stdin": True, "code": "%%argo"}, "header": {"msg_id": "m", "session": "s"}}
    return SimpleNamespace(
        kernel=object(), display_pub=publisher, get_parent=lambda: request, custom_exceptions=(Exception,)
    )


def wait_until_cancelled(cancelled):
    assert cancelled.wait(60)
    raise Cancelled("Cancelled.")


def stop_button(view):
    (panel,) = [renderer for renderer in view._views if isinstance(renderer, WidgetPanel)]
    return panel._live and panel._live._button


def test_panel_is_shown_from_resolution_to_the_end(notebook, displays):
    view = CellView(notebook, Settings(), "r1", is_detached=False)
    is_visible = threading.Event()

    def resolve(_):
        assert is_visible.wait(60)
        return PREPARED

    threading.Thread(target=lambda: (until(lambda: "argo Pending" in displays), is_visible.set())).start()
    assert view.prepare(resolve) is PREPARED
    assert displays == ["argo Pending", ""]
    state = fold([ev.Preparing(t=1.0), ev.Submitted(name="n", location="", t=2.0)], RunState(run="r1"))
    ended_state = fold([ev.Exited(boot="b", n=1, t=5.0, reason="ok")], state)
    run = Run(id="r1", name="n", state=ended_state, lock=lambda: PREPARED.resolution, follow=lambda *renderers, **_: [
        renderer.update(ended_state) for renderer in renderers
    ])  # fmt: skip
    assert view.follow(run, PREPARED)
    assert displays == ["argo Pending", "", "argo Succeeded", ""]
    view.abandon()
    assert len(displays) == 4


def test_stop_button_cancels_resolution(notebook, displays):
    view = CellView(notebook, Settings(), "r1", is_detached=False)
    threading.Thread(target=lambda: (until(lambda: stop_button(view)), stop_button(view).click())).start()
    with pytest.raises(Stopped, match="stopped by the Stop button"):
        view.prepare(wait_until_cancelled)
    assert displays[-2:] == ["argo Stopped", ""]
    view.abandon()
    assert displays[-2:] == ["argo Stopped", ""]


def test_interrupt_cancels_resolution(notebook, displays, monkeypatch):
    view = CellView(notebook, Settings(), "r1", is_detached=False)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "_show", interrupt)
    view._is_shown = False
    with pytest.raises(KeyboardInterrupt, match="stopped by an interrupt"):
        view.prepare(wait_until_cancelled)
    assert displays == []


def test_failed_resolution_is_shown_in_the_panel(notebook, displays):
    view = CellView(notebook, Settings(), "r1", is_detached=False)

    def fail(_):
        until(lambda: displays)
        raise ResolutionError("No versions fit.")

    with pytest.raises(ResolutionError):
        view.prepare(fail)
    view.abandon()
    assert displays[-2:] == ["argo NotStarted", ""]


def test_without_a_live_panel_resolution_runs_directly(displays):
    view = CellView(SimpleNamespace(), Settings(panel="none"), "r1", is_detached=True)
    assert view.prepare(lambda _: PREPARED) is PREPARED
    assert not view.is_detached
    view.abandon()
    assert displays == []


def test_request_during_resolution_takes_over_the_run(notebook, displays):
    view = CellView(notebook, Settings(), "r1", is_detached=False)
    request = view._request | {"metadata": {"cellId": "c"}}
    view._request = request
    repeated = SimpleNamespace(
        id="m2", session="other", metadata={"cellId": "c"}, content={"code": request["content"]["code"]}
    )
    view._take_note(repeated, 0)
    assert not view._is_moved.is_set()
    run = Run(id="r1", name="n", state=RunState(run="r1"), lock=lambda: None, follow=lambda *_, **__: None)
    assert not view.follow(run, PREPARED)
    assert view.is_left
    assert reconnect.find({"header": {"msg_id": "m2"}}).run is run
