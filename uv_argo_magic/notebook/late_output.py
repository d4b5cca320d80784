"""Show messages of a session between its cells: output of threads and tasks, and one line before the session ends.

Rules:
- Output of threads and tasks is shown under their own cell. If the front end would not show a late message, it is
  printed in the running cell.
- The line on the end is shown under the last cell. The next cell of the session, or the end itself, replaces it.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.spec import output_metadata
from uv_argo_magic.core.view import messages, tables
from uv_argo_magic.notebook.background import CellSink
from uv_argo_magic.renderers.choose import can_send_later
from uv_argo_magic.sessions import workers

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 200
"""Number of the newest cells whose late output is shown under them."""
_sinks: OrderedDict[str, CellSink] = OrderedDict()
_endings: dict[str, tuple[CellSink, str]] = {}
"""Session -> (the cell with the line on its end, the display id of that line)."""


def expect(run: str, shell: Any, session: str) -> None:
    """Show later messages of this run of a session under the cell that is running now."""
    workers.show_late = _show
    workers.show_end = _show_end
    if ending := _endings.pop(session, None):
        _publish(*ending, "", update=True)
    if getattr(shell, "kernel", None) is None or not can_send_later(shell):
        return
    _sinks[run] = CellSink(shell)
    while len(_sinks) > MOST:
        _sinks.popitem(last=False)


def _show(event: Mapping[str, Any]) -> None:
    """Show one record of a cell that has ended; called in a thread."""
    sink, fields = _sinks.get(event["run"]), event["fields"]
    if event["kind"] in {"text", "traceback"}:
        stream = fields.get("stream", "stderr")
        if sink is not None:
            sink.write(stream, fields["text"])
        else:
            (sys.stderr if stream == "stderr" else sys.stdout).write(fields["text"])
    elif event["kind"] == "display" and sink is not None:
        display_id = fields.get("display_id", "")
        sink.publish(
            fields["data"], fields["metadata"], transient={"display_id": display_id} if display_id else {},
            update=bool(fields.get("update")),
        )  # fmt: skip


def _show_end(event: Mapping[str, Any]) -> None:
    """Show that a session ends soon, or has ended; called in a thread."""
    session, moment = event["session"], time.strftime("%H:%M", time.localtime(event["at"]))
    if event["event"] == "ended":
        text = messages.session_ended(session, moment, reason=event["reason"])
    else:
        text = messages.session_ends(session, moment, setting=event["setting"])
    ending = _endings.get(session)
    if ending is not None:
        _publish(*ending, text, update=True)
    elif (sink := _sinks.get(event["run"])) is not None:
        _endings[session] = sink, uuid.uuid4().hex
        _publish(*_endings[session], text, update=False)


def _publish(sink: CellSink, display_id: str, text: str, *, update: bool) -> None:
    """Show a note, marked as ours, because it is not output of the cell."""
    note = tables.html(tables.Table(notes=(text,) if text else ()))
    sink.publish(
        # JupyterLab indents text, but not HTML.
        {"text/plain": text, "text/html": f'<div style="padding-left:8px">{note}</div>' if note else ""},
        {output_metadata.KEY: {"schema": output_metadata.SCHEMA}},
        transient={"display_id": display_id},
        update=update,
    )
