"""Small cells do the same under `%%argo` as in a plain cell, except for the recorded differences."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cells
import compare
import table
from reasons import IN_SESSIONS, REASONS

# Some differences contain texts of Python, which change between its versions.
RECORDED_WITH = (3, 11)


@pytest.fixture(scope="module")
def plain():
    return table.run_plain()


@pytest.fixture(scope="module")
def differences(plain):
    return table.measure(plain)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", cells.CELLS, ids=lambda cell: cell.name)
def test_a_cell_is_the_same_or_differs_as_listed(differences, cell):
    expected = table.recorded().get(cell.name, {})
    if sys.version_info[:2] == RECORDED_WITH or not expected:
        assert differences.get(cell.name, {}) == expected
    else:
        assert set(differences.get(cell.name, {})) <= set(compare.ASPECTS)


@pytest.fixture(scope="module")
def differences_in_sessions(plain):
    return table.measure(plain, in_sessions=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", cells.CELLS, ids=lambda cell: cell.name)
def test_a_cell_of_a_session_is_the_same_or_differs_as_listed(differences_in_sessions, cell):
    expected = table.recorded_in_sessions().get(cell.name, {})
    if sys.version_info[:2] == RECORDED_WITH or not expected:
        assert differences_in_sessions.get(cell.name, {}) == expected
    else:
        assert set(differences_in_sessions.get(cell.name, {})) <= set(compare.ASPECTS)


def test_every_difference_is_in_the_docs_with_its_reason():
    recorded = table.recorded()
    assert set(recorded) == set(REASONS)
    page = table.DOCS.read_text(encoding="utf-8")
    assert set(table.recorded_in_sessions()) <= set(REASONS) | set(IN_SESSIONS)
    tables = {"cells": table.table(recorded), "cells in sessions": table.table_of_sessions()}
    assert table.replaced(page, tables) == page
    assert f"{len(cells.CELLS)} small cells" in " ".join(page.split())


def test_names_are_not_used_twice():
    names = [cell.name for cell in cells.CELLS]
    assert len(set(names)) == len(names) >= 45


def test_a_difference_is_found():
    one = compare.Seen(stdout="a", error=("E", "x"))
    other = compare.Seen(stdout="b", error=("E", "x"))
    assert compare.differences(one, other) == {"stdout": ("a", "b")}
    assert compare.differences(one, one) == {}


@pytest.mark.parametrize(
    ("written", "shown"),
    [("0%\r50%\r100%\n", "100%\n"), ("long line\rshort", "shortline"), ("abc\rx\n", "xbc\n"), ("same\n", "same\n")],
)
def test_streams_are_compared_as_a_terminal_shows_them(written, shown):
    assert compare._drawn(written) == shown
