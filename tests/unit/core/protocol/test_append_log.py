"""A journal is a value: growing it changes no journal that exists."""

import pytest

from uv_argo_magic.core.protocol.append_log import AppendLog


def test_adding_makes_a_new_one_and_leaves_the_old() -> None:
    empty: AppendLog[int] = AppendLog()
    one = empty.add(1)
    two, other = one.add(2), one.add(3)
    assert (list(empty), list(one), list(two), list(other)) == ([], [1], [1, 2], [1, 3])
    assert two.add(4) != other.add(4)


def test_it_is_a_sequence() -> None:
    journal = AppendLog("abc")
    assert (journal[0], journal[-1], journal[1:], len(journal)) == ("a", "c", ["b", "c"], 3)
    for index in (3, -4):
        with pytest.raises(IndexError):
            journal[index]


def test_equality_is_by_what_is_in_it() -> None:
    assert AppendLog("ab") == AppendLog("a").add("b")
    assert AppendLog("ab") != AppendLog("abc")
    assert AppendLog("ab") != "ab"
    assert hash(AppendLog("ab")) == hash(AppendLog("a").add("b"))
    assert hash(AppendLog()) == hash(AppendLog())
    assert repr(AppendLog("a")) == "AppendLog(['a'])"
