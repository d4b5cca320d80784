"""_os/threads.py: calls in threads that are used again."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from support.waiting import until

from uv_argo_magic._os import threads


def test_a_thread_is_used_again_under_another_name():
    seen = SimpleQueue()

    def call():
        thread = threading.current_thread()
        seen.put((thread.ident, thread.name, thread.daemon))

    threads.start(call, "first")
    first = seen.get(timeout=10)
    until(lambda: threads._idle, pace=0.001)
    threads.start(call, "second")
    second = seen.get(timeout=10)
    assert first[1:] == ("first", True)
    assert second == (first[0], "second", True)


def test_calls_at_the_same_time_have_threads_of_their_own_and_few_of_those_stay():
    meeting = threading.Barrier(threads.MOST_IDLE + 4, timeout=10)
    for number in range(threads.MOST_IDLE + 3):
        threads.start(meeting.wait, f"call {number}")
    meeting.wait()
    assert len(threads._idle) <= threads.MOST_IDLE


def test_an_exception_is_reported_and_the_thread_goes_on(monkeypatch):
    reported = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reported.put)
    threads.start(lambda: 1 / 0, "failing")
    assert reported.get(timeout=10).exc_type is ZeroDivisionError
    done = threading.Event()
    threads.start(done.set, "next")
    assert done.wait(60)
