"""The renderer for terminals: the cell's output unchanged, and each phase and the end as a dim line on stderr.

Rules: colours are used only if stderr is a terminal; stdout has only the cell's output.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO, assert_never

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted, elapsed
from uv_argo_magic.core.view import ansi, html, messages, run_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import Output, Phase, RunState

_DIM, _RED, _OFF = "\x1b[2m", "\x1b[31m", "\x1b[0m"


class PlainText:
    """Writes a run to two streams; with `outputs=False`, only its phases.

    With `colour` None, colours are used if stderr is a terminal. `clock` returns Unix seconds.
    """

    def __init__(
        self,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        outputs: bool = True,
        colour: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._outputs = outputs
        self._colour = colour
        self._clock = clock
        self._outputs_read = 0
        self._notes_read = 0
        self._phase: Phase = "new"
        self._note = ""
        self._open_line = False  # whether the last text ended without a newline

    def update(self, state: RunState) -> None:
        """Show new output and phases."""
        if state.phase != self._phase and not state.ended and _is_worth_a_line(state):
            self._phase = state.phase
            self._print_line(_phase_line(state))
            self._note = messages.status_note(state)
        elif (note := messages.status_note(state)) != self._note:
            self._note = note
            if note:
                self._print_line(note)
        for note in state.notes[self._notes_read :]:
            self._print_line(humanize.one_line(note, 500))
        self._notes_read = len(state.notes)
        if self._outputs:
            for output in state.outputs[self._outputs_read :]:
                self._show(output)
        self._outputs_read = len(state.outputs)
        if state.ended and self._phase != "ended":
            self._phase = "ended"
            self._end(state)

    def _end(self, state: RunState) -> None:
        took = humanize.seconds(elapsed(state, self._clock()))
        self._print_line(f"{html.text_static(state).removeprefix('argo ')} ({took})")
        # If another renderer shows the cell's output, it also shows its exception.
        if state.outcome != "Succeeded" and (self._outputs or not state.error):
            self._print_line(messages.sentence(state), tone=_RED)
            if advice := messages.hint(state):
                self._print_line(advice)

    def _show(self, output: Output) -> None:
        out = self._stdout or sys.stdout
        err = self._stderr or sys.stderr
        match output:
            case ev.Lines():
                self._write(out, output.text)
            case ev.Text():
                self._write(out if output.stream == "stdout" else err, output.text)
            case ev.Traceback():
                self._write(err, output.text)
            case ev.Display() | ev.Result():
                self._write(out, run_text.bundle(output.data) + "\n")
            case ev.ClearOutput():
                pass  # a terminal cannot clear output
            case ev.Skipped() | Gap() | Restarted():
                self._print_line(run_text.remark(output))
            case _:  # pragma: no cover
                assert_never(output)

    def _write(self, stream: TextIO, text: str) -> None:
        if text:
            stream.write(ansi.clean(text))
            stream.flush()
            self._open_line = not text.endswith("\n")

    def _print_line(self, line: str, tone: str = _DIM) -> None:
        """Print one of our lines to stderr, on a separate line."""
        err = self._stderr or sys.stderr
        colour = err.isatty() if self._colour is None else self._colour
        start = "\n" if self._open_line else ""
        self._open_line = False
        # Strip the escapes, because the line can contain text of other programs.
        text = f"[argo] {ansi.strip(line)}"
        err.write(start + (f"{tone}{text}{_OFF}" if colour else text) + "\n")
        err.flush()


def _is_worth_a_line(state: RunState) -> bool:
    """Whether to print a line for this phase: waiting for a pod, the install and the cell, but not short phases."""
    if state.phase in {"new", "queued"}:
        return state.node is not None and state.node.phase == "Pending"
    return state.phase not in {"preparing", "starting"}


def _phase_line(state: RunState) -> str:
    """The line for a new phase."""
    line = messages.sentence(state)
    if state.phase == "running" and state.installed is not None and state.installed.packages:
        number = humanize.count(len(state.installed.packages), "package")
        line += f" {number} in {humanize.seconds(state.installed.seconds)}."
    elif state.phase == "queued" and state.name:
        line += f" Name: {state.name}"
    return line
