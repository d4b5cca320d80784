"""The panel above a cell's output: live as widgets or as redrawn HTML, and at the end in a static form.

Rules:
- At the end, the display contains only the static form, because a saved widget would show "model not found" when the
  notebook is opened again.
- The panel is redrawn at most ten times per second, with a limited log, to keep the browser fast.
- The Stop button calls its callback once, possibly from another thread, and does nothing else.
"""

from __future__ import annotations

import functools
import importlib.util
import time
import uuid
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.view import html, messages
from uv_argo_magic.renderers.cell_output import OutputSink
from uv_argo_magic.renderers.panel_css import LIVE_OR_STATIC_CSS
from uv_argo_magic.renderers.panel_widgets import PanelWidgets

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution

INTERVAL = 0.1
"""Minimum seconds between two redraws."""

SNAPSHOT_INTERVAL = 5.0
"""Seconds between two redraws of the static form below a widget."""

AGAIN_INTERVAL = 1.0
"""Seconds after which a page that was opened during the run is sent everything again."""


@functools.cache
def widgets_available() -> bool:
    """Whether ipywidgets was installed when the first cell ran; does not import it."""
    return importlib.util.find_spec("ipywidgets") is not None


FIRST_AFTER = 0.2
"""Seconds after which the panel of a cell that can be quick and has no output is shown."""


class Panel:
    """One display that shows a run; subclasses define when and how it is drawn.

    `metadata` returns the display's metadata for a state, `publish` sends a display (default: IPython's function),
    `clock` returns Unix seconds, and `lock` the run's packages, if known.
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
        """Draw the state if it is due."""
        now = self._clock()
        if self._is_due(state, now):
            is_first = self._drawn_state is None
            self._drawn_state, self._drawn_at = state, now
            self._draw(state, now, update=not is_first)

    def redisplay(self) -> None:
        """Show the panel again after the cell's code has cleared the output, including the panel."""
        if self._drawn_state is not None:
            # Use a new id, because JupyterLab would update the cleared display.
            self._display_id = _new_display_id()
            self._draw(self._drawn_state, self._clock(), update=False)

    def _is_due(self, state: RunState, now: float) -> bool:
        raise NotImplementedError

    def _draw(self, state: RunState, now: float, *, update: bool) -> None:
        self._send(state, html.mimebundle(state, now, self._lock()), update=update)

    def _send(self, state: RunState, data: dict[str, Any], *, update: bool) -> None:
        self._publish(data, self._metadata(state), transient={"display_id": self._display_id}, update=update)


class StaticPanel(Panel):
    """Exactly one display, at the end of the run, for nbval, papermill, and notebooks that are compared."""

    def _is_due(self, state: RunState, now: float) -> bool:
        del now
        return state.ended and self._drawn_state is None


class HtmlPanel(Panel):
    """The static form, redrawn while the run continues, for front ends without widgets."""

    def _is_due(self, state: RunState, now: float) -> bool:
        drawn = self._drawn_state
        if drawn is None or drawn.phase != state.phase:
            return True
        return not state.ended and now - self._drawn_at >= INTERVAL


class WidgetPanel(HtmlPanel):
    """The live panel as widgets with a Stop button, below a static form; at the end, only the static form.

    A front end shows one of the two (LIVE_OR_STATIC_CSS): the static form if the widget is not connected, for example
    after a kernel restart, or in a notebook that was saved during the run. The static form is redrawn every few
    seconds, so that a saved notebook is up to date.

    Widgets are created after the run has taken `patience` seconds, so that a quick cell of a session shows only a line.

    `on_stop` is called at most once, in the thread that receives the front end's message. `is_blocking` is whether the
    cell waits for the run. A page that was opened or reloaded during the run (`is_reloaded`) receives neither output
    nor updates of the display. The widget then offers to run the cell again, and shows the final form at the end.
    """

    def __init__(
        self,
        *,
        on_stop: Callable[[], None] | None = None,
        is_reloaded: Callable[[], bool] = lambda: False,
        is_blocking: bool = True,
        patience: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._on_stop = on_stop
        self._is_reloaded = is_reloaded
        self._is_blocking = is_blocking
        self._patience = patience
        self._created_at = self._clock()
        self._stop_requested = False
        self._live: PanelWidgets | None = None
        self._widget_id = _new_display_id()
        self._snapshot_at = -1.0
        self._snapshot_phase = ""
        self._sent_again_at = -1.0

    def _is_due(self, state: RunState, now: float) -> bool:
        if self._drawn_state is None and not (state.ended or state.outputs):
            # A quick cell is shown only at its end.
            return now - self._created_at >= min(FIRST_AFTER, self._patience)
        return super()._is_due(state, now)

    def leave(self) -> None:
        """Show that another page continues the run."""
        state, now = self._drawn_state, self._clock()
        if state is None or state.ended:
            return
        form = html.snapshot(state, now, self._lock(), _time_of(now), is_blocking=False)
        self._send(state, {"text/html": form, "text/plain": html.text_static(state)}, update=True)
        self._finish(state, now)

    def _draw(self, state: RunState, now: float, *, update: bool) -> None:
        if state.ended:
            super()._draw(state, now, update=update)
            self._finish(state, now)
            return
        if now - self._created_at < self._patience:
            super()._draw(state, now, update=update)
            if not update:
                self._publish({}, {}, transient={"display_id": self._widget_id}, update=False)
            return
        is_first = self._live is None
        if self._live is None:
            self._live = PanelWidgets(self._stop, self._lock)
        is_reloaded = self._is_reloaded()
        self._live.draw(state, now, stopping=self._stop_requested, is_reloaded=is_reloaded)
        if is_reloaded and now - self._sent_again_at >= AGAIN_INTERVAL:
            self._sent_again_at = now
            self._live.send_again()
        is_due = now - self._snapshot_at >= SNAPSHOT_INTERVAL or messages.phase_title(state) != self._snapshot_phase
        if is_due or not update:
            self._snapshot_at, self._snapshot_phase = now, messages.phase_title(state)
            form = html.snapshot(state, now, self._lock(), _time_of(now), is_blocking=self._is_blocking)
            data = {"text/html": LIVE_OR_STATIC_CSS + form, "text/plain": html.text_static(state)}
            self._send(state, data, update=update)
        if is_first or not update:
            # An empty display above the output is reserved for the panel.
            has_place = update and self._patience > 0
            self._widget_id = self._widget_id if has_place else _new_display_id()
            self._publish(self._live.bundle(), {}, transient={"display_id": self._widget_id}, update=has_place)

    def _stop(self) -> None:
        if not self._stop_requested and self._on_stop is not None:
            self._stop_requested = True
            self._on_stop()

    def _finish(self, state: RunState, now: float) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        # Do this first, because JupyterLab writes into the display of a closed widget. The texts are empty instead of
        # missing, because nbconvert warns of an output without text.
        empty = {"text/html": "", "text/plain": ""}
        self._publish(empty, {}, transient={"display_id": self._widget_id}, update=True)
        if self._is_reloaded() or not self._is_blocking:
            live.freeze(html.html(state, now, self._lock()))
        else:
            live.close()


def _time_of(now: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))


def _new_display_id() -> str:
    return f"uv-argo-{uuid.uuid4().hex}"
