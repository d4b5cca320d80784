"""renderers/remote_result.py: the display of a remote value, and the error if the value itself is needed."""

from __future__ import annotations

import copy

import pytest
from support.cases import each

from uv_argo_magic.errors import SpecError
from uv_argo_magic.renderers.remote_result import RemoteResult, RemoteValueError

RESULT = RemoteResult({"text/plain": "array([1, 2])"}, {})


@each(
    ("use", "name"),
    [
        (lambda value: value.mean(), ".mean"),
        (lambda value: value[0], "an index"),
        (lambda value: value + 1, "+"),
        (lambda value: 1 + value, "the operation radd"),
        (lambda value: value(), "a call"),
        (len, "len()"),
        (list, "iter()"),
        (float, "float()"),
        (lambda value: 3 in value, "in"),
        (lambda value: value < 3, "the operation lt"),
        (lambda value: value.__array__(), "numpy"),
    ],
)
def test_using_the_value_is_an_error_with_a_hint(use, name):
    with pytest.raises(RemoteValueError) as exc_info:
        use(RESULT)
    assert exc_info.value.message == (
        f"{name} needs the value array([1, 2]), which was not sent to the notebook; _ and Out only contain its display"
    )
    assert "--pull NAME" in exc_info.value.hint
    assert isinstance(exc_info.value, SpecError | AttributeError | TypeError)


def test_result_can_be_shown_compared_and_copied():
    assert repr(RESULT) == "array([1, 2])"
    assert RESULT
    assert RESULT == RESULT
    assert RESULT != 3
    assert not hasattr(RESULT, "mean")
    assert not hasattr(RESULT, "_repr_html_")
    assert repr(copy.copy(RESULT)) == repr(RESULT)
