"""Messages for every state of a run: a title, a sentence and a hint.

Rules:
- Titles are Argo's phases (Pending, Running, Succeeded, Failed, Error) and ours (Stopped, InstallFailed, NotStarted,
  Lost).
- A sentence says what is happening or how the run ended; a hint is the next step, or empty.
- User text (the message of an exception or a node) is quoted in one shortened line, never interpreted.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from uv_argo_magic.core.humanize import LONGEST, ago, count, exact_seconds, one_line, round_size, seconds
from uv_argo_magic.core.humanize import size as format_size
from uv_argo_magic.core.protocol.events import NOT_STARTED, PULLING, UNREACHABLE
from uv_argo_magic.core.protocol.state import BEFORE_START
from uv_argo_magic.core.resolution.lock import Lock

if TYPE_CHECKING:
    from types import ModuleType

    from uv_argo_magic.core.protocol.events import Exited, Progress, Variables
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.install_errors import InstallFailure
    from uv_argo_magic.core.resolution.lock import Resolution

SIGNALS: dict[int, tuple[str, str]] = {
    1: ("SIGHUP", "Its terminal was closed."),
    2: ("SIGINT", "It received an interrupt."),
    4: ("SIGILL", "A compiled package uses instructions that this processor lacks. Try an older version of it."),
    5: ("SIGTRAP", "A compiled package hit a trap. Try another version of the package imported last."),
    6: ("SIGABRT", ("Compiled code aborted, often after a failed assertion or heap corruption. See the end of the log, "
        "and try another version of the package in use.")),
    7: ("SIGBUS", "A memory-mapped file became unavailable: a full disk, a truncated file, or too small a /dev/shm."),
    8: ("SIGFPE", "Compiled code divided an integer by zero. Check the values passed to the package in use."),
    9: ("SIGKILL", "Most often, memory ran out. Request more memory, or process the data in pieces."),
    11: ("SIGSEGV", ("Compiled code accessed invalid memory, most often because of a bug or of incompatible packages. "
         "Try another version of the package imported last.")),
    13: ("SIGPIPE", "It wrote to a closed pipe."),
    14: ("SIGALRM", "A timer of the process expired."),
    15: ("SIGTERM", "It received a termination request, for example from a node shutdown or a quota."),
    24: ("SIGXCPU", "It exceeded its CPU time limit."),
    25: ("SIGXFSZ", "It exceeded its file size limit."),
    31: ("SIGSYS", "The sandbox refused a system call."),
}  # fmt: skip
"""Signal number (Linux) -> its name, and the usual cause or the next step."""


PHASE_TITLES = {
    "new": "Submitting", "preparing": "Resolving", "queued": "Pending", "pulling": "Pulling", "starting": "Starting",
    "resolving": "Resolving", "installing": "Installing", "running": "Running",
}  # fmt: skip
"""Phase -> its title."""


_LIMITS = {"install_timeout": "TIME", "install_memory": "SIZE", "install_disk": "SIZE"}
"""Setting that limits the install -> the kind of its values."""


_NUMBER = r"\d{1,18}(?:\.\d{1,3})?"


class _Limit(NamedTuple):
    """A limit of the install that was exceeded; `used` and `limit` are 0 in older logs."""

    setting: str
    used: float
    limit: float


class Problem(NamedTuple):
    """The exception that ended the cell: its name and message, both user text."""

    name: str
    message: str


def title(state: RunState) -> str:
    """The state as one word, for the badge."""
    if not state.ended:
        return "Pending" if state.phase in BEFORE_START else "Running"
    if state.exited and state.exited.reason == "guest":
        return "Error"
    return state.outcome or "Lost"


def phase_title(state: RunState) -> str:
    """The current phase or the outcome as one word."""
    if state.ended:
        return title(state)
    if state.stop_requested is not None:
        return "Stopping"
    if state.exited is not None:
        return "Restarting"
    return "Downloading" if download(state) else PHASE_TITLES[state.phase]


def download(state: RunState) -> str:
    """The progress of the download: "3 of 11 packages, 12.3 MB of 71.0 MB"; "" if there is no download."""
    progress = state.progress
    if state.phase != "installing" or progress is None or progress.done >= progress.of:
        return ""
    text = f"{progress.done} of {count(progress.of, 'package')}"
    if progress.size <= 0:
        return text
    return f"{text}, {format_size(progress.bytes) or '0 B'} of {format_size(progress.size)}"


def detail(state: RunState) -> str:
    """A sentence on the current phase, if it has more information than the title; else ""."""
    if state.ended:
        return ""
    is_waiting = state.phase in {"queued", "pulling"} and state.node is not None and bool(state.node.message)
    if state.stop_requested is not None:
        return sentence(state) if state.waiting else ""
    return sentence(state) if is_waiting or state.exited or state.attempt > 1 or status_note(state) else ""


def problem(state: RunState) -> Problem | None:
    """The exception that ended the cell; None if there is none, or its record is invalid."""
    try:
        data = json.loads(state.error)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    name, message = data.get("ename"), data.get("evalue", "")
    if not isinstance(name, str) or not name:
        return None
    return Problem(name, message if isinstance(message, str) else "")


def ename(state: RunState) -> str:
    """A stable name for the reason of a failure: an exception, a signal or one of our titles; "" without a failure."""
    if not state.ended or state.outcome == "Succeeded":
        return ""
    if state.exited is None or state.outcome == "Stopped":
        return title(state)
    match state.exited.reason:
        case "error":
            exception = problem(state)
            return exception.name if exception else "Exception"
        case "exit":
            return f"exit status {state.exited.code}"
        case "signal":
            return signal_name(state.exited.code)
        case "deadline":
            return _deadline(state.exited)
        case _:
            return title(state)


def sentence(state: RunState) -> str:
    """One sentence on what the run is doing, or how it ended."""
    if not state.ended:
        return _in_progress(state)
    if state.outcome == "Stopped":
        # If this client did not request the stop, the message of the node explains it.
        node_note = "" if state.stop_requested or not state.node or not state.node.message else _node(state)
        if state.waiting:
            return f"The run was stopped{_by(state)} before it started: {_split(state.waiting)[0]}."
        return f"The run was stopped{_by(state)}{node_note}."
    if cause := _node_cause(state):
        return f"{cause[0]}."
    if state.exited is None:
        problem = "The run did not start" if state.outcome == "NotStarted" else "The log ended unexpectedly"
        return f"{problem}{_node(state)}."
    return _ended(state, state.exited)


def hint(state: RunState) -> str:
    """The next step, or ""; if a session ended with this run, also which variables were lost."""
    if state.session_ended and state.ended:
        return " ".join(filter(None, (_hint(state), _session_loss(state))))
    return _hint(state)


def _session_loss(state: RunState) -> str:
    variables = state.variables
    lost = f" Lost: {list_variables(variables.items, variables.total)}." if variables and variables.total else ""
    return (
        f"The session {state.session} has also ended ({state.session_ended}).{lost} "
        f"%argo restart {state.session} starts it again, without its variables."
    )


LISTED = 8
"""Maximum variables that a sentence lists by name."""


def session_ends(name: str, moment: str, *, setting: str) -> str:
    """The line under the last cell of a session that will end at `moment`, by the setting `keep` or `max_age`."""
    if setting == "keep":
        return f"Session {name} ends at {moment} unless one of its cells runs. Run one to keep its variables."
    return f"Session {name} ends at {moment} by its {setting}. Run a cell with --set {setting}=0 to keep its variables."


def session_ended(name: str, moment: str, *, reason: str) -> str:
    """The line under the last cell of a session that ended at `moment`."""
    restart = "%argo restart" if name == "main" else f"%argo restart {name}"
    return f"Session {name} ended at {moment}: {reason}. {restart} starts it again, without its variables."


def list_variables(items: Variables, total: int) -> str:
    """The variables of a session in one line, largest first."""
    largest = sorted(items, key=lambda item: -item[2])[:LISTED]
    listed = [f"{name} ({kind}{', ' + format_size(size) if size >= 1024 else ''})" for name, kind, size, _ in largest]
    more = total - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")


def _hint(state: RunState) -> str:  # noqa: PLR0911 - one line a reason
    if not state.ended:
        return "" if state.stop_requested is None else "Waiting a few seconds for it to exit cleanly."
    if state.outcome == "Stopped":
        return _stopped_hint(state)
    if cause := _node_cause(state):
        return f"{cause[1] or 'Run the cell again'}."
    if state.exited is None:
        return "The process, pod or node was removed, often because memory ran out. Run the cell again."
    match state.exited.reason:
        case "install" if exceeded := _exceeded_limit(state.exited):
            limit = f"--set {exceeded.setting}={_LIMITS[exceeded.setting]}"
            return f"Raise the limit with {limit}, or install fewer packages."
        case "install":
            return _install_failure(state, state.exited).hint
        case "signal" if _ran_out_of_memory(state.exited):
            return "Request more with --memory SIZE, or process the data in pieces."
        case "signal":
            return SIGNALS.get(abs(state.exited.code), ("", ""))[1]
        case "deadline":
            return f"Raise the limit with {_limit_option(state.exited)}, or do less in the cell."
        case "exit":
            return "os._exit skips Python's cleanup, so buffered output is lost."
        case "error":
            return str(_missing_hints().hint(state))
        case "guest":
            return "This is a bug in uv-argo-magic. Please report it with the log."
        case _:
            return ""


def missing_names(error: str) -> tuple[str, ...]:
    """The names that an exception is about, to look up in the notebook (missing_hints.py)."""
    names: tuple[str, ...] = _missing_hints().names(error)
    return names


def _missing_hints() -> ModuleType:
    from uv_argo_magic.core.view import missing_hints  # noqa: PLC0415 - 4 ms, and most runs succeed

    return missing_hints


def _node_cause(state: RunState) -> tuple[str, str] | None:
    """Why the backend ended the program without a request, or could not start it; and the next step."""
    exited, node = state.exited, state.node
    if node is None or state.outcome not in {"Lost", "NotStarted", "InstallFailed"}:
        return None
    is_explained = node.phase == NOT_STARTED or "; " in node.message
    if is_explained if exited is None else exited.reason == "stopped":
        cause, step = _split(node.message)
        return _capitalize(cause), _capitalize(step)
    return None


def _split(message: str) -> tuple[str, str]:
    """Split the message of a node into the problem and the next step, each without a full stop."""
    # Twice as long as other quotations, because it contains both.
    cause, _, step = one_line(message, 2 * LONGEST).rstrip(".").partition("; ")
    return cause, step


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _stopped_hint(state: RunState) -> str:
    if state.waiting:
        return f"{_capitalize(_split(state.waiting)[1]) or 'Run the cell again'}."
    if state.session and not state.session_ended:
        return f"The session {state.session} keeps its variables."
    return "Output so far is kept. Run the cell again to start over."


def status_note(state: RunState) -> str:
    """A sentence on what delays the run: a pod that cannot start, or a lost connection."""
    if state.ended or state.stop_requested or (state.node is not None and state.node.phase == NOT_STARTED):
        return ""
    is_pulling = state.phase == "pulling" and state.node is not None and state.node.phase == PULLING
    is_unreachable = state.node is not None and state.node.phase == UNREACHABLE
    return sentence(state) if state.waiting or is_pulling or is_unreachable else ""


def warnings(resolution: Resolution) -> tuple[str, ...]:
    """Warnings about the packages before they are installed, as sentences."""
    if isinstance(resolution, Lock):
        return resolution.warnings
    return (f"{resolution.reason} Versions will be resolved in the pod instead.",)


def base_packages_note(lock: Lock) -> str:
    """A sentence on the packages that the cell imports from its base environment; "" if there are none."""
    if not lock.base_digest:
        return ""
    if not lock.base_packages:
        return "The cell can also import the packages of its base environment."
    return f"From the base environment: {', '.join(f'{name} {version}' for name, version in lock.base_packages)}."


def lock_age(lock: Lock, now: float) -> str:
    """The age of a lock, the uv that resolved it, and how to renew it; `now` in Unix seconds."""
    by = f" by uv {lock.uv}" if lock.uv else ""
    return f"resolved {ago(now - lock.created_at)}{by}; use --upgrade to resolve again"


def signal_name(code: int) -> str:
    """The name of a signal by its number, positive or negative."""
    name, _ = SIGNALS.get(abs(code), (f"signal {abs(code)}", ""))
    return name


def _in_progress(state: RunState) -> str:
    if state.stop_requested is not None:
        cause = f" before it started: {_split(state.waiting)[0]}" if state.waiting else ""
        return f"The run is being stopped{_by(state)}{cause}."
    if state.exited is not None:
        ended_text = _ended(state, state.exited).rstrip(".")
        return f"{ended_text}; attempt {state.attempt + 1}{_attempts_suffix(state)} is next."
    attempt = f" (attempt {state.attempt}{_attempts_suffix(state)})" if state.attempt > 1 else ""
    if state.phase not in {"queued", "pulling"} and state.node and state.node.phase == UNREACHABLE:
        attempt += f"; {one_line(state.node.message, 2 * LONGEST)}"
    return f"{_stage(state).rstrip('.')}{attempt}."


def _attempts_suffix(state: RunState) -> str:
    return f" of {state.attempts}" if state.attempts >= state.attempt else ""


def _stage(state: RunState) -> str:
    match state.phase:
        case "new":
            return "Submitting the run."
        case "pulling" if state.node and state.node.phase == PULLING:
            return f"{_capitalize(one_line(state.node.message, LONGEST)).rstrip('.')}{_at(state)}."
        case "queued" | "pulling":
            # A phase without a message would only repeat "waiting".
            reason = f" ({_node(state).removeprefix(': ')})" if state.node and state.node.message else ""
            return f"Waiting to start{_at(state)}{reason}."
        case "starting":
            return f"Python {state.hello.python} has started." if state.hello else "Python has started."
        case "preparing" | "resolving":
            return "Resolving packages."
        case "installing":
            downloaded = download(state)
            return f"Downloading packages: {downloaded}." if downloaded else "Installing packages."
        case _:
            return "The cell is running."


def _ended(state: RunState, exited: Exited) -> str:  # noqa: PLR0911 - one line a reason
    exception = problem(state)
    match exited.reason:
        case "ok":
            return "The cell completed."
        case "error" if exception and exception.name == "SystemExit":
            status = exception.message if exception.message.isdecimal() else json.dumps(one_line(exception.message))
            return f"The cell exited with sys.exit({status})."
        case "error" if exception and exception.message:
            return f"The cell raised {one_line(exception.name)}: {one_line(exception.message)}"
        case "error":
            return f"The cell raised {one_line(exception.name) if exception else 'an exception'}."
        case "exit":
            return f"The cell's process exited immediately with status {exited.code}, as with os._exit({exited.code})."
        case "signal" if _ran_out_of_memory(exited):
            return "The cell's process was killed because memory ran out."
        case "signal":
            return f"The cell's process was killed by {_signal(exited.code)}."
        case "deadline":
            manner = "interrupted" if state.session and not state.session_ended else "terminated"
            return f"The cell exceeded its time limit ({_deadline(exited)}) and was {manner}."
        case "install" if exceeded := _exceeded_limit(exited):
            # After an environment is ready, the progress is that of an earlier install.
            return _over_limit(exceeded, None if state.installed else state.progress)
        case "install":
            return _install_failure(state, exited).sentence
        case _:
            # The last line of the traceback is the exception.
            reason = one_line(exited.detail.strip().rpartition("\n")[2])
            return f"Internal error in the runner{f': {reason}' if reason else ' (no details reported).'}"


def _signal(code: int) -> str:
    """A signal by its number, and by its name if it has one."""
    name = SIGNALS.get(abs(code), ("", ""))[0]
    return f"signal {abs(code)}" + (f" ({name})" if name else "")


def _ran_out_of_memory(exited: Exited) -> bool:
    """Whether the kernel killed the cell's process to free memory."""
    return exited.code == -9 and exited.detail == "memory"


def _by(state: RunState) -> str:
    """Who requested the stop, and in which phase ("before the cell started")."""
    by = f" by {one_line(state.stop_requested.by)}" if state.stop_requested and state.stop_requested.by else ""
    return f"{by} {one_line(state.exited.detail) if state.exited else ''}".rstrip()


def _at(state: RunState) -> str:
    return f" on {one_line(state.location)}" if state.location else ""


def _node(state: RunState) -> str:
    node = state.node
    if node is None or not (node.phase or node.message):
        return ""
    # Twice as long as other quotations, because it contains the problem and the next step.
    details = ": ".join(part for part in (node.phase, node.message) if part)
    return ": " + one_line(details, 2 * LONGEST).rstrip(".")


def _deadline(exited: Exited) -> str:
    """The setting of the time limit, if the guest sent a valid name."""
    return exited.detail if exited.detail.isidentifier() else "run_timeout"


def _limit_option(exited: Exited) -> str:
    """The option that raises the time limit."""
    setting = _deadline(exited)
    return "--timeout TIME" if setting == "run_timeout" else f"--set {setting}=TIME"


def _exceeded_limit(exited: Exited) -> _Limit | None:
    """The limit that the install exceeded, if any."""
    match = re.fullmatch(rf"(\w+)(?: ({_NUMBER}) ({_NUMBER}))?", exited.detail)
    if not match or match[1] not in _LIMITS:
        return None
    return _Limit(match[1], float(match[2] or 0), float(match[3] or 0))


def _over_limit(exceeded: _Limit, progress: Progress | None) -> str:
    setting, used, limit = exceeded
    if not limit:
        return f"The install exceeded {setting} and was terminated."
    if setting == "install_timeout":
        downloaded = f" with {progress.done} of {count(progress.of, 'package')} downloaded" if progress else ""
        return f"The install was terminated after {seconds(used)}{downloaded}: {setting} is {exact_seconds(limit)}."
    usage = "used {} of memory" if setting == "install_memory" else "needed {} of disk space"
    return (
        f"The install {usage.format(format_size(int(used)))} and was terminated: {setting} is {round_size(int(limit))}."
    )


def _install_failure(state: RunState, exited: Exited) -> InstallFailure:
    """Classify the failure of the install by uv's output."""
    from uv_argo_magic.core.resolution import install_errors  # noqa: PLC0415 - 9 ms, and most installs succeed

    return install_errors.classify(exited.code, "".join(state.install_log))
