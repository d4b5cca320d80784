"""core/protocol/append_log.py: an immutable list that can be extended efficiently."""

import pytest

from uv_argo_magic.core.protocol.append_log import AppendLog


def test_add_returns_a_new_log() -> None:
    empty: AppendLog[int] = AppendLog()
    one_item = empty.add(1)
    first_branch, second_branch = one_item.add(2), one_item.add(3)
    assert (list(empty), list(one_item), list(first_branch), list(second_branch)) == ([], [1], [1, 2], [1, 3])
    assert first_branch.add(4) != second_branch.add(4)


def test_log_is_a_sequence() -> None:
    log = AppendLog("abc")
    assert (log[0], log[-1], log[1:], len(log)) == ("a", "c", ["b", "c"], 3)
    for index in (3, -4):
        with pytest.raises(IndexError):
            log[index]


def test_equality_compares_items() -> None:
    assert AppendLog("ab") == AppendLog("a").add("b")
    assert AppendLog("ab") != AppendLog("abc")
    assert AppendLog("ab") != "ab"
    assert hash(AppendLog("ab")) == hash(AppendLog("a").add("b"))
    assert hash(AppendLog()) == hash(AppendLog())
    assert repr(AppendLog("a")) == "AppendLog(['a'])"
