"""The events of a run: the records that its guest writes to the log, and what its backend and its client observe.

log_reader.py reads them from log text, and state.py folds them into the state of the run.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from uv_argo_magic.core.frozen import frozen

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
