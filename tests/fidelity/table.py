"""Write the recorded differences, and their table in docs/fidelity.md: `python tests/fidelity/table.py`.

Only the text between the two marks of a table is generated.
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
from reasons import IN_SESSIONS, REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = Path(__file__).parent / "expected.json"
SESSIONS = Path(__file__).parent / "expected_in_sessions.json"
"""The differences of cells that differ in a session, but not in the same way without one."""
DOCS = compare.ROOT / "docs" / "fidelity.md"
ENVIRON = {"FIDELITY_TEST": "set beside the kernel"}
# The table shows the first aspect that differs, in this order.
_ASPECTS = ("error", "result", "displays", "stdout", "stderr", "traceback", "order")
_WIDTH = 110

Differences = dict[str, dict[str, list[Any]]]


def run_plain() -> list[compare.Outputs]:
    """Run the cells as plain cells."""
    with tempfile.TemporaryDirectory() as folder:
        return compare.run_plain(cells.CELLS, Path(folder), environ=ENVIRON)


def measure(plain: list[compare.Outputs], *, in_session: bool = False) -> Differences:
    """Run the cells under `%%argo`; returns the differences as JSON: {cell: {aspect: [plain, argo]}}."""
    with tempfile.TemporaryDirectory() as folder:
        argo = compare.run_argo(cells.CELLS, Path(folder), environ=ENVIRON, in_session=in_session)
    pairs = zip(cells.CELLS, plain, argo, strict=True)
    by_name = {cell.name: compare.differences(*pair) for cell, *pair in pairs}
    return json.loads(json.dumps({name: aspects for name, aspects in by_name.items() if aspects}))  # type: ignore[no-any-return]


def recorded() -> Differences:
    """Return the recorded differences."""
    return json.loads(RECORD.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def recorded_in_sessions() -> Differences:
    """Return the recorded differences in sessions."""
    others: Differences = json.loads(SESSIONS.read_text(encoding="utf-8"))
    return {name: aspects for name, aspects in (recorded() | others).items() if aspects}


def table_of_sessions() -> str:
    """Return the table of cells whose differences in a session are not the same as without one."""
    rows = ["| cell | plain cell | in a session | reason |", "|---|---|---|---|"]
    for name, aspects in json.loads(SESSIONS.read_text(encoding="utf-8")).items():
        texts = _texts(aspects) if aspects else ("the same", "the same")
        rows.append(f"| {name} | {texts[0]} | {texts[1]} | {IN_SESSIONS[name]} |")
    return "\n".join(rows)


def table(differences: Differences) -> str:
    """Return the table of cells that differ."""
    rows = ["| cell | plain cell | `%%argo` | reason |", "|---|---|---|---|"]
    for name, aspects in differences.items():
        plain, argo = _texts(aspects)
        rows.append(f"| {name} | {plain} | {argo} | {REASONS[name]} |")
    return "\n".join(rows)


def _texts(aspects: dict[str, list[Any]]) -> tuple[str, str]:
    """Return the texts that the table shows for a cell."""
    aspect = next(aspect for aspect in _ASPECTS if aspect in aspects)
    plain, argo = aspects[aspect]
    if aspect == "traceback":
        plain, argo = _first_difference(plain, argo)
    elif aspect in ("stdout", "stderr") and plain and argo:
        plain, argo = _first_difference(plain.splitlines(), argo.splitlines())
    return _format(aspect, plain), _format(aspect, argo)


def _first_difference(plain: list[str], argo: list[str]) -> tuple[list[str], list[str]]:
    pairs = zip([*plain, ""], [*argo, ""], strict=False)
    number = next(number for number, pair in enumerate(pairs) if pair[0] != pair[1])
    return plain[number : number + 1], argo[number : number + 1]


def _format(aspect: str, value: Any) -> str:
    if not value:
        return "no further line" if aspect == "traceback" else f"no {aspect}"
    parts = value if isinstance(value, list) else [value]
    joined = (": " if aspect == "error" else ", ").join(map(str, parts))
    text = " ".join(joined.removeprefix("text/plain: ").split()).rstrip(": ")
    text = text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
    return f"{aspect}: <code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"


def replace_marked(text: str, marks: Mapping[str, str]) -> str:
    """Return the page with new text between each pair of marks."""
    for mark, body in marks.items():
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        if not re.search(pattern, text, re.DOTALL):
            message = f"the page has no marks for {mark}"
            raise ValueError(message)
        text = re.sub(pattern, lambda match, body=body: f"{match[1]}{body}\n{match[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Run the cells, and write the record and the table."""
    plain = run_plain()
    differences = measure(plain)
    RECORD.write_text(json.dumps(differences, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    in_sessions = measure(plain, in_session=True)
    changed = [name for name in [*differences, *in_sessions] if in_sessions.get(name) != differences.get(name)]
    others = {name: in_sessions.get(name, {}) for name in dict.fromkeys(changed)}
    SESSIONS.write_text(json.dumps(others, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    page = DOCS.read_text(encoding="utf-8")
    page = replace_marked(page, {"cells": table(differences), "cells in sessions": table_of_sessions()})
    DOCS.write_text(re.sub(r"\d+(\s+small cells)", rf"{len(cells.CELLS)}\1", page), encoding="utf-8")
    print(f"{len(cells.CELLS)} cells, {len(differences)} differ, {len(others)} differently in sessions")  # noqa: T201


if __name__ == "__main__":
    main()
