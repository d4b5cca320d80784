"""The renderer for terminals: the cell's output as it is, the stages and the end as one dim line each on stderr.

Rules: colour only where stderr is a terminal; nothing of ours goes to stdout.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO, assert_never

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted, elapsed
from uv_argo_magic.core.view import ansi, html, messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.state import Output, Phase, RunState

_DIM, _RED, _OFF = "\x1b[2m", "\x1b[31m", "\x1b[0m"


class PlainText:
    """Writes a run to two streams; with `outputs=False` only the stages, where others show the cell's output.

    `colour` None asks stderr whether it is a terminal. `clock` gives Unix seconds.
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
        self._shown = 0
        self._notes = 0
        self._stage: Phase = "new"
        self._open_line = False  # whether the last text left a line without its newline

    def update(self, state: RunState) -> None:
        """Show what is new."""
        if state.phase != self._stage and not state.ended and _worth_saying(state):
            self._stage = state.phase
            self._say(_stage_line(state))
        for note in state.notes[self._notes :]:
            self._say(humanize.one_line(note, 500))
        self._notes = len(state.notes)
        if self._outputs:
            for output in state.outputs[self._shown :]:
                self._show(output)
        self._shown = len(state.outputs)
        if state.ended and self._stage != "ended":
            self._stage = "ended"
            self._end(state)

    def _end(self, state: RunState) -> None:
        took = humanize.seconds(elapsed(state, self._clock()))
        self._say(f"{html.text_static(state).removeprefix('argo ')} ({took})")
        # Where others show the cell's output, its exception is shown by them as well.
        if state.outcome != "Succeeded" and (self._outputs or not state.error):
            self._say(messages.sentence(state), tone=_RED)
            if advice := messages.hint(state):
                self._say(advice)

    def _show(self, output: Output) -> None:
        out = self._stdout or sys.stdout
        err = self._stderr or sys.stderr
        match output:
            case ev.Lines():
                self._write(out, output.text)
            case ev.Text():
                self._write(out if output.stream == "stdout" else err, output.text)
            case ev.Display() | ev.Result():
                self._write(out, html.plain_text(output.data))
            case ev.ClearOutput():
                pass  # what a terminal has printed stays
            case ev.Skipped() | Gap() | Restarted():
                self._say(html.remark(output))
            case _:  # pragma: no cover
                assert_never(output)

    def _write(self, to: TextIO, text: str) -> None:
        if text:
            to.write(ansi.clean(text))
            to.flush()
            self._open_line = not text.endswith("\n")

    def _say(self, line: str, tone: str = _DIM) -> None:
        """One line of ours on stderr, on a line of its own."""
        err = self._stderr or sys.stderr
        colour = err.isatty() if self._colour is None else self._colour
        start = "\n" if self._open_line else ""
        self._open_line = False
        # Others' text may be part of the line: no escape of theirs reaches the terminal in our name.
        said = f"[argo] {ansi.strip(line)}"
        err.write(start + (f"{tone}{said}{_OFF}" if colour else said) + "\n")
        err.flush()


def _worth_saying(state: RunState) -> bool:
    """Not each of the stages that pass in no time: the wait where there is one, the install, the cell."""
    if state.phase in {"new", "queued"}:
        return state.node is not None and state.node.phase == "Pending"
    return state.phase != "starting"


def _stage_line(state: RunState) -> str:
    """What has begun, with what is known of it by then."""
    line = messages.sentence(state)
    if state.phase == "running" and state.installed is not None and state.installed.packages:
        number = humanize.count(len(state.installed.packages), "package")
        line += f" {number} in {humanize.seconds(state.installed.seconds)}."
    elif state.phase == "queued" and state.name:
        line += f" Its name: {state.name}"
    return line
