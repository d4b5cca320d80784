"""Choose the renderers of a run for this front end: a live panel above the cell's output, or a static one below it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.view.truncate import OutputTruncator
from uv_argo_magic.errors import SpecError
from uv_argo_magic.renderers import panel
from uv_argo_magic.renderers.cell_output import CellOutput, OutputSink
from uv_argo_magic.renderers.terminal import PlainText

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.run import Renderer
    from uv_argo_magic.errors import RunError


PATIENCE = 1.0
"""Seconds after which a run that can be quick gets its live panel."""
MODES = ("auto", "widget", "html", "static", "text", "none")


def mode(requested: str, ip: object) -> str:
    """The panel for this shell: "auto" and "widget" depend on its front end.

    Raises:
        SpecError: the panel is unknown.
    """
    if requested not in MODES:
        raise SpecError(f"Unknown panel {requested!r}.", hint=f"Choose one of {', '.join(MODES)}.")
    if requested == "auto" and getattr(ip, "kernel", None) is None:
        return "text"
    if requested in {"auto", "widget", "html"} and getattr(ip, "kernel", None) is not None and not can_send_later(ip):
        return "static"  # for example %%capture, in which each update of a live panel would be another output
    if requested not in {"auto", "widget"}:
        return requested
    return "widget" if panel.widgets_available() else "html"


def can_send_later(shell: Any) -> bool:
    """Whether this shell publishes on a kernel's socket, so that other threads can write to a cell by parent header."""
    publisher = getattr(shell, "display_pub", None)
    return all(hasattr(publisher, name) for name in ("session", "pub_socket")) and hasattr(shell, "get_parent")


def renderers(  # noqa: PLR0913 - all by keyword, with defaults for a plain cell
    settings: Settings,
    *,
    ip: object,
    on_stop: Callable[[], None] | None = None,
    metadata: Callable[[RunState], dict[str, Any]] = lambda _: {},
    full_log: str = "%argo logs",
    sink: OutputSink | None = None,
    lock: Callable[[], Resolution | None] = lambda: None,
    is_reloaded: Callable[[], bool] = lambda: False,
    is_quick: bool = False,
    rebuild: Callable[[RemoteError], RunError] | None = None,
) -> tuple[Renderer, ...]:
    """The renderers of one run.

    `full_log` is the command that prints the whole log, `sink` the cell that shows the run (default: the running one).
    `lock` returns the run's packages, if known. `is_reloaded` returns whether a page that was opened later shows the
    panel. Runs that are usually quick (`is_quick`) get a live panel only after PATIENCE. `rebuild` is that of
    `CellOutput`.

    Raises:
        SpecError: unknown panel.
    """
    truncator = OutputTruncator(head=settings.output_lines, tail=settings.output_lines, full_log=full_log)
    show_output = functools.partial(CellOutput, truncator=truncator, sink=sink, rebuild=rebuild)
    options: dict[str, Any] = {"metadata": metadata, "publish": sink.publish if sink else None, "lock": lock}
    live_panel: panel.Panel
    match mode(settings.panel, ip):
        case "none":
            return (show_output(),)
        case "text":
            return PlainText(outputs=False), show_output()
        case "widget":
            is_background = bool(sink and sink.is_background)
            live_panel = panel.WidgetPanel(
                on_stop=on_stop,
                is_reloaded=is_reloaded,
                is_blocking=not is_background,
                patience=PATIENCE if is_quick else 0.0,
                **options,
            )
        case "static":
            # Always after all output of the cell, because nbval compares the order.
            return show_output(), panel.StaticPanel(**options)
        case _:
            live_panel = panel.HtmlPanel(**options)
    return live_panel, show_output(on_clear=live_panel.redisplay)
