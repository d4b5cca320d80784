"""The Backend protocol, and how one is found by name.

Rule: no backend is special. Ours are declared in the same entry-point group as anybody's, and nothing outside a backend
asks which one it has.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from uv_argo_magic.core.protocol.events import Attempts, NodePhase, StopRequested
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.uv.interpreters import Interpreter

GROUP = "uv_argo_magic.backends"
OVER = frozenset({"Succeeded", "Failed", "Error"})
"""The phases after which nothing happens any more."""


@dataclass(frozen=True, kw_only=True)
class RemoteRun:
    """A run as the place knows it where it runs, whoever began it. Times are Unix seconds, 0: not yet.

    `run` is its id, `nonce` that of its records, `phase` Argo's phase word, `cell` the digest of the cell's text.
    """

    name: str
    run: str
    nonce: str
    place: str
    phase: str
    begun: float
    ended: float = 0.0
    cell: str = ""
    notebook: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.phase in OVER


Item: TypeAlias = str | NodePhase | StopRequested | Attempts
"""What a place says of a run: log text, a phase, that somebody asked there for its end, how often it is tried."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at for `doctor`: a failed one says what to do, a note is good to know and no failure."""

    name: str
    outcome: Literal["ok", "failed", "note", "skipped"]
    said: str = ""
    hint: str = ""


@runtime_checkable
class Backend(Protocol):
    """A place where programs run; the verbs are the argo command's."""

    capabilities: frozenset[str]
    """What it can do beyond running a cell: "detach", "resources", "credentials" (an index's: they stay here)."""
    place: str
    """Where it runs, in words: "here", or a context and namespace."""

    def target(self, spec: RunSpec) -> Interpreter:
        """The Python that would run this there, and which wheels fit it; nothing is sent.

        Raises:
            SpecError: there is no such Python there.
        """

    def image(self, spec: RunSpec) -> str:
        """The image that would run this; "" where it runs on this machine.

        Raises:
            SpecError: there is none for such a Python, or this place has no images.
        """

    def describe(self, program: Program, spec: RunSpec) -> str:
        """For `--dry-run`: what would be sent, and what the place says of it; "" where there is no more to say.

        Nothing begins to run. A place that does not answer is a sentence of the text, no error.

        Raises:
            SpecError: it could not be sent.
        """

    def manifest(self, program: Program, spec: RunSpec) -> str:
        """What would be sent, as a file that runs there without this package.

        Raises:
            SpecError: this place takes no such file.
        """

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> str:
        """Begin to run the program; the name by which it is known there. `notebook` is the path of whoever asks.

        Raises:
            BackendUnavailable: the place does not answer.
            SubmitRejected: it refused the run.
        """

    def find(self, name: str, settings: Settings) -> RemoteRun | None:
        """A run by its id or by its name there, whoever began it; from then on the other verbs know its name.

        None: there is none, or it does not outlive the process that began it.

        Raises:
            BackendUnavailable: the place does not answer.
            SpecError: what has this name is no run of this package, or of a newer one.
        """

    def watch(self, name: str, *, follow: bool = True) -> Iterator[Item]:
        """Log text (whole lines), observed phases and wishes of others that it end, from the start; again if asked.

        `follow`: to the end; else what is there by now.
        """

    def stop(self, name: str) -> None:
        """Ask for the end, politely first; no error where there is nothing to stop."""

    def by_hand(self, name: str) -> tuple[str, ...]:
        """Commands for a terminal that stop it without this package; () where it ends with this process."""

    def delete(self, name: str) -> None:
        """Forget the run and what it left there; no error where there is nothing."""

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """What can be known of the place before anything runs there, one after the other as it becomes known.

        Where a check fails, those that need what it looked at are skipped; nothing is raised.
        """

    def seen(self, name: str) -> Iterator[Check]:
        """What a run that has begun shows of the place."""

    def warm(self) -> None:
        """Make the next run like the last one start sooner, where that is possible; never an error."""


@functools.cache
def points() -> dict[str, EntryPoint]:
    """The backends that are installed, by name; looked up once, which takes 10 ms in a large environment."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def names() -> tuple[str, ...]:
    """The names of the backends that are installed."""
    return tuple(points())


@functools.cache
def load(name: str) -> Backend:
    """The backend of that name, one for this process.

    Raises:
        BackendUnavailable: there is none, or it cannot be imported.
    """
    if point := points().get(name):
        try:
            backend: Backend = point.load()()
        except ImportError as problem:
            raise BackendUnavailable(
                f"the backend {name} cannot be imported: {problem}", hint=f"install what it needs: {point.value}"
            ) from problem
        return backend
    near = difflib.get_close_matches(name, names(), 1)
    raise BackendUnavailable(
        f"there is no backend {name!r} here" + (f"; did you mean {near[0]!r}?" if near else ""),
        hint=f"installed are: {', '.join(names()) or 'none'}",
    )
