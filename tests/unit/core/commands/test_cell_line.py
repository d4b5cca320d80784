"""core/commands/cell_line.py: the magic line that has the requirements of a file."""

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
def test_cell_line_has_the_requirements_of_the_file(text, name, line):
    assert cell_line(text, name) == line


@pytest.mark.parametrize(
    ("line", "expected"),
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
def test_replace_cell_line_keeps_other_options(line, expected):
    assert replace_cell_line(line, "numpy\npandas>=2  # recent\n", "n.requirements.txt") == expected
