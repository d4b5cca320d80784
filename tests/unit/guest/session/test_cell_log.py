"""The log of a session's cell: lines by their number, within a bound, and on a full disk."""

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
    """(records that were kept, the rest, number of the line before that) for a client with the lines to `number`."""
    kept, position, before = log.after(number)
    rest = b""
    while data := log.read(position + len(rest), 100_000):
        rest += data
    return kept.decode(), rest.decode(), before


def fill(merged: MergedLog, kept: str, last: int) -> str:
    return merged.fill(kept, last, nonce="abc", boot="", reason="gone")


def write(log: CellLog, lines: int, seed: int = 1) -> list[str]:
    """Write lines of all kinds; those of the whole log."""
    rng = random.Random(seed)
    copy = []
    plain = log._write
    log._write = lambda data: (copy.append(data.decode()), plain(data))
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
def test_a_client_gets_the_lines_after_those_that_it_has(tmp_path, size):
    log = CellLog(str(tmp_path / "log"), "abc")
    lines = write(log, size)
    for number in (0, 1, 2, size // 2, size - 1, len(lines) - 1, len(lines)):
        assert text_after(log, number) == ("", "".join(lines[number:]), number)
    log.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("most", [50_000, 200_000])
def test_beyond_the_bound_the_oldest_output_is_dropped_and_other_records_stay(tmp_path, most):
    log = CellLog(str(tmp_path / "log"), "abc", most=most)
    lines = write(log, 1500)
    assert log.size <= most + 30_000
    for number in (0, 100, log.dropped - 1, log.dropped, log.dropped + 10):
        kept, rest, before = text_after(log, number)
        merged = MergedLog()
        merged.add("".join(lines[:number]), 1)
        text = fill(merged, kept, before) + merged.add(rest, before + 1)
        state = fold(log_reader.decode("".join(lines[:number]) + text, "abc"))
        assert state.outcome == "Succeeded"
        received = text.count("\n") - text.count('"k": "dropped"')
        assert sum(gap.lines for gap in state.gaps) + received == len(lines) - number
        notes = [event.text for event in log_reader.decode("".join(lines), "abc") if isinstance(event, ev.Note)]
        assert list(state.notes) == notes
        assert all("a session keeps the newest" in gap.reason for gap in state.gaps)


def test_all_of_an_ended_log_can_be_dropped(tmp_path):
    log = CellLog(str(tmp_path / "log"), "abc")
    lines = write(log, 1000)
    log.drop(0)
    assert log.size == 0
    kept, rest, before = text_after(log, 0)
    assert (rest, before) == ("", len(lines))
    state = fold(log_reader.decode(kept, "abc"))
    assert state.outcome == "Succeeded"
    assert sum(gap.lines for gap in state.gaps) + kept.count("\n") - kept.count('"dropped"') == len(lines)


class FullDisk:
    """Takes so many bytes, and then fails as a full disk does."""

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
def test_a_full_disk_shortens_the_log_and_does_not_end_it(tmp_path, monkeypatch, room):
    monkeypatch.setattr(cell_log, "MOST_IN_MEMORY", 400_000)
    log = CellLog(str(tmp_path / "log"), "abc")
    FullDisk(monkeypatch, room)
    lines = write(log, 2000)
    assert log.spent > 900_000
    assert log.size <= 450_000
    kept, rest, before = text_after(log, 0)
    merged = MergedLog()
    state = fold(log_reader.decode(fill(merged, kept, before) + merged.add(rest, before + 1), "abc"))
    assert state.outcome == "Succeeded"
    assert state.position == len(lines)
