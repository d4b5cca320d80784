"""values/auto.py: the names that a cell reads, for `--push auto`."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.values import auto

READS = [
    ("y = x + 1", "x"),
    ("df = df.dropna()", "df"),
    ("x = 1\ny = x", ""),
    ("x += 1", "x"),
    ("import numpy as np, os.path\nnp.sum(a); os", "a"),
    ("from m import b\nb(c)", "c"),
    ("for i in rows:\n    total(i)", "rows total"),
    ("[i * k for i in rows]", "rows k"),
    ("{i: j for i, j in pairs if keep(i)}", "pairs keep"),
    ("def f(x, y=start):\n    return x + z\nf(1)", "start z"),
    ("def f():\n    return helper()\ndef helper():\n    return 1", ""),
    ("class A(Base, metaclass=Meta):\n    x = field", "Base Meta field"),
    ("@wrap\ndef f(): pass\nlambda a=b, *, c=d: a + e", "wrap b d e"),
    ("with open(path) as f:\n    f.read()", "open path"),
    ("async def f():\n    async for i in g(): pass", "g"),
    ("print(f'{x} {y!r:>{w}}')", "print x y w"),
    ("x: int = y", "int y"),
    ("x: int = x + 1\ny: int\ny", "int x y"),
    ("if (x := x + 1): x", "x"),
    ("del x\ny = 1\ndel y", "x"),
    ("try:\n    f()\nexcept E as e:\n    e\nexcept:\n    pass", "f E"),
    ("no python", ""),
    ("\0", ""),
]


@each(("source", "names"), READS)
def test_reads_returns_names_used_before_assignment(source, names):
    assert set(auto.reads(source)) == set(names.split())


def test_encode_skips_large_values_with_a_note():
    variables = {
        "x": [1, 2], "big": "a" * 5000, "many": list(range(900)), "f": print, "_h": 1, "In": [], "y": 3, "own": 4,
    }  # fmt: skip
    source = "x, big, many, f, _h, In, y, own, missing"
    push, notes = auto.encode(source, variables, {"own"}, 2000)
    assert [(item.name, item.text) for item in push] == [("x", "[1,2]"), ("y", "3")]
    assert notes == (
        "big is not pushed: its size (5.0 kB) exceeds auto_push_limit; add --push big",
        "many is not pushed: its size (3.5 kB) exceeds auto_push_limit; add --push many",
    )


def test_value_with_another_kind_of_size_is_skipped():
    class Image:
        size = (640, 480)

    assert auto.encode("x", {"x": Image()}, {}, 2000) == ((), ())


def test_sparse_matrix_is_encoded():
    sparse = pytest.importorskip("scipy.sparse")
    (pushed,), notes = auto.encode("x", {"x": sparse.eye(3, format="csr")}, {}, 2000)
    assert (pushed.form, notes) == ("plain", ())
