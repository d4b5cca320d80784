"""guest/session/cell_log.py: the numbered lines of a session's cell, limits, and a full disk."""

import os
import random

import pytest

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.merged_log import MergedLog
from uv_argo_magic.core.protocol.state import fold
from uv_argo_magic.guest.session import cell_log
from uv_argo_magic.guest.session.cell_log import CellLog


def text_after(log: CellLog, number: int) -> tuple[str, str, int]:
    """(stored records, remaining text, number of the line before it) for a client with the lines up to `number`."""
    stored, position, before = log.after(number)
    rest = b""
    while data := log.read(position + len(rest), 100_000):
        rest += data
    return stored.decode(), rest.decode(), before


def fill(merged: MergedLog, stored: str, last: int) -> str:
    return merged.fill(stored, last, nonce="abc", boot="", reason="gone")


def write(log: CellLog, lines: int, seed: int = 1) -> list[str]:
    """Write lines of all kinds; return all lines."""
    rng = random.Random(seed)
    copy = []
    original_write = log._write
    log._write = lambda data: (copy.append(data.decode()), original_write(data))
    log.emit("hello", protocol=1, python="3.12.1", platform="Linux", pid=1)
    while log.n < lines:
        kind = rng.choice(["raw", "raw", "raw", "text", "note", "long"])
        if kind == "raw":
            log.raw(b"".join(b"line %d\n" % number for number in range(7)), 7)
        elif kind == "note":
            log.emit("note", text=f"note {log.n}")
        else:
            log.emit("text", stream="stderr", text="x" * 200 if kind == "text" else os.urandom(9000).hex())
    log.end("ok")
    return [f"{line}\n" for line in "".join(copy).split("\n")[:-1]]


@pytest.mark.parametrize("size", [200, 2500])
def test_client_receives_the_lines_it_does_not_have(tmp_path, size):
    log = CellLog(str(tmp_path / "log"), "abc")
    lines = write(log, size)
    for number in (0, 1, 2, size // 2, size - 1, len(lines) - 1, len(lines)):
        assert text_after(log, number) == ("", "".join(lines[number:]), number)
    log.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [50_000, 200_000])
def test_oldest_output_is_dropped_above_the_limit(tmp_path, limit):
    log = CellLog(str(tmp_path / "log"), "abc", most=limit)
    lines = write(log, 1500)
    assert log.size <= limit + 30_000
    for number in (0, 100, log.dropped - 1, log.dropped, log.dropped + 10):
        stored, rest, before = text_after(log, number)
        merged = MergedLog()
        merged.add("".join(lines[:number]), 1)
        text = fill(merged, stored, before) + merged.add(rest, before + 1)
        state = fold(log_reader.decode("".join(lines[:number]) + text, "abc"))
        assert state.outcome == "Succeeded"
        received = text.count("\n") - text.count('"k": "dropped"')
        assert sum(gap.lines for gap in state.gaps) + received == len(lines) - number
        notes = [event.text for event in log_reader.decode("".join(lines), "abc") if isinstance(event, ev.Note)]
        assert list(state.notes) == notes
        assert all("a session keeps the newest" in gap.reason for gap in state.gaps)


def test_ended_log_can_be_dropped(tmp_path):
    log = CellLog(str(tmp_path / "log"), "abc")
    lines = write(log, 1000)
    log.drop(0)
    assert log.size == 0
    stored, rest, before = text_after(log, 0)
    assert (rest, before) == ("", len(lines))
    state = fold(log_reader.decode(stored, "abc"))
    assert state.outcome == "Succeeded"
    assert sum(gap.lines for gap in state.gaps) + stored.count("\n") - stored.count('"dropped"') == len(lines)


class FullDisk:
    """Writes `room` bytes, and then fails like a full disk."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self.write = os.write
        monkeypatch.setattr(cell_log.os, "write", self)

    def __call__(self, fd, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        count = self.write(fd, data[: self.room])
        self.room -= count
        return count


@pytest.mark.parametrize("room", [0, 10_000, 100_000, 300_000])
def test_full_disk_shortens_the_log(tmp_path, monkeypatch, room):
    monkeypatch.setattr(cell_log, "MOST_IN_MEMORY", 400_000)
    log = CellLog(str(tmp_path / "log"), "abc")
    FullDisk(monkeypatch, room)
    lines = write(log, 2000)
    assert log.spent > 900_000
    assert log.size <= 450_000
    stored, rest, before = text_after(log, 0)
    merged = MergedLog()
    state = fold(log_reader.decode(fill(merged, stored, before) + merged.add(rest, before + 1), "abc"))
    assert state.outcome == "Succeeded"
    assert state.position == len(lines)
