"""guest/session/lifetime.py: when an idle session ends, and the warnings before its end."""

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
    """The lifetime of a session that has run one cell."""
    lifetime = Lifetime({"keep": 0, "max_age": 0, "bound": False})
    lifetime.left_at = 0.0  # its client is connected
    return lifetime


def event_at(lifetime, clock, now):
    """The event at this time."""
    clock.now = now
    event, end, _ = lifetime.check()
    return (event, end.setting, end.moment) if event else ()


def end_cell(lifetime, clock, now):
    """Let a cell end at this time."""
    clock.now = now
    lifetime.cell_ended()


@pytest.mark.parametrize("setting", ["keep", "max_age"])
def test_end_is_announced_once_in_advance(lifetime, clock, setting):
    setattr(lifetime, setting, 2 * HOUR)
    end = 1000 + 2 * HOUR
    assert event_at(lifetime, clock, end - 301) == ()
    assert event_at(lifetime, clock, end - 300) == ("ending", setting, end)
    assert event_at(lifetime, clock, end - 10) == ()
    assert event_at(lifetime, clock, end) == ("ended", setting, end)


def test_bound_session_ends_if_its_client_never_connects(clock):
    lifetime = Lifetime({"keep": 0, "max_age": 0, "bound": True})
    assert lifetime.ends_at() == 1000 + module.RETURN
    assert event_at(lifetime, clock, 1000 + module.RETURN) == ("ended", "", 1000 + module.RETURN)


def test_next_check_is_at_the_next_event_or_in_a_minute(lifetime, clock):
    assert lifetime.check() == ("", None, 60.0)
    lifetime.change(keep=2 * HOUR, max_age=0)
    assert lifetime.check()[2] == 60.0
    clock.now = 1000 + 2 * HOUR - 310
    assert lifetime.check()[2] == 10.0
    clock.now = 1000 + 2 * HOUR - 20
    assert lifetime.check()[2] == 20.0


def test_max_age_is_announced_after_a_long_cell(lifetime, clock):
    lifetime.change(keep=0, max_age=2 * HOUR)
    end = 1000 + 2 * HOUR
    end_cell(lifetime, clock, end + 5000)
    assert lifetime.ends_at() == end
    assert event_at(lifetime, clock, end + 5000) == ("ending", "max_age", end + 5300)
    assert lifetime.ends_at() == end + 5300
    # The next cell also gets the message, without changing the time of the end.
    end_cell(lifetime, clock, end + 5100)
    assert event_at(lifetime, clock, end + 5100) == ("ending", "max_age", end + 5300)
    end_cell(lifetime, clock, end + 9000)
    assert event_at(lifetime, clock, end + 9000) == ("ended", "max_age", end + 5300)


def test_frequent_cells_do_not_extend_max_age(lifetime, clock):
    lifetime.change(keep=100, max_age=2 * HOUR)
    end = 1000 + 2 * HOUR
    for now in range(int(end) - 300, int(end), 50):
        end_cell(lifetime, clock, now)
        event_at(lifetime, clock, now)
    end_cell(lifetime, clock, end + 1)
    assert event_at(lifetime, clock, end + 1) == ("ended", "max_age", end)


def test_changed_max_age_moves_the_end(lifetime, clock):
    lifetime.change(keep=0, max_age=HOUR)
    assert event_at(lifetime, clock, 1000 + HOUR - 10)[0] == "ending"
    lifetime.change(keep=0, max_age=2 * HOUR)
    assert event_at(lifetime, clock, 1000 + HOUR) == ()
    assert lifetime.ends_at() == 1000 + 2 * HOUR
