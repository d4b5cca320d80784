"""The events of a run, and `decode`, which reads them from log text. The guest's `log_writer.py` is the writer.

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
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "@uv-argo:"
PROTOCOL = 1
MAX_RECORD = 1 << 30
"""Maximum bytes of the JSON of a compressed record."""
UNREACHABLE = "Unreachable"
"""The phase while the backend does not respond; the run continues."""
PULLING = "Pulling"
"""The phase while an image is pulled."""
NOT_STARTED = "NotStarted"
"""The phase of a run that ended because it could not start."""

Stream: TypeAlias = Literal["stdout", "stderr"]
Bundle: TypeAlias = Annotated[tuple[tuple[str, str], ...], "mimebundle"]
"""A mimebundle: (mime type, JSON text of its data), sorted by type; frozen and comparable."""
Variables: TypeAlias = Annotated[tuple[tuple[str, str, int, str], ...], "variables"]
"""(name, type, bytes, shape) of each variable; 0 bytes and an empty shape mean unknown."""
Sent: TypeAlias = tuple[tuple[str, str, int, str], ...]
"""(name, type, bytes, form) of each pushed value; the form is plain, pickled or sealed."""
Json: TypeAlias = Annotated[str, "JSON object"]
"""A JSON object in a record, stored as text, so that it is immutable and comparable."""


@frozen
class Lines:
    """Whole lines of the user's stdout, each with its newline."""

    text: str


@frozen
class Record:
    """The fields of every record: the process start that wrote it, its line number, and the time (Unix seconds)."""

    boot: str
    n: int
    t: float


@frozen
class Hello(Record):
    """The supervisor started: its Python ("3.12.1"), platform, process id, and the protocol it speaks.

    `after` is the boot that it continues: that of the init container which installed the packages.
    """

    protocol: int
    python: str
    platform: str
    pid: int
    host: str = ""
    after: str = ""


@frozen
class PhaseStarted(Record):
    """A phase began: resolving, installing or running."""

    phase: Literal["resolving", "installing", "running"]


@frozen
class Note(Record):
    """One sentence for the user, for example that the Python differs from the lock's."""

    text: str


@frozen
class InstallLog(Record):
    """Output of uv."""

    text: str


@frozen
class Progress(Record):
    """The download so far: `done` of `of` packages, and `bytes` of the `size` bytes of the large ones."""

    done: int
    of: int
    bytes: int = 0
    size: int = 0


@frozen
class Locked(Record):
    """The guest resolved the requirements; the lock is a `Lock` as JSON."""

    lock: str


@frozen
class Installed(Record):
    """The environment is ready: its packages as (name, version), seconds taken, and whether it was reused."""

    packages: tuple[tuple[str, str], ...]
    seconds: float
    cached: bool = False


@frozen
class Text(Record):
    """Output that cannot be sent as raw lines: stderr, partial lines, carriage returns."""

    stream: Stream
    text: str


@frozen
class Display(Record):
    """A display, or the update of one shown before under the same `display_id`."""

    data: Bundle
    metadata: Json = "{}"
    display_id: str = ""
    update: bool = False


@frozen
class Result(Record):
    """The value of the cell's last expression, as a mimebundle."""

    data: Bundle
    metadata: Json = "{}"


@frozen
class Traceback(Record):
    """A representation of a value raised an exception: it as JSON, and its traceback as text. The cell continues.

    `result`: the value is that of the cell's last expression.
    """

    error: Json = "{}"
    text: str = ""
    result: bool = False


@frozen
class ClearOutput(Record):
    """The cell cleared the output; with `wait`, as soon as there is new output."""

    wait: bool = False


@frozen
class Value(Record):
    """A pulled variable: its encoded text (core/protocol/values.py), the file that contains it, or the problem.

    `size` is in bytes, `digest` the SHA-256 of the text, or of the file of a sealed value. A `sealed` value is a
    pickle. `view` is a preview of a value that is sealed, or whose library the notebook lacks.
    """

    name: str
    body: str = ""
    problem: str = ""
    file: str = ""
    type: str = ""
    size: int = 0
    digest: str = ""
    sealed: bool = False
    view: Json = "{}"


@frozen
class Files(Record):
    """The files that the cell left in its folder: the first ones as (path, bytes), their number and total bytes."""

    files: tuple[tuple[str, str], ...]
    count: int
    bytes: int


@frozen
class Raised(Record):
    """The exception that ended the cell, as JSON (shape: docs/protocol.md, `error`)."""

    error: Json = "{}"


@frozen
class Heartbeat(Record):
    """The supervisor is alive; with the resident bytes of its processes."""

    rss: int = 0


@frozen
class Snapshot(Record):
    """The log budget is used up: the number of lines and bytes omitted so far, and the newest of these lines."""

    lines: int
    bytes: int
    tail: str = ""


@frozen
class Skipped(Record):
    """Omitted lines and bytes of stdout and stderr; the full output is at `path` on the machine of the run."""

    lines: int
    bytes: int
    path: str = ""


@frozen
class Dropped(Record):
    """A copy of the log lacks `lines` lines; `n` is the number of the last of them."""

    lines: int
    reason: str


@frozen
class Question(Record):
    """The cell waits for input from the user (`input()`), or for a `password` (`getpass()`)."""

    prompt: str
    password: bool = False


@frozen
class SessionVariables(Record):
    """The newest variables of the session after the cell, and their `total` number.

    `rss` is the resident memory of the interpreter in bytes.
    """

    items: Variables = ()
    total: int = 0
    rss: int = 0


@frozen
class SessionEnded(Record):
    """The session ended with this cell; its variables are lost."""

    reason: str


@frozen
class Exited(Record):
    """The last record: how the run ended.

    `code` is the exit status (negative: the signal that ended it); `detail` depends on the reason (docs/protocol.md).
    """

    reason: Literal["ok", "error", "exit", "signal", "stopped", "deadline", "install", "guest"]
    code: int = 0
    detail: str = ""


@frozen
class Part(Record):
    """Piece number `j` of `of` pieces of a record that is too long for one line.

    Joined, the pieces with the same `id` are the JSON of the record, or with `z` base64(zlib(JSON)).
    """

    id: str
    j: int
    of: int
    s: str
    z: bool = False


@frozen
class Unreadable:
    """A line with prefix and nonce that is not a valid record of this version."""

    line: str
    problem: str


@frozen
class Preparing:
    """The target and the packages are being determined, before the run is submitted; `sent` as in Submitted."""

    t: float
    sent: Sent = ()


@frozen
class Submitted:
    """The backend accepted the run under this name, at this location (context and namespace; "" for this machine).

    `requirements` are lines; `requirements_source` is as in RunSpec; `session` is the name of its session, or "".
    `sent` are the pushed values.
    """

    name: str
    location: str
    t: float
    session: str = ""
    requirements: tuple[str, ...] = ()
    requirements_source: str = ""
    sent: Sent = ()


@frozen
class Attempts:
    """The maximum number of attempts of the run; 0: until it succeeds."""

    limit: int
    t: float


@frozen
class NodePhase:
    """The backend's view of the process, node or pod: a phase and a message in its own terms."""

    phase: str
    message: str = ""
    t: float = 0.0
    uid: str = ""
    has_gpu: bool = False
    """Whether it occupies a GPU; known of a session that has just started."""


@frozen
class StopRequested:
    """A stop was requested, by a button, an interrupt or a command."""

    by: str
    t: float


@frozen
class StopFailed:
    """The request to stop failed, and the reason."""

    problem: str
    t: float


@frozen
class LocalName:
    """Something in the notebook, or next to it, with a name that the cell lacked.

    `kind` is "variable", "definition" (a function or class), "module" or "file"; `detail` is the module's own name, or
    the file and its folder ("utils.py is next to the notebook").
    """

    name: str
    kind: Literal["variable", "definition", "module", "file"]
    detail: str = ""


@frozen
class FoundHere:
    """The names that the cell lacked and the notebook has."""

    names: tuple[LocalName, ...]


@frozen
class LogEnded:
    """The log is complete."""

    t: float


AnyRecord: TypeAlias = (
    Hello | PhaseStarted | Note | InstallLog | Progress | Locked | Installed | Text | Display | Result | Traceback
    | ClearOutput | Value | Files | Raised | Heartbeat | Snapshot | Skipped | Dropped | Question | SessionVariables
    | SessionEnded | Exited | Part
)  # fmt: skip
"""Any record that the guest writes."""
Event: TypeAlias = (
    AnyRecord
    | Lines
    | Unreadable
    | Preparing
    | Submitted
    | NodePhase
    | StopRequested
    | StopFailed
    | Attempts
    | FoundHere
    | LogEnded
)


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


def _json(value: object) -> Json:
    if not isinstance(value, dict):
        raise _InvalidField("is not an object")
    return json.dumps(value)


def _bundle(value: object) -> Bundle:
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


def _variables(value: object) -> Variables:
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
    Json: _json,
    Bundle: _bundle,
    tuple[tuple[str, str], ...]: _pairs,
    Variables: _variables,
}
"""Type of a field -> the function that reads and checks its value."""

_CLASSES: dict[str, type[Record]] = {
    "hello": Hello,
    "phase": PhaseStarted,
    "note": Note,
    "uv": InstallLog,
    "progress": Progress,
    "lock": Locked,
    "installed": Installed,
    "text": Text,
    "display": Display,
    "result": Result,
    "traceback": Traceback,
    "clear": ClearOutput,
    "value": Value,
    "files": Files,
    "error": Raised,
    "heartbeat": Heartbeat,
    "snapshot": Snapshot,
    "skipped": Skipped,
    "dropped": Dropped,
    "input": Question,
    "variables": SessionVariables,
    "lost": SessionEnded,
    "exit": Exited,
    "part": Part,
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


def record(text: str, line: str = "") -> AnyRecord | Unreadable:
    """Parse the JSON of one record; `Unreadable` if it is not a valid record of this version."""
    try:
        data = json.loads(text)
        if _SURROGATE.search(text):
            data = _escaped(data)
    except (ValueError, RecursionError) as error:
        return Unreadable(line=line or text, problem=f"not JSON: {error}")
    if not isinstance(data, dict):
        return Unreadable(line=line or text, problem="not a JSON object")
    kind = data.get("k")
    if not isinstance(kind, str) or kind not in _CLASSES:
        return Unreadable(line=line or text, problem=f"unknown kind of record: {kind!r}")
    values = {}
    for name, key, read, default in _fields(kind):
        value = data.get(key, MISSING)
        if value is MISSING and default is not MISSING:
            continue
        try:
            values[name] = read(value)
        except _InvalidField as error:
            return Unreadable(line=line or text, problem=f"{kind}: {key} {error}")
    return _CLASSES[kind](**values)  # type: ignore[arg-type,return-value]


def joined(text: str, *, packed: bool) -> AnyRecord | Unreadable:
    """Parse the joined pieces of a record."""
    if packed:
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(base64.b64decode(text, validate=True), MAX_RECORD).decode("ascii")
        except (ValueError, zlib.error) as error:
            return Unreadable(line=text, problem=f"not compressed JSON: {error}")
        if not unpacker.eof:
            return Unreadable(line="", problem="the compressed JSON is too long or incomplete")
    return record(text)


def exit_reason(text: str, nonce: str) -> str:
    """The reason of the last exit record in log text (whole lines); "" if there is none, "?" if it is not known."""
    prefix = f"{PREFIX}{nonce} "
    reason = ""
    for line in text.split("\n"):
        if line.startswith(prefix) and '"exit"' in line:
            event = record(line[len(prefix) :])
            if isinstance(event, Exited):
                reason = event.reason
            elif isinstance(event, Unreadable) and event.problem.startswith("exit: reason"):
                reason = "?"
    return reason


def starts(text: str, nonce: str) -> tuple[str, ...]:
    """The boots that begin an attempt in log text (whole lines), in order."""
    prefix = f"{PREFIX}{nonce} "
    lines = [line for line in text.split("\n") if line.startswith(prefix) and '"hello"' in line]
    records = [record(line[len(prefix) :]) for line in lines]
    return tuple(event.boot for event in records if isinstance(event, Hello) and not event.after)


def decode(text: str, nonce: str) -> Iterator[Event]:
    """Parse log text of the guest with this `nonce`: whole lines, of which the last may lack its newline."""
    prefix = f"{PREFIX}{nonce} "
    start = at = 0  # `start`: of the raw lines that were not yielded yet
    while (at := text.find(prefix, at)) >= 0:
        if at and text[at - 1] != "\n":  # inside a raw line
            at += len(prefix)
            continue
        if at > start:
            yield Lines(text=text[start:at])
        end = text.find("\n", at)
        start = len(text) if end < 0 else end + 1
        line = text[at:start]
        yield record(line[len(prefix) :].removesuffix("\n"), line)
        at = start
    if start < len(text):
        yield Lines(text=text[start:])
