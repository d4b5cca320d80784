"""core/commands/cell_line.py: the cell magic's line for a requirements file."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.commands.cell_line import cell_line, replace_cell_line

HASH = f"--hash=sha256:{'a' * 64}"


@each(
    ("text", "name", "line"),
    [
        ("numpy>=2\npandas # x\n", "f.txt", '%%argo --deps "numpy>=2 pandas"'),
        ('six; os_name == "nt"\n', "f.txt", "%%argo --deps 'six; os_name == \"nt\"'"),
        ("-c x.txt\nnumpy\n", "f.txt", "%%argo -r f.txt"),
        (f"numpy==2 {HASH}\n", "my study.requirements.txt", '%%argo -r "my study.requirements.txt"'),
        ("", "f.txt", '%%argo --deps ""'),
    ],
)
def test_the_line_of_a_cell_that_asks_for_the_same(text, name, line):
    assert cell_line(text, name) == line


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("--write-deps", '%%argo --deps "numpy pandas>=2"'),
        ("--deps numpy scipy --write-deps -p 3.12", '%%argo --deps "numpy pandas>=2" -p 3.12'),
        (
            "-b argo -r old.txt --resources cpu=2 memory=1Gi --write-deps",
            '%%argo --deps "numpy pandas>=2" -b argo --resources cpu=2 memory=1Gi',
        ),
        (
            "--deps=numpy --write-deps --set variables='A=b c'",
            "%%argo --deps \"numpy pandas>=2\" --set variables='A=b c'",
        ),
    ],
)
def test_a_line_gets_what_the_file_asks_for_and_keeps_its_other_options(line, written):
    assert replace_cell_line(line, "numpy\npandas>=2  # recent\n", "n.requirements.txt") == written
