"""The Event union, and `decode`: log text -> events. The guest's `log_writer.py` writes what this reads.

Rules:
- Log text is whole lines. A line that begins with `@uv-argo:NONCE ` and a JSON object is a record; every other line
  is the user's stdout, and runs of them make one `Lines`.
- Identity of a line is (boot, n): boot is random per process start, n counts every line, raw ones too. Records state
  theirs; `state.step` counts the raw ones.
- `decode` never raises on any text: what looks like a record and cannot be read becomes `Unreadable`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "@uv-argo:"
PROTOCOL = 1

Stream: TypeAlias = Literal["stdout", "stderr"]
Bundle: TypeAlias = tuple[tuple[str, str], ...]
"""A mimebundle: (mime type, JSON text of its data), sorted by type; frozen and comparable."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Whole lines of the user's stdout, each with its newline."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What every record states: which process start wrote it, which line it is, and when (Unix seconds)."""

    boot: str
    n: int
    t: float


@dataclass(frozen=True, kw_only=True)
class Hello(Record):
    """The supervisor started: its Python ("3.12.1"), platform, process id, and the protocol it speaks.

    `after` is the boot that it goes on from: that one installed, in a container of its own.
    """

    protocol: int
    python: str
    platform: str
    pid: int
    host: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Record):
    """A phase began: resolving, installing or running."""

    phase: Literal["resolving", "installing", "running"]


@dataclass(frozen=True, kw_only=True)
class Note(Record):
    """One sentence that a person should see, such as a Python that is not the lock's."""

    text: str


@dataclass(frozen=True, kw_only=True)
class InstallLog(Record):
    """What uv said: not the cell's output."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Locked(Record):
    """The guest resolved what could not be resolved before: a Lock as JSON."""

    lock: str


@dataclass(frozen=True, kw_only=True)
class Installed(Record):
    """The environment is ready: what is in it as (name, version), in how many seconds, and whether it was there."""

    packages: tuple[tuple[str, str], ...]
    seconds: float
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Text(Record):
    """Output that cannot travel as raw lines: stderr, partial lines, carriage returns."""

    stream: Stream
    text: str


@dataclass(frozen=True, kw_only=True)
class Display(Record):
    """A display, or the update of one shown before under the same `display_id`."""

    data: Bundle
    metadata: str = "{}"
    display_id: str = ""
    update: bool = False


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """The value of the cell's last expression, as a mimebundle."""

    data: Bundle
    metadata: str = "{}"


@dataclass(frozen=True, kw_only=True)
class ClearOutput(Record):
    """The user's code cleared the output so far; with `wait`, when the next output comes."""

    wait: bool = False


@dataclass(frozen=True, kw_only=True)
class Value(Record):
    """A pulled variable: its encoded text (core/protocol/values.py), or why there is none."""

    name: str
    body: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Raised(Record):
    """The cell ended by an exception, as JSON (shape: docs/protocol.md, `error`)."""

    error: str


@dataclass(frozen=True, kw_only=True)
class Heartbeat(Record):
    """The supervisor lives; resident bytes of what it runs."""

    rss: int = 0


@dataclass(frozen=True, kw_only=True)
class Snapshot(Record):
    """The log's budget is spent: so much was left out so far, and the newest of it."""

    lines: int
    bytes: int
    tail: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped(Record):
    """So much stdout and stderr never travelled; the whole lies at `path`, over there."""

    lines: int
    bytes: int
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Exited(Record):
    """The last record: how it ended. `reason` is ok, error, exit, signal, stopped, deadline, install or guest.

    `code` is the exit status (negative: the signal that ended it); `detail` what uv said, or one word more.
    """

    reason: Literal["ok", "error", "exit", "signal", "stopped", "deadline", "install", "guest"]
    code: int = 0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """Piece `j` of `of` of a record too long for one line; pieces of one `id` join to its JSON."""

    id: str
    j: int
    of: int
    s: str


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A line with the prefix and the nonce that is no record this version knows."""

    line: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The backend took the run under this name, at this place ("here", or a context and namespace).

    `requirements` are lines; `requirements_source` is as in RunSpec.
    """

    name: str
    location: str
    t: float
    requirements: tuple[str, ...] = ()
    requirements_source: str = ""


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """The run is tried so many times where it does not succeed; 0: until it does."""

    limit: int
    t: float


@dataclass(frozen=True, kw_only=True)
class NodePhase:
    """What the backend sees of the process, node or pod: a phase and a message in its own words."""

    phase: str
    message: str = ""
    t: float = 0.0
    uid: str = ""


@dataclass(frozen=True, kw_only=True)
class StopRequested:
    """Somebody asked for the end: the button, an interrupt, a verb."""

    by: str
    t: float


@dataclass(frozen=True, kw_only=True)
class StopFailed:
    """The place could not be asked for the end, and why."""

    problem: str
    t: float


@dataclass(frozen=True, kw_only=True)
class LogEnded:
    """The log is complete: nothing more will come."""

    t: float


Event: TypeAlias = (
    Lines | Hello | PhaseStarted | Note | InstallLog | Locked | Installed | Text | Display | Result | ClearOutput
    | Value | Raised | Heartbeat | Snapshot | Skipped | Exited | Part | Unreadable | Submitted | NodePhase
    | StopRequested | StopFailed | Attempts | LogEnded
)  # fmt: skip


class _Bad(ValueError):
    """A record's fields are not what its kind says."""


Fields: TypeAlias = dict[str, object]


def _text(data: Fields, key: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise _Bad(f"{key} is not text")
    return value


def _whole(data: Fields, key: str, default: int | None = None) -> int:
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Bad(f"{key} is not a whole number")
    return value


def _number(data: Fields, key: str) -> float:
    value = data.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Bad(f"{key} is not a number")
    return float(value)


def _flag(data: Fields, key: str) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise _Bad(f"{key} is not true or false")
    return value


def _json(data: Fields, key: str) -> str:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise _Bad(f"{key} is not an object")
    return json.dumps(value)


def _bundle(data: Fields) -> Bundle:
    value = data.get("data")
    if not isinstance(value, dict):
        raise _Bad("data is not an object")
    return tuple(sorted((str(mime), json.dumps(body)) for mime, body in value.items()))


def _packages(data: Fields) -> tuple[tuple[str, str], ...]:
    value = data.get("packages")
    if not isinstance(value, list):
        raise _Bad("packages is not a list")
    pairs = []
    for item in value:
        if not (isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item)):
            raise _Bad("packages holds something that is no pair of texts")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def _one_of(data: Fields, key: str, allowed: tuple[str, ...]) -> str:
    value = _text(data, key)
    if value not in allowed:
        raise _Bad(f"{key} is none of {', '.join(allowed)}")
    return value


PHASES = ("resolving", "installing", "running")
REASONS = ("ok", "error", "exit", "signal", "stopped", "deadline", "install", "guest")


def _stamp(d: Fields) -> dict[str, object]:
    return {"boot": _text(d, "b"), "n": _whole(d, "n"), "t": _number(d, "t")}


# One row a kind: the event's class, and how its fields are read and checked.
_KINDS: dict[str, tuple[type[Record], dict[str, Callable[[Fields], object]]]] = {
    "hello": (Hello, {
        "protocol": lambda d: _whole(d, "protocol"), "python": lambda d: _text(d, "python"),
        "platform": lambda d: _text(d, "platform"), "pid": lambda d: _whole(d, "pid"),
        "host": lambda d: _text(d, "host", ""), "after": lambda d: _text(d, "after", ""),
    }),
    "phase": (PhaseStarted, {"phase": lambda d: _one_of(d, "phase", PHASES)}),
    "note": (Note, {"text": lambda d: _text(d, "text")}),
    "uv": (InstallLog, {"text": lambda d: _text(d, "text")}),
    "lock": (Locked, {"lock": lambda d: _text(d, "lock")}),
    "installed": (Installed, {
        "packages": _packages, "seconds": lambda d: _number(d, "seconds"), "cached": lambda d: _flag(d, "cached"),
    }),
    "text": (Text, {
        "stream": lambda d: _one_of(d, "stream", ("stdout", "stderr")), "text": lambda d: _text(d, "text"),
    }),
    "display": (Display, {
        "data": _bundle, "metadata": lambda d: _json(d, "metadata"), "display_id": lambda d: _text(d, "display_id", ""),
        "update": lambda d: _flag(d, "update"),
    }),
    "result": (Result, {"data": _bundle, "metadata": lambda d: _json(d, "metadata")}),
    "clear": (ClearOutput, {"wait": lambda d: _flag(d, "wait")}),
    "value": (Value, {
        "name": lambda d: _text(d, "name"), "body": lambda d: _text(d, "body", ""),
        "problem": lambda d: _text(d, "problem", ""),
    }),
    "error": (Raised, {"error": lambda d: _json(d, "error")}),
    "heartbeat": (Heartbeat, {"rss": lambda d: _whole(d, "rss", 0)}),
    "snapshot": (Snapshot, {
        "lines": lambda d: _whole(d, "lines"), "bytes": lambda d: _whole(d, "bytes"),
        "tail": lambda d: _text(d, "tail", ""),
    }),
    "skipped": (Skipped, {
        "lines": lambda d: _whole(d, "lines"), "bytes": lambda d: _whole(d, "bytes"),
        "path": lambda d: _text(d, "path", ""),
    }),
    "exit": (Exited, {
        "reason": lambda d: _one_of(d, "reason", REASONS), "code": lambda d: _whole(d, "code", 0),
        "detail": lambda d: _text(d, "detail", ""),
    }),
    "part": (Part, {
        "id": lambda d: _text(d, "id"), "j": lambda d: _whole(d, "j"), "of": lambda d: _whole(d, "of"),
        "s": lambda d: _text(d, "s"),
    }),
}  # fmt: skip

KINDS = tuple(_KINDS)
"""Every kind of record; docs/protocol.md and the contract test name each."""


def record(text: str, line: str = "") -> Event:
    """One record from its JSON; `Unreadable` where it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Unreadable(line=line or text, problem=f"not JSON: {error}")
    if not isinstance(data, dict):
        return Unreadable(line=line or text, problem="not a JSON object")
    kind = data.get("k")
    if not isinstance(kind, str) or kind not in _KINDS:
        return Unreadable(line=line or text, problem=f"unknown kind of record: {kind!r}")
    cls, fields = _KINDS[kind]
    try:
        values = {name: read(data) for name, read in fields.items()}
        return cls(**_stamp(data), **values)  # type: ignore[arg-type,return-value]
    except _Bad as error:
        return Unreadable(line=line or text, problem=f"{kind}: {error}")


def decode(text: str, nonce: str) -> Iterator[Event]:
    """Read log text (whole lines; a last one may lack its newline) written by the guest that was given `nonce`."""
    prefix = f"{PREFIX}{nonce} "
    if prefix not in text:
        if text:
            yield Lines(text=text)
        return
    start = 0  # of the raw lines not yet given out
    for match in re.finditer(rf"^{re.escape(prefix)}(.*)\n?", text, re.MULTILINE):
        if match.start() > start:
            yield Lines(text=text[start : match.start()])
        yield record(match[1], match[0])
        start = match.end()
    if start < len(text):
        yield Lines(text=text[start:])
