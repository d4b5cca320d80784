"""Output of a session's cells that have ended: their threads and tasks go on, and print under their own cell.

Rule: where the front end would not show a late message, it is printed in the cell that runs then.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from uv_argo_magic.notebook.background import CellSink
from uv_argo_magic.renderers.choose import can_send_later
from uv_argo_magic.sessions import workers

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 200
"""Cells, the newest, whose output is shown under them."""
_sinks: OrderedDict[str, CellSink] = OrderedDict()


def expect(run: str, shell: Any) -> None:
    """Show later output of this run under the cell that is running now."""
    workers.show_late = _show
    if getattr(shell, "kernel", None) is None or not can_send_later(shell):
        return
    _sinks[run] = CellSink(shell)
    while len(_sinks) > MOST:
        _sinks.popitem(last=False)


def _show(event: Mapping[str, Any]) -> None:
    """Show one record of a cell that has ended; called in a thread."""
    sink, fields = _sinks.get(event["run"]), event["fields"]
    if event["kind"] == "text":
        if sink is not None:
            sink.write(fields["stream"], fields["text"])
        else:
            stream = sys.stderr if fields["stream"] == "stderr" else sys.stdout
            stream.write(fields["text"])
    elif event["kind"] == "display" and sink is not None:
        display_id = fields.get("display_id", "")
        sink.publish(
            fields["data"], fields["metadata"], transient={"display_id": display_id} if display_id else {},
            update=bool(fields.get("update")),
        )  # fmt: skip
