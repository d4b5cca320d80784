"""core/commands/cell_text.py: a cell is split into its `%%argo` line and its body."""

from __future__ import annotations

import json

import pytest
from support.cases import each

from uv_argo_magic.core.commands.cell_text import Cell, UnknownVariables, notebook_cells, split
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.errors import SpecError

CELLS = [
    ("%%argo", "", ""),
    ("%%argo --help", "--help", ""),
    ("%%argo -d numpy\nx = 1\n", "-d numpy", "x = 1\n"),
    ("\n \n%%argo\nx", "", "x"),
    ("# above\n\n# again\n%%argo -d numpy\nx", "-d numpy", "# above\n\n# again\nx"),
    ("  # above\n  %%argo\n  if x:\n      y\n", "", "# above\nif x:\n    y\n"),
    ("%%argo\n    # indented\n    if x:\n        y\n\n    z\n", "", "# indented\nif x:\n    y\n\nz\n"),
    ("%%argo -d numpy \\\n    pandas \\\n -p 3.12\nx", "-d numpy pandas -p 3.12", "\n\nx"),
    ("%%argo \\\n    -d numpy\nx", "-d numpy", "\nx"),
    (
        '%%argo -d """\nnumpy  # arrays\n\n# tables\npandas>=2,\n""" -p 3.12\nx',
        '-d "numpy, pandas>=2" -p 3.12', "\n\n\n\n\nx",
    ),
    ("%%argo -d '''numpy pandas'''\nx", '-d "numpy pandas"', "x"),
    ('%%argo -d """rich; os_name == "posix"\ntqdm"""\nx', "-d 'rich; os_name == \"posix\", tqdm'", "\nx"),
    ('%%argo -d """a""" --push x --set b="""c"""\nx', '-d "a" --push x --set b="c"', "x"),
]  # fmt: skip


@each(("text", "line", "body"), CELLS)
def test_split_returns_line_and_body(text, line, body):
    assert split(text) == (line, body)
    assert split(f"%%argo {line}\n{body}") == (line, body)
    read_cell(line, {})


@each("text", [cell for cell, _, body in CELLS if body.endswith("x") and cell.lstrip()[0] == "%"])
def test_line_numbers_of_the_body_are_preserved(text):
    _, body = split(text)
    assert text.lstrip().count("\n") == 1 + body.count("\n")


@each("text", ["", "x = 1", "%%argon\nx", "%%argo?", "x\n%%argo\ny", "%argo runs", "%%time\n%%argo"])
def test_split_ignores_other_cells(text):
    assert split(text) is None


@pytest.mark.parametrize("text", ['%%argo -d """numpy\nx', "%%argo -d numpy \\"])
def test_unterminated_line_is_unchanged(text):
    line, _ = split(text)
    assert line == text.removeprefix("%%argo ")


def test_notebook_cells_are_numbered():
    cells = [
        {"cell_type": "markdown", "source": "%%argo"},
        {"cell_type": "code", "source": "1 + 1", "outputs": []},
        {"cell_type": "code", "source": ["%%argo -d numpy\n", "x"], "outputs": [{"name": "stdout"}]},
        {"cell_type": "code", "source": "%%argo\nx\n", "outputs": []},
    ]
    assert list(notebook_cells(json.dumps({"cells": cells}), "a.ipynb")) == [
        Cell(number=2, line="-d numpy", text="x\n", outputs=({"name": "stdout"},)),
        Cell(number=3, line="", text="x\n", outputs=()),
    ]


@each("text", ["", "{}", '{"cells": 3}', '{"cells": [{}]}', "[]"])
def test_notebook_cells_rejects_other_files(text):
    with pytest.raises(SpecError, match=r"a\.ipynb is not a notebook in format 4"):
        list(notebook_cells(text, "a.ipynb"))


def test_unknown_variables_are_empty_strings():
    variables = UnknownVariables()
    assert "names" in variables
    assert variables["names"] == ""
    assert (list(variables), len(variables)) == ([], 0)
