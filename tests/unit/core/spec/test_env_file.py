"""core/spec/env_file.py: the variables of a file, and errors without values."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.spec import env_file
from uv_argo_magic.errors import SpecError

FILE = r"""
# a comment
A=1
export B = two words   # a comment
  C='single $B # kept
and a second line' # a comment
D="double \"quoted\" \$B\tand\n\x"
E=
F=a#b
G=""
A=again
"""


def test_env_file_syntax():
    assert env_file.parse("\ufeff" + FILE.replace("\n", "\r\n"), source=".env") == (
        ("A", "again"),
        ("B", "two words"),
        ("C", "single $B # kept\nand a second line"),
        ("D", 'double "quoted" $B\tand\n\\x'),
        ("E", ""),
        ("F", "a#b"),
        ("G", ""),
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# only this", "A=1\n\n   # end"])
def test_env_file_can_be_empty(text):
    assert len(env_file.parse(text, source=".env")) == text.count("A=")


@each(
    ("text", "message"),
    [
        ("A=1\nhidden", ".env, line 2: not a NAME=VALUE line"),
        ("1A=hidden", ".env, line 1: not a NAME=VALUE line"),
        ("A: hidden", ".env, line 1: not a NAME=VALUE line"),
        ("\nA='hidden", ".env, line 2: the value of A has no closing quote"),
        ('A="hidden" hidden', ".env, line 1: the value of A has text after its quote"),
        ("A=hidden\0", ".env, line 1: the value of A has a null character"),
    ],
)
def test_errors_show_the_line_without_its_value(text, message):
    with pytest.raises(SpecError) as exc_info:
        env_file.parse(text, source=".env")
    assert str(exc_info.value) == message
    assert "hidden" not in exc_info.value.hint
