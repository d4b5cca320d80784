"""guest/session/lifetime.py: when a session ends that runs no cell, and the warnings before that."""

from __future__ import annotations

import pytest

from uv_argo_magic.guest.session import lifetime as module
from uv_argo_magic.guest.session.lifetime import Lifetime

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def lifetime(clock):
    """That of a session which has run one cell."""
    return Lifetime({"keep": 0, "max_age": 0, "bound": False})


def rests(lifetime, clock, now):
    """The event at this time."""
    clock.now = now
    event, end, _ = lifetime.check()
    return (event, end.setting, end.moment) if event else ()


def cell_ends(lifetime, clock, now):
    """A cell has run until now."""
    clock.now = now
    lifetime.cell_ended()


@pytest.mark.parametrize("setting", ["keep", "max_age"])
def test_the_message_comes_once_and_ahead_of_the_end(lifetime, clock, setting):
    setattr(lifetime, setting, 2 * HOUR)
    end = 1000 + 2 * HOUR
    assert rests(lifetime, clock, end - 301) == ()
    assert rests(lifetime, clock, end - 300) == ("ending", setting, end)
    assert rests(lifetime, clock, end - 10) == ()
    assert rests(lifetime, clock, end) == ("ended", setting, end)


def test_the_next_check_is_at_the_next_event_or_in_a_minute(lifetime, clock):
    assert lifetime.check() == ("", None, 60.0)
    lifetime.change(keep=2 * HOUR, max_age=0)
    assert lifetime.check()[2] == 60.0
    clock.now = 1000 + 2 * HOUR - 310
    assert lifetime.check()[2] == 10.0
    clock.now = 1000 + 2 * HOUR - 20
    assert lifetime.check()[2] == 20.0


def test_a_cell_that_runs_at_max_age_is_followed_by_the_message_and_its_time(lifetime, clock):
    lifetime.change(keep=0, max_age=2 * HOUR)
    end = 1000 + 2 * HOUR
    cell_ends(lifetime, clock, end + 5000)
    assert lifetime.ends_at() == end
    assert rests(lifetime, clock, end + 5000) == ("ending", "max_age", end + 5300)
    assert lifetime.ends_at() == end + 5300
    # The next cell gets the message too, and does not move the end.
    cell_ends(lifetime, clock, end + 5100)
    assert rests(lifetime, clock, end + 5100) == ("ending", "max_age", end + 5300)
    cell_ends(lifetime, clock, end + 9000)
    assert rests(lifetime, clock, end + 9000) == ("ended", "max_age", end + 5300)


def test_cells_in_quick_succession_do_not_keep_a_session_beyond_max_age(lifetime, clock):
    lifetime.change(keep=100, max_age=2 * HOUR)
    end = 1000 + 2 * HOUR
    for now in range(int(end) - 300, int(end), 50):
        cell_ends(lifetime, clock, now)
        rests(lifetime, clock, now)
    cell_ends(lifetime, clock, end + 1)
    assert rests(lifetime, clock, end + 1) == ("ended", "max_age", end)


def test_a_cell_with_another_max_age_moves_the_end(lifetime, clock):
    lifetime.change(keep=0, max_age=HOUR)
    assert rests(lifetime, clock, 1000 + HOUR - 10)[0] == "ending"
    lifetime.change(keep=0, max_age=2 * HOUR)
    assert rests(lifetime, clock, 1000 + HOUR) == ()
    assert lifetime.ends_at() == 1000 + 2 * HOUR
