"""core/protocol/merged_log.py: merging copies of a run's log, and finding it in the log of a session's pod."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.merged_log import EarlyCopy, MergedLog, SessionLog, dropped, split_lines
from uv_argo_magic.core.protocol.state import Gap, fold
from uv_argo_magic.errors import ProtocolError


def record(nonce: str, n: int, kind: str, **fields: object) -> str:
    return f"{log_reader.PREFIX}{nonce} {json.dumps({**fields, 'k': kind, 'b': 'b' + nonce, 'n': n, 't': 1.0})}\n"


def hello(nonce: str) -> str:
    return record(nonce, 1, "hello", protocol=1, python="3.12.1", platform="Linux", pid=1)


A = (
    hello("a"), record("a", 2, "phase", phase="running"), "one\n", "two\n", record("a", 5, "heartbeat"), "three\n",
    record("a", 7, "exit", reason="ok"),
)  # fmt: skip
B = (
    hello("b"), record("b", 2, "note", text="waiting"), record("b", 3, "phase", phase="running"), "four\n",
    record("b", 5, "exit", reason="ok"),
)  # fmt: skip
POD_LOG = [*A[:3], *B[:2], *A[3:], *B[2:]]
"""The log of a pod if b was sent while a ran."""


def test_only_a_newline_ends_a_line():
    assert split_lines("a\rb\x0bc\nd") == ["a\rb\x0bc\n", "d"]
    assert split_lines("") == []


def test_repeated_lines_are_dropped():
    merged = MergedLog()
    assert merged.add("one\ntwo\n", 1) == "one\ntwo\n"
    assert merged.add("two\nthree\n", 2) == "three\n"
    assert merged.add("one\n", 1) == ""
    assert merged.received == 3


def test_final_line_without_newline_is_merged():
    merged = MergedLog()
    assert merged.add("one\nend", 1) == "one\nend"
    assert merged.add("end\n", 2) == ""


def test_missing_lines_are_not_added_later():
    merged = MergedLog()
    merged.add("one\n", 1)
    assert merged.add("four\n", 4) == "four\n"
    assert merged.add("two\nthree\nfour\nfive\n", 2) == "five\n"


def test_different_copies_are_an_error():
    merged = MergedLog()
    merged.add("one\ntwo\n", 1)
    with pytest.raises(ProtocolError, match="differ at line 2"):
        merged.add("two!\n", 2)


@given(st.lists(st.text(alphabet="ab\r", max_size=3), max_size=12), st.data())
def test_overlapping_pieces_are_merged_once(texts, data):
    lines = [f"{text}\n" for text in texts]
    merged, received_text = MergedLog(), ""
    while merged.received < len(lines):
        first = data.draw(st.integers(1, merged.received + 1))
        last = data.draw(st.integers(first, len(lines)))
        received_text += merged.add("".join(lines[first - 1 : last]), first)
    assert received_text == "".join(lines)


@given(st.data())
def test_run_is_found_in_the_log_of_its_session(data):
    is_live = data.draw(st.booleans())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(POD_LOG)), max_size=4)))
    for nonce, run_log in (("a", A), ("b", B)):
        log, merged, received_text = SessionLog(nonce, is_live=is_live), MergedLog(), ""
        for start, end in zip([0, *cuts], [*cuts, len(POD_LOG)], strict=True):
            for first, text in log.feed("".join(POD_LOG[start:end])):
                assert first == merged.received + 1
                received_text += merged.add(text, first)
        assert received_text == "".join(run_log)
        assert log.has_ended


@each("cut", range(len(POD_LOG) + 1))
def test_truncated_log_returns_the_remaining_lines(cut):
    for nonce, run_log in (("a", A), ("b", B)):
        pieces = SessionLog(nonce).feed("".join(POD_LOG[cut:]))
        for first, text in pieces:
            lines = split_lines(text)
            assert lines == list(run_log[first - 1 : first - 1 + len(lines)])
        lines_of_run = [line for line in POD_LOG[cut:] if line in run_log]
        raw = [line for line in lines_of_run if not line.startswith(log_reader.PREFIX)]
        found_text = "".join(text for _, text in pieces)
        assert all(line in found_text for line in raw) or not lines_of_run[-1:]


def test_lines_of_other_programs_are_omitted():
    log = SessionLog("a")
    pieces = log.feed("".join(["stray\n", *A[:4], "stray\n", "@uv-argo:a {broken\n", A[4], *A[5:], "after\n"]))
    assert "".join(text for _, text in pieces) == "".join(A)
    assert [first for first, _ in pieces] == [1, 2, 3, 5, 6, 7]


def test_lines_next_to_missing_ones_are_omitted():
    pieces = SessionLog("a").feed("".join([*A[:3], *A[4:]]))
    assert "".join(text for _, text in pieces) == "".join([*A[:2], *A[4:]])


def test_lines_of_a_live_log_are_returned_at_once():
    log = SessionLog("a", is_live=True)
    log.feed("".join(A[:2]))
    assert log.feed("one\n") == [(3, "one\n")]


def test_single_copy_drops_repeated_lines_without_comparison():
    merged = MergedLog(has_one_copy=True)
    assert merged.add("one\ntwo\n", 1) == "one\ntwo\n"
    assert merged.add("2\nthree\n", 2) == "three\n"
    assert merged.fill("", 5, nonce="a", boot="ba", reason="gone") == dropped("a", "ba", 5, 2, "gone")
    assert merged.received == 5
    assert merged.add("six", 6) == "six"
    assert merged.received == 6


def test_missing_lines_are_filled_from_stored_records():
    merged = MergedLog()
    merged.add(A[0], 1)
    stored = "".join([A[0], A[1], "odd\n", dropped("a", "ba", 4, 2, "old"), A[4], dropped("a", "ba", 9, 4, "late")])
    names = {"nonce": "a", "boot": "ba", "reason": "gone"}
    assert merged.fill(stored, 3, **names) == A[1] + dropped("a", "ba", 3, 1, "old")
    assert merged.fill(stored, 6, **names) == "".join(
        [dropped("a", "ba", 4, 2, "old"), A[4], dropped("a", "ba", 6, 1, "late")]
    )
    assert merged.fill(stored, 6, **names) == ""
    assert merged.fill(A[-1], 6, **names) == ""
    assert merged.received == 6


def test_cell_that_never_ran_has_no_raw_lines():
    stopped = record("c", 2, "exit", reason="stopped")
    log = SessionLog("c")
    pieces = log.feed("".join([*A[:4], hello("c"), *A[4:], stopped]))
    assert [text for _, text in pieces] == [hello("c"), stopped]


def test_dropped_record_is_a_gap():
    text = "".join([A[0], A[1], dropped("a", "ba", 4, 2, "rotated"), *A[4:]])
    state = fold(log_reader.decode(text, "a"))
    assert state.gaps == (Gap(lines=2, reason="rotated"),)
    assert state.outcome == "Succeeded"


@each("seed", range(100))
def test_early_copy_and_log_are_merged_once(seed):
    rng = random.Random(seed)
    copy, received_text = EarlyCopy("a"), ""
    log = [*A]
    for position in sorted(rng.sample(range(len(A)), 2), reverse=True):
        log.insert(position, f"stray {position}\n")
    early = list(A[: rng.randrange(len(A) + 1)])
    has_ended = False
    while early or log or not has_ended:
        if log and rng.random() < 0.5:
            received_text += copy.add_log(log.pop(0))
        elif early:
            received_text += copy.add_early(early.pop(0))
        elif not has_ended:
            copy.end_early()
            has_ended = True
    assert [line for line in split_lines(received_text) if not line.startswith("stray")] == list(A)


@pytest.mark.parametrize("log_first", [True, False])
def test_early_copy_that_differs_is_an_error(log_first):
    copy = EarlyCopy("a")
    add_first, add_second = (copy.add_log, copy.add_early) if log_first else (copy.add_early, copy.add_log)
    add_first(A[0])
    with pytest.raises(ProtocolError, match="the log of the pod differs"):
        add_second(A[1])
