"""Split the text of a cell into its `%%argo` line and its body.

Rules:
- Comments above the `%%argo` line move below it. A line continued by a backslash or triple quotes becomes one line.
  Blank lines replace the lines that were joined, so that every line of the body keeps its number.
- Blank lines at the top and indentation shared by all lines are removed, as in IPython.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import SpecError

MAGIC = "%%argo"
_FIRST = re.compile(r"(?P<above>(?:[ \t]*(?:#[^\n]*)?\n)*)[ \t]*%%argo(?=[ \t\n\\]|\Z)")
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")
_CODE = re.compile(r"^(?P<indent>[ \t]*)(?=[^\s#])", re.MULTILINE)
_TRIPLE = re.compile(r'"""|\'\'\'')
_COMMENT = re.compile(r"(?:^|[ \t])#.*")


@frozen
class Cell:
    """A `%%argo` cell of a saved notebook: its number among the code cells, line, text and stored outputs."""

    number: int
    line: str
    text: str
    outputs: tuple[Mapping[str, Any], ...]


class UnknownVariables(Mapping[str, object]):
    """The variables of a notebook that is not running: every name counts as defined, with an unknown value."""

    def __getitem__(self, name: str) -> object:
        return ""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def notebook_cells(text: str, name: str) -> Iterator[Cell]:
    """The `%%argo` cells of a notebook file with this text; errors call the file `name`.

    Raises:
        SpecError: the text is not a notebook.
    """
    try:
        code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(code, 1):
            source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
            # IPython adds a newline to the text of a cell.
            parts = split(source if source.endswith("\n") else source + "\n")
            if parts:
                yield Cell(number=number, line=parts[0], text=parts[1], outputs=tuple(cell["outputs"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{name} is not a notebook in format 4", hint="Save it with Jupyter.") from error


def split(text: str) -> tuple[str, str] | None:
    """The text after `%%argo` and the body of a cell; None if the cell does not begin with such a line."""
    text = _without_indent(_BLANK_LINES.sub("", text))
    first = _FIRST.match(text)
    if not first:
        return None
    lines = text[first.end() :].split("\n")
    line, used = _whole_line(lines)
    body = _without_indent("\n".join(lines[used:]))
    return line.strip(), f"{first['above']}{chr(10) * (used - 1)}{body}"


def _whole_line(lines: list[str]) -> tuple[str, int]:
    """The first line joined with its continuation lines, and the number of lines joined."""
    line, used = lines[0], 1
    while True:
        stripped = line.rstrip()
        opening = _TRIPLE.search(line)
        closing = opening and line.find(opening[0], opening.end())
        if opening and closing and closing > 0:
            quoted = _one_line(line[opening.end() : closing])
            line = f"{line[: opening.start()]}{quoted}{line[closing + 3 :]}"
        elif used == len(lines):
            return line, used
        elif opening:
            line, used = f"{line}\n{lines[used]}", used + 1
        elif stripped.endswith("\\"):
            line, used = f"{stripped[:-1].rstrip()} {lines[used].strip()}", used + 1
        else:
            return line, used


def _one_line(text: str) -> str:
    """The text between triple quotes as one quoted word: its lines without comments, separated by commas."""
    pieces = [_COMMENT.sub("", piece).strip().rstrip(",\\").rstrip() for piece in text.split("\n")]
    joined = ", ".join(filter(None, pieces))
    # Single and double quotes are equivalent in markers.
    return f"'{joined.replace(chr(39), chr(34))}'" if '"' in joined else f'"{joined}"'


def _without_indent(text: str) -> str:
    """The text without the indentation of its first line of code."""
    first = _CODE.search(text)
    indent = first["indent"] if first else ""
    return re.sub(f"^{indent}", "", text, flags=re.MULTILINE) if indent else text
