# ruff: noqa: E501 - tables of cases
"""guest/exceptions.py: exceptions are described completely, with limits, and without raising again."""

import json
import linecache
import sys

from support.cases import each

from uv_argo_magic.guest.exceptions import MAX_EXCEPTIONS, describe

CELL = "/over/there/cell.py"


def describe_cell(cell, hidden=(__file__,)):
    """The description of the exception that this cell raises."""
    linecache.cache[CELL] = (len(cell), None, cell.splitlines(keepends=True), CELL)
    try:
        exec(compile(cell, CELL, "exec"), {"__name__": "__main__"})
    except BaseException as exc:  # noqa: BLE001 - whatever the cell raises
        data = describe(exc, CELL, hidden)
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        return data
    raise AssertionError("the cell did not raise")


def test_description_has_name_message_types_and_frames():
    data = describe_cell(
        "class MyError(ZeroDivisionError): pass\n\ndef f(x, *a, k=1, **kw):\n    raise MyError('no', x)\nf(0)\n"
    )
    assert (data["ename"], data["module"], data["evalue"]) == ("MyError", "__main__", "('no', 0)")
    assert data["mro"] == ["ZeroDivisionError", "ArithmeticError", "Exception", "BaseException"]
    assert data["args"] == ["no", 0]
    assert data["order"] == [0, 1]
    outer, inner = data["frames"]
    assert (outer["func"], outer["line"], outer["cell"], outer["lines"]) == ("<module>", 5, True, [])
    assert (inner["func"], inner["line"], inner["def_line"]) == ("f", 4, 3)
    assert (inner["args"], inner["varargs"], inner["varkw"]) == (["x", "k"], "a", "kw")
    assert (outer["col"], outer["end_col"]) == (0, 4)


def test_library_frames_have_source_and_ours_are_omitted():
    data = describe_cell("import json\njson.loads('{')\n")
    assert [frame["func"].rpartition(".")[2] for frame in data["frames"]] == [
        "<module>",
        "loads",
        "decode",
        "raw_decode",
    ]
    library = data["frames"][1]
    assert library["lines"][library["line"] - library["first"]].strip() == "return _default_decoder.decode(s)"
    assert len(library["lines"]) == 7
    with_our_frames = describe_cell("1/0", hidden=())
    assert [frame["file"] for frame in with_our_frames["frames"]] == [__file__, CELL]


def test_causes_contexts_notes_and_groups_are_described():
    data = describe_cell("try:\n    1/0\nexcept Exception as e:\n    raise KeyError('x') from e")
    assert data["cause"]["ename"] == "ZeroDivisionError"
    assert data["context"] is None  # since it is the cause
    assert data["suppress_context"]
    data = describe_cell("try:\n    1/0\nexcept Exception:\n    e = KeyError('x'); e.add_note('n'); raise e")
    assert (data["context"]["evalue"], data["notes"], data["evalue"]) == ("division by zero", ["n"], "'x'")
    data = describe_cell("raise ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [OSError(2, 'no', 'f')])])")
    assert (data["message"], data["evalue"]) == ("g", "g (2 sub-exceptions)")
    assert [member["ename"] for member in data["members"]] == ["ValueError", "ExceptionGroup"]
    assert data["members"][1]["members"][0]["attributes"] == {"errno": 2, "strerror": "no", "filename": "f"}


def test_cyclic_and_very_long_chains_are_limited():
    assert (
        describe_cell("a = ValueError('a'); b = ValueError('b'); a.__context__ = b; b.__context__ = a\nraise a")[
            "evalue"
        ]
        == "a"
    )
    data = describe_cell("e = None\nfor n in range(5000):\n    x = ValueError(n); x.__context__ = e; e = x\nraise e")
    depth = 0
    while data:
        depth, data = depth + 1, data["context"]
    assert depth == MAX_EXCEPTIONS


def test_deep_recursion_is_compact():
    data = describe_cell("def f(n): return g(n)\ndef g(n): return f(n + 1)\nf(0)")
    assert data["ename"] == "RecursionError"
    assert len(data["frames"]) <= 4
    assert len(data["order"]) > sys.getrecursionlimit() // 2
    assert len(json.dumps(data)) < 20_000


def test_middle_of_a_very_long_traceback_is_omitted():
    limit = sys.getrecursionlimit()
    try:
        data = describe_cell("import sys\nsys.setrecursionlimit(9000)\ndef f(n): return f(n + 1)\nf(0)")
    finally:
        sys.setrecursionlimit(limit)
    assert len(data["order"]) == 4000
    assert data["omitted"] > 4000


def test_syntax_errors_have_their_position():
    data = describe_cell("import ast\nast.parse('x = (\\n', 'foo.py')")
    syntax = data["syntax"]
    assert (syntax["filename"], syntax["lineno"], syntax["offset"], syntax["cell"]) == ("foo.py", 1, 5, False)
    assert (syntax["msg"], syntax["text"]) == ("'(' was never closed", "x = (\n")
    assert data["args"] is None


HOSTILE_CELLS = [
    "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
    "class E(Exception):\n    def __str__(self): return 3\nraise E",
    "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
    "class E(Exception):\n    def __getattribute__(self, name): raise RuntimeError(name)\nraise E",
    "class E(Exception):\n    @property\n    def args(self): raise RuntimeError\nraise E",
    "class M(type):\n    def __getattribute__(c, n): raise RuntimeError(n)\nclass E(Exception, metaclass=M): pass\nraise E",
    "e = ValueError(1); e.__notes__ = 3\nraise e",
    "e = ValueError(1); e.__notes__ = [object(), '\\ud800']\nraise e",
    "raise ValueError(object(), float('nan'))",
    "raise ValueError('x' * 10_000_000)",
    "class E(Exception):\n    __module__ = 3\nraise E",
    "class E(ExceptionGroup):\n    exceptions = property(lambda self: 1 / 0)\nraise E('g', [ValueError()])",
    "class E(SyntaxError):\n    lineno = 'three'\nraise E('x')",
]


@each("cell", HOSTILE_CELLS)
def test_hostile_exceptions_are_described(cell):
    data = describe_cell(cell)
    assert data["ename"]
    assert len(json.dumps(data)) < 100_000


def test_unsupported_arguments_are_omitted():
    assert describe_cell("raise ValueError(object())")["args"] is None
    assert describe_cell("raise ValueError({1, 2}, b'x')")["args"] == [
        {"@": "set", "v": [1, 2]},
        {"@": "bytes", "v": "eA=="},
    ]
    assert describe_cell("class E(Exception): pass\ne = E(); e.code = 5; e.bad = object()\nraise e")["attributes"] == {
        "code": 5
    }


def test_import_error_names_all_missing_modules():
    cell = """
import json, nope_one
from nope_two.deep import x
from . import nope_three
def f():
    import nope_four
try:
    import nope_five
except ImportError:
    pass
"""
    assert describe_cell(cell)["missing"] == ["nope_one", "nope_two.deep.x", "nope_four"]
    assert describe_cell("import json.nope")["missing"] == []


def test_import_error_names_missing_modules_of_a_namespace(tmp_path, monkeypatch):
    (tmp_path / "shared" / "one").mkdir(parents=True)
    (tmp_path / "shared" / "one" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    cell = "import shared.one.deep, shared.two.deep\nfrom shared import one, three"
    assert describe_cell(cell)["missing"] == ["shared.two.deep", "shared.three"]
    assert "missing" not in describe_cell("1/0")
