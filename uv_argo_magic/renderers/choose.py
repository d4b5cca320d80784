"""Which renderers a run gets in this front end: a live panel above the cell's output, a static one below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from uv_argo_magic.core.view.truncate import OutputTruncator
from uv_argo_magic.errors import SpecError
from uv_argo_magic.renderers import panel
from uv_argo_magic.renderers.cell_output import CellOutput, OutputSink
from uv_argo_magic.renderers.terminal import PlainText

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import Settings


class Renderer(Protocol):
    """Shows a run; called from the main thread, 10 to 20 times a second and once more at the end."""

    def update(self, state: RunState) -> None:
        """Show this state."""


MODES = ("auto", "widget", "html", "static", "text", "none")


def mode(wanted: str, ip: object) -> str:
    """The panel that `wanted` means in this shell; a kernel has a front end, a terminal has none.

    Raises SpecError where it means none.
    """
    if wanted not in MODES:
        raise SpecError(f"There is no panel {wanted!r}.", hint=f"Panels: {', '.join(MODES)}.")
    if wanted != "auto":
        return "html" if wanted == "widget" and not panel.widgets_available() else wanted
    if getattr(ip, "kernel", None) is None:
        return "text"
    return "widget" if panel.widgets_available() else "html"


def renderers(  # noqa: PLR0913 - all by keyword, each with a default that a plain cell wants
    settings: Settings,
    *,
    ip: object,
    on_stop: Callable[[], None] | None = None,
    metadata: Callable[[RunState], dict[str, Any]] = lambda _: {},
    whole: str = "%argo logs",
    to: OutputSink | None = None,
    lock: Callable[[], Resolution | None] = lambda: None,
) -> tuple[Renderer, ...]:
    """The renderers of one run.

    `whole` says where the whole log can be read, `to` which cell shows it (else this one), `lock` what is
    known of its packages by now.
    Raises SpecError for an unknown panel.
    """
    cap = OutputTruncator(head=settings.output_lines, tail=settings.output_lines, full_log=whole)
    given: dict[str, Any] = {"metadata": metadata, "publish": to.publish if to else None, "lock": lock}
    shown: panel.StaticPanel
    match mode(settings.panel, ip):
        case "none":
            return (CellOutput(cap=cap, to=to),)
        case "text":
            return PlainText(outputs=False), CellOutput(cap=cap, to=to)
        case "widget":
            shown = panel.WidgetPanel(on_stop=on_stop, **given)
        case "static":
            # Below all output of the cell, whatever came in one batch with the end: nbval compares the order.
            return CellOutput(cap=cap, to=to), panel.StaticPanel(**given)
        case _:
            shown = panel.HtmlPanel(**given)
    return shown, CellOutput(cap=cap, cleared=shown.again, to=to)
