"""The stages of a run, in order: prepare, check, submit, follow, raise. All front ends use this module.

    RunSpec -> target and lock -> checks -> program -> submission -> state -> exception, if the run failed

Rule: differences between front ends are methods of `FrontEnd` (front_end.py).
"""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic.backends.sessions import exchanges_files
from uv_argo_magic.core.protocol.events import Question
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine import run as runs
from uv_argo_magic.engine import start_run
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.errors import PolicyError

if TYPE_CHECKING:
    import threading

    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.front_end import FrontEnd
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.sessions.session import Session


def carry_out(  # noqa: PLR0913 - keyword-only, with defaults for a plain cell
    spec: RunSpec,
    front_end: FrontEnd,
    *,
    notes: tuple[str, ...] = (),
    upgrade: bool = False,
    dry_run: bool = False,
    resolution: Resolution | None = None,
    session: Session | None = None,
) -> runs.Run | None:
    """Run all stages; return the run, which has succeeded or continues in the background, or None with `dry_run`.

    `notes` are shown with those of the resolution. A given `resolution` is used unchanged, and `upgrade` replaces the
    stored one. The `session` runs the cell, if there is one.

    Raises:
        ArgoMagicError: as in `ready` and `submit`.
        RunError: the run failed.
    """
    began_at, run_id = time.time(), start_run.new_id()
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
    try:
        waited = front_end.follow(run, prepared)
    except KeyboardInterrupt:
        if not run.state.stop_requested:  # interrupted before `Run.follow`, for example while the panel was created
            run.ask_to_stop("an interrupt")
        raise
    finally:
        run.read_on()  # even if a view failed before it followed the run
    if waited:
        run.deliver()
    return run


def ready(  # noqa: PLR0913 - keyword-only, with defaults for a plain cell
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
    """Prepare and check a run, show the notes, and return the run ready for submission.

    Raises:
        SpecError: a setting is invalid for the backend.
        ResolutionError: no versions satisfy the requirements.
        PolicyError: a check refused the run (engine/checks.py).
        BackendError: the backend cannot be reached, or refused a probe.
        CellFailed: the cell has a syntax error.
    """

    def work(cancelled: threading.Event, spec: RunSpec = spec) -> Prepared:
        return prepare(
            spec,
            notebook=front_end.document,
            upgrade=upgrade,
            resolution=resolution,
            dry_run=dry_run,
            notify=front_end.notify,
            session=session,
            cancelled=cancelled,
            exchange=_exchange(spec, front_end, run_id),
        )

    try:
        prepared = front_end.prepare(work, spec, run_id)
    except PolicyError as question:
        if not question.is_question or not _is_confirmed(question, front_end):
            raise
        confirmed = replace(spec, settings=replace(spec.settings, yes=True))
        prepared = front_end.prepare(functools.partial(work, spec=confirmed), confirmed, run_id)
    front_end.check_syntax(spec.cell, spec.code, prepared.interpreter.target.minor)
    front_end.show_notes((*notes, *messages.warnings(prepared.resolution)), spec.settings)
    return prepared


def _is_confirmed(question: PolicyError, front_end: FrontEnd) -> bool:
    """Whether the user confirms the question; False if the front end cannot ask."""
    sentences = "\n".join(f"{violation.sentence}." for violation in question.violations)
    try:
        answer = front_end.ask(Question(prompt=f"{sentences}\nInstall them? [y/N] ", boot="", n=0, t=time.time()))
    except (EOFError, RuntimeError):  # IPython raises RuntimeError if there is no stdin
        return False
    return answer.strip().lower() in ("y", "yes")


def _exchange(spec: RunSpec, front_end: FrontEnd, run_id: str) -> str:
    """The folder for files of values in the history; "" if the run is not stored, or its backend does not use files."""
    takes_files = (spec.push or spec.pull) and exchanges_files(spec.backend, in_session=bool(spec.session))
    history = front_end.history(spec.settings) if run_id and takes_files else None
    return str(history.root / run_id / "values") if history is not None else ""


def submit(
    prepared: Prepared, front_end: FrontEnd, session: Session | None = None, *, run_id: str = "", began_at: float = 0.0
) -> runs.Run:
    """Submit a prepared run; a `session` is started if this is its first cell.

    `run_id` and `began_at` are those of `start_run.start`.

    Raises:
        BackendError: the backend cannot be reached, or refused the run.
    """
    return start_run.start(
        prepared,
        backend=session.runs(prepared, waits=not front_end.waits_for_end) if session else None,
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
        is_followed=front_end.waits_for_end,
    )
