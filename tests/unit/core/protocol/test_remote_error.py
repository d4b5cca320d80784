# ruff: noqa: E501 - tables of cases
"""core/protocol/remote_error.py: errors of the guest are read completely, and invalid ones are rejected."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.protocol.remote_error import RemoteError, parse
from uv_argo_magic.errors import ProtocolError
from uv_argo_magic.guest.exceptions import describe

CELL = "/over/there/cell.py"


def describe_error(cell):
    try:
        exec(compile(cell, CELL, "exec"), {})
    except BaseException as exc:  # noqa: BLE001 - whatever the cell raises
        return describe(exc, CELL, (__file__,))
    raise AssertionError("the cell did not raise")


GROUP = """
def f(x):
    raise ValueError({1: x}, b"y")
try:
    f(0)
except ValueError as e:
    inner = e
try:
    compile("x = (", "foo.py", "exec")
except SyntaxError as e:
    broken = e
inner.add_note("n")
raise ExceptionGroup("g", [inner, broken, OSError(2, "no", "name")]) from KeyError("k")
"""


def test_all_fields_are_read():
    remote = parse(json.dumps(describe_error(GROUP)))
    assert (remote.ename, remote.message, remote.evalue) == ("ExceptionGroup", "g", "g (3 sub-exceptions)")
    assert remote.cause is not None
    assert remote.cause.args() == ("k",)
    assert remote.members is not None
    value, broken, os_error = remote.members
    assert value.args() == ({1: 0}, b"y")
    assert value.notes == ("n",)
    assert [value.frames[number].func for number in value.order] == ["<module>", "f"]
    assert broken.syntax is not None
    assert (broken.syntax.filename, broken.syntax.lineno, broken.args()) == ("foo.py", 1, None)
    assert os_error.attribute_values() == {"errno": 2, "strerror": "no", "filename": "name"}
    assert hash(remote) == hash(parse(json.dumps(describe_error(GROUP))))


def test_unknown_arguments_are_omitted():
    data = describe_error("raise ValueError(1)") | {
        "args": [{"@": "no such tag"}],
        "attributes": {"a": {"@": 1}, "b": 2},
    }
    remote = parse(json.dumps(data))
    assert remote.args() is None
    assert remote.attribute_values() == {"b": 2}


def test_bases_are_named_with_their_modules():
    remote = parse(json.dumps(describe_error("import json; json.loads('{')")))
    assert remote.bases == (("json.decoder", "JSONDecodeError"),)


VALID = describe_error(GROUP)
INVALID_FIELDS = [
    ("ename", 3), ("evalue", None), ("mro", "ValueError"), ("mro", [1]), ("bases", 3), ("bases", [["a"]]), ("args", {}), ("attributes", []), ("syntax", 3),
    ("frames", {}), ("frames", [1]), ("order", [99]), ("order", ["0"]), ("order", None), ("omitted", True), ("notes", [1]),
    ("cause", 3), ("context", []), ("suppress_context", 0), ("message", None), ("members", {}), ("members", [3]),
    ("bases", 3), ("bases", ["ValueError"]), ("bases", [["builtins", 3]]), ("bases", [["builtins"]]),
]  # fmt: skip


@each(("field", "value"), INVALID_FIELDS)
def test_fields_of_the_wrong_type_are_rejected(field, value):
    with pytest.raises(ProtocolError, match="with an unreadable error"):
        parse(json.dumps({**VALID, field: value}))


@each("field", sorted(VALID["cause"]))
def test_missing_fields_are_rejected_unless_optional(field):
    data = copy.deepcopy(VALID)
    del data["cause"][field]
    if field in ("args", "bases", "syntax", "cause", "context", "members"):
        assert isinstance(parse(json.dumps(data)), RemoteError)
    else:
        with pytest.raises(ProtocolError):
            parse(json.dumps(data))


@pytest.mark.parametrize("where", ["frame", "syntax"])
def test_frames_and_syntax_errors_are_validated(where):
    data = copy.deepcopy(VALID)
    part = data["frames"][0] if where == "frame" else data["members"][1]["syntax"]
    part["cell"] = "yes"
    with pytest.raises(ProtocolError, match="cell is not true or false"):
        parse(json.dumps(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(VALID)), inner, max_size=4),
)


@given(JSON | st.dictionaries(st.sampled_from(sorted(VALID)), JSON).map(lambda change: {**VALID, **change}))
def test_any_json_is_read_or_rejected(data):
    try:
        error = parse(json.dumps(data))
    except ProtocolError:
        return
    assert isinstance(error, RemoteError)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_text_that_is_not_a_json_object_is_rejected(text):
    with pytest.raises(ProtocolError):
        parse(text)
