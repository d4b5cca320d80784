"""core/humanize.py: durations, counts and sizes as text."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core import humanize


@each(
    ("value", "text"),
    [
        (0, "0.00 s"), (0.314, "0.31 s"), (12.34, "12.3 s"), (59.94, "59.9 s"), (59.97, "1 min 0 s"),
        (125, "2 min 5 s"), (3599.9, "1 h 0 min"), (3725, "1 h 2 min"),
    ],
)  # fmt: skip
def test_seconds(value, text):
    assert humanize.seconds(value) == text


@each(
    ("value", "text"),
    [(86400, "1 day"), (7200, "2 hours"), (1800, "30 minutes"), (90, "90 seconds"), (0.5, "0.5 seconds")],
)
def test_exact_seconds_uses_the_largest_unit(value, text):
    assert humanize.exact_seconds(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(2**30, "1 GiB"), (8 * 2**20, "8 MiB"), (3 * 2**20 + 1024, "3073 KiB"), (1000, "1000 bytes")],
)
def test_exact_size_uses_the_largest_unit(number, text):
    assert humanize.exact_size(number) == text


def test_count_adds_plural_and_commas():
    assert [humanize.count(n, "line") for n in (0, 1, 998000)] == ["0 lines", "1 line", "998,000 lines"]


@each(
    ("number", "text"),
    [
        (0, ""), (-1, ""), (512, "512 B"), (8300, "8.3 kB"), (130_000, "130 kB"), (16_600_000, "16.6 MB"),
        (755_000_000, "755 MB"), (2_500_000_000, "2.5 GB"),
    ],
)  # fmt: skip
def test_size(number, text):
    assert humanize.size(number) == text
