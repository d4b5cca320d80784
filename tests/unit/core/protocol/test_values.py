# ruff: noqa: E501 - tables of cases
"""core/protocol/values.py: encoded values are decoded to equal values of the same type."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import math
import pathlib
import sys
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.protocol import values as core
from uv_argo_magic.errors import ProtocolError, SpecError
from uv_argo_magic.guest import values as guest

LIMIT = 10_000_000


def encode_inline(name, value, limit):
    return core.encode(name, value, limit)


def encode_with_buffers(name, value, limit):
    buffers = []
    return core.encode(name, value, limit, buffers), [bytearray(raw) for raw in buffers]


CODECS = {
    "inline": (encode_inline, core.decode),
    "buffers": (encode_with_buffers, lambda encoded: core.decode(*encoded)),
}
"""Long bytes are part of the text, or separate buffers."""


def is_same(a, b):
    """Whether two values and all their parts are equal and of the same type; nan equals nan, -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return is_same(a.real, b.real) and is_same(a.imag, b.imag)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, dict):
        return is_same(list(a), list(b)) and is_same(list(a.values()), list(b.values()))
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and (a == b or sorted(map(repr, a)) == sorted(map(repr, b)))
    if isinstance(a, decimal.Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, dt.datetime | dt.time):
        return a == b and a.fold == b.fold and type(a.tzinfo) is type(b.tzinfo) and a.tzname() == b.tzname()
    return a == b


ZONES = (
    st.none()
    | st.integers(-86399, 86399).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))
    | st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]).map(zoneinfo.ZoneInfo)
)
ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
    | st.dates() | st.datetimes(timezones=ZONES) | st.times(timezones=ZONES) | st.timedeltas() | st.uuids()
    | st.decimals(allow_nan=False) | st.sampled_from(["@", "v"])
)  # fmt: skip
# Without nan, since it does not equal itself and so cannot be compared in sets.
KEYS = st.recursive(
    ATOMS.filter(lambda value: value == value),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    ATOMS | st.binary().map(bytearray) | st.sampled_from([decimal.Decimal("NaN"), decimal.Decimal("sNaN5")]),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.dictionaries(st.text(max_size=2) | st.just("@"), inner)
        | st.sets(KEYS)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_values_survive_a_round_trip(value):
    for write, read in CODECS.values():
        assert is_same(read(write("x", value, LIMIT)), value)


@pytest.mark.parametrize("codec", CODECS)
def test_integers_can_exceed_the_digit_limit_of_python(codec):
    write, read = CODECS[codec]
    for number in (10**5000, -(2**9000)):
        assert read(write("x", {"n": number}, LIMIT)) == {"n": number}


class Colour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int


class Other:
    pass


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024 - a value to refuse
LOOP: list = [1]
LOOP.append({"again": LOOP})
DEEP: list = []
for _ in range(300):
    DEEP = [DEEP]
LIKE_BERLIN = type("Berlin", (dt.tzinfo,), {"utcoffset": lambda *_: dt.timedelta(hours=1), "dst": lambda *_: None})()

REFUSED = [
    (Other(), "x is a tests Other", "the data in it"),
    ([{"a": Other()}], "x[0]['a'] is a tests Other", "the data in it"),
    ({1: (2, Pair(1, 2))}, "x[1][1] is a tests Pair", "x[1][1]._asdict()"),
    ({Pair(1, 2): 2}, "x[", "_asdict()"),
    ({1, Pair(1, 2)}, "x (an element) is a", ""),
    (pathlib.PurePosixPath("/a"), "x is a pathlib PurePosixPath", "str(x)"),
    (collections.OrderedDict(a=1), "x is a collections OrderedDict", "dict(x)"),
    (collections.deque([1]), "x is a collections deque", "list(x)"),
    (range(3), "x is a range", "list(x)"),
    (iter([]), "x is a list_iterator", "the data in it"),
    (len, "x is a builtin_function_or_method", "the data in it"),
    (fractions.Fraction(1, 2), "x is a fractions Fraction", "(x.numerator, x.denominator)"),
    (
        dt.datetime(2026, 1, 1, tzinfo=LIKE_BERLIN),
        "x has an unsupported time zone",
        "x.astimezone(datetime.timezone.utc)",
    ),
    (LOOP, "x[1]['again'] contains itself", "parts"),
    (DEEP, "is nested more than 200 deep", "a flatter one"),
]


@each(("value", "reason", "alternative"), REFUSED)
def test_unsupported_values_are_rejected_with_an_alternative(value, reason, alternative):
    with pytest.raises(core.NotPlain) as exc_info:
        core.encode("x", value, LIMIT)
    assert reason in exc_info.value.message
    assert alternative in exc_info.value.hint


def test_zone_that_is_not_known_here_names_tzdata():
    with pytest.raises(core.MissingLibrary, match="needs tzdata"):
        core.decode('{"@": "datetime", "v": ["2026-01-01T00:00:00", 0, "Mars/Olympus"]}')


def test_zone_without_a_key_is_rejected():
    with pathlib.Path(zoneinfo.TZPATH[0], "Europe/Berlin").open("rb") as file:
        zone = zoneinfo.ZoneInfo.from_file(file)
    with pytest.raises(core.NotPlain, match="an unsupported time zone"):
        core.encode("x", [dt.datetime(2026, 1, 1, tzinfo=zone)], LIMIT)


def test_dataclasses_and_enums_survive_a_round_trip():
    for write, read in CODECS.values():
        assert read(write("x", [Point(3), {Colour.RED: Point([1])}], LIMIT)) == [Point(3), {Colour.RED: Point([1])}]


def test_limit_includes_text_and_buffers():
    assert core.encode("x", "abc", 5) == '"abc"'
    with pytest.raises(SpecError, match="'x' takes 5 bytes, but the limit is 4"):
        core.encode("x", "abc", 4)
    with pytest.raises(SpecError, match="the limit is 5,000"):
        core.encode("x", bytes(6000), 5000, [])


INVALID_TEXTS = [
    "", "{", "nonsense", '{"@": 1}', '{"@": "pickle", "v": ""}', '{"@": "tuple"}', '{"@": "tuple", "v": 1}',
    '{"@": "float", "v": "1"}', '{"@": "int", "v": "zz"}', '{"@": "int", "v": 1}', '{"@": "bytes", "v": "?"}', '{"@": "set", "v": [[]]}',
    '{"@": "dict", "v": [[1]]}', '{"@": "dict", "v": [[[], 1]]}', '{"@": "Decimal", "v": "x"}', '{"@": "UUID", "v": "x"}',
    '{"@": "datetime", "v": ["2026-01-01", 0]}', '{"@": "datetime", "v": ["2026-01-01", 0, "../../etc/passwd"]}', '{"@": "date", "v": "x"}', '{"@": "timedelta", "v": [1e400]}', "[" * 100_000,
    '{"@": "sealed", "v": "gASVDAAAAAAAAAB9lIwBYZRLAXMu", "format": "pickle", "python": "3.11"}', '{"@": "buffer", "v": 0}',
]  # fmt: skip


@each("text", INVALID_TEXTS)
def test_invalid_text_is_a_protocol_error(text):
    with pytest.raises(ProtocolError, match="unreadable value"):
        core.decode(text)


def without_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)


ARRAY = '{"@": "array", "dtype": "<f8", "shape": [0], "order": "C", "v": ""}'


def test_array_without_numpy_names_the_missing_library(monkeypatch):
    without_numpy(monkeypatch)
    with pytest.raises(core.MissingLibrary, match="needs numpy, which is not installed here") as here:
        core.decode(ARRAY)
    assert here.value.library == "numpy"
    assert here.value.hint == "Install numpy."


def arrays(np):
    aligned = np.dtype([("a", "i1"), ("b", "f8", (2,)), ("c", [("d", "M8[ns]"), ("e", "U3")])], align=True)
    yield np.arange(12.0).reshape(3, 4)
    yield np.asfortranarray(np.arange(12).reshape(3, 4))
    yield np.arange(12).reshape(3, 4)[::2, ::-1]
    yield np.array(5)
    yield np.zeros((0, 3))
    yield np.zeros((2, 0), "U0")
    yield np.array(["a", "bcd", ""])
    yield np.array([b"a", b"bc"])
    yield np.array([True, False])
    yield np.array([1 + 2j], "c8")
    yield np.array([1, 2], ">i4")
    yield np.array(["2026-01-01", "NaT"], "M8[D]")
    yield np.array([1, 2], "m8[ms]")
    yield np.zeros(3, aligned)
    yield np.zeros(2, "V5")
    yield np.float16([1, 2])


def scalars(np):
    structured = np.zeros(1, [("a", "i4"), ("b", "U2")])[0]
    yield from (np.float64(1.5), np.float32("nan"), np.int8(-3), np.bool_(True), np.str_("x"), np.bytes_(b"x"))
    yield from (np.datetime64("2026-01-01T01:02:03", "us"), np.timedelta64(3, "h"), np.complex64(1j), structured)


@pytest.mark.parametrize("codec", CODECS)
def test_arrays_keep_type_shape_order_and_bytes(codec):
    np = pytest.importorskip("numpy")
    write, read = CODECS[codec]
    for array in arrays(np):
        decoded = read(write("x", [array], LIMIT))[0]
        assert type(decoded) is np.ndarray
        assert (decoded.dtype, decoded.shape) == (array.dtype, array.shape)
        assert decoded.tobytes() == array.tobytes()
        assert decoded.flags.writeable
        if array.flags.contiguous or array.flags.f_contiguous:
            assert decoded.flags.f_contiguous == array.flags.f_contiguous
    for scalar in scalars(np):
        decoded = read(write("x", {"k": scalar}, LIMIT))["k"]
        assert type(decoded) is type(scalar)
        assert decoded.dtype == scalar.dtype
        assert decoded.tobytes() == scalar.tobytes()


def test_object_arrays_are_rejected():
    np = pytest.importorskip("numpy")
    for value in (np.zeros(1, [("a", "O")]), np.zeros(1).view(np.recarray), np.add, np.array([print, 1], object)):
        with pytest.raises(core.NotPlain):
            core.encode("x", value, LIMIT)


@pytest.mark.parametrize(
    "change",
    [{"dtype": "O"}, {"dtype": "nope"}, {"shape": [10**18]}, {"shape": [-1]}, {"shape": [1.0]}, {"v": "AAAA"}, {"order": "X"}],
    ids=str,
)  # fmt: skip
def test_invalid_arrays_are_rejected_before_memory_is_allocated(change):
    pytest.importorskip("numpy")
    tree = {"@": "array", "dtype": "<f8", "shape": [1], "order": "C", "v": "AAAAAAAA8D8="} | change
    with pytest.raises(ValueError, match=r"array|tag|shape|order"):
        guest.unpack(tree)


@each(
    ("value", "expected"),
    [
        (1, True), ("text", True), ([1, {"a": (2,)}], True), (list(range(9999)), True), ("x" * 9999, True),
        (dt.date(2026, 1, 1), True), (print, False), (math, False), ([print], False), (object(), False),
    ],
)  # fmt: skip
def test_can_encode(value, expected):
    assert core.can_encode(value) == expected


def test_can_encode_arrays():
    numpy = pytest.importorskip("numpy")
    assert core.can_encode(numpy.zeros(9999))
    assert core.can_encode(numpy.zeros(3))
    assert not core.can_encode(numpy.array([print] * 9999, dtype=object))
