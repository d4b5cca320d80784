"""core/requirements/includes.py: lines of a requirements file that include another file."""

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
def test_includes_are_split_from_the_text(line, name, constraint):
    text, includes = split_includes(f"numpy\n{line}\r\npandas\n")
    assert includes == (Include(line=2, name=name, constraint=constraint),)
    assert [remaining.strip() for remaining in text.split("\n")] == ["numpy", "", "pandas", ""]


@each("line", ["# -r base.txt", "numpy -r base.txt", "-r", "--requirement", "--require-hashes", "-e ."])
def test_other_lines_are_unchanged(line):
    assert split_includes(f"{line}\n") == (f"{line}\n", ())
