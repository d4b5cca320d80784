"""Small cells give the same outputs under `%%argo` as in a plain cell, except for the recorded differences."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cells
import compare
import table
from reasons import IN_SESSIONS, REASONS

# Some differences contain messages of Python, which change between versions.
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
def test_cell_differs_only_as_recorded(differences, cell):
    expected = table.recorded().get(cell.name, {})
    if sys.version_info[:2] == RECORDED_WITH or not expected:
        assert differences.get(cell.name, {}) == expected
    else:
        assert set(differences.get(cell.name, {})) <= set(compare.ASPECTS)


@pytest.fixture(scope="module")
def differences_in_sessions(plain):
    return table.measure(plain, in_session=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", cells.CELLS, ids=lambda cell: cell.name)
def test_cell_in_session_differs_only_as_recorded(differences_in_sessions, cell):
    expected = table.recorded_in_sessions().get(cell.name, {})
    if sys.version_info[:2] == RECORDED_WITH or not expected:
        assert differences_in_sessions.get(cell.name, {}) == expected
    else:
        assert set(differences_in_sessions.get(cell.name, {})) <= set(compare.ASPECTS)


def test_docs_list_all_differences_with_reasons():
    recorded = table.recorded()
    assert set(recorded) == set(REASONS)
    page = table.DOCS.read_text(encoding="utf-8")
    assert set(table.recorded_in_sessions()) <= set(REASONS) | set(IN_SESSIONS)
    tables = {"cells": table.table(recorded), "cells in sessions": table.table_of_sessions()}
    assert table.replace_marked(page, tables) == page
    assert f"{len(cells.CELLS)} small cells" in " ".join(page.split())


def test_cell_names_are_unique():
    names = [cell.name for cell in cells.CELLS]
    assert len(set(names)) == len(names) >= 45


def test_differences_are_found():
    first = compare.Outputs(stdout="a", error=("E", "x"))
    second = compare.Outputs(stdout="b", error=("E", "x"))
    assert compare.differences(first, second) == {"stdout": ("a", "b")}
    assert compare.differences(first, first) == {}


@pytest.mark.parametrize(
    ("written", "expected"),
    [("0%\r50%\r100%\n", "100%\n"), ("long line\rshort", "shortline"), ("abc\rx\n", "xbc\n"), ("same\n", "same\n")],
)
def test_streams_are_compared_as_shown_in_a_terminal(written, expected):
    assert compare._as_in_terminal(written) == expected
