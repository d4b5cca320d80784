"""core/suggest.py: the nearest known name, and the error that offers it."""

from __future__ import annotations

from uv_argo_magic.core import suggest


def test_unknown_with_nothing_known():
    assert suggest.unknown("run", "x", ()).hint == "There are no runs."


def test_of_many_words_only_those_nearby_are_listed():
    names = [f"name_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    error = suggest.unknown("setting", "name_aa", names)
    assert str(error) == "unknown setting name_aa; did you mean name_a?"
    assert error.hint.startswith("Similar: name_a, ")
    assert error.hint.endswith(". See help run for the full list.")
    assert len(error.hint) < 100
    assert suggest.unknown("setting", "xyzzy-0", names).hint == "See help run for the full list."
