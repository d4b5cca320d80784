"""Notebooks of other projects give the same outputs with all cells in one session."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import compare
import table

import notebooks


@pytest.mark.corpus
@pytest.mark.timeout(7200)
def test_notebooks_differ_only_as_recorded(tmp_path):
    archives = notebooks.folder()
    if archives is None:
        pytest.skip(f"{notebooks.FOLDER} names no folder with the source distributions")
    found = {item.title: notebooks.compare_notebook(item, tmp_path) for item in notebooks.archived_notebooks(archives)}
    assert notebooks.different_aspects(found) == notebooks.recorded()


def test_table_in_docs_matches_record_and_reasons():
    page = table.DOCS.read_text(encoding="utf-8")
    listed = page.partition("<!-- notebooks -->")[2].partition("<!-- /notebooks -->")[0]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in listed.strip().splitlines()[2:]]
    *notebook_rows, total = rows
    assert len(notebook_rows) >= 20
    assert int(total[1]) == sum(int(row[1]) for row in notebook_rows) >= 300
    assert int(total[2].split()[0]) >= 0.95 * int(total[1])
    different = {row[0]: int(row[1]) - int(row[2]) for row in notebook_rows if row[1] != row[2]}
    recorded = notebooks.recorded()
    assert different == {name: len(cells) for name, cells in recorded.items()}
    assert {(name, int(number)) for name, cells in recorded.items() for number in cells} == set(notebooks.REASONS)


def test_notebook_is_unpacked_with_files_of_its_folder(tmp_path):
    cell = nbformat.v4.new_code_cell("1")
    notebook = nbformat.writes(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("# text")]))
    with tarfile.open(tmp_path / "one-1.0.tar.gz", "w:gz") as tar:
        for name, text in {"one-1.0/a/b.ipynb": notebook, "one-1.0/a/data.csv": "1", "one-1.0/setup.py": ""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    archived = notebooks.ArchivedNotebook(name="a/b.ipynb", archive=tmp_path / "one-1.0.tar.gz", deps=())
    path = archived.unpack(tmp_path / "out")
    assert notebooks.sources(path) == ["1"]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["b.ipynb", "data.csv"]


def test_random_cells_are_compared_by_kinds_of_outputs():
    first = compare.Outputs(stdout="0.1", result=("text/plain: 0.1",), order=("execute_result",))
    second = compare.Outputs(stdout="0.2", result=("text/plain: 0.2",), order=("execute_result",))
    failed = compare.Outputs(error=("ValueError", "x"))
    assert notebooks.kinds(first) == notebooks.kinds(second) != notebooks.kinds(failed)
    assert json.loads(json.dumps(notebooks.different_aspects({"n": [{}, {"error": (1, 2)}]}))) == {
        "n": {"1": ["error"]}
    }
