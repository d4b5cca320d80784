"""The sizes of a session's variables."""

from __future__ import annotations

import pytest

from uv_argo_magic.guest.session import variables

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

DAYS = pd.date_range("2026-01-01", periods=3, tz="UTC", name="day")
TABLES = {
    "mixed": pd.DataFrame({"a": [1, 2, 3], "b": [1.5, 2, 3], "text": list("xyz"), "object": [{}, [], None]}),
    "other dtypes": pd.DataFrame({"day": DAYS, "kind": pd.Categorical(list("aba")), "n": pd.array([1, 2, None])}),
    "part": pd.DataFrame(np.zeros((6, 4)))[::2][[0, 2]],
    "index": pd.DataFrame({"a": [1, 2, 3]}, index=DAYS),
    "two levels": pd.DataFrame({"a": range(4)}, index=pd.MultiIndex.from_product([[1, 2], ["x", "y"]])),
    "empty": pd.DataFrame(),
    "column": pd.Series(range(5)),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_size_of_a_table_is_that_of_its_memory_usage(table):
    used = table.memory_usage()
    assert variables.size(table) == (used if isinstance(table, pd.Series) else used.sum())


def test_the_size_of_a_table_is_found_without_its_memory_usage(monkeypatch):
    def slow(*_args, **_options):
        raise AssertionError("this takes half a millisecond for each table after each cell")

    monkeypatch.setattr(pd.DataFrame, "memory_usage", slow)
    assert variables.size(TABLES["part"]) == 3 * 2 * 8 + TABLES["part"].index.memory_usage()


def test_an_index_and_other_values_of_pandas_have_a_size_or_0():
    assert variables.size(DAYS) == DAYS.memory_usage()
    assert variables.size(pd.Timestamp("2026-01-01")) == 0
