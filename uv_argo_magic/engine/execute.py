"""Run a cell: the one place that strings together specify, prepare, submit, follow and raise.

    options, context -> RunSpec -> target and lock -> checks -> program -> submission -> state -> result or exception

Rules:
- A front end parses, calls `execute` and displays; whatever differs between front ends is a method of `FrontEnd`.
- `verify`, `doctor` and image probes use the same parts (engine/prepare.py, engine/run.py) without a front end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from uv_argo_magic.backends import base
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine import run as runs
from uv_argo_magic.engine.build import guest_text
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.spec_builder import specify

if TYPE_CHECKING:
    from uv_argo_magic.core.commands.table import RunOptions
    from uv_argo_magic.core.protocol import remote_error
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.prepare import Prepared
    from uv_argo_magic.history.store import History


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

    def notify(self, note: str) -> None:
        """Show what takes time before the run is submitted."""

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

    def follow(self, run: runs.Run, prepared: Prepared) -> bool:
        """Show the run; whether this waited for its end.

        Raises:
            KeyboardInterrupt: the user interrupted the run, which was stopped.
        """


def execute(
    cell: str,
    options: RunOptions,
    context: CellContext,
    front_end: FrontEnd,
    requirements: Requirements | None = None,
) -> runs.Run | None:
    """Run a cell; its run, which has succeeded or goes on in the background. None: `--dry-run`.

    `requirements` stand in for those of the options.

    Raises:
        SpecError: the options, the requirements or a setting are invalid.
        ResolutionError: no set of versions satisfies the requirements.
        PolicyError: a check refused the run (engine/checks.py).
        BackendError: the backend cannot be reached, or refused the run.
        RunError: the run ended badly.
    """
    spec, configuration = specify(cell, options, context, requirements)
    front_end.check_syntax(cell, spec.code, spec.python)
    if not options.dry_run:
        base.warm(base.load(spec.backend), guest_text(), spec)
    prepared = prepare(
        spec,
        notebook=front_end.document,
        upgrade=options.upgrade,
        dry_run=options.dry_run,
        notify=front_end.notify,
    )
    front_end.check_syntax(cell, spec.code, prepared.interpreter.target.minor)
    notes = (*configuration.notes, *spec.requirements.warnings, *messages.warnings(prepared.resolution))
    front_end.show_notes(notes, spec.settings)
    if options.dry_run:
        front_end.show_plan(prepared)
        return None
    run = runs.start(
        prepared,
        history=front_end.history(spec.settings),
        notebook=front_end.document,
        warm=front_end.keeps_warm,
        hooks=runs.Hooks(rebuild=front_end.rebuild, bind=front_end.bind, command=front_end.command),
    )
    if front_end.follow(run, prepared):
        run.raise_for_state()
    return run
