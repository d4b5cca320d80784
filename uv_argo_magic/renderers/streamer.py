"""A run in a terminal: its output on stdout, everything about it on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.view import messages, run_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from uv_argo_magic.core.protocol.state import Output, RunState


class Streamer:
    """A renderer that prints new output: the cell's to one stream, messages about the run to the other.

    If a stream cannot be written (its reader has exited, or the disk is full), `broken` is the error, and `on_broken`
    is called.
    """

    def __init__(self, out: TextIO, err: TextIO, on_broken: Callable[[], object] = bool) -> None:
        self._out, self._err = out, err
        self._on_broken = on_broken
        self._outputs = 0
        self._installed = 0
        self._notes = 0
        self._note = ""
        self.broken: OSError | None = None

    def update(self, state: RunState) -> None:
        """Print new output."""
        if self.broken is None:
            try:
                self._update(state)
            except OSError as problem:
                self.broken = problem
                self._on_broken()

    def _update(self, state: RunState) -> None:
        if (note := messages.status_note(state)) != self._note:
            self._note = note
            if note:
                self._err.write(f"uv-argo: {note}\n")
        for text in state.install_log[self._installed :]:
            self._err.write(text if text.endswith("\n") else text + "\n")
        for note in state.notes[self._notes :]:
            self._err.write(f"uv-argo: {humanize.one_line(note, 500)}\n")
        for output in state.outputs[self._outputs :]:
            self._print(output)
        self._installed, self._notes = len(state.install_log), len(state.notes)
        self._outputs = len(state.outputs)
        self._out.flush()
        self._err.flush()

    def _print(self, output: Output) -> None:
        match output:
            case ev.Lines():
                self._out.write(output.text)
            case ev.Text():
                (self._out if output.stream == "stdout" else self._err).write(output.text)
            case ev.Traceback():
                self._err.write(output.text)
            case ev.Display():
                self._out.write(run_text.bundle(output.data) + "\n")
            case Gap() | Restarted() | ev.Skipped():
                self._err.write(run_text.remark(output) + "\n")
            case ev.Result() | ev.ClearOutput():
                pass  # a script does not print its last expression, and a terminal cannot clear output
            case _:  # pragma: no cover
                assert_never(output)
