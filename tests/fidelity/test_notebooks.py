"""Whole notebooks of other projects give the same with every cell in one session."""

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
def test_the_cells_of_whole_notebooks_are_the_same(tmp_path):
    archives = notebooks.folder()
    if archives is None:
        pytest.skip(f"{notebooks.FOLDER} names no folder with the source distributions")
    found = {one.title: notebooks.compared(one, tmp_path) for one in notebooks.chosen(archives)}
    assert notebooks.differing(found) == notebooks.recorded()


def test_the_record_and_the_table_are_of_many_cells_and_each_difference_has_its_reason():
    page = table.DOCS.read_text(encoding="utf-8")
    listed = page.partition("<!-- notebooks -->")[2].partition("<!-- /notebooks -->")[0]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in listed.strip().splitlines()[2:]]
    *each, total = rows
    assert len(each) >= 20
    assert int(total[1]) == sum(int(row[1]) for row in each) >= 300
    assert int(total[2].split()[0]) >= 0.95 * int(total[1])
    different = {row[0]: int(row[1]) - int(row[2]) for row in each if row[1] != row[2]}
    recorded = notebooks.recorded()
    assert different == {name: len(cells) for name, cells in recorded.items()}
    assert {(name, int(number)) for name, cells in recorded.items() for number in cells} == set(notebooks.REASONS)


def test_a_notebook_is_unpacked_with_the_files_beside_it(tmp_path):
    cell = nbformat.v4.new_code_cell("1")
    notebook = nbformat.writes(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("# text")]))
    with tarfile.open(tmp_path / "one-1.0.tar.gz", "w:gz") as made:
        for name, text in {"one-1.0/a/b.ipynb": notebook, "one-1.0/a/data.csv": "1", "one-1.0/setup.py": ""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            made.addfile(member, io.BytesIO(text.encode()))
    chosen = notebooks.Chosen(name="a/b.ipynb", archive=tmp_path / "one-1.0.tar.gz", deps=())
    path = chosen.unpack(tmp_path / "out")
    assert notebooks.sources(path) == ["1"]
    assert sorted(one.name for one in (tmp_path / "out").rglob("*") if one.is_file()) == ["b.ipynb", "data.csv"]


def test_random_cells_are_compared_by_the_kinds_of_their_outputs():
    one = compare.Seen(stdout="0.1", result=("text/plain: 0.1",), order=("execute_result",))
    other = compare.Seen(stdout="0.2", result=("text/plain: 0.2",), order=("execute_result",))
    failed = compare.Seen(error=("ValueError", "x"))
    assert notebooks.kinds(one) == notebooks.kinds(other) != notebooks.kinds(failed)
    assert json.loads(json.dumps(notebooks.differing({"n": [{}, {"error": (1, 2)}]}))) == {"n": {"1": ["error"]}}
