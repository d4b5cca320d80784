"""The Backend protocol, its optional parts, and how backends are found by name (docs/backends.md).

Rules:
- No backend is special: nothing outside a backend compares its name. Ours are in a table and those of other packages
  are entry points, because the scan for these takes longer than a small run.
- Six methods are required. Optional parts are protocols of their own; whether a backend has one is checked here only.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import operator
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from uv_argo_magic.backends import prestart
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import BackendError, BackendUnavailable, SpecError

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from uv_argo_magic.core.protocol.events import Attempts, NodePhase, StopRequested
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.uv.interpreters import Interpreter

GROUP = "uv_argo_magic.backends"
"""The entry-point group of the backends of other packages."""
OURS = {
    "local": "uv_argo_magic.backends.local:LocalBackend",
    "argo": "uv_argo_magic.backends.argo.backend:ArgoBackend",
}
"""The backends of this package: name -> "module:class"."""
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
"""The settings that only have an effect if the backend uses them; all others apply to every backend."""


class Capability(enum.Flag):
    """What a backend can do besides running a cell."""

    NONE = 0
    DETACH = enum.auto()
    """Runs continue when their cell returns (`--detach`)."""
    RESOURCES = enum.auto()
    """Runs get the CPU, memory, GPU and disk of `--cpu`, `--memory`, `--gpu` and `--resources`."""
    LOCAL = enum.auto()
    """Runs are processes of this machine: they share uv's cache, and passwords of an index do not leave it."""


@frozen
class Submission:
    """A run that the backend accepted: its name in the backend, and its location ("" for this machine).

    `worker` is the address of the session's worker, if that belongs to no machine of the user's.
    """

    name: str
    location: str = ""
    worker: str = ""


@frozen
class RemoteRun:
    """A run that the backend knows, started by any process. Times are Unix seconds, 0 if not known.

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
    """A stop was requested."""

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended."""
        return self.phase in FINAL_PHASES


Item: TypeAlias = "str | NodePhase | StopRequested | Attempts"
"""What a backend reports of a run: log text, a phase, a stop requested by another client, the number of attempts."""


@frozen
class Check:
    """A result of `doctor`. A failed check has a hint; a note is information and not a failure."""

    name: str
    outcome: Literal["ok", "failed", "note", "skipped"]
    message: str = ""
    hint: str = ""


@runtime_checkable
class Backend(Protocol):
    """A backend runs programs."""

    capabilities: Capability
    settings: frozenset[str]
    """The names from BACKEND_SETTINGS that this backend uses."""

    def target(self, spec: RunSpec) -> Interpreter:
        """The Python that would run this, and which wheels fit it. Sends nothing.

        Raises:
            SpecError: the backend has no such Python.
        """

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:
        """Start the program. `notebook` is the path of the notebook with the cell, or "".

        Raises:
            BackendUnavailable: the backend cannot be reached.
            SubmitRejected: it refused the run.
        """

    def find(self, name: str, settings: Settings) -> RemoteRun | None:
        """A run by its id or its name, started by any process; afterwards the other methods accept its name.

        None if there is no such run, or if runs of this backend end with the process that started them.

        Raises:
            BackendUnavailable: the backend cannot be reached.
            SpecError: the object of this name was not created by this package, or by a newer version of it.
        """

    def watch(self, name: str, *, follow: bool = True) -> Iterator[Item]:
        """The log from its start in whole lines, phases, and stops requested by other clients; may be called again.

        With `follow` until the run has ended, else what there is now.
        """

    def stop(self, name: str) -> None:
        """Request a graceful stop, then a forced one; no error if there is nothing to stop.

        Raises:
            BackendError: the request failed.
        """

    def delete(self, name: str) -> None:
        """Release the resources of a run whose log has been read to its end; no error if there are none."""


@runtime_checkable
class Limits(Protocol):
    """A backend that does not reserve resources, but limits some of them."""

    limited: frozenset[str]
    """The fields of `Resources` that limit a run."""


@runtime_checkable
class DeclaresSettings(Protocol):
    """A backend that declares settings of its own."""

    own_settings: type
    """A frozen dataclass; each field has a default and `help` in its metadata. `Settings.of` gives an instance."""


@runtime_checkable
class Images(Protocol):
    """A backend whose runs see the packages of an image, or of another Python (the setting `base`)."""

    def image(self, spec: RunSpec) -> str:
        """The image that would run this; "" if it runs on this machine.

        Raises:
            SpecError: there is no image for such a Python, or the backend has no images and `base` names one.
        """


@runtime_checkable
class Exports(Protocol):
    """A backend that can write what it would submit to a file."""

    def describe(self, program: Program, spec: RunSpec) -> str:
        """For `--dry-run`: the text to be sent, and whether the backend would accept it. Starts nothing.

        A backend that cannot be reached is a sentence of the text, not an error.

        Raises:
            SpecError: it cannot be sent.
        """

    def manifest(self, program: Program, spec: RunSpec) -> str:
        """What would be sent, as a file that runs without this package.

        Raises:
            SpecError: it cannot be sent.
        """


@runtime_checkable
class Diagnoses(Protocol):
    """A backend with checks for `doctor`."""

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """Checks before anything runs, each as soon as its result is known.

        Checks that depend on a failed one are skipped; nothing is raised.
        """

    def run_checks(self, name: str) -> Iterator[Check]:
        """Checks of a run that has started."""


@runtime_checkable
class Polls(Protocol):
    """A backend that can tell whether the log of a run has grown, so that its reader need not wait for it."""

    def has_more(self, seconds: float) -> bool:
        """Whether `watch` of the run that was submitted last gives something within some seconds, after the first."""


@runtime_checkable
class Warms(Protocol):
    """A backend that can prepare for a run before the cell is known."""

    def warm(self, guest: str, spec: RunSpec) -> None:
        """Prepare for a run with this guest (`Program.guest`) and spec, so that it starts sooner; never raises."""


@frozen
class WorkerOptions:
    """How the worker of a session is started. Times are seconds; 0 means no limit.

    `token_digest` is the SHA-256 (hex) of the token that its clients send. It writes why it ended to the file `report`.
    A worker that `is_bound` ends with its client. `notebook` is the path of its notebook, or "", and `user` the name of
    its user, for lists.
    """

    name: str
    token_digest: str
    keep: float
    max_age: float
    is_bound: bool
    report: str
    notebook: str = ""
    user: str = ""


@runtime_checkable
class Sessions(Protocol):
    """A backend with workers, which keep an interpreter for several cells."""

    def start_worker(self, program: Program, spec: RunSpec, options: WorkerOptions) -> str:
        """Start a worker that outlives this process; returns the address on which it listens.

        Raises:
            BackendUnavailable: it cannot be started.
        """

    def connect(self, address: str) -> socket.socket:
        """Connect to a worker.

        Raises:
            OSError: it does not listen.
        """


@frozen
class WorkerEnd:
    """How a worker ended: a sentence without its end, what to do about that, and what the worker wrote of it (JSON)."""

    reason: str
    advice: str = ""
    report: str = ""
    is_known: bool = True
    """Whether the backend shows the cause; later it may show less, or more."""
    is_replaced: bool = False
    """Whether there is another worker now, at the same address."""


@runtime_checkable
class RemoteSessions(Sessions, Protocol):
    """A backend whose workers belong to no machine of the user's: each has an address from its creation on."""

    def location(self, address: str) -> str:
        """The location of the worker, for messages."""

    def starting(
        self, address: str, spec: RunSpec, *, is_ready: Callable[[], bool], stopping: threading.Event
    ) -> Iterator[NodePhase]:
        """What a new worker waits for, until it `is_ready`; the last phase is Running, unless it cannot start.

        Raises:
            BackendError: the backend does not let the user see it.
        """

    def worker_end(self, address: str, instance: str = "") -> WorkerEnd | None:
        """How a worker has ended; None while it lives. `instance` is the uid of its last phase while it started.

        Raises:
            BackendError: the backend does not respond.
        """

    def note_use(self, address: str, moment: float, *, is_running: bool) -> None:
        """Note that a worker is in use, or was until this moment (Unix seconds), where administrators see it.

        Raises:
            BackendError: the backend does not respond, or does not let the user note it.
        """

    def worker_log(self, address: str, *, follow: bool = False) -> Iterator[Item]:
        """The log of a worker with the records of all its cells, as far as it is kept, and phases.

        With `follow`, to its end.

        Raises:
            BackendError: it cannot be read.
        """

    def end_worker(self, address: str) -> None:
        """End a worker, even if it is busy; no error if it has ended.

        Raises:
            BackendUnavailable: the backend does not respond.
        """


@frozen
class RemoteSession:
    """A session that a backend keeps, of any user. Times are Unix seconds, amounts Kubernetes quantities or "".

    `used_at` is when its client last noted that it was in use, `is_running` whether a cell ran then.
    """

    name: str
    workflow: str
    namespace: str
    user: str
    notebook: str
    phase: str
    started_at: float
    used_at: float
    is_running: bool = False
    cpu: str = ""
    memory: str = ""
    gpu: str = ""


@runtime_checkable
class ListsSessions(Protocol):
    """A backend that lists the sessions it keeps, of every user."""

    def sessions(self, settings: Settings, *, all_namespaces: bool) -> tuple[RemoteSession, ...]:
        """The sessions that have not ended.

        Raises:
            BackendError: the backend cannot be reached, or does not let the user list them.
        """


@runtime_checkable
class Answers(Protocol):
    """A backend whose cells can ask the user."""

    def answer(self, name: str, text: str = "", *, refused: str = "") -> None:
        """Answer the question of the run, or report why it cannot be answered.

        Raises:
            BackendError: the backend does not respond.
        """


@runtime_checkable
class Lists(Protocol):
    """A backend that lists the runs it has, started by any process."""

    def runs(self, settings: Settings) -> tuple[RemoteRun, ...]:
        """The runs, the newest first.

        Raises:
            BackendError: the backend cannot be reached, or does not let the user list them.
        """


@frozen
class PolicyText:
    """The package policy of a backend: its text in TOML ("": none), its name, and why it could not be read."""

    origin: str
    text: str = ""
    problem: str = ""


@runtime_checkable
class Policies(Protocol):
    """A backend that keeps a package policy for all of its users."""

    def policy(self, settings: Settings) -> PolicyText:
        """The policy for the namespace of these settings; never raises."""


@runtime_checkable
class ManualStop(Protocol):
    """A backend whose runs can be stopped from a terminal without this package."""

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        """The commands that stop the run."""


def ignored_resources(backend: Backend, names: Iterable[str]) -> tuple[str, ...]:
    """The fields of `Resources` in the argument that have no effect on the backend's runs."""
    if Capability.RESOURCES in backend.capabilities:
        return ()
    limited = backend.limited if isinstance(backend, Limits) else frozenset()
    return tuple(name for name in names if name not in limited)


def image(backend: Backend, spec: RunSpec) -> str:
    """The image that would run this; "" if it runs on this machine.

    Raises:
        SpecError: there is no image for such a Python, or the backend has no images and `base` names one.
    """
    return backend.image(spec) if isinstance(backend, Images) else ""


def describe(backend: Backend, program: Program, spec: RunSpec) -> str:
    """What would be sent, for `--dry-run`; "" if the backend has nothing to add to the program.

    Raises:
        SpecError: it cannot be sent.
    """
    return backend.describe(program, spec) if isinstance(backend, Exports) else ""


def exporter(backend: Backend, name: str) -> Exports:
    """The backend of this name as one that writes manifests.

    Raises:
        SpecError: it cannot.
    """
    if isinstance(backend, Exports):
        return backend
    others = [other for other in names() if other != name and isinstance(load(other), Exports)]
    hint = f"Choose a backend that can ({', '.join(f'-b {other}' for other in others)}), or e" if others else "E"
    raise SpecError(f"the {name} backend has no manifests", hint=f"{hint}xport a script: --to FILE.py.")


class NotTaken(Exception):
    """Raised by `watch`: the backend did not take a run that `submit` had only sent."""

    def __init__(self, problem: BackendError) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _as(part: Any, backend: Backend) -> Any:
    """The backend if it has this optional part, which has methods only, or None; asked for each cell."""
    return backend if _has(type(backend), part) else None


@functools.cache
def _has(kind: type, part: Any) -> bool:
    """Whether a class has the methods of a protocol: Python takes 0.1 ms to find that out."""
    return issubclass(kind, part)


def checks(backend: Backend, spec: RunSpec) -> Iterator[Check]:
    """The backend's checks before anything runs."""
    if isinstance(backend, Diagnoses):
        yield from backend.checks(spec)


def run_checks(backend: Backend, name: str) -> Iterator[Check]:
    """The backend's checks of a run that has started."""
    if isinstance(backend, Diagnoses):
        yield from backend.run_checks(name)


def warm(backend: Backend, guest: str, spec: RunSpec) -> None:
    """Let the backend prepare for a run like this."""
    warms: Warms | None = _as(Warms, backend)
    if warms is not None:
        warms.warm(guest, spec)
    prestart.end_unused()


def with_sessions(backend: Backend, name: str) -> Sessions:
    """The backend of this name as one that has sessions.

    Raises:
        SpecError: it has none.
    """
    if isinstance(backend, Sessions):
        return backend
    others = [other for other in names() if other != name and isinstance(load(other), Sessions)]
    hint = f"Choose a backend that has: {', '.join(f'-b {other}' for other in others)}." if others else ""
    raise SpecError(f"the {name} backend has no sessions", hint=hint or "Run the cell without --session.")


def can_send_early(spec: RunSpec) -> bool:
    """Whether a cell's program contains what sends its first output before the log is readable.

    Raises:
        BackendUnavailable: its backend cannot be loaded.
    """
    settings = spec.settings
    is_one_container = not (settings.template or settings.separate_install or settings.retries)
    is_asked = settings.early_output and "early_output" in load(spec.backend).settings
    return is_asked and is_one_container and not spec.session


def exchanges_files(name: str, *, in_session: bool) -> bool:
    """Whether values of a run on the backend of this name are sent as files.

    Raises:
        BackendUnavailable: it cannot be loaded.
    """
    return Capability.LOCAL in load(name).capabilities or (in_session and remote_sessions(name) is not None)


def remote_sessions(name: str) -> RemoteSessions | None:
    """The backend of this name if its workers belong to no machine of the user's.

    Raises:
        BackendUnavailable: it cannot be loaded.
    """
    remote: RemoteSessions | None = _as(RemoteSessions, load(name))
    return remote


def answer(backend: Backend, name: str, text: str, *, refused: str) -> None:
    """Answer the question of a run; nothing if the backend's cells cannot ask."""
    if isinstance(backend, Answers):
        backend.answer(name, text, refused=refused)


def polled(backend: Backend) -> Callable[[float], bool] | None:
    """`has_more` of a backend that has just submitted a run, if it can tell."""
    polls: Polls | None = _as(Polls, backend)
    return polls.has_more if polls is not None else None


def runs(backend: Backend, settings: Settings) -> tuple[RemoteRun, ...] | None:
    """The runs that the backend has, the newest first; None if it does not list them.

    Raises:
        BackendError: the backend cannot be reached, or does not let the user list them.
    """
    return backend.runs(settings) if isinstance(backend, Lists) else None


def sessions(name: str, settings: Settings, *, all_namespaces: bool) -> tuple[RemoteSession, ...]:
    """The sessions of every user that the backend of this name keeps.

    Raises:
        SpecError: it does not list them.
        BackendError: it cannot be reached, or does not let the user list them.
    """
    backend = load(name)
    if isinstance(backend, ListsSessions):
        return backend.sessions(settings, all_namespaces=all_namespaces)
    others = [f"-b {other}" for other in names() if isinstance(load(other), ListsSessions)]
    raise SpecError(
        f"the {name} backend does not list the sessions of all users",
        hint=f"Choose one that does: {', '.join(others)}." if others else "Leave out --all.",
    )


def policy(backend: Backend, settings: Settings) -> PolicyText | None:
    """The package policy of the backend; None if it keeps none."""
    policies: Policies | None = _as(Policies, backend)
    return policies.policy(settings) if policies is not None else None


def manual_stop_commands(backend: Backend, name: str) -> tuple[str, ...]:
    """Commands for a terminal that stop the run; () if there are none, or it ends with this process."""
    return backend.manual_stop_commands(name) if isinstance(backend, ManualStop) else ()


def default_name(environ: Mapping[str, str]) -> str:
    """The default backend: argo in a cluster or if a namespace is configured, else local."""
    return "argo" if environ.get("KUBERNETES_SERVICE_HOST") or environ.get("UV_ARGO_NAMESPACE") else "local"


@functools.cache
def _installed() -> dict[str, str]:
    """All backends: name -> "module:class"; the scan takes up to 40 ms in a large environment."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 10 ms, and our own backends are found without it

    return {point.name: point.value for point in entry_points(group=GROUP)} | OURS


def names() -> tuple[str, ...]:
    """The names of the installed backends."""
    return tuple(sorted(_installed()))


def is_installed(name: str) -> bool:
    """Whether there is a backend of this name."""
    return name in OURS or name in _installed()


@functools.cache
def load(name: str) -> Backend:
    """The backend of that name; the same object for the whole process.

    Raises:
        BackendUnavailable: it is not installed, cannot be imported, or is not a Backend.
    """
    if not is_installed(name):
        error = unknown("backend", name, names())
        raise BackendUnavailable(error.message, hint=error.hint)
    target = OURS.get(name) or _installed()[name]
    module, _, class_name = target.partition(":")
    try:
        backend = operator.attrgetter(class_name)(importlib.import_module(module))()
    except ImportError as problem:
        needs = f'pip install "uv-argo-magic[{name}]"' if name in OURS else target
        raise BackendUnavailable(
            f"cannot import the backend {name}: {problem}", hint=f"Install what it needs: {needs}."
        ) from problem
    if not isinstance(backend, Backend):
        raise BackendUnavailable(
            f"{target} is not a backend: it lacks {', '.join(_missing(backend))}",
            hint="Implement uv_argo_magic.backends.base.Backend, or uninstall the package.",
        )
    return backend


def _declare_settings() -> None:
    """Declare the settings of the backends of other packages; one that cannot be loaded is left out."""
    for name in _installed().keys() - OURS.keys():
        with contextlib.suppress(BackendUnavailable):
            backend = load(name)
            if isinstance(backend, DeclaresSettings):
                settings_parser.declare(name, backend.own_settings)


settings_parser.on_unknown(_declare_settings)


def used_settings(name: str) -> frozenset[str]:
    """The settings that only some backends use, and this one does.

    Raises:
        BackendUnavailable: it cannot be loaded.
    """
    own = (setting for setting, backend in settings_parser.OWN.items() if backend == name)
    return load(name).settings.union(own)


def _missing(backend: object) -> list[str]:
    """The required attributes that the object lacks."""
    required = [*Backend.__annotations__, *(name for name in vars(Backend) if not name.startswith("_"))]
    return [name for name in required if not hasattr(backend, name)]
