"""core/string_list.py: lists of strings with any kind of quotes."""

from __future__ import annotations

import json

import pytest
from support.cases import each

from uv_argo_magic.core import string_list


@each(
    ("text", "items"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', \"b\"]", ["a", "b"]),
        ("[ 'a' ,\n 'b', ]", ["a", "b"]),
        ("[\u201ca b\u201d, \u2018c\u2019]", ["a b", "c"]),
        ("['', 'a']", ["", "a"]),
        ("[]", []),
        ('["\\u0061"]', ["a"]),
    ],
)
def test_find_returns_the_list_and_its_end(text, items):
    match = string_list.find(f"x {text} y", 2)
    assert match is not None
    assert json.loads(match[0]) == items
    assert match[1] == 2 + len(text)


@each("text", ["[a]", "['a'", "['a' 'b']", "['a\n']", "x", "[" * 9999])
def test_find_ignores_other_text(text):
    assert string_list.find(text, 0) is None


@pytest.mark.parametrize(("quote", "closing"), [("'", "'"), ('"', '"'), ("\u201c", "\u201d"), ("\u2018", "\u2019")])
def test_every_opening_quote_has_a_closing_one(quote, closing):
    assert quote in string_list.OPENING
    assert closing in string_list.closing(quote)
