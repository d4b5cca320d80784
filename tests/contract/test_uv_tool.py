"""Terminal output of uv, parsed into lines and progress; recorded from uv 0.13.9."""

from __future__ import annotations

import pytest

from uv_argo_magic.guest.install import uv_tool

SPINNER = "\N{BRAILLE PATTERN DOTS-1245}"


def row(text):
    return text.ljust(uv_tool.WIDTH)


def frame(done, *bars):
    rows = [row(f"{SPINNER} Preparing packages... ({done}/3)"), *(row(bar) for bar in bars)]
    return "".join(rows) + "\x1b[1A\r\x1b[2K" * len(rows)


TERMINAL_OUTPUT = (
    "Using CPython 3.11.7 interpreter at: python3\r\n"
    + row(f"{SPINNER} Resolving dependencies...") + "\r\x1b[2KResolved 3 packages in 376ms\r\n"
    + frame(0)
    + frame(0, "six        ------------------------------     0 B/10.79 KiB")
    + frame(0, "six        ------------------------------ 10.79 KiB/10.79 KiB",
               "numpy      ------------------------------ 128.00 KiB/16.00 MiB")
    + frame(1, "numpy      ------------------------------ 1.50 MiB/16.00 MiB")
    + frame(2, "torch      ------------------------------ 1.00 GiB/2.00 GiB")
    + "Prepared 3 packages in 3ms\r\nInstalled 3 packages in 829ms\r\n + six==1.17.0\r\n"
)  # fmt: skip
LINES = (
    "Using CPython 3.11.7 interpreter at: python3\nResolved 3 packages in 376ms\nPrepared 3 packages in 3ms\n"
    "Installed 3 packages in 829ms\n + six==1.17.0\n"
)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_screen_keeps_lines_and_reports_progress(size, monkeypatch):
    monkeypatch.setattr(uv_tool, "INTERVAL", 0.0)
    events = []
    screen = uv_tool.Screen(lambda kind, **fields: events.append((kind, *fields.values())))
    lines = (
        "".join(screen.feed(TERMINAL_OUTPUT[start : start + size]) for start in range(0, len(TERMINAL_OUTPUT), size))
        + screen.close()
    )
    assert lines == LINES
    if size < 100:  # with larger chunks, only the last frame of each line is reported
        six, mib = int(10.79 * 1024), 1 << 20
        expected = [(0, 3, 0, 0), (0, 3, 0, six), (1, 3, six + 3 * mib // 2, six + 16 * mib),
                  (3, 3, six + 16 * mib + 2048 * mib, six + 16 * mib + 2048 * mib),
                  (2, 3, six + 16 * mib + 1024 * mib, six + 16 * mib + 2048 * mib)]  # fmt: skip
        reported = [progress for _, *progress in events]
        assert [
            progress
            for progress in expected
            if not any(all(abs(a - b) < 2 for a, b in zip(progress, other, strict=True)) for other in reported)
        ] == []
        assert {kind for kind, *_ in events} == {"progress"}


def test_error_after_progress_rows_is_a_line():
    screen = uv_tool.Screen(lambda *_, **__: None)
    output = (
        row(f"{SPINNER} Preparing packages... (0/3)")
        + row("six  ---- 1 B/2 B")
        + "error: Failed to fetch\r\n  cause: x"
    )
    assert screen.feed(output) + screen.close() == "error: Failed to fetch\n  cause: x\n"


def test_progress_is_reported_once_a_second(monkeypatch):
    monkeypatch.setattr(uv_tool.time, "monotonic", lambda: 5.0)
    events = []
    screen = uv_tool.Screen(lambda kind, **fields: events.append(fields))
    for done in range(3):
        screen.feed(frame(done))
    assert [event["done"] for event in events] == [0]


def test_open_terminal_returns_none_without_pty(monkeypatch):
    def fail():
        raise OSError("no more")

    monkeypatch.setattr(uv_tool.os, "openpty", fail)
    assert uv_tool.open_terminal() is None
