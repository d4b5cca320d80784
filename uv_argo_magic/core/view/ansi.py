"""Convert terminal text to HTML: colours become spans, redraws are collapsed, other control sequences are dropped.

Rules:
- Every character of the text is escaped, so that all markup comes from this module.
- Only the escapes SGR (colour, weight) and EL (erase in line) have an effect; all others are dropped.
- Colours are inline styles, which remain if style sheets are removed. Each of the 16 named colours also has a class, so
  that a style sheet can change it.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = (
    "#3b4048", "#cf3a3a", "#2c8f43", "#a87300", "#3573d6", "#a347ba", "#16858f", "#8a9099",
    "#6b7280", "#e5534b", "#3fa757", "#c08a17", "#4f8ff0", "#bb6bd9", "#2fa3ad", "#a8aeb6",
)  # fmt: skip
"""The 16 named colours, each readable on white and on near-black."""

_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b\n]*(?:\x1b\\)?"  # DCS and similar
    r"|(?:\x1b\[|\x9b)([0-?]*)[ -/]*([@-~])?"  # CSI: groups 1 and 2 are its parameters and its final letter
    r"|\x1b[ -/]*[0-~]?"  # other escapes
)
_CONTROL = re.compile("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@frozen
class Style:
    """The style of characters. A colour is "" (the page's default), a number below 16 as text, or "#rrggbb"."""

    fg: str = ""
    bg: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    inverse: bool = False

    def attributes(self) -> str:
        """This style as HTML attributes; "" for the default style."""
        fg, bg = self.fg, self.bg
        if self.inverse:
            fg, bg = bg or "#ffffff", fg or "#6b7280"
        names = [f"uv-a{fg}"] if fg.isdigit() else []
        css = []
        if fg:
            css.append(f"color:{_hex(fg)}")
        if bg:
            css.append(f"background-color:{_hex(bg)}")
        if self.bold:
            css.append("font-weight:bold")
        if self.dim:
            css.append("opacity:0.65")
        if self.italic:
            css.append("font-style:italic")
        lines = [line for line, on in (("underline", self.underline), ("line-through", self.strike)) if on]
        if lines:
            css.append(f"text-decoration:{' '.join(lines)}")
        if not css:
            return ""
        return (f' class="{names[0]}"' if names else "") + f' style="{";".join(css)}"'


PLAIN = Style()


def clean(text: str) -> str:
    """Replace lone surrogates, which neither JSON nor HTML can contain."""
    return _SURROGATE.sub("\ufffd", text)


def strip(text: str) -> str:
    """The text that a terminal would show in the end, without colours."""
    return "\n".join("".join(char for char, _ in line) for line in _lines(text))


def to_html(text: str) -> str:
    """Text as safe HTML for a `<pre>`: colours become spans, and redraws by carriage return or backspace collapse."""
    return "\n".join(map(_markup, _lines(text)))


def _hex(colour: str) -> str:
    return NAMED[int(colour)] if colour.isdigit() else colour


def _markup(line: list[tuple[str, Style]]) -> str:
    """A line of (text, style) runs as HTML; neighbours of equal style share a span."""
    parts: list[str] = []
    at = 0
    while at < len(line):
        style = line[at][1]
        end = at
        while end < len(line) and line[end][1] == style:
            end += 1
        text = html.escape("".join(piece for piece, _ in line[at:end]))
        attributes = style.attributes()
        parts.append(f"<span{attributes}>{text}</span>" if attributes else text)
        at = end
    return "".join(parts)


def _lines(text: str) -> list[list[tuple[str, Style]]]:
    """Each line as runs of (text, style); in a redrawn line, a run is one character."""
    style = PLAIN
    lines = []
    for line in clean(text).replace("\r\n", "\n").split("\n"):
        if not _ESCAPE.search(line) and "\r" not in line and "\b" not in line:
            drawn = [(_CONTROL.sub("", line), style)]
        else:
            drawn, style = _draw(line, style)
        lines.append(drawn)
    return lines


def _draw(line: str, style: Style) -> tuple[list[tuple[str, Style]], Style]:
    """Interpret one line like a terminal; return its final content and the style at its end."""
    runs: list[tuple[str, Style]] = []  # while the line is only written from left to right
    cells: list[tuple[str, Style]] | None = None  # one per character, once the cursor moves back or text is erased
    column = at = 0
    for match in [*_ESCAPE.finditer(line), None]:
        text = _CONTROL.sub("", line[at : match.start() if match else None])
        erases = match is not None and match[2] == "K"
        if cells is None and (erases or "\r" in text or "\b" in text):
            cells = [(char, drawn) for run, drawn in runs for char in run]
            column = len(cells)
        if cells is None:
            runs.append((text, style))
        else:
            column = _put(cells, column, text, style)
        if match is None:
            continue  # the text after the last escape
        at = match.end()
        if match[2] == "m":
            style = _sgr(style, match[1])
        elif cells is not None and erases:
            _erase(cells, column, match[1])
    return runs if cells is None else cells, style


def _put(cells: list[tuple[str, Style]], column: int, text: str, style: Style) -> int:
    """Write text over the cells from a column on; return the next column."""
    for char in text:
        if char == "\r":
            column = 0
        elif char == "\b":
            column = max(0, column - 1)
        else:
            while len(cells) < column:
                cells.append((" ", PLAIN))
            cells[column : column + 1] = [(char, style)]
            column += 1
    return column


def _erase(cells: list[tuple[str, Style]], column: int, how: str) -> None:
    if how in {"", "0"}:
        del cells[column:]
    elif how == "1":
        cells[:column] = [(" ", PLAIN)] * min(column, len(cells))
    else:
        cells.clear()


_SWITCHES: dict[int, Callable[[Style], Style]] = {
    1: lambda style: replace(style, bold=True),
    2: lambda style: replace(style, dim=True),
    3: lambda style: replace(style, italic=True),
    4: lambda style: replace(style, underline=True),
    7: lambda style: replace(style, inverse=True),
    9: lambda style: replace(style, strike=True),
    21: lambda style: replace(style, underline=True),
    22: lambda style: replace(style, bold=False, dim=False),
    23: lambda style: replace(style, italic=False),
    24: lambda style: replace(style, underline=False),
    27: lambda style: replace(style, inverse=False),
    29: lambda style: replace(style, strike=False),
}


def _sgr(style: Style, parameters: str) -> Style:
    """The style after one SGR escape; unknown codes are ignored."""
    codes = [int(code) if code.isdecimal() else 0 for code in re.split("[;:]", parameters)]
    at = 0
    while at < len(codes):
        code = codes[at]
        at += 1
        if code == 0:
            style = PLAIN
        elif code in _SWITCHES:
            style = _SWITCHES[code](style)
        elif code in {38, 48}:
            colour, used = _extended(codes[at:])
            at += used
            style = replace(style, fg=colour) if code == 38 else replace(style, bg=colour)
        else:
            style = _named_colour(style, code)
    return style


def _named_colour(style: Style, code: int) -> Style:
    """The style after a code that sets or resets a named colour."""
    if code == 39:
        return replace(style, fg="")
    if code == 49:
        return replace(style, bg="")
    for first, base in ((30, 0), (90, 8)):
        if first <= code < first + 8:
            return replace(style, fg=str(code - first + base))
        if first + 10 <= code < first + 18:
            return replace(style, bg=str(code - first - 10 + base))
    return style


def _extended(codes: list[int]) -> tuple[str, int]:
    """The colour after code 38 or 48, and the number of codes it consists of."""
    match codes:
        case [5, number, *_]:
            return _of_256(number), 2
        case [2, red, green, blue, *_]:
            return "#" + "".join(f"{min(part, 255):02x}" for part in (red, green, blue)), 4
        case _:
            return "", len(codes)


def _of_256(number: int) -> str:
    """A colour of the 256-colour palette: 16 named colours, a cube of 6 x 6 x 6, and 24 greys."""
    if number < 16:
        return str(number)
    if number < 232:
        cube = number - 16
        steps = [cube // 36, cube // 6 % 6, cube % 6]
        return "#" + "".join(f"{55 + 40 * step if step else 0:02x}" for step in steps)
    return "#" + f"{min(8 + 10 * (number - 232), 255):02x}" * 3
