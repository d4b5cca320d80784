"""core/suggest.py: the most similar known name, and the error that suggests it."""

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
def test_only_similar_names_are_suggested(word, name):
    assert suggest.nearest(word, KNOWN) == name


def test_ambiguous_prefix_suggests_no_name():
    assert suggest.nearest("ins", ("install_disk", "install_memory")) == ""
    assert suggest.nearest("x", ()) == ""


@each(
    ("left", "right", "errors"),
    [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("abc", "acb", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)],
)
def test_distance_counts_typing_errors(left, right, errors):
    assert suggest.distance(left, right) == suggest.distance(right, left) == errors


def test_unknown_without_known_names():
    assert suggest.unknown("run", "x", ()).hint == "There are no runs."


def test_hint_lists_only_similar_names():
    names = [f"name_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    error = suggest.unknown("setting", "name_aa", names)
    assert str(error) == "unknown setting name_aa; did you mean name_a?"
    assert error.hint == "Similar: name_a, name_b, name_c, name_d, name_e. List all of them with --help."
    assert suggest.unknown("setting", "xyzzy-0", names).hint == "List all of them with --help."
