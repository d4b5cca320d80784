"""Truncation of a cell's text output: the head at once, the tail at the end, and one line between.

Rules:
- Everything omitted is counted; the line between states the count and where the full log is.
- While the head lasts, text passes in the order and pieces in which it came.
- A carriage return redraws its line: the first redraws all pass, then every 2nd, every 4th, and always the last.
- Displays pass up to a count and a size; results, gaps and restarts always pass. Clearing resets all counts.
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


Emitted: TypeAlias = Chunk | ev.Display | ev.Result | ev.ClearOutput | ev.Skipped | Gap | Restarted
"""What a renderer shows."""


@dataclass(kw_only=True)
class _Line:
    """The line being written to one stream: how wide it is, what was cut from it, and its redraws."""

    width: int = 0
    cut: int = 0
    redraws: int = 0
    held: bool = False  # whether the present redraw is held back
    base: str = ""  # what the held redraws before the present one have left on the line
    now: str = ""  # the present held redraw


@dataclass(kw_only=True)
class OutputTruncator:
    """A bound for the output of one run: `head` and `tail` in lines, `width` and `chars` in characters.

    `width` bounds a line, `chars` the head and the tail each, `redraws` how many of one line pass one by one;
    `displays` and `display_chars` (of their JSON) bound the displays. `full_log` names where all output can be read.
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
        self._at_line_start = True  # whether the text that passed ends with a newline
        self._tail_chunks: deque[Chunk] = deque()
        self._tail_chars = 0
        self._holding = False
        self._passed_displays = self._passed_display_chars = 0
        self._dropped: set[str] = set()

    def feed(self, output: Output) -> tuple[Emitted, ...]:
        """What to show now that this output came."""
        match output:
            case ev.Lines():
                return self._text("stdout", output.text)
            case ev.Text():
                return self._text(output.stream, output.text)
            case ev.Display():
                return (output,) if self._admit(output) else ()
            case ev.ClearOutput():
                self._begin()
                return (output,)
            case ev.Result() | ev.Skipped() | Gap() | Restarted():
                return (output,)
            case _:  # pragma: no cover
                assert_never(output)

    def finish(self) -> tuple[Emitted, ...]:
        """What to show at the end: the rest of open lines, the line on what was omitted, and the tail."""
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
        """Whether a display passes: within count and size, or the update of one that did."""
        if output.update:
            return output.display_id not in self._dropped
        size = sum(len(body) for _, body in output.data)
        if self._passed_displays >= self.displays or self._passed_display_chars + size > self.display_chars:
            self.left_displays += 1
            if output.display_id:
                self._dropped.add(output.display_id)
            return False
        self._passed_displays += 1
        self._passed_display_chars += size
        self._dropped.discard(output.display_id)
        return True

    def _text(self, stream: ev.Stream, text: str) -> tuple[Emitted, ...]:
        passed: list[str] = []
        pieces = _pieces(text)
        at = 0
        while at < len(pieces):
            if self._holding and at and len(pieces) - at > self.tail + 1:
                # These lines cannot be part of the tail: they are counted without being processed.
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
        """The part of a line, or of its next piece, that may be shown."""
        line = self._lines[stream]
        if not piece.endswith("\n"):
            return "".join(self._within(line, piece))
        # "\r\n" is the end of a line, and no redraw.
        end = "\r\n" if piece.endswith("\r\n") else "\n"
        self._lines[stream] = _Line()
        return "".join((*self._within(line, piece[: -len(end)]), *_close(line), end))

    def _within(self, line: _Line, piece: str) -> list[str]:
        """The part of a piece that passes, given the line's width and redraws."""
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
                # What held redraws left on the line is drawn first: the next may be shorter.
                out.append(f"\r{line.base}\r" if line.base else "\r")
                line.base = ""
            out.append(self._draw(line, redraw))
        return out

    def _draw(self, line: _Line, text: str) -> str:
        """The part of the text that the width still allows; held back in a held redraw."""
        room = self.width - line.width
        fits = text[: max(room, 0)]
        line.width += len(fits)
        line.cut += len(text) - len(fits)
        if line.held:
            line.now += fits
            return ""
        return fits

    def _passes(self, stream: ev.Stream, text: str) -> bool:
        """Whether a piece of a line passes, as it does while the head lasts; else it is kept, and the oldest goes."""
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
    """The text cut after each newline, and nowhere else."""
    *lines, rest = text.split("\n")
    pieces = [line + "\n" for line in lines]
    return [*pieces, rest] if rest else pieces


def _close(line: _Line) -> list[str]:
    """What is missing at the end of a line: what was held of its last redraw, and how much was cut."""
    out = []
    if line.held:
        out.append("\r" + _over(line.now, line.base))
    if line.cut:
        out.append(f" [{count(line.cut, 'character')} omitted]")
    return out


def _over(new: str, old: str) -> str:
    """What is left on a line when `new` is written over `old`; with escapes in it, widths are not known."""
    if "\x1b" in new or "\x1b" in old:
        return new or old
    return new + old[len(new) :]


def _collapse(text: str) -> str:
    """A kept line with its redraws played: its beginning, which may continue a line on the page, and what followed.

    In a line that continues, the last redraw stays a separate part: the next text follows it.
    """
    end = "\r\n" if text.endswith("\r\n") else "\n" if text.endswith("\n") else ""
    first, *redraws = text.removesuffix(end).split("\r")
    going_on = [redraws.pop()] if redraws and not end else []
    drawn = reduce(lambda old, new: _over(new, old), redraws, "")
    return "\r".join([first, *([drawn] if redraws else []), *going_on]) + end
