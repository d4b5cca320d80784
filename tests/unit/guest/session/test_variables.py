"""guest/session/variables.py: the sizes of a session's variables."""

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
def test_size_of_a_table_is_its_memory_usage(table):
    usage = table.memory_usage()
    assert variables.size(table) == (usage if isinstance(table, pd.Series) else usage.sum())


def test_size_of_a_table_does_not_call_memory_usage(monkeypatch):
    def slow(*_args, **_options):
        raise AssertionError("this takes half a millisecond for each table after each cell")

    monkeypatch.setattr(pd.DataFrame, "memory_usage", slow)
    assert variables.size(TABLES["part"]) == 3 * 2 * 8 + TABLES["part"].index.memory_usage()


def test_size_of_an_index_and_other_values():
    assert variables.size(DAYS) == DAYS.memory_usage()
    assert variables.size(pd.Timestamp("2026-01-01")) == 0
