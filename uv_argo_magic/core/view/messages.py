"""Every state of a run in words: a title, a sentence, a hint, how long each stage took.

Rules:
- Titles are Argo's phase words (Pending, Running, Succeeded, Failed, Error) and ours (Stopped, InstallFailed, Lost).
- A sentence says what is happening or what ended the run; a hint is the next step, or empty.
- User text (an exception's message, a node's message) is quoted in one line and shortened, never interpreted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from uv_argo_magic.core.humanize import LONGEST, ago, one_line
from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.requirements.typo_hints import ALSO_IMPORTED, PACKAGE_OF, STANDARD_LIBRARY
from uv_argo_magic.core.resolution.install_errors import classify
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec.run_spec import FILES
from uv_argo_magic.errors import ProtocolError

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.events import Exited
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution

SIGNALS: dict[int, tuple[str, str]] = {
    1: ("SIGHUP", "The session that it belonged to was closed."),
    2: ("SIGINT", "Something sent it an interrupt."),
    4: ("SIGILL", "A compiled package uses instructions that this processor lacks: try an older version of it."),
    5: ("SIGTRAP", "A compiled package stopped at a trap: try another version of the package imported last."),
    6: ("SIGABRT", ("Compiled code gave up, often after a failed assertion or a damaged heap: see the last lines of "
        "the log, and try another version of the package in use.")),
    7: ("SIGBUS", "Memory behind a mapped file was gone: a full disk, a truncated file, or too small a /dev/shm."),
    8: ("SIGFPE", "Compiled code divided an integer by zero: check what was passed to the package in use."),
    9: ("SIGKILL", ("Nothing in the cell can catch this; most often there was not enough memory: ask for more, or "
        "handle the data in pieces.")),
    11: ("SIGSEGV", ("Compiled code touched memory that is not its own: most often a bug in a package, or "
         "two packages whose versions do not fit: pin another version of the one imported last.")),
    13: ("SIGPIPE", "It wrote to a pipe that nobody reads any more."),
    14: ("SIGALRM", "A timer of its own ran out."),
    15: ("SIGTERM", "Somebody asked it to end: a node that shuts down, or a quota."),
    24: ("SIGXCPU", "It used up the processor time allowed here."),
    25: ("SIGXFSZ", "It wrote a file larger than allowed here."),
    31: ("SIGSYS", "A system call was refused by the sandbox it runs in."),
}  # fmt: skip
"""Signal number (Linux) -> its name, and what usually causes it or what to do."""


LIMITS: dict[str, tuple[str, str]] = {
    "install_timeout": ("took longer", "SECONDS"),
    "install_memory": ("used more memory", "BYTES"),
    "install_disk": ("used more disk", "BYTES"),
}
"""Setting that bounds the install -> what the install did, and the setting's unit."""


class Problem(NamedTuple):
    """The exception that ended the cell: its name and its message, both the user's text."""

    name: str
    message: str


def title(state: RunState) -> str:
    """One word for the state, to be put on a badge."""
    if not state.ended:
        return "Pending" if state.phase in {"new", "queued"} else "Running"
    if state.exited and state.exited.reason == "guest":
        return "Error"
    return state.outcome or "Lost"


def problem(state: RunState) -> Problem | None:
    """The exception that the cell ended with, where the guest sent one that can be read."""
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
    """One stable word for what ended a run badly: an exception's name, a signal's, ours; empty when all is well."""
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
    """What is happening, or what happened: one sentence."""
    if not state.ended:
        return _in_progress(state)
    if state.outcome == "Stopped":
        # Where nobody here asked for it, what is seen there says who or what it was.
        node_note = "" if state.stop_requested or not state.node or not state.node.message else _node(state)
        return f"The run was stopped{_by(state)}{node_note}."
    if state.exited is None:
        return f"The log ended without saying how the cell ended{_node(state)}."
    return _ended(state, state.exited)


def hint(state: RunState) -> str:  # noqa: PLR0911 - one line a reason
    """The next step, or empty where none is needed."""
    if not state.ended:
        return "" if state.stop_requested is None else "It gets a few seconds to end by itself."
    if state.outcome == "Stopped":
        return "What it had written until then is kept; run the cell again to start over."
    if state.exited is None and state.node and "; " in state.node.message:
        return ""  # what is seen there comes with its own next step
    if state.exited is None:
        return "The process, pod or node was taken away, often for lack of memory or by hand; run the cell again."
    match state.exited.reason:
        case "install" if state.exited.detail in LIMITS:
            return f"Allow more with --set {state.exited.detail}={LIMITS[state.exited.detail][1]}, or ask for less."
        case "install":
            return classify(state.exited.code, _uv_log(state)).hint
        case "signal":
            return SIGNALS.get(abs(state.exited.code), ("", ""))[1]
        case "deadline":
            return f"Allow more with --set {_deadline(state.exited)}=SECONDS, or let the cell do less."
        case "exit":
            return "os._exit and the like skip Python's own end: output still in buffers is lost."
        case "error":
            return _missing(state)
        case "guest":
            return "This is a fault of uv-argo-magic: please report it with the log."
        case _:
            return ""


def _missing(state: RunState) -> str:
    """What to do where the cell missed what the notebook has: a package, or a file beside it."""
    try:
        error = remote_error.parse(state.error)
    except ProtocolError:
        return ""
    attributes = error.attribute_values()
    name = attributes.get("name")
    if "ModuleNotFoundError" in error.mro and isinstance(name, str):
        top = name.partition(".")[0]
        package = {**PACKAGE_OF, **ALSO_IMPORTED}.get(top.lower(), top)
        installed = {installed_name for installed_name, _ in state.installed.packages} if state.installed else set()
        if top in STANDARD_LIBRARY or canonicalize_name(package) in installed:
            return ""
        return f"The cell has an environment of its own: {_how_to_add(package, state)}"
    file = attributes.get("filename")
    if "FileNotFoundError" in error.mro and isinstance(file, str) and file and not file.startswith(("/", "~")):
        return (
            "The cell runs in an empty folder of its own, without the files beside the notebook: "
            "send what it needs by --push, or make the file in the cell."
        )
    return ""


def _how_to_add(package: str, state: RunState) -> str:
    """What to write so that the cell gets a package as well, where its requirements are written."""
    if state.requirements_source and state.requirements_source != FILES:
        return f"add {package} to {state.requirements_source}"
    quoted = any('"' in line for line in state.requirements)
    all_requirements = (
        json.dumps([*state.requirements, package]) if quoted else f'"{" ".join((*state.requirements, package))}"'
    )
    if not state.requirements or state.requirements_source or len(all_requirements) > LONGEST:
        return f"add --deps {package}"
    return f"write --deps {all_requirements}"


def warnings(resolution: Resolution) -> tuple[str, ...]:
    """What a person should know of the packages before they are installed, in whole sentences."""
    if isinstance(resolution, Lock):
        return resolution.warnings
    return (f"{resolution.reason} So the versions are chosen where the cell runs.",)


def base_packages_note(lock: Lock) -> str:
    """What the cell sees that is not installed for it: what its image or Python has; "" where it sees none of that."""
    if not lock.base_digest:
        return ""
    if not lock.base_packages:
        return "The cell sees what its Python has of its own."
    return (
        f"Not installed, its Python has it: {', '.join(f'{name} {version}' for name, version in lock.base_packages)}."
    )


def lock_age(lock: Lock, now: float) -> str:
    """How old a lock is, by whom it was made, and how to have another; `now` in Unix seconds."""
    by = f" by uv {lock.uv}" if lock.uv else ""
    return f"resolved {ago(now - lock.created_at)}{by}; --upgrade chooses anew"


def signal_name(code: int) -> str:
    """The name of a signal by its number, whichever the sign."""
    name, _ = SIGNALS.get(abs(code), (f"signal {abs(code)}", ""))
    return name


def _in_progress(state: RunState) -> str:
    if state.stop_requested is not None:
        return f"The run is being stopped{_by(state)}."
    if state.exited is not None:
        ended_text = _ended(state, state.exited).rstrip(".")
        return f"{ended_text}; attempt {state.attempt + 1}{_attempts_suffix(state)} follows."
    attempt = f" (attempt {state.attempt}{_attempts_suffix(state)})" if state.attempt > 1 else ""
    return f"{_stage(state).rstrip('.')}{attempt}."


def _attempts_suffix(state: RunState) -> str:
    return f" of {state.attempts}" if state.attempts >= state.attempt else ""


def _stage(state: RunState) -> str:
    match state.phase:
        case "new":
            return "The run is being submitted."
        case "queued":
            # Pending and no reason is what "waits" says already.
            return (
                f"The run waits for its start{_at(state)}{_node(state) if state.node and state.node.message else ''}."
            )
        case "starting":
            return f"Python {state.hello.python} has started." if state.hello else "Python has started."
        case "resolving":
            return "uv chooses the versions of the packages."
        case "installing":
            return "uv installs the packages."
        case _:
            return "The cell is running."


def _ended(state: RunState, exited: Exited) -> str:  # noqa: PLR0911 - one line a reason
    exception = problem(state)
    match exited.reason:
        case "ok":
            return "The cell ran to its end."
        case "error" if exception and exception.name == "SystemExit":
            status = exception.message if exception.message.isdecimal() else json.dumps(one_line(exception.message))
            return f"The cell left by sys.exit({status})."
        case "error" if exception and exception.message:
            return f"The cell raised {one_line(exception.name)}: {one_line(exception.message)}"
        case "error":
            return f"The cell raised {one_line(exception.name) if exception else 'an exception'}."
        case "exit":
            return f"The cell's process left at once with status {exited.code}, as os._exit({exited.code}) does."
        case "signal":
            return f"The cell's process was killed by {_signal(exited.code)}."
        case "deadline":
            return f"The cell ran longer than {_deadline(exited)} allows, and was ended."
        case "install" if exited.detail in LIMITS:
            return f"The install {LIMITS[exited.detail][0]} than {exited.detail} allows, and was ended."
        case "install":
            return classify(exited.code, _uv_log(state)).sentence
        case _:
            # The detail is a traceback; its last line is the exception.
            reason = one_line(exited.detail.strip().rpartition("\n")[2])
            return f"The guest itself failed: {reason or 'it did not say why'}"


def _signal(code: int) -> str:
    """A signal by its number, and by its name if it has one."""
    name = SIGNALS.get(abs(code), ("", ""))[0]
    return f"signal {abs(code)}" + (f" ({name})" if name else "")


def _by(state: RunState) -> str:
    """Who asked for the end, and what the guest says of the moment ("before the cell began")."""
    by = f" by {one_line(state.stop_requested.by)}" if state.stop_requested and state.stop_requested.by else ""
    return f"{by} {one_line(state.exited.detail) if state.exited else ''}".rstrip()


def _at(state: RunState) -> str:
    return f" at {one_line(state.location)}" if state.location else ""


def _node(state: RunState) -> str:
    node = state.node
    if node is None or not (node.phase or node.message):
        return ""
    # Twice as long as other quotations: it says what is wrong, and what to do.
    details = ": ".join(part for part in (node.phase, node.message) if part)
    return "; seen there: " + one_line(details, 2 * LONGEST).rstrip(".")


def _deadline(exited: Exited) -> str:
    """The setting whose time ran out; only a name of a setting is taken from the guest."""
    return exited.detail if exited.detail.isidentifier() else "run_timeout"


def _uv_log(state: RunState) -> str:
    """What uv wrote, for the classifier."""
    return "".join(state.install_log)
