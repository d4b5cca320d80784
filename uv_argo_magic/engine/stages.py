"""From a spec to the end of its run: prepare, check, submit, follow and raise, in this order and only here.

    RunSpec -> target and lock -> checks -> program -> submission -> state -> exception, if it ended badly

Rule: whatever differs between the places that run something is a method of `FrontEnd`.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from uv_argo_magic.core.view import messages
from uv_argo_magic.engine import run as runs
from uv_argo_magic.engine.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol import remote_error
    from uv_argo_magic.core.protocol.events import LocalName, Question
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.engine.prepared import Prepared
    from uv_argo_magic.history.store import History
    from uv_argo_magic.sessions.session import Session


class FrontEnd(Protocol):
    """Where a run is started and shown: a notebook's cell, a terminal, a Python program."""

    document: str
    """The path of the notebook or file that locks and history belong to; "": none."""
    command: str
    """What a user types before a command: "%argo", "uv-argo"."""
    keeps_warm: bool
    """Whether another cell is likely to follow: the local backend then starts its process ahead."""

    def check_syntax(self, cell: str, code: str, python: str) -> None:
        """Refuse a cell that is not Python, if this process can tell for that version ("": not known yet).

        `code` is the translation of a cell with IPython's syntax, "" for plain Python.

        Raises:
            CellFailed: the cell has a syntax error.
        """

    def prepare(self, work: Callable[[threading.Event], Prepared], spec: RunSpec, run_id: str) -> Prepared:
        """Do the work that finds the target and resolves the packages, and show that it goes on.

        Setting the event ends the work. The run will have the id `run_id`.

        Raises:
            KeyboardInterrupt: the user interrupted it.
            Stopped: the user stopped it.
        """

    def notify(self, note: str) -> None:
        """Show what takes time before the run is submitted; from any thread."""

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:
        """Show what the user should know about the run, apart from the cell's output."""

    def show_plan(self, prepared: Prepared) -> None:
        """Show what would run (`--dry-run`)."""

    def history(self, settings: Settings) -> History | None:
        """Where the run is kept; None: nowhere."""

    def rebuild(self, remote: remote_error.RemoteError, state: RunState) -> BaseException:
        """The exception to raise here for the one that the cell raised."""

    def bind(self, values: dict[str, object]) -> None:
        """Take the pulled variables when `Run.result` is called."""

    def find(self, name: str) -> LocalName | None:
        """What this side has under a name that the failed cell lacks."""

    def ask(self, question: Question) -> str:
        """The user's answer to a question of the cell; what it raises goes to the cell."""

    def follow(self, run: runs.Run, prepared: Prepared) -> bool:
        """Show the run; whether this waited for its end.

        Raises:
            KeyboardInterrupt: the user interrupted the run, which was stopped.
        """


class QuietFrontEnd:
    """A front end that shows, keeps and binds nothing, and does not wait for the run: for checks of our own."""

    document = ""
    command = "uv-argo"
    keeps_warm = False

    def check_syntax(self, cell: str, code: str, python: str) -> None:
        """Nothing: the run reports what is wrong."""

    def prepare(self, work: Callable[[threading.Event], Prepared], spec: RunSpec, run_id: str) -> Prepared:  # noqa: ARG002
        """Do the work."""
        return work(threading.Event())

    def notify(self, note: str) -> None:
        """Nothing."""

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:
        """Nothing."""

    def show_plan(self, prepared: Prepared) -> None:
        """Nothing."""

    def history(self, settings: Settings) -> History | None:  # noqa: ARG002 - the protocol's signature
        """None: such a run is not kept."""
        return None

    def rebuild(self, remote: remote_error.RemoteError, state: RunState) -> BaseException:
        """The exception, without lines of a cell."""
        from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415 - only a failed run needs it

        return rebuild.rebuild(remote, state=state)

    def bind(self, values: dict[str, object]) -> None:
        """Nothing."""

    def find(self, name: str) -> LocalName | None:  # noqa: ARG002 - the protocol's signature
        """None: nothing of this side is meant."""
        return None

    def ask(self, question: Question) -> str:
        """Refuse: no user is there."""
        raise EOFError(f"{question.prompt}: no answer")

    def follow(self, run: runs.Run, prepared: Prepared) -> bool:  # noqa: ARG002 - the protocol's signature
        """False: the caller waits."""
        return False


def carry_out(  # noqa: PLR0913 - by keyword, each with a default that a plain cell wants
    spec: RunSpec,
    front_end: FrontEnd,
    *,
    notes: tuple[str, ...] = (),
    upgrade: bool = False,
    dry_run: bool = False,
    resolution: Resolution | None = None,
    session: Session | None = None,
) -> runs.Run | None:
    """All stages; the run, which has succeeded or goes on in the background. None: `dry_run`.

    `notes` are shown with those of the resolution; a given `resolution` is used as it is, and `upgrade` replaces the
    stored one. The `session`, if there is one, runs the cell.

    Raises:
        ArgoMagicError: as `ready` and `submit`.
        RunError: the run ended badly.
    """
    began_at, run_id = time.time(), runs.new_id()
    prepared = ready(
        spec,
        front_end,
        notes=notes,
        upgrade=upgrade,
        dry_run=dry_run,
        resolution=resolution,
        session=session,
        run_id=run_id,
    )
    if dry_run:
        front_end.show_plan(prepared)
        return None
    run = submit(prepared, front_end, session, run_id=run_id, began_at=began_at)
    if front_end.follow(run, prepared):
        run.raise_for_state()
    return run


def ready(  # noqa: PLR0913 - by keyword, each with a default that a plain cell wants
    spec: RunSpec,
    front_end: FrontEnd,
    *,
    notes: tuple[str, ...] = (),
    upgrade: bool = False,
    dry_run: bool = False,
    resolution: Resolution | None = None,
    session: Session | None = None,
    run_id: str = "",
) -> Prepared:
    """The run as it can be submitted, after the checks and the notes.

    Raises:
        SpecError: a setting is invalid on the backend.
        ResolutionError: no set of versions satisfies the requirements.
        PolicyError: a check refused the run (engine/checks.py).
        BackendError: the backend cannot be reached, or refused a probe.
        CellFailed: the cell has a syntax error.
    """

    def work(cancelled: threading.Event) -> Prepared:
        return prepare(
            spec,
            notebook=front_end.document,
            upgrade=upgrade,
            resolution=resolution,
            dry_run=dry_run,
            notify=front_end.notify,
            session=session,
            cancelled=cancelled,
        )

    prepared = front_end.prepare(work, spec, run_id)
    front_end.check_syntax(spec.cell, spec.code, prepared.interpreter.target.minor)
    front_end.show_notes((*notes, *messages.warnings(prepared.resolution)), spec.settings)
    return prepared


def submit(
    prepared: Prepared, front_end: FrontEnd, session: Session | None = None, *, run_id: str = "", began_at: float = 0.0
) -> runs.Run:
    """The submitted run; a `session` is started if this is its first cell.

    `run_id` and `began_at` are those of `runs.start`.

    Raises:
        BackendError: the backend cannot be reached, or refused the run.
    """
    return runs.start(
        prepared,
        backend=session.runs(prepared) if session else None,
        history=front_end.history(prepared.spec.settings),
        notebook=front_end.document,
        warm=front_end.keeps_warm,
        hooks=runs.Hooks(
            rebuild=front_end.rebuild,
            bind=front_end.bind,
            command=front_end.command,
            find=front_end.find,
            ask=front_end.ask,
        ),
        run_id=run_id,
        began_at=began_at,
    )
