"""support/cases.py: all cases run, and each failure shows its case."""

from __future__ import annotations

import pytest
from support.cases import each


def test_failed_cases_are_shown_with_their_arguments():
    cases = []

    @each("more", [0, 10])
    @each(("one", "two"), [(1, 1), (1, 2), (3, 4)])
    def same(one, two, more, *, fixture):
        cases.append((one + more, two, fixture))
        assert one == two

    with pytest.raises(ExceptionGroup, match="2 of 2 cases failed") as exc_info:
        same(fixture="x")
    assert cases == [(1, 1, "x"), (1, 2, "x"), (3, 4, "x"), (11, 1, "x"), (11, 2, "x"), (13, 4, "x")]
    assert [failure.__notes__ for failure in exc_info.value.exceptions] == [["case: more=0"], ["case: more=10"]]
    notes = [failure.__notes__ for failure in exc_info.value.exceptions[0].exceptions]
    assert notes == [["case: one=1, two=2"], ["case: one=3, two=4"]]


def test_table_without_cases_is_an_error():
    with pytest.raises(AssertionError, match="no cases"):
        each("one", [])
