"""_os/threads.py: calls in threads that are reused."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from support.waiting import until

from uv_argo_magic._os import threads


def test_idle_thread_is_reused_with_a_new_name():
    threads_of_calls = SimpleQueue()

    def call():
        thread = threading.current_thread()
        threads_of_calls.put((thread.ident, thread.name, thread.daemon))

    threads.start(call, "first")
    first = threads_of_calls.get(timeout=10)
    until(lambda: threads._idle, pace=0.001)
    threads.start(call, "second")
    second = threads_of_calls.get(timeout=10)
    assert first[1:] == ("first", True)
    assert second == (first[0], "second", True)


def test_concurrent_calls_have_separate_threads():
    meeting = threading.Barrier(threads.MOST_IDLE + 4, timeout=10)
    for number in range(threads.MOST_IDLE + 3):
        threads.start(meeting.wait, f"call {number}")
    meeting.wait()
    assert len(threads._idle) <= threads.MOST_IDLE


def test_exception_is_reported_and_does_not_end_the_thread(monkeypatch):
    reported = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reported.put)
    threads.start(lambda: 1 / 0, "failing")
    assert reported.get(timeout=10).exc_type is ZeroDivisionError
    is_called = threading.Event()
    threads.start(is_called.set, "next")
    assert is_called.wait(60)
