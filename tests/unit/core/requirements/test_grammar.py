"""core/requirements/grammar.py: errors in requirements have a hint with the correction."""

from __future__ import annotations

from support.cases import each
from support.requirement_lists import WHEEL, parse_error

from uv_argo_magic.core.requirements.parser import parse


@each(
    ("text", "line"),
    [
        ("numpy 2.0 pandas", "numpy==2.0 pandas"),
        ("pandas\nnumpy=2.0\nrich", "numpy==2.0"),
        ("numpy ^0.0.3", "numpy>=0.0.3,<0.0.4"),
        ("numpy>=1 <2", "numpy>=1,<2"),
        ("numpy~=1", "numpy~=1.0"),
        ("numpy>=1.*", "numpy>=1"),
        ("torch>=2.0+cpu", "torch>=2.0"),
        ("numpy@1.24", "numpy==1.24"),
        ("x; python_version<3.9", 'x; python_version<"3.9"'),
        ('x; os_name = "nt"', 'x; os_name== "nt"'),
        ("x @ http://index.example.com/x-1.zip", "x @ https://index.example.com/x-1.zip"),
        (f"numpy @ {WHEEL}", f"rich @ {WHEEL}"),
    ],
)
def test_hint_shows_the_corrected_line(text, line):
    assert parse_error(text).hint.removeprefix("Write: ") == line
    assert parse(line)
