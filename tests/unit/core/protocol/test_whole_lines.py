from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.core.protocol.whole_lines import whole_lines


def test_a_line_is_given_once_its_end_has_arrived() -> None:
    assert list(whole_lines([b"a", b"b\nc", b"\nd\ne"])) == ["ab\n", "c\nd\n", "e"]
    assert list(whole_lines([])) == []


def test_what_is_not_utf_8_is_replaced() -> None:
    assert list(whole_lines([b"\xff\n"])) == ["\N{REPLACEMENT CHARACTER}\n"]


@given(st.text(alphabet="a\n\N{SNOWMAN}\N{GRINNING FACE}"), st.lists(st.integers(0, 60)))
def test_no_line_and_no_character_is_torn(text: str, cuts: list[int]) -> None:
    data = text.encode()
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = list(whole_lines(data[start:end] for start, end in itertools.pairwise(at)))
    assert "".join(pieces) == text
    assert all(piece.endswith("\n") for piece in pieces[:-1])
