from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.core.protocol.whole_lines import whole_lines


def test_lines_are_returned_when_complete() -> None:
    assert list(whole_lines([b"a", b"b\nc", b"\nd\ne"])) == ["ab\n", "c\nd\n", "e"]
    assert list(whole_lines([])) == []


def test_invalid_utf_8_is_replaced() -> None:
    assert list(whole_lines([b"\xff\n"])) == ["\N{REPLACEMENT CHARACTER}\n"]


@given(st.text(alphabet="a\n\N{SNOWMAN}\N{GRINNING FACE}"), st.lists(st.integers(0, 60)))
def test_chunks_never_split_lines_or_characters(text: str, cuts: list[int]) -> None:
    data = text.encode()
    offsets = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    lines = list(whole_lines(data[start:end] for start, end in itertools.pairwise(offsets)))
    assert "".join(lines) == text
    assert all(line.endswith("\n") for line in lines[:-1])
