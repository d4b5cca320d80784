"""The Backend protocol, and how one is found by name.

Rule: no backend is special. Ours are declared in the same entry-point group as anybody's, and nothing outside a backend
asks which one it has.
"""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.events import NodePhase
    from uv_argo_magic.core.program import Program
    from uv_argo_magic.core.spec import RunSpec

GROUP = "uv_argo_magic.backends"


@runtime_checkable
class Backend(Protocol):
    """A place where programs run; the verbs are the argo command's."""

    capabilities: frozenset[str]
    """What it can do beyond running a cell: "detach", "resources"."""
    place: str
    """Where it runs, in words: "here", or a context and namespace."""

    def submit(self, program: Program, spec: RunSpec, run_id: str) -> str:
        """Begin to run the program; the name by which it is known there.

        Raises:
            BackendUnavailable: the place does not answer.
            SubmitRejected: it refused the run.
        """

    def watch(self, name: str) -> Iterator[str | NodePhase]:
        """Log text (whole lines) and observed phases, from the start, to the end; may be called again."""

    def stop(self, name: str) -> None:
        """Ask for the end, politely first; no error where there is nothing to stop."""

    def delete(self, name: str) -> None:
        """Forget the run and what it left there; no error where there is nothing."""


def names() -> tuple[str, ...]:
    """The backends that are installed."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def find(name: str) -> type[Backend]:
    """The class of the backend of that name.

    Raises:
        BackendUnavailable: there is none, or it cannot be imported.
    """
    for point in entry_points(group=GROUP, name=name):
        try:
            backend: type[Backend] = point.load()
        except (ImportError, AttributeError) as problem:
            raise BackendUnavailable(
                f"the backend {name} cannot be imported: {problem}", hint=f"install what it needs: {point.value}"
            ) from problem
        return backend
    near = difflib.get_close_matches(name, names(), 1)
    raise BackendUnavailable(
        f"there is no backend {name!r} here" + (f"; did you mean {near[0]!r}?" if near else ""),
        hint=f"installed are: {', '.join(names()) or 'none'}",
    )


def load(name: str) -> Backend:
    """The backend of that name, ready; raises as `find` does."""
    return find(name)()
