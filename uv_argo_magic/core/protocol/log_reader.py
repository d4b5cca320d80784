"""Read the events of a run from its log text. The guest's `log_writer.py` is the writer.

Rules:
- A log consists of whole lines. A line with `@uv-argo:NONCE ` and a JSON object is a record. Every other line is a raw
  line of the user's stdout; adjacent raw lines become one `Lines`.
- (boot, n) identifies a line: boot is random for each process start, n counts all lines. A record contains both; for
  raw lines, `state.step` counts n.
- The types of a record's class determine how its fields are read; a field without a default is required.
- `decode` accepts any text: an invalid record becomes `Unreadable`.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import zlib
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from uv_argo_magic.core.protocol import events as ev

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "@uv-argo:"
MAX_RECORD = 1 << 30
"""Maximum bytes of the JSON of a compressed record."""


class _InvalidField(ValueError):
    """A field has the wrong type; the message names the expected one."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _InvalidField("is not text")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _InvalidField("is not an integer")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _InvalidField("is not a number")
    return float(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _InvalidField("is not true or false")
    return value


def _json(value: object) -> ev.Json:
    if not isinstance(value, dict):
        raise _InvalidField("is not an object")
    return json.dumps(value)


def _bundle(value: object) -> ev.Bundle:
    if not isinstance(value, dict):
        raise _InvalidField("is not an object")
    return tuple(sorted((str(mime), json.dumps(body)) for mime, body in value.items()))


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise _InvalidField("is not a list")
    for item in value:
        if not (isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item)):
            raise _InvalidField("contains an item that is not a pair of strings")
    return tuple((first, second) for first, second in value)


def _variables(value: object) -> ev.Variables:
    if not isinstance(value, list):
        raise _InvalidField("is not a list")
    for item in value:
        if not isinstance(item, list) or [type(part) for part in item] != [str, str, int, str]:
            raise _InvalidField("holds an item that is not a variable")
    return tuple((name, kind, size, shape) for name, kind, size, shape in value)


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise _InvalidField(f"is not one of {', '.join(choices)}")
        return str(value)

    return read


_READERS: dict[object, Callable[[object], object]] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _flag,
    ev.Json: _json,
    ev.Bundle: _bundle,
    tuple[tuple[str, str], ...]: _pairs,
    ev.Variables: _variables,
}
"""Type of a field -> the function that reads and checks its value."""

_CLASSES: dict[str, type[ev.Record]] = {
    "hello": ev.Hello,
    "phase": ev.PhaseStarted,
    "note": ev.Note,
    "uv": ev.InstallLog,
    "progress": ev.Progress,
    "lock": ev.Locked,
    "installed": ev.Installed,
    "text": ev.Text,
    "display": ev.Display,
    "result": ev.Result,
    "traceback": ev.Traceback,
    "clear": ev.ClearOutput,
    "value": ev.Value,
    "files": ev.Files,
    "error": ev.Raised,
    "heartbeat": ev.Heartbeat,
    "snapshot": ev.Snapshot,
    "skipped": ev.Skipped,
    "dropped": ev.Dropped,
    "input": ev.Question,
    "variables": ev.SessionVariables,
    "lost": ev.SessionEnded,
    "exit": ev.Exited,
    "part": ev.Part,
}

KINDS = tuple(_CLASSES)
"""Every kind of record; docs/protocol.md and the contract test list them all."""

_STAMP_KEYS = {"boot": "b", "n": "n", "t": "t"}
"""Field of every record -> its key; every other field is its own key."""


@functools.cache
def _fields(kind: str) -> tuple[tuple[str, str, Callable[[object], object], object], ...]:
    """Each field of a kind of record as (name, key, reader, default)."""
    cls = _CLASSES[kind]
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        (field.name, _STAMP_KEYS.get(field.name, field.name), _reader(hints[field.name]), field.default)
        for field in fields(cls)
    )


def _reader(hint: object) -> Callable[[object], object]:
    return _one_of(get_args(hint)) if get_origin(hint) is Literal else _READERS[hint]


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""In JSON: a character beyond the first 65536, or half of one."""


def _escaped(value: Any) -> Any:
    """The JSON value with unpaired surrogates escaped, because front ends and files do not accept them."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return value


def record(text: str, line: str = "") -> ev.AnyRecord | ev.Unreadable:
    """Parse the JSON of one record; `Unreadable` if it is not a valid record of this version."""
    try:
        data = json.loads(text)
        if _SURROGATE.search(text):
            data = _escaped(data)
    except (ValueError, RecursionError) as error:
        return ev.Unreadable(line=line or text, problem=f"not JSON: {error}")
    if not isinstance(data, dict):
        return ev.Unreadable(line=line or text, problem="not a JSON object")
    kind = data.get("k")
    if not isinstance(kind, str) or kind not in _CLASSES:
        return ev.Unreadable(line=line or text, problem=f"unknown kind of record: {kind!r}")
    values = {}
    for name, key, read, default in _fields(kind):
        value = data.get(key, MISSING)
        if value is MISSING and default is not MISSING:
            continue
        try:
            values[name] = read(value)
        except _InvalidField as error:
            return ev.Unreadable(line=line or text, problem=f"{kind}: {key} {error}")
    return _CLASSES[kind](**values)  # type: ignore[arg-type,return-value]


def joined(text: str, *, packed: bool) -> ev.AnyRecord | ev.Unreadable:
    """Parse the joined pieces of a record."""
    if packed:
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(base64.b64decode(text, validate=True), MAX_RECORD).decode("ascii")
        except (ValueError, zlib.error) as error:
            return ev.Unreadable(line=text, problem=f"not compressed JSON: {error}")
        if not unpacker.eof:
            return ev.Unreadable(line="", problem="the compressed JSON is too long or incomplete")
    return record(text)


def exit_reason(text: str, nonce: str) -> str:
    """The reason of the last exit record in log text (whole lines); "" if there is none, "?" if it is not known."""
    prefix = f"{PREFIX}{nonce} "
    reason = ""
    for line in text.split("\n"):
        if line.startswith(prefix) and '"exit"' in line:
            event = record(line[len(prefix) :])
            if isinstance(event, ev.Exited):
                reason = event.reason
            elif isinstance(event, ev.Unreadable) and event.problem.startswith("exit: reason"):
                reason = "?"
    return reason


def starts(text: str, nonce: str) -> tuple[str, ...]:
    """The boots that begin an attempt in log text (whole lines), in order."""
    prefix = f"{PREFIX}{nonce} "
    lines = [line for line in text.split("\n") if line.startswith(prefix) and '"hello"' in line]
    records = [record(line[len(prefix) :]) for line in lines]
    return tuple(event.boot for event in records if isinstance(event, ev.Hello) and not event.after)


def decode(text: str, nonce: str) -> Iterator[ev.Event]:
    """Parse log text of the guest with this `nonce`: whole lines, of which the last may lack its newline."""
    prefix = f"{PREFIX}{nonce} "
    start = at = 0  # `start`: of the raw lines that were not yielded yet
    while (at := text.find(prefix, at)) >= 0:
        if at and text[at - 1] != "\n":  # inside a raw line
            at += len(prefix)
            continue
        if at > start:
            yield ev.Lines(text=text[start:at])
        end = text.find("\n", at)
        start = len(text) if end < 0 else end + 1
        line = text[at:start]
        yield record(line[len(prefix) :].removesuffix("\n"), line)
        at = start
    if start < len(text):
        yield ev.Lines(text=text[start:])
