"""Durations, ages, counts, sizes and user text, formatted for people."""

from __future__ import annotations

import re

LONGEST = 200
"""Maximum characters of user text in a sentence."""


def seconds(value: float) -> str:
    """A duration: "0.31 s", "12.3 s", "2 min 5 s", "1 h 2 min"."""
    if value < 1:
        return f"{value:.2f} s"
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def exact_seconds(value: float) -> str:
    """A round duration in its largest unit: "1 day", "30 minutes", "90 seconds"."""
    for seconds_of, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if value >= seconds_of and value % seconds_of == 0:
            return count(int(value // seconds_of), noun)
    return "1 second" if value == 1 else f"{value:g} seconds"


def exact_size(number: int) -> str:
    """A round number of bytes in its largest binary unit: "8 MiB", "1000 bytes"."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if number >= 1024**power and number % 1024**power == 0:
            return f"{number // 1024**power} {unit}"
    return f"{number} bytes"


def round_size(number: int) -> str:
    """A size in binary units if it is round in these, else in decimal ones: "10 GiB", "2.0 GB"."""
    exact = exact_size(number)
    return exact if exact.endswith(("GiB", "MiB")) or not number else size(number)


def ago(span: float) -> str:
    """An age: "just now", "5 minutes ago", "3 days ago"."""
    for seconds_of, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if span >= seconds_of:
            return f"{count(int(span // seconds_of), noun)} ago"
    return "just now"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 line", "998,000 lines"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: int) -> str:
    """A number of bytes: "512 B", "16.6 MB"; "" for 0, which means unknown."""
    if number <= 0:
        return ""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def one_line(text: str, longest: int = LONGEST) -> str:
    """User text as one line of at most `longest` characters."""
    line = re.sub(r"\s+", " ", text[: 4 * longest]).strip()
    return line if len(line) <= longest else line[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
