"""core/suggest.py: the nearest known name, and the error that offers it."""

from __future__ import annotations

from uv_argo_magic.core import suggest


def test_unknown_with_nothing_known():
    assert suggest.unknown("run", "x", ()).hint == "There are none."


def test_of_many_words_only_those_nearby_are_listed():
    names = [f"name_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    error = suggest.unknown("setting", "name_aa", names)
    assert str(error) == "unknown setting name_aa; did you mean name_a?"
    assert error.hint.startswith("Near it: name_a, ")
    assert error.hint.endswith(". The help verb lists them: help run.")
    assert len(error.hint) < 100
    assert suggest.unknown("setting", "xyzzy-0", names).hint == "The help verb lists them: help run."
