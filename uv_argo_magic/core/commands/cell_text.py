"""A cell's text -> its `%%argo` line and its body, for what people write around and across that line.

Rules:
- Comments above the line move below it, and a line that continues (a backslash, triple quotes) becomes one line.
  Blank lines replace what is joined, so that every line of the body keeps its number.
- Blank lines at the top and an indentation of all lines do not count, as in IPython's plain cells.
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
    """The variables of a notebook that does not run: every name is defined, and its value is not known."""

    def __getitem__(self, name: str) -> object:
        return ""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def notebook_cells(text: str, name: str) -> Iterator[Cell]:
    """The `%%argo` cells of the text of a notebook file; `name` is its name for errors.

    Raises:
        SpecError: it is not a notebook.
    """
    try:
        code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(code, 1):
            source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
            # IPython hands a cell's text over with a newline at its end.
            parts = split(source if source.endswith("\n") else source + "\n")
            if parts:
                yield Cell(number=number, line=parts[0], text=parts[1], outputs=tuple(cell["outputs"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{name} is not a notebook in format 4", hint="Save it with Jupyter.") from error


def split(text: str) -> tuple[str, str] | None:
    """The line behind `%%argo` and the body of a cell; None if the cell has no such line at its top."""
    text = _without_indent(_BLANK_LINES.sub("", text))
    first = _FIRST.match(text)
    if not first:
        return None
    lines = text[first.end() :].split("\n")
    line, used = _whole_line(lines)
    body = _without_indent("\n".join(lines[used:]))
    return line.strip(), f"{first['above']}{chr(10) * (used - 1)}{body}"


def _whole_line(lines: list[str]) -> tuple[str, int]:
    """The first line with those that continue it, and how many they are."""
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
    # The two quotes of a marker mean the same.
    return f"'{joined.replace(chr(39), chr(34))}'" if '"' in joined else f'"{joined}"'


def _without_indent(text: str) -> str:
    """The text without the indentation that its first line of code has."""
    first = _CODE.search(text)
    indent = first["indent"] if first else ""
    return re.sub(f"^{indent}", "", text, flags=re.MULTILINE) if indent else text
