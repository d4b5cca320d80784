"""core/suggest.py: the nearest known name, and the error that offers it."""

from __future__ import annotations

from support.cases import each

from uv_argo_magic.core import suggest

KNOWN = ("backend", "deps", "logs", "numpy", "panel", "push", "requirements", "run_timeout", "runs", "tqdm")


@each(
    ("word", "name"),
    [
        ("tqmd", "tqdm"),
        ("rnus", "runs"),
        ("numpyy", "numpy"),
        ("pannel", "panel"),
        ("Deps", "deps"),
        ("run-timeout", "run_timeout"),
        ("run_timout", "run_timeout"),
        ("req", "requirements"),
        ("bogus", ""),
        ("gpu", ""),
        ("timeout", ""),
        ("ps", ""),
        ("r", ""),
        ("xyzzy", ""),
    ],
)
def test_only_what_is_near_is_suggested(word, name):
    assert suggest.nearest(word, KNOWN) == name


def test_a_beginning_that_several_names_have_suggests_none():
    assert suggest.nearest("ins", ("install_disk", "install_memory")) == ""
    assert suggest.nearest("x", ()) == ""


@each(
    ("left", "right", "slips"),
    [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("abc", "acb", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)],
)
def test_the_distance_counts_slips_of_the_keys(left, right, slips):
    assert suggest.distance(left, right) == suggest.distance(right, left) == slips


def test_unknown_with_nothing_known():
    assert suggest.unknown("run", "x", ()).hint == "There are no runs."


def test_of_many_words_only_those_nearby_are_listed():
    names = [f"name_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    error = suggest.unknown("setting", "name_aa", names)
    assert str(error) == "unknown setting name_aa; did you mean name_a?"
    assert error.hint == "Similar: name_a, name_b, name_c, name_d, name_e. List all of them with --help."
    assert suggest.unknown("setting", "xyzzy-0", names).hint == "List all of them with --help."
