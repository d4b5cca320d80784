"""Run a cell for any front end: build a RunSpec from the cell and its options, and pass it to stages.py.

Rule: a front end only parses, calls `execute` and displays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic import sessions
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.engine import stages
from uv_argo_magic.engine.preparation.build import guest_text
from uv_argo_magic.engine.preparation.spec_builder import specify

if TYPE_CHECKING:
    from uv_argo_magic.core.commands.run_options import RunOptions
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.front_end import FrontEnd
    from uv_argo_magic.engine.run import Run


def execute(
    cell: str,
    options: RunOptions,
    context: CellContext,
    front_end: FrontEnd,
    requirements: Requirements | None = None,
) -> Run | None:
    """Run a cell; return the run, which has succeeded or continues in the background, or None with `--dry-run`.

    `requirements` replace those of the options.

    Raises:
        SpecError: the options, the requirements or a setting are invalid.
        ResolutionError: no versions satisfy the requirements.
        PolicyError: a check refused the run (engine/checks.py).
        BackendError: the backend cannot be reached, or refused the run.
        RunError: the run failed.
    """
    session = None
    if options.session:
        can_ask = context.is_interactive and not options.detach
        session = sessions.session.open_session(
            options.session, context, restart_first=options.restart, can_ask=can_ask
        )
    spec, configuration = specify(cell, options, context, requirements, session)
    front_end.check_syntax(cell, spec.code, spec.python)
    if not options.dry_run and session is None:
        base.warm(lookup.load(spec.backend), guest_text(), spec)
    notes = (*(session.notes if session else ()), *configuration.notes, *spec.requirements.warnings)
    return stages.carry_out(
        spec, front_end, notes=notes, upgrade=options.upgrade, dry_run=options.dry_run, session=session
    )
