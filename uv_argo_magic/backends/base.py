"""The Backend protocol and its optional parts (docs/backends.md).

Rules:
- No backend is special: code outside a backend never compares its name.
- Six methods are required. Optional parts are separate protocols; those for sessions are in sessions.py. Only these
  two modules and lookup.py check whether a backend has one.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from uv_argo_magic.backends import prestart
from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from uv_argo_magic.core.protocol.events import Attempts, NodePhase, StopRequested
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.errors import BackendError, BackendUnavailable
    from uv_argo_magic.uv.interpreters import Interpreter

FINAL_PHASES = frozenset({"Succeeded", "Failed", "Error"})
"""The phases of a run that has ended."""
BACKEND_SETTINGS = frozenset(
    {
        "base", "cache", "context", "deadline", "disruption", "early_output", "executor_patch", "gpu_resource", "image",
        "image_pull_secrets", "images", "index_secrets", "install_image", "kubeconfig", "labels", "namespace",
        "node_selector", "patch", "pending_timeout", "platform", "pod_gc", "pod_gc_delay", "retries", "run_as_user",
        "secret_env", "secret_files", "semaphore", "server", "service_account", "service_account_token", "shape",
        "start_timeout", "store", "template", "tolerations", "ttl", "volumes",
    }
)  # fmt: skip
"""The settings that have an effect only if the backend uses them; all others apply to every backend."""


class Capability(enum.Flag):
    """Optional features of a backend."""

    NONE = 0
    DETACH = enum.auto()
    """Runs continue when their cell returns (`--detach`)."""
    RESOURCES = enum.auto()
    """Runs get the CPU, memory, GPU and disk of `--cpu`, `--memory`, `--gpu` and `--resources`."""
    LOCAL = enum.auto()
    """Runs are processes on this machine: they use its uv cache, and passwords of an index are not sent."""


@frozen
class Submission:
    """A run that the backend accepted: its name in the backend, and its location ("" for this machine).

    `worker` is the address of the session's worker, if that does not run on this machine.
    """

    name: str
    location: str = ""
    worker: str = ""


@frozen
class RemoteRun:
    """A run found in the backend, started by any process. Times are Unix seconds; 0 means unknown.

    `run` is its id, `nonce` that of its records, `phase` a phase of Argo, `cell` the SHA-256 of the cell's text.
    """

    name: str
    run: str
    nonce: str
    location: str
    phase: str
    started_at: float
    ended_at: float = 0.0
    cell: str = ""
    notebook: str = ""
    was_stopped: bool = False
    """Whether a stop was requested."""

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended."""
        return self.phase in FINAL_PHASES


Item: TypeAlias = "str | NodePhase | StopRequested | Attempts"
"""An item of `watch`: log text, a phase, a stop requested by another client, or the number of attempts."""


@frozen
class Check:
    """A result of `doctor`. A failed check has a hint; a note is information and not a failure."""

    name: str
    outcome: Literal["ok", "failed", "note", "skipped"]
    message: str = ""
    hint: str = ""


@runtime_checkable
class Backend(Protocol):
    """The required part of every backend: it runs programs."""

    capabilities: Capability
    settings: frozenset[str]
    """The names from BACKEND_SETTINGS that this backend uses."""

    def target(self, spec: RunSpec) -> Interpreter:
        """The Python that would run this, and its wheel tags. Starts nothing.

        Raises:
            SpecError: the backend has no such Python.
        """

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:
        """Start the program. `notebook` is the path of the notebook with the cell, or "".

        Raises:
            BackendUnavailable: the backend cannot be reached.
            SubmitRejected: the backend refused the run.
        """

    def find(self, name: str, settings: Settings) -> RemoteRun | None:
        """A run by its id or name, started by any process; afterwards, the other methods accept its name.

        None if there is no such run, or if runs of this backend end with the process that started them.

        Raises:
            BackendUnavailable: the backend cannot be reached.
            SpecError: another program, or a newer version of this package, created the object with this name.
        """

    def watch(self, name: str, *, follow: bool = True) -> Iterator[Item]:
        """The log from its start in whole lines, phases, and stops requested by other clients. Can be called again.

        With `follow` until the run has ended, otherwise only the items so far.
        """

    def stop(self, name: str) -> None:
        """Request a graceful stop, then a forced one. No error if the run has ended or does not exist.

        Raises:
            BackendError: the request failed.
        """

    def delete(self, name: str) -> None:
        """Release the resources of a run whose log was read to its end. No error if there are none."""


@runtime_checkable
class Limits(Protocol):
    """A backend that does not reserve resources, but limits some of them."""

    limited: frozenset[str]
    """The fields of `Resources` that limit a run."""


@runtime_checkable
class DeclaresSettings(Protocol):
    """A backend that declares additional settings."""

    own_settings: type
    """A frozen dataclass; each field has a default and `help` in its metadata. `Settings.of` returns an instance."""


@runtime_checkable
class Images(Protocol):
    """A backend whose runs can import the packages of an image, or of another Python (the setting `base`)."""

    def image(self, spec: RunSpec) -> str:
        """The image that would run this; "" if it runs on this machine.

        Raises:
            SpecError: there is no image for this Python, or `base` is an image and the backend has none.
        """


@runtime_checkable
class Exports(Protocol):
    """A backend that can export a run as a file."""

    def describe(self, program: Program, spec: RunSpec) -> str:
        """For `--dry-run`: the text that would be sent, and whether the backend would accept it. Starts nothing.

        If the backend cannot be reached, the text mentions this; it is not an error.

        Raises:
            SpecError: the program cannot be sent.
        """

    def manifest(self, program: Program, spec: RunSpec) -> str:
        """The text of a file that runs the program without this package.

        Raises:
            SpecError: the program cannot be sent.
        """


@runtime_checkable
class Diagnoses(Protocol):
    """A backend with checks for `doctor`."""

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """The checks before a run; yields each result as soon as it is known.

        Checks that depend on a failed one are skipped. Never raises.
        """

    def run_checks(self, name: str) -> Iterator[Check]:
        """The checks of a run that has started."""


@runtime_checkable
class Polls(Protocol):
    """A backend whose log can be polled, so that a caller can read it without a thread."""

    def has_more(self, seconds: float) -> bool:
        """Whether `watch` of the last submitted run, after its first item, yields another one within some seconds."""


@runtime_checkable
class Warms(Protocol):
    """A backend that can prepare for a run before the cell is known."""

    def warm(self, guest: str, spec: RunSpec) -> None:
        """Prepare for a run with this guest (`Program.guest`) and spec, so that it starts sooner; never raises."""


@runtime_checkable
class Answers(Protocol):
    """A backend whose cells can ask the user for input."""

    def answer(self, name: str, text: str = "", *, refused: str = "") -> None:
        """Answer the question of the run, or report why it cannot be answered.

        Raises:
            BackendError: the backend does not respond.
        """


@runtime_checkable
class Lists(Protocol):
    """A backend that lists its runs, started by any process."""

    def runs(self, settings: Settings) -> tuple[RemoteRun, ...]:
        """The runs, newest first.

        Raises:
            BackendError: the backend cannot be reached, or the user is not allowed to list runs.
        """


@frozen
class PolicyText:
    """The package policy of a backend: its TOML text ("": none), its name, and the error if it could not be read."""

    origin: str
    text: str = ""
    problem: str = ""
    unavailable: BackendUnavailable | None = None
    """The error if the backend did not respond, so that it is unknown whether there is a policy."""


@runtime_checkable
class Policies(Protocol):
    """A backend that provides a package policy for all of its users."""

    def policy(self, settings: Settings) -> PolicyText:
        """The policy for the namespace of these settings; never raises."""


@runtime_checkable
class ManualStop(Protocol):
    """A backend whose runs can be stopped from a terminal without this package."""

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        """The commands that stop the run."""


def ignored_resources(backend: Backend, names: Iterable[str]) -> tuple[str, ...]:
    """Those of these fields of `Resources` that have no effect on the backend's runs."""
    if Capability.RESOURCES in backend.capabilities:
        return ()
    limited = backend.limited if isinstance(backend, Limits) else frozenset()
    return tuple(name for name in names if name not in limited)


def image(backend: Backend, spec: RunSpec) -> str:
    """The image that would run this; "" if it runs on this machine.

    Raises:
        SpecError: there is no image for this Python, or `base` is an image and the backend has none.
    """
    return backend.image(spec) if isinstance(backend, Images) else ""


def describe(backend: Backend, program: Program, spec: RunSpec) -> str:
    """The text that would be sent, for `--dry-run`; "" if it is only the program.

    Raises:
        SpecError: the program cannot be sent.
    """
    return backend.describe(program, spec) if isinstance(backend, Exports) else ""


class NotTaken(Exception):
    """Raised by `watch`: the backend refused a run after `submit` had returned."""

    def __init__(self, problem: BackendError) -> None:
        super().__init__(str(problem))
        self.problem = problem


def optional_part(part: Any, backend: Backend) -> Any:
    """The backend if it has this optional part, else None. The part must consist of methods only."""
    return backend if _has(type(backend), part) else None


@functools.cache
def _has(kind: type, part: Any) -> bool:
    """Whether a class has the methods of a protocol; cached, because `issubclass` takes 0.1 ms for each cell."""
    return issubclass(kind, part)


def checks(backend: Backend, spec: RunSpec) -> Iterator[Check]:
    """The backend's checks before a run."""
    if isinstance(backend, Diagnoses):
        yield from backend.checks(spec)


def run_checks(backend: Backend, name: str) -> Iterator[Check]:
    """The backend's checks of a run that has started."""
    if isinstance(backend, Diagnoses):
        yield from backend.run_checks(name)


def warm(backend: Backend, guest: str, spec: RunSpec) -> None:
    """Let the backend prepare for a run like this."""
    warms: Warms | None = optional_part(Warms, backend)
    if warms is not None:
        warms.warm(guest, spec)
    prestart.end_unused()


def answer(backend: Backend, name: str, text: str, *, refused: str) -> None:
    """Answer the question of a run, if cells of the backend can ask."""
    if isinstance(backend, Answers):
        backend.answer(name, text, refused=refused)


def polled(backend: Backend) -> Callable[[float], bool] | None:
    """The `has_more` method of a backend that has just submitted a run, or None."""
    polls: Polls | None = optional_part(Polls, backend)
    return polls.has_more if polls is not None else None


def runs(backend: Backend, settings: Settings) -> tuple[RemoteRun, ...] | None:
    """The runs of the backend, newest first; None if it does not list them.

    Raises:
        BackendError: the backend cannot be reached, or the user is not allowed to list runs.
    """
    return backend.runs(settings) if isinstance(backend, Lists) else None


def policy(backend: Backend, settings: Settings) -> PolicyText | None:
    """The package policy of the backend; None if it does not provide any."""
    policies: Policies | None = optional_part(Policies, backend)
    return policies.policy(settings) if policies is not None else None


def manual_stop_commands(backend: Backend, name: str) -> tuple[str, ...]:
    """The commands for a terminal that stop the run; () if there are none."""
    return backend.manual_stop_commands(name) if isinstance(backend, ManualStop) else ()
