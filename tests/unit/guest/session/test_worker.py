"""guest/session/worker.py: when a session ends that rests, and the messages before that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from uv_argo_magic.guest.session import worker as module
from uv_argo_magic.guest.session.worker import Worker

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def worker(clock, tmp_path):
    """A worker that has run one cell, and whose waits end at once."""

    def end(reason):
        host.ending = reason

    host = SimpleNamespace(home=str(tmp_path), select=lambda sources, seconds: [], end=end, ending="")
    options = {"name": "main", "token": "", "socket": str(tmp_path / "socket"), "keep": 0, "max_age": 0, "bound": False}
    worker = Worker(host, options)
    messages = []
    worker.holding = SimpleNamespace(answer=messages.append, messages=messages)
    worker.executed.append("run-1")
    yield worker
    worker.server.close()


def rests(worker, clock, now):
    """What the holder is told when the worker rests at this time."""
    clock.now = now
    messages = worker.holding.messages
    del messages[:]
    worker._rest()
    return [(one["event"], one["setting"], one["run"], one["at"]) for one in messages]


def cell_ends(worker, clock, run, now):
    """A cell has run until now."""
    worker.executed.append(run)
    worker.idle_since, worker.warned = now, 0.0


@pytest.mark.parametrize("setting", ["keep", "max_age"])
def test_the_message_comes_once_and_ahead_of_the_end(worker, clock, setting):
    worker.options[setting] = 2 * HOUR
    end = 1000 + 2 * HOUR
    assert rests(worker, clock, end - 301) == []
    assert rests(worker, clock, end - 300) == [("ending", setting, "run-1", end)]
    assert rests(worker, clock, end - 10) == []
    assert rests(worker, clock, end) == [("ended", setting, "run-1", end)]
    assert worker.host.ending


def test_a_cell_that_runs_at_max_age_is_followed_by_the_message_and_its_time(worker, clock):
    worker.options["max_age"] = 2 * HOUR
    end = 1000 + 2 * HOUR
    cell_ends(worker, clock, "long", end + 5000)
    assert worker.status()["ends_at"] == end
    assert rests(worker, clock, end + 5000) == [("ending", "max_age", "long", end + 5300)]
    assert worker.status()["ends_at"] == end + 5300
    # The next cell gets the message too, and does not move the end.
    cell_ends(worker, clock, "next", end + 5100)
    assert rests(worker, clock, end + 5100) == [("ending", "max_age", "next", end + 5300)]
    cell_ends(worker, clock, "last", end + 9000)
    assert rests(worker, clock, end + 9000) == [("ended", "max_age", "last", end + 5300)]


def test_cells_in_quick_succession_do_not_keep_a_session_beyond_max_age(worker, clock):
    worker.options.update(max_age=2 * HOUR, keep=100)
    end = 1000 + 2 * HOUR
    for now in range(int(end) - 300, int(end), 50):
        cell_ends(worker, clock, f"run-{now}", now)
        rests(worker, clock, now)
    cell_ends(worker, clock, "last", end + 1)
    assert rests(worker, clock, end + 1) == [("ended", "max_age", "last", end)]
