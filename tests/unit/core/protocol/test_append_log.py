"""A journal is a value: growing it changes no journal that exists."""

import pytest

from uv_argo_magic.core.protocol.append_log import Journal


def test_adding_makes_a_new_one_and_leaves_the_old() -> None:
    empty: Journal[int] = Journal()
    one = empty.add(1)
    two, other = one.add(2), one.add(3)
    assert (list(empty), list(one), list(two), list(other)) == ([], [1], [1, 2], [1, 3])
    assert two.add(4) != other.add(4)


def test_it_is_a_sequence() -> None:
    journal = Journal("abc")
    assert (journal[0], journal[-1], journal[1:], len(journal)) == ("a", "c", ["b", "c"], 3)
    for index in (3, -4):
        with pytest.raises(IndexError):
            journal[index]


def test_equality_is_by_what_is_in_it() -> None:
    assert Journal("ab") == Journal("a").add("b")
    assert Journal("ab") != Journal("abc")
    assert Journal("ab") != "ab"
    assert hash(Journal("ab")) == hash(Journal("a").add("b"))
    assert hash(Journal()) == hash(Journal())
    assert repr(Journal("a")) == "Journal(['a'])"
