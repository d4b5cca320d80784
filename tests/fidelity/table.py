"""Writes the recorded differences and their tables in docs/fidelity.md: `python tests/fidelity/table.py`.

Rule: what stands between a table's two marks is written here, the text around them by people.
"""

from __future__ import annotations

import html
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import cells
import compare
from reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = Path(__file__).parent / "expected.json"
DOCS = compare.ROOT / "docs" / "fidelity.md"
ENVIRON = {"FIDELITY_TEST": "set beside the kernel"}
# A difference is told by the first of these in which it shows.
_TELLING = ("error", "result", "displays", "stdout", "stderr", "traceback", "order")
_WIDTH = 110

Differences = dict[str, dict[str, list[Any]]]


def found(wanted: tuple[cells.Cell, ...] = cells.CELLS) -> Differences:
    """What differs in a real kernel, now: {cell: {aspect: [plain, argo]}}, as JSON reads it."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = compare.run(wanted, Path(folder), environ=ENVIRON)
    named = {cell.name: compare.differences(*pair) for cell, pair in zip(wanted, pairs, strict=True)}
    return json.loads(json.dumps({name: pairs for name, pairs in named.items() if pairs}))  # type: ignore[no-any-return]


def recorded() -> Differences:
    """What was found when the record was made."""
    return json.loads(RECORD.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def table(differences: Differences) -> str:
    """The table of cells that differ."""
    rows = ["| cell | plain | `%%argo` | why |", "|---|---|---|---|"]
    for name, aspects in differences.items():
        aspect = next(aspect for aspect in _TELLING if aspect in aspects)
        plain, argo = aspects[aspect]
        if aspect == "traceback":
            plain, argo = _first_apart(plain, argo)
        rows.append(f"| {name} | {_said(aspect, plain)} | {_said(aspect, argo)} | {REASONS[name]} |")
    return "\n".join(rows)


def _first_apart(plain: list[str], argo: list[str]) -> tuple[list[str], list[str]]:
    pairs = zip([*plain, ""], [*argo, ""], strict=False)
    number = next(number for number, pair in enumerate(pairs) if pair[0] != pair[1])
    return plain[number : number + 1], argo[number : number + 1]


def _said(aspect: str, value: Any) -> str:
    if not value:
        return "nothing more" if aspect == "traceback" else f"no {aspect}"
    parts = value if isinstance(value, list) else [value]
    joined = (": " if aspect == "error" else ", ").join(map(str, parts))
    text = " ".join(joined.removeprefix("text/plain: ").split()).rstrip(": ")
    text = text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
    return f"{aspect}: <code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"


def replaced(text: str, marks: Mapping[str, str]) -> str:
    """The page with each marked table made anew."""
    for mark, body in marks.items():
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        if not re.search(pattern, text, re.DOTALL):
            message = f"the page has no place for {mark}"
            raise ValueError(message)
        text = re.sub(pattern, lambda at, body=body: f"{at[1]}{body}\n{at[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Run the cells, keep what differs, and write the table."""
    differences = found()
    RECORD.write_text(json.dumps(differences, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    page = DOCS.read_text(encoding="utf-8")
    page = replaced(page, {"cells": table(differences)})
    DOCS.write_text(re.sub(r"\d+ small cells", f"{len(cells.CELLS)} small cells", page), encoding="utf-8")
    print(f"{len(cells.CELLS)} cells, {len(differences)} differ")  # noqa: T201


if __name__ == "__main__":
    main()
