"""The panel above a cell's output: live as widgets or as redrawn HTML, and at the end a static form that is saved.

Rules:
- One display per run: while it runs its bundle holds the live form, at the end the static one takes its place, without
  any widget; a notebook opened again would show "model not found" otherwise.
- Redrawn at most ten times a second, with a bounded log: nothing else keeps a browser quick.
- The Stop button calls what it was given, once, possibly from another thread, and does nothing else.
"""

from __future__ import annotations

import importlib.util
import time
import uuid
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol.state import elapsed
from uv_argo_magic.core.view import ansi, html, messages, tables
from uv_argo_magic.renderers import widget_events
from uv_argo_magic.renderers.cell_output import OutputSink
from uv_argo_magic.renderers.panel_css import CSS

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution

INTERVAL = 0.1
"""Seconds between two redraws."""

LINES = 500
"""Lines of log in the live panel: 500 at 10 redraws a second keep JupyterLab at 60 frames a second."""


def widgets_available() -> bool:
    """Whether ipywidgets is installed where this kernel runs; it is not imported for that."""
    return importlib.util.find_spec("ipywidgets") is not None


class StaticPanel:
    """Exactly one display, when the run has ended: for nbval, papermill, and notebooks that are compared.

    `metadata` makes of a state what goes into the output's metadata; `publish` is IPython's unless given; `clock`
    gives Unix seconds; `lock` says what is known of the packages by now.
    """

    def __init__(
        self,
        *,
        metadata: Callable[[RunState], dict[str, Any]] = lambda _: {},
        publish: Callable[..., None] | None = None,
        clock: Callable[[], float] = time.time,
        lock: Callable[[], Resolution | None] = lambda: None,
    ) -> None:
        self._lock = lock
        self._metadata = metadata
        self._publish = publish or OutputSink().publish
        self._clock = clock
        self._id = _display_id()
        self._state: RunState | None = None
        self._over = False

    def update(self, state: RunState) -> None:
        """Show the state, as far as this panel shows it now."""
        self._state = state
        if state.ended and not self._over:
            self._over = True
            self._send(html.mimebundle(state, self._clock(), self._lock()), update=False)

    def again(self) -> None:
        """Show the panel anew: the cell's code has cleared the output, and the panel with it."""
        if self._over and self._state is not None:
            self._id = _display_id()
            self._send(html.mimebundle(self._state, self._clock(), self._lock()), update=False)

    def _send(self, data: dict[str, Any], *, update: bool) -> None:
        about = self._metadata(self._state) if self._state else {}
        self._publish(data, about, transient={"display_id": self._id}, update=update)


class HtmlPanel(StaticPanel):
    """The static form, redrawn while the run goes on: for front ends without widgets."""

    _drawn = -1.0
    _stage = ""
    _there = False

    def update(self, state: RunState) -> None:
        """Redraw, unless it was done a moment ago and the stage is the same."""
        self._state = state
        now = self._clock()
        due = state.phase != self._stage or (not state.ended and now - self._drawn >= INTERVAL)
        if self._over or not due:
            return
        self._drawn, self._stage, self._over = now, state.phase, state.ended
        self._draw(state, now, update=self._there)
        self._there = True

    def again(self) -> None:
        """Show the panel anew: the cell's code has cleared the output, and the panel with it."""
        if self._there and self._state is not None:
            # Under a new id: JupyterLab updates a display by where it stood before the clearing.
            self._id = _display_id()
            self._draw(self._state, self._clock(), update=False)

    def _draw(self, state: RunState, now: float, *, update: bool) -> None:
        self._send(html.mimebundle(state, now, self._lock()), update=update)


class WidgetPanel(HtmlPanel):
    """The live panel of ipywidgets: header, Summary, Log and Packages, a Stop button; static at the end.

    `on_stop` is called at most once, in whichever thread the front end's message arrives.
    """

    def __init__(self, *, on_stop: Callable[[], None] | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._on_stop = on_stop
        self._asked = False
        self._live: _Widgets | None = None
        self._noted = 0
        self._remarks: list[str] = []

    def update(self, state: RunState) -> None:
        """Redraw, and hear of a click that a waiting kernel has not delivered."""
        if self._live is not None and not self._asked and self._live.clicked():
            self._stop()
        super().update(state)

    def _draw(self, state: RunState, now: float, *, update: bool) -> None:
        if state.ended:
            super()._draw(state, now, update=update)
            self._close()
            return
        if self._live is None:
            self._live = _Widgets(self._stop, self._lock)
        # Journals only grow, so each output is looked at once: a panel must not slow down with the output's length.
        self._remarks += filter(None, map(html.remark, state.outputs[self._noted :]))
        self._noted = len(state.outputs)
        self._live.draw(state, now, self._remarks, stopping=self._asked)
        if not update:
            self._send(self._live.bundle(html.text_static(state)), update=False)

    def _stop(self) -> None:
        if not self._asked and self._on_stop is not None:
            self._asked = True
            self._on_stop()

    def _close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None


class _Widgets:
    """The widgets of one live panel. Only traits whose value changed travel to the browser."""

    def __init__(self, stop: Callable[[], None], lock: Callable[[], Resolution | None]) -> None:
        import ipywidgets as w  # noqa: PLC0415 - heavy, and not every front end shows widgets
        from IPython.core.getipython import get_ipython  # noqa: PLC0415

        self._shell = get_ipython()
        self._lock = lock
        none = w.Layout(margin="0")
        # Apart from the time, which changes all the while: a screen reader is told of a new state only.
        self._badge = w.HTML(layout=none)
        self._head = w.HTML(layout=w.Layout(flex="1 1 auto", margin="0"))
        self._summary = w.HTML(layout=none)
        self._log = w.HTML(layout=w.Layout(flex="0 0 auto", margin="0", width="100%"))
        self._tools = w.HTML(layout=none)
        self._packages = w.HTML(layout=none)
        # column-reverse keeps the newest line in sight without any JavaScript, and stays where a reader scrolled to.
        scroll = w.Box(
            [self._log],
            layout=w.Layout(
                max_height="240px", min_height="60px", overflow="auto", display="flex", flex_flow="column-reverse"
            ),
        )
        scroll.add_class("uv-scroll")
        log = w.VBox([self._tools, scroll], layout=none)
        listed = w.Box([self._packages], layout=w.Layout(max_height="270px", overflow="auto", display="block"))
        self._tabs = w.ToggleButtons(
            options=["Summary", "Log", "Packages"],
            tooltips=["What is happening", "What uv and the cell write", "What is installed, and why"],
            style={"button_width": "auto"},
        )
        self._tabs.add_class("uv-tabs")
        self._button = w.Button(description="Stop", tooltip="Stop this run, or press the kernel's stop button")
        self._button.add_class("uv-stop")
        stack = w.Stack([self._summary, log, listed], selected_index=0)
        stack.add_class("uv-stack")
        # Linked in the browser: changing a tab needs no kernel, which is busy with the cell.
        link = w.jslink((self._tabs, "index"), (stack, "selected_index"))
        head = w.HBox([self._badge, self._head, self._tabs, self._button])
        head.add_class("uv-head")
        style = w.HTML(f"<style>{CSS}</style>", layout=w.Layout(display="none"))
        self._root = w.VBox([style, head, stack])
        self._root.add_class("uv-argo")
        self._button.on_click(lambda _: stop())
        widget_events.hear_at_once(self._button, stop)
        self._all = [link, style, head, self._tabs, self._badge, self._head, self._button, stack, log, scroll, listed]
        self._all += [self._summary, self._log, self._tools, self._packages, self._root]

    def draw(self, state: RunState, now: float, remarks: list[str], *, stopping: bool) -> None:
        """Set every widget to what the state says."""
        stopping = stopping or state.stop_requested is not None
        title = "Stopping" if stopping else messages.title(state)
        self._badge.value = f'<span class="uv-badge uv-{title.lower()}" role="status"><i></i>{title}</span>'
        self._head.value = _head(state, now)
        said = [*(humanize.one_line(note, 500) for note in state.notes), *remarks]
        self._summary.value = _summary(state, now, said)
        self._tools.value = _tools(state)
        self._log.value = f'<pre class="uv-log">{html.log_html(state, LINES) or _NOTHING}</pre>'
        self._packages.value = html.packages_html(state, now, self._lock())
        self._button.disabled = stopping
        self._button.description = "Stopping\N{HORIZONTAL ELLIPSIS}" if stopping else "Stop"

    def clicked(self) -> bool:
        """Whether a click waits for this very thread."""
        return widget_events.waiting(self._button, getattr(self._shell, "kernel", None))

    def bundle(self, plain: str) -> dict[str, Any]:
        """The live display: the widget, and one line for a front end that has none."""
        view_of = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        return {"application/vnd.jupyter.widget-view+json": view_of, "text/plain": plain}

    def close(self) -> None:
        """Take the models out of kernel and browser."""
        for widget in self._all:
            for part in ("layout", "style"):
                if hasattr(widget, part):
                    getattr(widget, part).close()
            widget.close()


_NOTHING = '<span class="uv-dim">Nothing written yet.</span>'

# In the browser, for the kernel is busy: the log is the panel's own, and what is copied is what is seen.
_COPY = (
    "const b=this,p=b.closest('.uv-argo').querySelector('pre.uv-log');navigator.clipboard.writeText(p.innerText)"
    ".then(()=>{b.textContent='Copied'},()=>{b.textContent='Not allowed'});setTimeout(()=>{b.textContent='Copy'},1500)"
)
_NEWEST = "this.closest('.uv-argo').querySelector('.uv-scroll').scrollTop=0"


def _head(state: RunState, now: float) -> str:
    """The header line beside the badge: time, counts, place, name."""
    parts = [humanize.seconds(elapsed(state, now))]
    if state.installed is not None:
        parts.append(humanize.count(len(state.installed.packages), "package"))
    if state.location:
        parts.insert(0, humanize.one_line(state.location, 80))
    dim = tables.escape(" \N{MIDDLE DOT} ".join(parts))
    name = tables.escape(humanize.one_line(state.name or state.run, 80))
    return f'<span class="uv-time">{dim}</span><span class="uv-name" title="{name}">{name}</span>'


def _summary(state: RunState, now: float, said: list[str]) -> str:
    """What is happening, uv's last word while it works, the stages, and what else a person should know."""
    out = [f'<div class="uv-said">{tables.escape(messages.sentence(state))}</div>', html.stages_html(state, now)]
    if state.phase in {"resolving", "installing"} and len(state.install_log):
        last = ansi.strip("".join(state.install_log[-3:])).strip().rsplit("\n", 1)[-1]
        out.append(f'<div class="uv-dim">uv: {tables.escape(humanize.one_line(last))}</div>')
    out += [f'<div class="uv-remark">{tables.escape(line)}</div>' for line in said[-20:]]
    return "".join(out)


def _tools(state: RunState) -> str:
    """The line above the log: how much of it is here, where the rest is, and two buttons."""
    where = tables.escape(humanize.one_line(state.run, 80))
    return (
        f'<div class="uv-tools"><span class="uv-dim">The last {LINES} lines; all of them: '
        f"<code>%argo logs {where}</code></span>"
        f'<button type="button" onclick="{_NEWEST}">Newest</button>'
        f'<button type="button" onclick="{tables.escape(_COPY)}">Copy</button></div>'
    )


def _display_id() -> str:
    return f"uv-argo-{uuid.uuid4().hex}"
