"""guest_values/libraries.py: values of numpy and scipy survive a round trip with their class."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.core.protocol import values
from uv_argo_magic.errors import ProtocolError

np = pytest.importorskip("numpy")
LIMIT = 10**9


def round_trip(value):
    buffers = []
    text = values.encode("x", value, LIMIT, buffers)
    decoded = values.decode(text, [bytearray(raw) for raw in buffers])
    assert type(decoded) is type(value)
    return decoded


def test_masked_arrays_keep_mask_fill_value_and_hardness():
    many = np.ma.masked_equal(np.arange(900) % 7, 3)
    structured = np.ma.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")], mask=[(True, False)])
    hard = np.ma.array(["a", "b"], mask=[True, False], hard_mask=True, fill_value="?")
    for array in (np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 1]), many, structured, hard):
        decoded = round_trip(array)
        assert decoded.dtype == array.dtype
        assert decoded.tolist() == array.tolist()
        assert np.ma.getmaskarray(decoded).tolist() == np.ma.getmaskarray(array).tolist()
        assert (decoded.mask is np.ma.nomask) == (array.mask is np.ma.nomask)
        assert (decoded.fill_value == array.fill_value, decoded.hardmask) == (True, array.hardmask)


ITEMS = (
    st.none() | st.integers() | st.text() | st.tuples(st.text(), st.booleans()) | st.dictionaries(st.text(), st.dates())
)


@given(st.lists(ITEMS, min_size=6, max_size=6))
def test_object_arrays_keep_their_objects(items):
    array = np.empty(6, object)
    for number, item in enumerate(items):
        array[number] = item
    array = array.reshape(2, 3)
    decoded = round_trip(array)
    assert (decoded.dtype, decoded.shape, decoded.tolist()) == (array.dtype, array.shape, array.tolist())
    texts = np.array([["a", "b"], ["ä", None]], object)
    assert round_trip(texts).tolist() == texts.tolist()


def test_arrays_are_encoded_without_copying():
    array = np.arange(1000.0)
    buffers = []
    values.encode("x", array, LIMIT, buffers)
    assert np.shares_memory(np.frombuffer(buffers[0]), array)


FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("name", FORMATS)
def test_sparse_matrices_keep_their_format(name, kind):
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.where(np.random.default_rng(7).random((20, 30)) > 0.9, 2.5, 0)
    for value in (dense, np.zeros((3, 2)), dense.astype("int8")):
        matrix = getattr(sparse, f"{name}_{kind}")(value)
        decoded = round_trip(matrix)
        assert (decoded.dtype, decoded.shape, decoded.format) == (matrix.dtype, matrix.shape, name)
        assert (decoded.toarray() == value).all()


def test_forged_sparse_matrices_are_rejected():
    sparse = pytest.importorskip("scipy.sparse")
    for name in ("csr", "coo"):
        tree = json.loads(values.encode("x", getattr(sparse, f"{name}_array")(np.eye(3)), LIMIT))
        outside = json.loads(values.encode("x", np.array([0, 1, 99], np.int32), LIMIT))
        for change in ({"parts": [tree["parts"][0], outside, *tree["parts"][2:]]}, {"c": "os_system"}, {"c": "csr"}):
            with pytest.raises(ProtocolError):
                values.decode(json.dumps(tree | change))
