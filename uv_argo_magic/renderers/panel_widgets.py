"""The widgets of the live panel: one line with a Stop button that unfolds to the phases, the packages and the log.

Rules:
- The layout is that of the static form (core/view/html.py), so that nothing moves when the static form replaces it.
- A redraw closes `<details>`. Each is therefore in a separate widget that is set once, and CSS shows its content.
- Folding, copying and scrolling happen in the browser, because the kernel is busy with the cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uv_argo_magic.core import humanize
from uv_argo_magic.core.view import ansi, html, messages, run_text, tables
from uv_argo_magic.renderers import kernel_messages
from uv_argo_magic.renderers.panel_css import CSS
from uv_argo_magic.renderers.widget_registry import WidgetRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution

LINES = 500
"""Maximum lines of log: with 500 lines and 10 redraws per second, JupyterLab keeps 60 frames per second."""

REMARKS = 20
"""Maximum remarks, of which the newest are shown; the static form has all."""


class PanelWidgets:
    """The widgets of one live panel. Only changed traits are sent to the browser."""

    def __init__(self, stop: Callable[[], None], lock: Callable[[], Resolution | None]) -> None:
        self._lock = lock
        self._outputs_read = 0
        self._remarks: list[str] = []
        self._registry = registry = WidgetRegistry()
        create, layout = registry.create, registry.ipywidgets.Layout
        # Separate from the time, so that a screen reader announces only a new state.
        self._badge = registry.html(css="uv-line", flex="0 0 auto")
        self._facts = registry.html(css="uv-facts uv-line")
        self._button = create(
            "Button", css="uv-stop", description="Stop", tooltip="Stop this run (like the kernel's stop button)"
        )
        head = create("HBox", [self._fold("run"), self._badge, self._facts, self._button], css="uv-head")
        self._again = registry.html(css="uv-notes uv-again")
        self._notes = registry.html(css="uv-notes")
        self._phases = registry.html()
        self._packages = registry.html(css="uv-packages")
        self._packages_title = self._fold("packages", "Packages")
        self._log = registry.html(flex="0 0 auto", width="100%")
        self._tools = registry.html()
        # column-reverse keeps the newest line visible without JavaScript, and keeps the scroll position of a reader.
        scroll = create(
            "Box", [self._log], css="uv-scroll",
            layout=layout(
                max_height="240px", min_height="60px", overflow="auto", display="flex", flex_flow="column-reverse"
            ),
        )  # fmt: skip
        log = create("VBox", [self._tools, scroll], css="uv-logbox")
        parts = [self._phases, self._packages_title, self._packages, self._fold("log", "Log"), log]
        style = registry.html(f"<style>{CSS}</style>", display="none")
        self._root = create(
            "VBox",
            [style, head, self._again, create("VBox", parts, css="uv-body"), self._notes],
            css="uv-argo uv-run uv-live",
        )
        self._button.on_click(lambda _: stop())
        kernel_messages.at_once(self._button)

    def draw(self, state: RunState, now: float, *, stopping: bool, is_reloaded: bool) -> None:
        """Set every widget from the state."""
        # Read each output once, so that the panel does not become slower with their number.
        self._remarks += filter(None, map(run_text.remark, state.outputs[self._outputs_read :]))
        self._outputs_read = len(state.outputs)
        stopping = stopping or state.stop_requested is not None
        title = "Stopping" if stopping else messages.phase_title(state)
        color = html.TONES["Stopping"] if stopping else html.tone(state)
        self._badge.value = (
            f'<span class="uv-badge uv-{title.lower()}" role="status"><i style="background:{color}"></i>{title}</span>'
        )
        count = len(html.planned(state, self._lock()))
        self._packages_title.layout.display = None if count else "none"
        facts = tables.escape(html.facts(state, now, count))
        self._facts.value = f'<span class="uv-time" title="{facts}">{facts}</span>'
        self._phases.value = _phases(state, now) + html.values_html(state)
        self._again.value = _AGAIN if is_reloaded else ""
        self._notes.value = _remarks([*(humanize.one_line(note, 500) for note in state.notes), *self._remarks])
        self._packages.value = html.packages_html(state, now, self._lock())
        self._tools.value = _tools(state)
        self._log.value = f'<pre class="uv-log">{html.log_html(state, LINES) or _EMPTY_LOG}</pre>'
        self._button.disabled = stopping

    def send_again(self) -> None:
        """Send all that `draw` sets: a page drops what it receives before it has made its widgets."""
        for widget in (
            self._badge, self._facts, self._again, self._notes, self._phases, self._packages, self._tools, self._log,
        ):  # fmt: skip
            widget.send_state("value")
        self._packages_title.layout.send_state("display")
        self._button.send_state("disabled")

    def bundle(self) -> dict[str, Any]:
        """The mimebundle of the widget. Front ends without widgets show the static form above."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": ""}

    def freeze(self, final: str) -> None:
        """Replace all widgets by the final HTML."""
        self._phases.value = final
        self._root.remove_class("uv-argo").remove_class("uv-run")
        self._root.children = (self._phases,)
        self._registry.close_all_but(self._root, self._phases)

    def close(self) -> None:
        """Remove the models from the kernel and the browser."""
        self._registry.close()

    def _fold(self, name: str, text: str = "") -> Any:
        label = "" if text else ' aria-label="Details of the run"'
        return self._registry.html(f"<details><summary{label}>{text}</summary></details>", css=f"uv-fold-{name}")


_EMPTY_LOG = '<span class="uv-dim">No output yet.</span>'

# JupyterLab runs the cell of the button.
_AGAIN = (
    '<div class="uv-tools"><span class="uv-dim">This page was opened during the run and receives no output.</span>'
    '<button type="button" data-commandlinker-command="notebook:run-cell">Show it here</button></div>'
)

_COPY = (
    "const b=this,p=b.closest('.uv-argo').querySelector('pre.uv-log');navigator.clipboard.writeText(p.innerText)"
    ".then(()=>{b.textContent='Copied'},()=>{b.textContent='Not allowed'});setTimeout(()=>{b.textContent='Copy'},1500)"
)
_NEWEST = "this.closest('.uv-argo').querySelector('.uv-scroll').scrollTop=0"


def _phases(state: RunState, now: float) -> str:
    """The phases with their times, uv's last line while it is running, and the run's name in the backend."""
    out = [html.stages_html(state, now)]
    if state.phase in {"resolving", "installing"} and len(state.install_log):
        last = ansi.strip("".join(state.install_log[-3:])).strip().rsplit("\n", 1)[-1]
        out.append(f'<div class="uv-dim">uv: {tables.escape(humanize.one_line(last))}</div>')
    out.append(f'<div class="uv-name">{tables.escape(humanize.one_line(state.name or state.run, 80))}</div>')
    return "".join(out)


def _remarks(lines: list[str]) -> str:
    return "".join(f'<div class="uv-remark">{tables.escape(line)}</div>' for line in lines[-REMARKS:])


def _tools(state: RunState) -> str:
    """The line above the log: the part that it shows, the command for the whole log, and two buttons."""
    run = tables.escape(humanize.one_line(state.run, 80))
    return (
        f'<div class="uv-tools"><span class="uv-dim">Last {LINES} lines. Full log: '
        f"<code>%argo logs {run}</code></span>"
        f'<button type="button" onclick="{_NEWEST}">Newest</button>'
        f'<button type="button" onclick="{tables.escape(_COPY)}">Copy</button></div>'
    )
