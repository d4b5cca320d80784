"""Tables as text with columns, and as HTML with every string escaped."""

from __future__ import annotations

import html as _html
import textwrap
from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.view import ansi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uv_argo_magic.core.resolution.diff import Change


@frozen
class Table:
    """Rows with a head, a title above and notes below. `right` are the right-aligned columns.

    `flexible` columns are cut if the table is too wide.
    """

    title: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    right: frozenset[int] = frozenset()
    flexible: frozenset[int] = frozenset()


NARROWEST = 6
"""Minimum characters of a column."""


def text(table: Table, width: int = 0, *, bold: bool = False) -> str:
    """The table as text without a final newline. `width` is the maximum width (0: none); `bold` is for the head."""
    rows = [tuple(map(ansi.strip, row)) for row in ((table.head, *table.rows) if table.head else table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - width if width and widths else 0
    for at in sorted(table.flexible, key=lambda at: -widths[at]) if widths else ():
        cut = max(0, min(excess, widths[at] - NARROWEST))
        widths[at] -= cut
        excess -= cut
    lines = _wrap(table.title, width) if table.title else []
    for number, row in enumerate(rows):
        cells = [
            _fit(cell, column, is_right=at in table.right)
            for at, (cell, column) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        lines.append(f"\x1b[1m{line}\x1b[0m" if bold and table.head and not number else line)
    return "\n".join([*lines, *(line for note in table.notes for line in _wrap(note, width))])


def _wrap(sentence: str, width: int) -> list[str]:
    plain = ansi.strip(sentence)
    return textwrap.wrap(plain, width, break_long_words=False, break_on_hyphens=False) if width else [plain]


def _fit(cell: str, width: int, *, is_right: bool) -> str:
    cut = cell if len(cell) <= width else cell[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return cut.rjust(width) if is_right else cut.ljust(width)


_CODE = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_FAINT = "opacity:0.65"


def html(table: Table) -> str:
    """The table with inline styles only, which JupyterLab keeps in an untrusted notebook."""
    parts = [f'<div style="font-weight:bold">{escape(table.title)}</div>'] if table.title else []
    if table.rows:
        head = "".join(
            _cell("th", cell, at in table.right, f"font-weight:normal;{_FAINT}") for at, cell in enumerate(table.head)
        )
        body = "".join(
            "<tr>" + "".join(_cell("td", cell, at in table.right, "") for at, cell in enumerate(row)) + "</tr>"
            for row in table.rows
        )
        parts.append(f'<table style="{_CODE};border-collapse:collapse;margin:4px 0"><tr>{head}</tr>{body}</table>')
    parts += [f'<div style="font-size:12px;{_FAINT}">{escape(note)}</div>' for note in table.notes]
    return "".join(parts)


def _cell(tag: str, cell: str, right: bool, style: str) -> str:
    align = "right" if right else "left"
    # Leading spaces show the depth in a tree, so they must be kept.
    style = f"text-align:{align};padding:1px 20px 1px 0;white-space:pre;{style}"
    return f'<{tag} style="{style}">{escape(ansi.strip(cell))}</{tag}>'


def escape(text_: str) -> str:
    """Any text as HTML text or attribute value."""
    return _html.escape(ansi.clean(text_).replace("\x00", ""))


def changes(changed: Sequence[Change], title: str) -> Table:
    """A table of the changes."""
    return Table(
        title=title if changed else f"{title}: no changes",
        head=("CHANGE", "PACKAGE", "BEFORE", "AFTER") if changed else (),
        rows=tuple((change.kind, change.name, change.before or "-", change.after or "-") for change in changed),
    )
