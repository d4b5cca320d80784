"""_os/interrupts.py: delayed signals."""

from __future__ import annotations

import signal
import threading

import pytest

from uv_argo_magic._os import interrupts


@pytest.mark.parametrize("number", interrupts.NUMBERS)
def test_signal_is_handled_after_the_block(number):
    def interrupt(*_):
        raise KeyboardInterrupt

    done = []

    @interrupts.delayed()
    def run() -> None:
        signal.raise_signal(number)
        signal.raise_signal(number)
        done.append(1)

    previous = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run()
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, previous)
    assert done == [1]


def test_second_signal_is_handled_at_once_if_the_block_can_block():
    done = []

    @interrupts.delayed(can_block=True)
    def run() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append(1)
        signal.raise_signal(signal.SIGINT)
        done.append(2)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_and_other_threads_are_left_alone():
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.delayed():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)
    found = []

    def enter() -> None:
        with interrupts.delayed():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
