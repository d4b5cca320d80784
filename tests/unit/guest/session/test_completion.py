"""guest/session/completion.py: completion without running the user's code."""

from __future__ import annotations

import functools
import time

import numpy as np
import pandas as pd
from support.cases import each

from uv_argo_magic.guest.session.completion import complete


class Plain:
    shared = (1,)

    def __init__(self):
        self.inner = {"deep": [{"leaf": 1}]}

    @property
    def computed(self):
        raise SystemExit

    @functools.cached_property
    def once(self):
        raise SystemExit

    def method(self):
        """A method."""


class Computes:
    def __getattr__(self, name):
        raise SystemExit


class Slow:
    def __dir__(self):
        time.sleep(1000)
        return []


NAMES = {
    "plain": Plain(), "computes": Computes(), "slow": Slow(), "_hidden": 1, "words": {"alpha": 1, "alpine": 2, 3: 4},
    "frame": pd.DataFrame({"height": [1], "width": [2], "two words": [3]}), "array": np.zeros((2, 2)),
    "numpy": np, "things": [Plain()],
}  # fmt: skip


def completions(base, prefix, kind="attribute"):
    return [text for text, _ in complete(NAMES, {"base": base, "prefix": prefix, "kind": kind})]


@each(
    ("base", "prefix", "kind", "expected"),
    [
        ("", "pla", "name", ["plain"]),
        ("", "_hid", "name", ["_hidden"]),
        ("", "enumer", "name", ["enumerate"]),
        ("", "lamb", "name", ["lambda"]),
        ("plain", "meth", "attribute", ["method"]),
        ("plain", "in", "attribute", ["inner"]),
        ("plain.inner", "po", "attribute", ["pop", "popitem"]),
        ("plain.inner['deep'][0]", "le", "key", ["leaf"]),
        ("plain.inner['deep'][-1]", "popi", "attribute", ["popitem"]),
        ("plain.shared", "coun", "attribute", ["count"]),
        ("things[0]", "meth", "attribute", ["method"]),
        ("words", "al", "key", ["alpha", "alpine"]),
        ("frame", "hei", "key", ["height"]),
        ("frame", "two", "key", ["two words"]),
        ("frame.height", "cumsu", "attribute", ["cumsum"]),
        ("frame['height']", "cumsu", "attribute", ["cumsum"]),
        ("array", "argso", "attribute", ["argsort"]),
        ("numpy.random", "defaul", "attribute", ["default_rng"]),
        ("plain.computed", "", "attribute", []),
        ("plain.once", "", "attribute", []),
        ("computes.x", "", "attribute", []),
        ("plain.method()", "", "attribute", []),
        ("missing", "", "attribute", []),
        ("no such thing", "", "attribute", []),
    ],
)
def test_completions_of_names_attributes_and_keys(base, prefix, kind, expected):
    assert completions(base, prefix, kind) == expected


def test_hidden_names_need_an_underscore():
    assert not [name for name in completions("plain", "") if name.startswith("_")]
    assert "__class__" in completions("plain", "__cl")


def test_completions_have_types():
    assert complete(NAMES, {"base": "", "prefix": "nump", "kind": "name"}) == [["numpy", "module"]]
    assert complete(NAMES, {"base": "plain", "prefix": "meth", "kind": "attribute"}) == [["method", "function"]]


def test_slow_dir_is_abandoned():
    assert completions("slow", "") == []
