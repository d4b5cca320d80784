"""The panel in its forms, and which one a front end gets."""

from __future__ import annotations

from types import SimpleNamespace

import ipywidgets
import pytest

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import SpecError
from uv_argo_magic.renderers import panel
from uv_argo_magic.renderers.cell_output import CellOutput
from uv_argo_magic.renderers.choose import mode, renderers
from uv_argo_magic.renderers.terminal import PlainText
from uv_argo_magic.testing import play, states, write

EMPTY = {"text/html": "", "text/plain": ""}
WIDGET = "application/vnd.jupyter.widget-view+json"
EVIL = "<script>window.XSS=1</script>\"'><img src=x onerror=alert(1)>"


def log(x="", *, end=True):
    return [
        ev.Submitted(name="swift-otter" + x, location="ctx" + x, t=1000.0),
        ev.NodePhase(phase="Pending" + x, message=x),
        write(
            ("hello", {"protocol": 1, "python": "3.12.1" + x, "platform": x, "pid": 1}),
            ("phase", {"phase": "installing"}),
            ("uv", {"text": "Resolved\nPrepared " + x + "\n"}),
            ("installed", {"packages": [["six" + x, "1.17.0" + x]], "seconds": 0.5, "cached": False}),
            ("phase", {"phase": "running"}),
            ("note", {"text": "Mind this" + x}),
            f"line {x}\n",
            ("skipped", {"lines": 5, "bytes": 9, "path": x}),
            *([("error", {"error": {"ename": "E" + x, "evalue": x}}), ("exit", {"reason": "error"})] if end else []),
        ),
    ]


class Page:
    """What was published: (mime types, plain text, display id, update, metadata), and a clock that can be set."""

    def __init__(self, tick=1.0):
        self.sent, self.now, self.tick = [], 1000.0, tick

    def publish(self, data, metadata, *, transient, update):
        self.sent.append((data, metadata, transient["display_id"], update))

    def widgets(self):
        """What the widget's own display had: (data, update)."""
        shown = [one for one in self.sent if WIDGET in one[0]]
        return [(data, update) for data, _, display, update in self.sent if display in {one[2] for one in shown}]

    def clock(self):
        self.now += self.tick
        return self.now

    def given(self, **more):
        return {
            "publish": self.publish,
            "clock": self.clock,
            "metadata": lambda state: {"uv_argo": {"run": "r"}},
            **more,
        }


def feed(shown, run):
    for state in states(run):
        shown.update(state)
    shown.update(state)
    return shown


def test_static_is_exactly_one_display_at_the_end():
    page = Page()
    shown = panel.StaticPanel(**page.given())
    feed(shown, log(end=False))
    shown.redisplay()
    assert page.sent == []
    feed(shown, log())
    ((data, metadata, _, update),) = page.sent
    assert set(data) == {"text/html", "text/plain"}
    assert data["text/plain"] == "argo Failed (E): six==1.17.0"
    assert metadata == {"uv_argo": {"run": "r"}}
    assert update is False
    shown.redisplay()
    assert len(page.sent) == 2


def test_html_is_one_display_redrawn_and_never_more_than_ten_times_a_second():
    page = Page(tick=0.001)
    shown = panel.HtmlPanel(**page.given())
    shown.redisplay()
    running = play(log(end=False))
    for _ in range(1000):
        shown.update(running)
    assert len(page.sent) == 10
    shown.update(play(log()))
    shown.update(play(log()))
    assert len(page.sent) == 11
    assert [update for *_, update in page.sent] == [False] + [True] * 10
    assert len({display for _, _, display, _ in page.sent}) == 1
    assert {key for data, *_ in page.sent for key in data} == {"text/html", "text/plain"}
    shown.redisplay()
    assert page.sent[-1][3] is False


def test_the_widget_gives_way_to_the_static_form_and_is_closed():
    before = set(ipywidgets.widgets.widget._instances)
    page = Page()
    feed(panel.WidgetPanel(**page.given()), log())
    (live, _), (empty, is_update) = page.widgets()
    assert set(live) == {WIDGET, "text/plain"}
    assert live["text/plain"] == ""
    assert (empty, is_update) == (EMPTY, True)
    forms = [one for one in page.sent if one[0].get("text/html")]
    assert len({display for _, _, display, _ in forms}) == 1
    assert [update for *_, update in forms] == [False] + [True] * (len(forms) - 1)
    assert "This panel is not live" in forms[-2][0]["text/html"]
    assert "This panel is not live" not in forms[-1][0]["text/html"]
    assert page.sent.index(forms[0]) == 0
    assert page.sent[-1][0] == EMPTY
    left = [ipywidgets.widgets.widget._instances[key] for key in set(ipywidgets.widgets.widget._instances) - before]
    assert left == []


def test_a_background_panel_ends_as_one_widget_with_the_static_form():
    before = set(ipywidgets.widgets.widget._instances)
    page = Page()
    feed(panel.WidgetPanel(is_reloaded=lambda: True, **page.given()), log())
    (first, _), (empty, _) = page.widgets()
    assert empty == EMPTY
    left = {
        key: ipywidgets.widgets.widget._instances[key] for key in set(ipywidgets.widgets.widget._instances) - before
    }
    root = left[first[WIDGET]["model_id"]]
    (static,) = root.children
    assert "Failed" in static.value
    assert {type(widget).__name__ for widget in left.values()} <= {"VBox", "HTML", "Layout", "HTMLStyle"}
    for widget in left.values():
        widget.close()


def test_a_run_that_was_over_at_once_needs_no_widget():
    page = Page()
    panel.WidgetPanel(**page.given()).update(play(log()))
    assert [set(data) for data, *_ in page.sent] == [{"text/html", "text/plain"}]


def values(shown):
    live = shown._live
    parts = (live._badge, live._facts, live._phases, live._log, live._packages, live._tools, live._notes)
    return [part.value for part in parts]


def test_the_live_form_shows_what_is_known():
    shown = feed(panel.WidgetPanel(**Page().given()), log(end=False))
    badge, facts, phases, written, packages, _, notes = values(shown)
    assert "Running" in badge
    assert "#0969da" in badge
    assert "swift-otter" in phases
    assert "1 package" in facts
    assert "background-color:#0969da" in phases
    assert "Mind this" in notes
    assert "5 lines omitted" in notes
    assert "line" in written
    assert "1.17.0" in packages


def test_half_an_emoji_in_the_live_form_can_be_sent():
    shown = feed(panel.WidgetPanel(**Page().given()), log("\ud83d", end=False))
    for value in values(shown):
        value.encode()


def test_while_uv_works_its_last_line_shows():
    shown = panel.WidgetPanel(**Page().given())
    seen = []
    for state in states(log(end=False)):
        shown.update(state)
        seen.append(values(shown)[2])
    assert any("uv: Prepared" in summary for summary in seen)
    assert "uv: " not in seen[-1]


def test_no_string_of_others_becomes_markup_in_the_live_form():
    shown = panel.WidgetPanel(**Page().given())
    for state in states(log(EVIL, end=False)):
        shown.update(state)
        for value in values(shown):
            assert "<script" not in value
            assert "<img" not in value
            assert "XSS" not in value or "&lt;script&gt;" in value


def test_after_clearing_the_same_widget_is_shown_anew():
    page = Page()
    shown = feed(panel.WidgetPanel(**page.given()), log(end=False))
    shown.redisplay()
    shown_widgets = [one for one in page.sent if WIDGET in one[0]]
    (first, _, one, _), (again, _, other, update) = shown_widgets
    assert first[WIDGET] == again[WIDGET]
    assert one != other
    assert update is False
    (form, _, _, is_update), _ = page.sent[-2:]  # the static form stays right above the widget
    assert ("text/html" in form, is_update) == (True, False)


def test_stop_calls_once_and_then_says_so():
    calls = []
    shown = panel.WidgetPanel(on_stop=lambda: calls.append(1), **Page().given())
    feed(shown, log(end=False))
    button = shown._live._button
    assert (button.description, button.disabled) == ("Stop", False)
    button.click()
    button.click()
    assert calls == [1]
    shown.update(play(log(end=False)))
    assert button.disabled
    assert "Stopping" in shown._live._badge.value
    nobody = feed(panel.WidgetPanel(**Page().given()), log(end=False))
    nobody._live._button.click()
    assert nobody._live._button.description == "Stop"


def test_a_page_that_was_opened_later_can_have_the_output():
    opened = []
    shown = feed(panel.WidgetPanel(is_reloaded=lambda: bool(opened), **Page().given()), log(end=False))
    assert shown._live._again.value == ""
    opened.append(1)
    shown.update(play(log(end=False)))
    assert 'data-commandlinker-command="notebook:run-cell"' in shown._live._again.value


def test_a_page_that_was_opened_later_is_sent_everything_again(monkeypatch):
    opened, sent = [], []
    monkeypatch.setattr(ipywidgets.Widget, "send_state", lambda self, key=None: sent.append(self))
    shown = feed(panel.WidgetPanel(is_reloaded=lambda: bool(opened), **Page().given()), log(end=False))
    unchanged = shown._live._badge
    sent.clear()
    shown.update(shown._drawn_state)
    assert unchanged not in sent
    opened.append(1)
    shown.update(shown._drawn_state)
    shown.update(shown._drawn_state)
    assert sent.count(unchanged) == 2


def test_a_panel_that_is_left_says_how_to_see_the_run():
    page = Page()
    shown = panel.WidgetPanel(**page.given())
    shown.leave()
    assert page.sent == []
    feed(shown, [*log(end=False)])
    shown.leave()
    (form, *_), (empty, *_) = page.sent[-2:]
    assert "This panel is not live" in form["text/html"]
    assert empty == EMPTY
    assert shown._live is None
    feed(shown, log())
    count = len(page.sent)
    shown.leave()
    assert len(page.sent) == count


PUBLISHER = SimpleNamespace(session=object(), pub_socket=object())
KERNEL = SimpleNamespace(kernel=object(), display_pub=PUBLISHER, get_parent=dict)
CAPTURED = SimpleNamespace(kernel=object(), display_pub=SimpleNamespace(outputs=[]), get_parent=dict)


@pytest.mark.parametrize(
    ("wanted", "ip", "installed", "got"),
    [
        ("auto", KERNEL, True, "widget"),
        ("auto", KERNEL, False, "html"),
        ("auto", SimpleNamespace(), True, "text"),
        ("auto", None, True, "text"),
        ("widget", KERNEL, False, "html"),
        ("widget", KERNEL, True, "widget"),
        ("static", None, True, "static"),
        ("none", KERNEL, True, "none"),
        ("auto", CAPTURED, True, "static"),
        ("html", CAPTURED, True, "static"),
        ("text", CAPTURED, True, "text"),
        ("none", CAPTURED, True, "none"),
    ],
)
def test_which_panel(monkeypatch, wanted, ip, installed, got):
    monkeypatch.setattr(panel, "widgets_available", lambda: installed)
    assert mode(wanted, ip) == got


def test_an_unknown_panel_is_refused():
    with pytest.raises(SpecError, match="Unknown panel 'fancy'"):
        renderers(Settings(panel="fancy"), ip=None)


@pytest.mark.parametrize(
    ("wanted", "types"),
    [
        ("none", [CellOutput]),
        ("text", [PlainText, CellOutput]),
        ("static", [CellOutput, panel.StaticPanel]),
        ("html", [panel.HtmlPanel, CellOutput]),
        ("auto", [panel.WidgetPanel, CellOutput]),
    ],
)
def test_a_live_panel_comes_first_and_a_static_one_last(wanted, types):
    got = renderers(Settings(panel=wanted), ip=KERNEL, on_stop=lambda: None)
    assert [type(one) for one in got] == types


def test_the_cap_follows_the_settings(capsys):
    (shown,) = renderers(Settings(panel="none", output_lines=1), ip=None, full_log="%argo logs r")
    shown.update(play(write("1\n2\n3\n", ("exit", {"reason": "ok"}))))
    captured = capsys.readouterr()
    assert captured.out == "1\n3\n"
    assert captured.err == "[1 line omitted; full log: %argo logs r]\n"


def test_publishing_goes_through_ipython(capsys):
    panel.StaticPanel().update(play(write(("exit", {"reason": "ok"}))))
    assert capsys.readouterr().out == "argo Succeeded\n"


def test_the_first_state_has_a_picture_too():
    page = Page()
    panel.WidgetPanel(**page.given()).update(RunState())
    assert page.sent[0][0]["text/plain"] == "argo Pending"
