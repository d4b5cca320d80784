"""guest/streams.py: descriptors that can be read or written."""

from __future__ import annotations

import os
import socket

import pytest
from support.open_files import many_open_files

from uv_argo_magic.guest import streams


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_readable_and_writable_descriptors(pipe):
    read_end, write_end = pipe
    assert streams.wait_for([read_end], 0.0) == ([], [])
    assert streams.wait_for([read_end], None, [write_end]) == ([], [write_end])
    os.write(write_end, b"x")
    assert streams.wait_for([read_end]) == ([read_end], [])


def test_end_is_readable_and_error_is_writable():
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert streams.wait_for([ours.fileno()], None, [ours.fileno()]) == ([ours.fileno()], [ours.fileno()])


def test_descriptors_with_high_numbers(pipe):
    with many_open_files():
        high = os.dup(pipe[0])
        os.write(pipe[1], b"x")
        assert high > 1023
        assert streams.wait_for([high]) == ([high], [])
        os.close(high)
