# ruff: noqa: E501 - tables of cases
"""RemoteError: what the guest writes is read whole, and what it does not write is refused."""

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


def data_of(cell):
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


def test_all_that_is_told_is_read():
    remote = parse(json.dumps(data_of(GROUP)))
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
    assert hash(remote) == hash(parse(json.dumps(data_of(GROUP))))


def test_arguments_that_cannot_be_read_here_are_none():
    data = data_of("raise ValueError(1)") | {"args": [{"@": "no such tag"}], "attributes": {"a": {"@": 1}, "b": 2}}
    remote = parse(json.dumps(data))
    assert remote.args() is None
    assert remote.attribute_values() == {"b": 2}


def test_the_classes_that_are_not_builtin_are_named_with_their_modules():
    remote = parse(json.dumps(data_of("import json; json.loads('{')")))
    assert remote.bases == (("json.decoder", "JSONDecodeError"),)


GOOD = data_of(GROUP)
WRONG = [
    ("ename", 3), ("evalue", None), ("mro", "ValueError"), ("mro", [1]), ("bases", 3), ("bases", [["a"]]), ("args", {}), ("attributes", []), ("syntax", 3),
    ("frames", {}), ("frames", [1]), ("order", [99]), ("order", ["0"]), ("order", None), ("omitted", True), ("notes", [1]),
    ("cause", 3), ("context", []), ("suppress_context", 0), ("message", None), ("members", {}), ("members", [3]),
    ("bases", 3), ("bases", ["ValueError"]), ("bases", [["builtins", 3]]), ("bases", [["builtins"]]),
]  # fmt: skip


@each(("field", "value"), WRONG)
def test_a_field_of_the_wrong_kind_is_refused_by_its_name(field, value):
    with pytest.raises(ProtocolError, match="with an unreadable error"):
        parse(json.dumps({**GOOD, field: value}))


@each("field", sorted(GOOD["cause"]))
def test_a_field_that_is_not_there_is_refused_or_means_nothing(field):
    data = copy.deepcopy(GOOD)
    del data["cause"][field]
    if field in ("args", "bases", "syntax", "cause", "context", "members"):
        assert isinstance(parse(json.dumps(data)), RemoteError)
    else:
        with pytest.raises(ProtocolError):
            parse(json.dumps(data))


@pytest.mark.parametrize("where", ["frame", "syntax"])
def test_frames_and_places_are_checked_too(where):
    data = copy.deepcopy(GOOD)
    part = data["frames"][0] if where == "frame" else data["members"][1]["syntax"]
    part["cell"] = "yes"
    with pytest.raises(ProtocolError, match="cell is not true or false"):
        parse(json.dumps(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=4),
)


@given(JSON | st.dictionaries(st.sampled_from(sorted(GOOD)), JSON).map(lambda change: {**GOOD, **change}))
def test_any_json_is_an_error_or_a_protocol_error(data):
    try:
        read = parse(json.dumps(data))
    except ProtocolError:
        return
    assert isinstance(read, RemoteError)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(ProtocolError):
        parse(text)
