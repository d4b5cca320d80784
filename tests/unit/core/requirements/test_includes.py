"""core/requirements/includes.py: the lines of a requirements file that name another."""

from __future__ import annotations

from support.cases import each

from uv_argo_magic.core.requirements.includes import Include, split_includes


@each(
    ("line", "name", "constraint"),
    [
        ("-r base.txt", "base.txt", False),
        ("  -r   base.txt  # why", "base.txt", False),
        ("-rbase.txt", "base.txt", False),
        ("-r=base.txt", "base.txt", False),
        ("--requirement base.txt", "base.txt", False),
        ("--requirement=base.txt", "base.txt", False),
        ("--requirements base.txt", "base.txt", False),
        ("-c 'with blank.txt'", "with blank.txt", True),
        ("--constraint c#1.txt", "c#1.txt", True),
        ("--constraints=c.txt", "c.txt", True),
    ],
)
def test_an_include_leaves_its_line_empty(line, name, constraint):
    text, found = split_includes(f"numpy\n{line}\r\npandas\n")
    assert found == (Include(line=2, name=name, constraint=constraint),)
    assert [one.strip() for one in text.split("\n")] == ["numpy", "", "pandas", ""]


@each("line", ["# -r base.txt", "numpy -r base.txt", "-r", "--requirement", "--require-hashes", "-e ."])
def test_other_lines_stay(line):
    assert split_includes(f"{line}\n") == (f"{line}\n", ())
