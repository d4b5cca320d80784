"""Libraries that detect notebooks give the same kinds of output under `%%argo` as in a plain cell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import libraries
import table


def test_outline_has_kinds_and_mime_types():
    from nbformat.v4 import new_output

    outputs = [
        new_output("stream", name="stderr", text="\x1b[31m 10%\r 20% 3.5s\n"),
        new_output("display_data", data={"text/plain": "x", "application/vnd.plotly.v1+json": {}}),
        new_output("execute_result", data={"text/html": "x"}),
        new_output("error", ename="ValueError", evalue="x"),
    ]
    assert libraries.outline(outputs) == [
        "display plotly.v1+json, text/plain", "result text/html", "error ValueError", "stderr 0% 0s",
    ]  # fmt: skip
    widget = ["display jupyter.widget-view+json, text/plain"]
    assert libraries.verdict(widget, ["display text/html, text/plain"]) == "text or HTML instead of the live widget"
    assert libraries.verdict(["a"], ["b"]) == "differs"
    assert libraries.verdict(["a"], ["b"], "for a reason") == "for a reason"


def test_table_in_docs_lists_all_cells_with_reasons():
    page = table.DOCS.read_text(encoding="utf-8")
    rows = page.partition("<!-- libraries -->")[2].partition("<!-- /libraries -->")[0].strip().split("\n")[2:]
    listed = [tuple(row.strip("| ").split(" | ")[:2]) for row in rows]
    assert listed == [(cell.library, cell.what) for cell in libraries.CELLS]
    assert [row for row in rows if "| differs" in row] == []


@pytest.mark.corpus
@pytest.mark.timeout(1800)
def test_libraries_give_output_without_errors(tmp_path):
    pairs = libraries.run(libraries.CELLS, libraries.make_venv(tmp_path), tmp_path)
    for cell, (plain, argo) in zip(libraries.CELLS, pairs, strict=True):
        assert argo or not plain, f"{cell.library}: {cell.what}: nothing shown"
        assert not any(line.startswith("error") for line in argo), (cell, argo)
