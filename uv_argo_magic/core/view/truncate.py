"""Truncate a cell's text output: show the head immediately, and at the end the tail, with one line between them.

Rules:
- The line between head and tail states how much is omitted and where the full log is.
- Until the head is full, text passes unchanged and immediately.
- A carriage return redraws its line. The first redraws of a line all pass, then every 2nd, every 4th and so on; the
  last one always passes.
- Output that the runner has omitted is part of the same line, if it follows the head.
- Displays and tracebacks pass up to a number and a total size; results, gaps and restarts always pass. Clearing resets
  all counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeAlias, assert_never

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.humanize import count
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Output, Restarted


@frozen
class Chunk:
    """Text for one of the two streams."""

    stream: ev.Stream
    text: str


Emitted: TypeAlias = Chunk | ev.Display | ev.Result | ev.Traceback | ev.ClearOutput | ev.Skipped | Gap | Restarted
"""What a renderer shows."""


@dataclass(kw_only=True)
class _Line:
    """The unfinished line of a stream: its width so far, the characters cut from it, and its redraws."""

    width: int = 0
    cut: int = 0
    redraws: int = 0
    held: bool = False  # whether the current redraw is held back
    base: str = ""  # the content of the line after the held redraws before the current one
    now: str = ""  # the current redraw, if held back


@dataclass(kw_only=True)
class OutputTruncator:
    """Limits for the output of one run.

    `head` and `tail` are lines, and `chars` the maximum characters of each. `width` is the maximum length of a line,
    `redraws` the number of redraws of a line that all pass. `displays` and `display_chars` limit the number of displays
    and the total size of their JSON. `full_log` names the source of the full output.
    """

    head: int = 1000
    tail: int = 1000
    width: int = 20_000
    chars: int = 500_000
    redraws: int = 2000
    displays: int = 200
    display_chars: int = 32 * 1024 * 1024
    full_log: str = "%argo logs"
    omitted_lines: int = field(default=0, init=False)
    omitted_chars: int = field(default=0, init=False)
    omitted_displays: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.left_lines = self.left_chars = self.left_displays = 0
        self._lines: dict[ev.Stream, _Line] = {"stdout": _Line(), "stderr": _Line()}
        self._passed_lines = self._passed_chars = 0
        self._at_line_start = True  # whether the text passed so far ends with a newline
        self._tail_chunks: deque[Chunk] = deque()
        self._tail_chars = 0
        self._holding = False
        self._passed_displays = self._passed_display_chars = 0
        self._dropped: set[str] = set()

    def feed(self, output: Output) -> tuple[Emitted, ...]:
        """Add an output, and return the outputs to show now."""
        match output:
            case ev.Lines():
                return self._text("stdout", output.text)
            case ev.Text():
                return self._text(output.stream, output.text)
            case ev.Display():
                return (output,) if self._admit(output) else ()
            case ev.Traceback():
                return (output,) if self._has_room(len(output.error)) else ()
            case ev.ClearOutput():
                self._begin()
                return (output,)
            case ev.Skipped() if self._holding:
                self._leave_tail()
                self.left_lines += output.lines
                self.left_chars += output.bytes
                return ()
            case ev.Result() | ev.Skipped() | Gap() | Restarted():
                return (output,)
            case _:  # pragma: no cover
                assert_never(output)

    def _leave_tail(self) -> None:
        """Count the tail so far as omitted, because the output after it was omitted too."""
        self.left_lines += sum(chunk.text.endswith("\n") for chunk in self._tail_chunks)
        self.left_chars += self._tail_chars
        self._tail_chunks.clear()
        self._tail_chars = 0

    def finish(self) -> tuple[Emitted, ...]:
        """Return the outputs to show at the end: the rest of unfinished lines, the line on omissions, and the tail."""
        emitted: list[Emitted] = []
        for stream, line in self._lines.items():
            text = "".join(_close(line))
            if text and self._passes(stream, text):
                emitted.append(Chunk(stream=stream, text=text))
        omitted = ", ".join(
            count(number, noun)
            for number, noun in (
                (self.left_lines, "line"),
                (0 if self.left_lines else self.left_chars, "character"),
                (self.left_displays, "display"),
            )
            if number
        )
        if omitted:
            start = "" if self._at_line_start else "\n"
            emitted.append(Chunk(stream="stderr", text=f"{start}[{omitted} omitted; full log: {self.full_log}]\n"))
        emitted += self._tail_chunks
        self._begin()
        return tuple(emitted)

    def _admit(self, output: ev.Display) -> bool:
        """Whether a display passes: it is within the limits, or updates one that passed."""
        if output.update:
            return output.display_id not in self._dropped
        if not self._has_room(sum(len(body) for _, body in output.data)):
            if output.display_id:
                self._dropped.add(output.display_id)
            return False
        self._dropped.discard(output.display_id)
        return True

    def _has_room(self, size: int) -> bool:
        """Count a display of this size, and return whether it is within the limits."""
        if self._passed_displays >= self.displays or self._passed_display_chars + size > self.display_chars:
            self.left_displays += 1
            return False
        self._passed_displays += 1
        self._passed_display_chars += size
        return True

    def _text(self, stream: ev.Stream, text: str) -> tuple[Emitted, ...]:
        passed: list[str] = []
        pieces = _pieces(text)
        at = 0
        while at < len(pieces):
            if self._holding and at and len(pieces) - at > self.tail + 1:
                # These lines cannot become part of the tail, so they are only counted.
                skipped = pieces[at : -self.tail - 1]
                self.left_lines += len(skipped)
                self.left_chars += sum(map(len, skipped))
                at += len(skipped)
            piece = self._piece(stream, pieces[at])
            if piece and self._passes(stream, piece):
                passed.append(piece)
            at += 1
        return (Chunk(stream=stream, text="".join(passed)),) if passed else ()

    def _piece(self, stream: ev.Stream, piece: str) -> str:
        """The part of the next piece of a line that can be shown."""
        line = self._lines[stream]
        if not piece.endswith("\n"):
            return "".join(self._within(line, piece))
        # "\r\n" is a line end, not a redraw.
        end = "\r\n" if piece.endswith("\r\n") else "\n"
        self._lines[stream] = _Line()
        return "".join((*self._within(line, piece[: -len(end)]), *_close(line), end))

    def _within(self, line: _Line, piece: str) -> list[str]:
        """The parts of a piece that the limits on width and redraws let pass."""
        if "\r" not in piece:
            return [self._draw(line, piece)]
        first, *rest = piece.split("\r")
        out = [self._draw(line, first)]
        for redraw in rest:
            line.redraws += 1
            line.width = line.cut = 0
            every = 1 << max(0, (line.redraws - 1) // self.redraws)
            was_held, line.held = line.held, line.redraws % every != 0
            if was_held:
                line.base = _over(line.now, line.base)
                line.now = ""
            if not line.held:
                # Draw the content of the held redraws first, since the next redraw can be shorter.
                out.append(f"\r{line.base}\r" if line.base else "\r")
                line.base = ""
            out.append(self._draw(line, redraw))
        return out

    def _draw(self, line: _Line, text: str) -> str:
        """The part of the text within the width; "" if the redraw is held back, which keeps it for later."""
        room = self.width - line.width
        fits = text[: max(room, 0)]
        line.width += len(fits)
        line.cut += len(text) - len(fits)
        if line.held:
            line.now += fits
            return ""
        return fits

    def _passes(self, stream: ev.Stream, text: str) -> bool:
        """Whether a piece of a line is part of the head; otherwise it is added to the tail, whose oldest pieces go."""
        ended = text.endswith("\n")
        if not self._holding:
            if self._passed_lines < self.head and self._passed_chars + len(text) <= self.chars:
                self._passed_lines += ended
                self._passed_chars += len(text)
                self._at_line_start = ended
                return True
            self._holding = True
        last = self._tail_chunks[-1] if self._tail_chunks else None
        if last and last.stream == stream and not last.text.endswith("\n"):
            self._tail_chunks.pop()
            self._tail_chars -= len(last.text)
            text = _collapse(last.text + text)
        self._tail_chunks.append(Chunk(stream=stream, text=text))
        self._tail_chars += len(text)
        while self._tail_chunks and (len(self._tail_chunks) > self.tail or self._tail_chars > self.chars):
            gone = self._tail_chunks.popleft()
            self._tail_chars -= len(gone.text)
            self.left_lines += gone.text.endswith("\n")
            self.left_chars += len(gone.text)
        return False


def _pieces(text: str) -> list[str]:
    """The text split after each newline, but not at other line ends."""
    *lines, rest = text.split("\n")
    pieces = [line + "\n" for line in lines]
    return [*pieces, rest] if rest else pieces


def _close(line: _Line) -> list[str]:
    """The text to add at the end of a line: its last redraw if held back, and the number of cut characters."""
    out = []
    if line.held:
        out.append("\r" + _over(line.now, line.base))
    if line.cut:
        out.append(f" [{count(line.cut, 'character')} omitted]")
    return out


def _over(new: str, old: str) -> str:
    """The content of a line after `new` is written over `old`; with escapes, widths are unknown."""
    if "\x1b" in new or "\x1b" in old:
        return new or old
    return new + old[len(new) :]


def _collapse(text: str) -> str:
    """Collapse the redraws of a line of the tail. Text before the first one can continue a shown line, so it stays.

    If the line is unfinished, its last redraw stays separate, because the next text follows it.
    """
    end = "\r\n" if text.endswith("\r\n") else "\n" if text.endswith("\n") else ""
    first, *redraws = text.removesuffix(end).split("\r")
    unfinished = [redraws.pop()] if redraws and not end else []
    drawn = reduce(lambda old, new: _over(new, old), redraws, "")
    return "\r".join([first, *([drawn] if redraws else []), *unfinished]) + end
