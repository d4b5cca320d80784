"""The kinds of panels, and which kind each front end shows."""

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
HOSTILE_TEXT = "<script>window.XSS=1</script>\"'><img src=x onerror=alert(1)>"


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
    """A front end that records (data, metadata, display ID, update), and a clock that advances by `tick`."""

    def __init__(self, tick=1.0):
        self.sent, self.now, self.tick = [], 1000.0, tick

    def publish(self, data, metadata, *, transient, update):
        self.sent.append((data, metadata, transient["display_id"], update))

    def widgets(self):
        """The (data, update) of the displays of widgets."""
        widget_displays = [display for display in self.sent if WIDGET in display[0]]
        return [
            (data, update)
            for data, _, display_id, update in self.sent
            if display_id in {display[2] for display in widget_displays}
        ]

    def clock(self):
        self.now += self.tick
        return self.now

    def panel_options(self, **more):
        return {
            "publish": self.publish,
            "clock": self.clock,
            "metadata": lambda state: {"uv_argo": {"run": "r"}},
            **more,
        }


def show_states(renderer, run_log):
    for state in states(run_log):
        renderer.update(state)
    renderer.update(state)
    return renderer


def test_static_panel_is_one_display_at_the_end():
    page = Page()
    renderer = panel.StaticPanel(**page.panel_options())
    show_states(renderer, log(end=False))
    renderer.redisplay()
    assert page.sent == []
    show_states(renderer, log())
    ((data, metadata, _, update),) = page.sent
    assert set(data) == {"text/html", "text/plain"}
    assert data["text/plain"] == "argo Failed (E): six==1.17.0"
    assert metadata == {"uv_argo": {"run": "r"}}
    assert update is False
    renderer.redisplay()
    assert len(page.sent) == 2


def test_html_panel_updates_at_most_ten_times_a_second():
    page = Page(tick=0.001)
    renderer = panel.HtmlPanel(**page.panel_options())
    renderer.redisplay()
    running = play(log(end=False))
    for _ in range(1000):
        renderer.update(running)
    assert len(page.sent) == 10
    renderer.update(play(log()))
    renderer.update(play(log()))
    assert len(page.sent) == 11
    assert [update for *_, update in page.sent] == [False] + [True] * 10
    assert len({display_id for _, _, display_id, _ in page.sent}) == 1
    assert {key for data, *_ in page.sent for key in data} == {"text/html", "text/plain"}
    renderer.redisplay()
    assert page.sent[-1][3] is False


def test_static_form_replaces_the_widget_at_the_end():
    before = set(ipywidgets.widgets.widget._instances)
    page = Page()
    show_states(panel.WidgetPanel(**page.panel_options()), log())
    (live, _), (empty, is_update) = page.widgets()
    assert set(live) == {WIDGET, "text/plain"}
    assert live["text/plain"] == ""
    assert (empty, is_update) == (EMPTY, True)
    forms = [sent for sent in page.sent if sent[0].get("text/html")]
    assert len({display_id for _, _, display_id, _ in forms}) == 1
    assert [update for *_, update in forms] == [False] + [True] * (len(forms) - 1)
    assert "This panel is not live" in forms[-2][0]["text/html"]
    assert "This panel is not live" not in forms[-1][0]["text/html"]
    assert page.sent.index(forms[0]) == 0
    assert page.sent[-1][0] == EMPTY
    remaining = [
        ipywidgets.widgets.widget._instances[key] for key in set(ipywidgets.widgets.widget._instances) - before
    ]
    assert remaining == []


def test_background_panel_ends_as_a_widget_with_the_static_form():
    before = set(ipywidgets.widgets.widget._instances)
    page = Page()
    show_states(panel.WidgetPanel(is_reloaded=lambda: True, **page.panel_options()), log())
    (first, _), (empty, _) = page.widgets()
    assert empty == EMPTY
    remaining = {
        key: ipywidgets.widgets.widget._instances[key] for key in set(ipywidgets.widgets.widget._instances) - before
    }
    root = remaining[first[WIDGET]["model_id"]]
    (static,) = root.children
    assert "Failed" in static.value
    assert {type(widget).__name__ for widget in remaining.values()} <= {"VBox", "HTML", "Layout", "HTMLStyle"}
    for widget in remaining.values():
        widget.close()


def test_run_that_has_ended_needs_no_widget():
    page = Page()
    panel.WidgetPanel(**page.panel_options()).update(play(log()))
    assert [set(data) for data, *_ in page.sent] == [{"text/html", "text/plain"}]


def values(renderer):
    live = renderer._live
    parts = (live._badge, live._facts, live._phases, live._log, live._packages, live._tools, live._notes)
    return [part.value for part in parts]


def test_live_panel_shows_the_state_of_the_run():
    renderer = show_states(panel.WidgetPanel(**Page().panel_options()), log(end=False))
    badge, facts, phases, log_html, packages, _, notes = values(renderer)
    assert "Running" in badge
    assert "#0969da" in badge
    assert "swift-otter" in phases
    assert "1 package" in facts
    assert "background-color:#0969da" in phases
    assert "Mind this" in notes
    assert "5 lines omitted" in notes
    assert "line" in log_html
    assert "1.17.0" in packages


def test_live_panel_escapes_surrogates():
    renderer = show_states(panel.WidgetPanel(**Page().panel_options()), log("\ud83d", end=False))
    for value in values(renderer):
        value.encode()


def test_last_line_of_uv_is_shown_during_the_install():
    renderer = panel.WidgetPanel(**Page().panel_options())
    summaries = []
    for state in states(log(end=False)):
        renderer.update(state)
        summaries.append(values(renderer)[2])
    assert any("uv: Prepared" in summary for summary in summaries)
    assert "uv: " not in summaries[-1]


def test_live_panel_escapes_html():
    renderer = panel.WidgetPanel(**Page().panel_options())
    for state in states(log(HOSTILE_TEXT, end=False)):
        renderer.update(state)
        for value in values(renderer):
            assert "<script" not in value
            assert "<img" not in value
            assert "XSS" not in value or "&lt;script&gt;" in value


def test_redisplay_shows_the_same_widget_again():
    page = Page()
    renderer = show_states(panel.WidgetPanel(**page.panel_options()), log(end=False))
    renderer.redisplay()
    widget_displays = [display for display in page.sent if WIDGET in display[0]]
    (first, _, first_id, _), (second, _, second_id, update) = widget_displays
    assert first[WIDGET] == second[WIDGET]
    assert first_id != second_id
    assert update is False
    (form, _, _, is_update), _ = page.sent[-2:]  # the static form directly precedes the widget
    assert ("text/html" in form, is_update) == (True, False)


def test_stop_button_works_once():
    calls = []
    renderer = panel.WidgetPanel(on_stop=lambda: calls.append(1), **Page().panel_options())
    show_states(renderer, log(end=False))
    button = renderer._live._button
    assert (button.description, button.disabled) == ("Stop", False)
    button.click()
    button.click()
    assert calls == [1]
    renderer.update(play(log(end=False)))
    assert button.disabled
    assert "Stopping" in renderer._live._badge.value
    without_stop = show_states(panel.WidgetPanel(**Page().panel_options()), log(end=False))
    without_stop._live._button.click()
    assert without_stop._live._button.description == "Stop"


def test_reloaded_page_offers_the_output():
    reloads = []
    renderer = show_states(
        panel.WidgetPanel(is_reloaded=lambda: bool(reloads), **Page().panel_options()), log(end=False)
    )
    assert renderer._live._again.value == ""
    reloads.append(1)
    renderer.update(play(log(end=False)))
    assert 'data-commandlinker-command="notebook:run-cell"' in renderer._live._again.value


def test_reloaded_page_receives_all_widget_states(monkeypatch):
    reloads, sent_widgets = [], []
    monkeypatch.setattr(ipywidgets.Widget, "send_state", lambda self, key=None: sent_widgets.append(self))
    renderer = show_states(
        panel.WidgetPanel(is_reloaded=lambda: bool(reloads), **Page().panel_options()), log(end=False)
    )
    unchanged = renderer._live._badge
    sent_widgets.clear()
    renderer.update(renderer._drawn_state)
    assert unchanged not in sent_widgets
    reloads.append(1)
    renderer.update(renderer._drawn_state)
    renderer.update(renderer._drawn_state)
    assert sent_widgets.count(unchanged) == 2


def test_left_panel_shows_how_to_attach():
    page = Page()
    renderer = panel.WidgetPanel(**page.panel_options())
    renderer.leave()
    assert page.sent == []
    show_states(renderer, [*log(end=False)])
    renderer.leave()
    (form, *_), (empty, *_) = page.sent[-2:]
    assert "This panel is not live" in form["text/html"]
    assert empty == EMPTY
    assert renderer._live is None
    show_states(renderer, log())
    count = len(page.sent)
    renderer.leave()
    assert len(page.sent) == count


PUBLISHER = SimpleNamespace(session=object(), pub_socket=object())
KERNEL = SimpleNamespace(kernel=object(), display_pub=PUBLISHER, get_parent=dict)
CAPTURED = SimpleNamespace(kernel=object(), display_pub=SimpleNamespace(outputs=[]), get_parent=dict)


@pytest.mark.parametrize(
    ("setting", "ip", "installed", "expected"),
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
def test_mode_depends_on_setting_and_front_end(monkeypatch, setting, ip, installed, expected):
    monkeypatch.setattr(panel, "widgets_available", lambda: installed)
    assert mode(setting, ip) == expected


def test_unknown_panel_is_rejected():
    with pytest.raises(SpecError, match="Unknown panel 'fancy'"):
        renderers(Settings(panel="fancy"), ip=None)


@pytest.mark.parametrize(
    ("setting", "types"),
    [
        ("none", [CellOutput]),
        ("text", [PlainText, CellOutput]),
        ("static", [CellOutput, panel.StaticPanel]),
        ("html", [panel.HtmlPanel, CellOutput]),
        ("auto", [panel.WidgetPanel, CellOutput]),
    ],
)
def test_live_panel_comes_first_and_static_panel_last(setting, types):
    chosen = renderers(Settings(panel=setting), ip=KERNEL, on_stop=lambda: None)
    assert [type(renderer) for renderer in chosen] == types


def test_output_lines_limits_the_output(capsys):
    (renderer,) = renderers(Settings(panel="none", output_lines=1), ip=None, full_log="%argo logs r")
    renderer.update(play(write("1\n2\n3\n", ("exit", {"reason": "ok"}))))
    captured = capsys.readouterr()
    assert captured.out == "1\n3\n"
    assert captured.err == "[1 line omitted; full log: %argo logs r]\n"


def test_panel_is_published_through_ipython(capsys):
    panel.StaticPanel().update(play(write(("exit", {"reason": "ok"}))))
    assert capsys.readouterr().out == "argo Succeeded\n"


def test_initial_state_can_be_drawn():
    page = Page()
    panel.WidgetPanel(**page.panel_options()).update(RunState())
    assert page.sent[0][0]["text/plain"] == "argo Pending"
