"""The cell's output as real Jupyter output: streams, displays, clearing, and the result to hand over.

Rules:
- Called from the main thread, unless an outlet says which cell shows it: another thread's output goes to whichever
  cell ran last.
- What the cell wrote appears unchanged, within the bounds of core/view/truncate.py; our own remarks go to stderr.
- A display id is made the run's own, so that two runs never update each other's displays.
"""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from typing import TYPE_CHECKING, Any, assert_never

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.view import ansi, html
from uv_argo_magic.core.view.truncate import Chunk, Emitted, OutputTruncator

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import RunState


class OutputSink:
    """Where output goes: here, to the cell that runs now, by IPython's own functions and Python's own streams."""

    results = False
    """Whether the value of the last expression is shown; the running cell hands it over instead."""

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], *, transient: dict[str, str], update: bool
    ) -> None:
        """Show a mimebundle, or show it in the place of an earlier one."""
        from IPython.display import publish_display_data  # noqa: PLC0415 - the command line goes without IPython

        publish_display_data(data, metadata, transient=transient, update=update)

    def clear(self, *, wait: bool) -> None:
        """Take away what the cell shows."""
        from IPython.display import clear_output  # noqa: PLC0415

        clear_output(wait=wait)

    def write(self, stream: str, text: str) -> None:
        """Add text to stdout or stderr."""
        to = sys.stdout if stream == "stdout" else sys.stderr
        to.write(text)
        to.flush()


class CellOutput:
    """Emits `state.outputs` as they grow, and the held back tail at the end.

    `to` says where; `cleared` is called after the cell's code cleared its output, which takes away everything that
    the cell shows.
    """

    def __init__(
        self,
        *,
        cap: OutputTruncator | None = None,
        to: OutputSink | None = None,
        cleared: Callable[[], None] | None = None,
    ) -> None:
        self._cap = cap or OutputTruncator()
        self._to = to or OutputSink()
        self._cleared = cleared
        self._shown = 0
        self._finished = False
        self._prefix = uuid.uuid4().hex[:12]

    def update(self, state: RunState) -> None:
        """Emit what is new; at the end, what was held back."""
        emitted = [one for output in state.outputs[self._shown :] for one in self._cap.feed(output)]
        self._shown = len(state.outputs)
        if state.ended and not self._finished:
            self._finished = True
            emitted += self._cap.finish()
        # JupyterLab draws all of a stream anew at each message: a thousand lines as one message, not as a thousand.
        for stream, group in itertools.groupby(
            _newest(emitted), lambda one: one.stream if isinstance(one, Chunk) else None
        ):
            if stream is None:
                for one in group:
                    self._emit(one)
            else:
                text = "".join(one.text for one in group if isinstance(one, Chunk))
                self._to.write(stream, ansi.clean(text))

    def _emit(self, one: Emitted) -> None:
        match one:
            case Chunk():  # pragma: no cover - `update` writes these
                pass
            case ev.Display():
                transient = {"display_id": f"{self._prefix}-{one.display_id}"} if one.display_id else {}
                data, metadata = _decoded(one.data), json.loads(one.metadata)
                self._to.publish(data, metadata, transient=transient, update=one.update)
            case ev.ClearOutput():
                self._to.clear(wait=one.wait)
                if self._cleared is not None:
                    self._cleared()
            case ev.Result():
                if self._to.results:
                    self._to.publish(_decoded(one.data), json.loads(one.metadata), transient={}, update=False)
            case ev.Skipped() | Gap() | Restarted():
                self._to.write("stderr", ansi.clean(html.remark(one)) + "\n")
            case _:  # pragma: no cover
                assert_never(one)


def _newest(emitted: list[Emitted]) -> list[Emitted]:
    """Without the updates of a display that the same batch updates again: nobody could see them."""
    last = {one.display_id: index for index, one in enumerate(emitted) if isinstance(one, ev.Display) and one.update}
    return [
        one
        for index, one in enumerate(emitted)
        if not (isinstance(one, ev.Display) and one.update and last[one.display_id] != index)
    ]


class RemoteResult:
    """The value of the cell's last expression, as it showed itself over there: returned by the magic, it is Out[n]."""

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.data = data
        self.metadata = metadata

    def __repr__(self) -> str:
        return str(self.data.get("text/plain", "<a value without a text form>"))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del include, exclude  # IPython filters what it gets
        return self.data, self.metadata


def result_object(state: RunState) -> RemoteResult | None:
    """The result of the run's last attempt, or None when its last expression had no value."""
    for output in reversed(state.outputs):
        if isinstance(output, ev.Result):
            return RemoteResult(_decoded(output.data), json.loads(output.metadata))
        if isinstance(output, Restarted):
            return None
    return None


def _decoded(bundle: ev.Bundle) -> dict[str, Any]:
    return {mime: json.loads(body) for mime, body in bundle}
