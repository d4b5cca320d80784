"""The panel above a cell's output: live as widgets or as redrawn HTML, and at the end a static form that is saved.

Rules:
- One display per run: the live form while it runs, which the static form, without any widget, replaces at the end.
  A reopened notebook would show "model not found" otherwise.
- Redrawn at most ten times a second, with a bounded log, to keep the browser fast.
- The Stop button calls its callback once, possibly from another thread, and does nothing else.
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
from uv_argo_magic.renderers.widget_registry import WidgetRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution

INTERVAL = 0.1
"""Seconds between two redraws."""

LINES = 500
"""Lines of log in the live panel: 500 at 10 redraws a second keep JupyterLab at 60 frames a second."""


def widgets_available() -> bool:
    """Whether ipywidgets is installed here; it is not imported."""
    return importlib.util.find_spec("ipywidgets") is not None


class Panel:
    """One display that shows a run; subclasses say when and how it is drawn.

    `metadata` returns the display's metadata for a state, `publish` sends a display (default: IPython's function),
    `clock` returns Unix seconds, and `lock` the run's packages as far as they are known.
    """

    def __init__(
        self,
        *,
        metadata: Callable[[RunState], dict[str, Any]] = lambda _: {},
        publish: Callable[..., None] | None = None,
        clock: Callable[[], float] = time.time,
        lock: Callable[[], Resolution | None] = lambda: None,
    ) -> None:
        self._metadata = metadata
        self._publish = publish or OutputSink().publish
        self._clock = clock
        self._lock = lock
        self._display_id = _new_display_id()
        self._drawn_state: RunState | None = None
        self._drawn_at = -1.0

    def update(self, state: RunState) -> None:
        """Draw the state, if it is time to."""
        now = self._clock()
        if self._is_due(state, now):
            is_first = self._drawn_state is None
            self._drawn_state, self._drawn_at = state, now
            self._draw(state, now, update=not is_first)

    def redisplay(self) -> None:
        """Show the panel again: the cell's code has cleared the output, and the panel with it."""
        if self._drawn_state is not None:
            # With a new id: JupyterLab would update the display where it was before the clearing.
            self._display_id = _new_display_id()
            self._draw(self._drawn_state, self._clock(), update=False)

    def _is_due(self, state: RunState, now: float) -> bool:
        raise NotImplementedError

    def _draw(self, state: RunState, now: float, *, update: bool) -> None:
        self._send(state, html.mimebundle(state, now, self._lock()), update=update)

    def _send(self, state: RunState, data: dict[str, Any], *, update: bool) -> None:
        self._publish(data, self._metadata(state), transient={"display_id": self._display_id}, update=update)


class StaticPanel(Panel):
    """Exactly one display, when the run has ended: for nbval, papermill, and notebooks that are compared."""

    def _is_due(self, state: RunState, now: float) -> bool:
        del now
        return state.ended and self._drawn_state is None


class HtmlPanel(Panel):
    """The static form, redrawn while the run goes on: for front ends without widgets."""

    def _is_due(self, state: RunState, now: float) -> bool:
        drawn = self._drawn_state
        if drawn is None or drawn.phase != state.phase:
            return True
        return not state.ended and now - self._drawn_at >= INTERVAL


class WidgetPanel(HtmlPanel):
    """The live panel of ipywidgets: header, Summary, Log and Packages, a Stop button; static at the end.

    `on_stop` is called at most once, in the thread in which the front end's message arrives. With `keep_widget` the
    static form also stays as a widget: a page that was reloaded during the run gets no update of the display.
    """

    def __init__(self, *, on_stop: Callable[[], None] | None = None, keep_widget: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._on_stop = on_stop
        self._keep_widget = keep_widget
        self._stop_requested = False
        self._live: _Widgets | None = None
        self._outputs_read = 0
        self._remarks: list[str] = []

    def update(self, state: RunState) -> None:
        """Redraw, and act on a click that the busy kernel has not delivered."""
        if self._live is not None and not self._stop_requested and self._live.is_click_waiting():
            self._stop()
        super().update(state)

    def _draw(self, state: RunState, now: float, *, update: bool) -> None:
        if state.ended:
            super()._draw(state, now, update=update)
            self._finish(state, now)
            return
        if self._live is None:
            self._live = _Widgets(self._stop, self._lock)
        # Outputs are only added: read each once, so that the panel does not slow down with their number.
        self._remarks += filter(None, map(html.remark, state.outputs[self._outputs_read :]))
        self._outputs_read = len(state.outputs)
        self._live.draw(state, now, self._remarks, stopping=self._stop_requested)
        if not update:
            self._send(state, self._live.bundle(html.text_static(state)), update=False)

    def _stop(self) -> None:
        if not self._stop_requested and self._on_stop is not None:
            self._stop_requested = True
            self._on_stop()

    def _finish(self, state: RunState, now: float) -> None:
        live, self._live = self._live, None
        if live is not None and self._keep_widget:
            live.freeze(html.html(state, now, self._lock()))
        elif live is not None:
            live.close()


class _Widgets:
    """The widgets of one live panel. Only traits whose value changed are sent to the browser."""

    def __init__(self, stop: Callable[[], None], lock: Callable[[], Resolution | None]) -> None:
        from IPython.core.getipython import get_ipython  # noqa: PLC0415 - the command line runs without it

        self._shell = get_ipython()
        self._lock = lock
        self._registry = registry = WidgetRegistry()
        create, layout = registry.create, registry.ipywidgets.Layout
        # Separate from the time, which changes all the time: a screen reader announces only a new state.
        self._badge = registry.html()
        self._head = registry.html(css="uv-facts", flex="1 1 260px")
        self._summary = registry.html()
        self._log = registry.html(flex="0 0 auto", width="100%")
        self._tools = registry.html()
        self._packages = registry.html()
        # column-reverse keeps the newest line in sight without JavaScript, and stays where a reader scrolled to.
        scroll = create(
            "Box", [self._log], css="uv-scroll",
            layout=layout(
                max_height="240px", min_height="60px", overflow="auto", display="flex", flex_flow="column-reverse"
            ),
        )  # fmt: skip
        log = create("VBox", [self._tools, scroll], layout=layout(margin="0"))
        packages_box = create(
            "Box", [self._packages], layout=layout(max_height="270px", overflow="auto", display="block")
        )
        tabs = create(
            "ToggleButtons", css="uv-tabs", options=["Summary", "Log", "Packages"], style={"button_width": "auto"},
            tooltips=["Progress of the run", "Output of uv and the cell", "Installed packages and their dependents"],
        )  # fmt: skip
        self._button = create(
            "Button", css="uv-stop", description="Stop", tooltip="Stop this run (like the kernel's stop button)"
        )
        stack = create("Stack", [self._summary, log, packages_box], css="uv-stack", selected_index=0)
        # Linked in the browser: changing a tab needs no kernel, which is busy with the cell.
        registry.add(registry.ipywidgets.jslink((tabs, "index"), (stack, "selected_index")))
        controls = create("HBox", [tabs, self._button], css="uv-controls")  # one group: a narrow page wraps both
        head = create("HBox", [self._badge, self._head, controls], css="uv-head")
        style = registry.html(f"<style>{CSS}</style>", display="none")
        self._root = create("VBox", [style, head, stack], css="uv-argo uv-run")
        self._button.on_click(lambda _: stop())
        widget_events.hear_at_once(self._button, stop)

    def draw(self, state: RunState, now: float, remarks: list[str], *, stopping: bool) -> None:
        """Set every widget from the state."""
        stopping = stopping or state.stop_requested is not None
        title = "Stopping" if stopping else messages.title(state)
        self._badge.value = f'<span class="uv-badge uv-{title.lower()}" role="status"><i></i>{title}</span>'
        self._head.value = _head(state, now)
        self._summary.value = _summary(state, now, [*(humanize.one_line(note, 500) for note in state.notes), *remarks])
        self._tools.value = _tools(state)
        self._log.value = f'<pre class="uv-log">{html.log_html(state, LINES) or _EMPTY_LOG}</pre>'
        self._packages.value = html.packages_html(state, now, self._lock())
        self._button.disabled = stopping
        self._button.description = "Stopping\N{HORIZONTAL ELLIPSIS}" if stopping else "Stop"

    def is_click_waiting(self) -> bool:
        """Whether a click on Stop waits in the queue of this thread."""
        return widget_events.waiting(self._button, getattr(self._shell, "kernel", None))

    def bundle(self, plain: str) -> dict[str, Any]:
        """The live display: the widget, and one line of text for front ends without widgets."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": plain}

    def freeze(self, final: str) -> None:
        """Replace all widgets by the final HTML."""
        self._summary.value = final
        self._root.remove_class("uv-argo").remove_class("uv-run")
        self._root.children = (self._summary,)
        self._registry.close_all_but(self._root, self._summary)

    def close(self) -> None:
        """Remove the models from kernel and browser."""
        self._registry.close()


_EMPTY_LOG = '<span class="uv-dim">No output yet.</span>'

# In the browser, since the kernel is busy.
_COPY = (
    "const b=this,p=b.closest('.uv-argo').querySelector('pre.uv-log');navigator.clipboard.writeText(p.innerText)"
    ".then(()=>{b.textContent='Copied'},()=>{b.textContent='Not allowed'});setTimeout(()=>{b.textContent='Copy'},1500)"
)
_NEWEST = "this.closest('.uv-argo').querySelector('.uv-scroll').scrollTop=0"


def _head(state: RunState, now: float) -> str:
    """The header line beside the badge, as in the static form: time, number of packages, location; and the name."""
    parts = [humanize.seconds(elapsed(state, now))]
    if state.installed is not None and state.installed.packages:
        parts.append(humanize.count(len(state.installed.packages), "package"))
    parts.append(humanize.one_line(state.location, 80) if state.location else "local")
    dim = tables.escape(" \N{MIDDLE DOT} ".join(parts))
    name = tables.escape(humanize.one_line(state.name or state.run, 80))
    return f'<span class="uv-time" title="{dim}">{dim}</span><span class="uv-name" title="{name}">{name}</span>'


def _summary(state: RunState, now: float, remarks: list[str]) -> str:
    """The state as a sentence, uv's last line while it works, the phases, and the remarks."""
    out = [f'<div class="uv-sentence">{tables.escape(messages.sentence(state))}</div>', html.stages_html(state, now)]
    if state.phase in {"resolving", "installing"} and len(state.install_log):
        last = ansi.strip("".join(state.install_log[-3:])).strip().rsplit("\n", 1)[-1]
        out.append(f'<div class="uv-dim">uv: {tables.escape(humanize.one_line(last))}</div>')
    out += [f'<div class="uv-remark">{tables.escape(line)}</div>' for line in remarks[-20:]]
    return "".join(out)


def _tools(state: RunState) -> str:
    """The line above the log: which part it shows, the command for all of it, and two buttons."""
    run = tables.escape(humanize.one_line(state.run, 80))
    return (
        f'<div class="uv-tools"><span class="uv-dim">Last {LINES} lines. Full log: '
        f"<code>%argo logs {run}</code></span>"
        f'<button type="button" onclick="{_NEWEST}">Newest</button>'
        f'<button type="button" onclick="{tables.escape(_COPY)}">Copy</button></div>'
    )


def _new_display_id() -> str:
    return f"uv-argo-{uuid.uuid4().hex}"
