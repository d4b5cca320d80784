"""The `doctor` command: check the setup step by step, then run a test cell.

Rules:
- Each result is shown as soon as it is known. A failed check has a hint; checks that depend on it are skipped.
- The test cell requires one package, so that both this machine and the pod must reach the package index.
"""

from __future__ import annotations

import contextlib
import math
import textwrap
import time
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends import base, lookup
from uv_argo_magic.backends.base import Check
from uv_argo_magic.commands.registry import Failure, TableUpdate
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.view import messages
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.engine import stages
from uv_argo_magic.engine.front_end import QuietFrontEnd
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, BackendError, PolicyError, ResolutionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.run import Run

PACKAGE = "six"
"""A small package that every index has."""
CELL = "import six, sys\nprint(sys.version.split()[0], six.__version__)\n"
PATIENCE = 180.0
"""Maximum seconds for the start of a pod, which can include pulling its image."""
END = 45.0
"""Seconds to wait for the backend's final phase; Argo's controller updates it every ten seconds."""
LOOK = 0.1
BLOCKED = 30.0
"""Seconds to wait if something prevents the pod from starting."""
WIDTH = 90
"""Characters per line in the table of a notebook."""
_UNBROKEN: Any = {"break_long_words": False, "break_on_hyphens": False}


def handle(request: Request) -> Iterator[TableUpdate | Failure]:
    """The `doctor` command."""
    checks: list[Check] = []
    for check in examine(request.line, request.context):
        checks.append(check)
        yield TableUpdate(table=table(checks), new=text(check))
    if any(check.outcome == "failed" for check in checks):
        yield Failure()


def table(checks: Sequence[Check]) -> Table:
    """A table of the checks so far, with each hint in a separate row."""
    rows: list[tuple[str, str, str]] = []
    for check in checks:
        first, *others = textwrap.wrap(check.message, WIDTH, **_UNBROKEN) or [""]
        rows.append((_outcome(check), check.name, first))
        rows += [("", "", line) for line in (*others, *textwrap.wrap(check.hint, WIDTH, **_UNBROKEN))]
    return Table(head=("RESULT", "CHECK", "DETAILS"), rows=tuple(rows))


def examine(line: Line, context: CellContext) -> Iterator[Check]:
    """Check the backend and settings of the line, and yield each result.

    Raises:
        SpecError: the line is invalid.
        BackendUnavailable: the backend is not installed.
    """
    spec, _ = specify(CELL, run_options(line), context, parse(PACKAGE))
    backend = lookup.load(spec.backend)
    failed = ""
    for check in base.checks(backend, spec):
        yield check
        failed = failed or (check.name if check.outcome == "failed" else "")
    if failed:
        yield Check(name="test cell", outcome="skipped", message=f"depends on {failed}")
        return
    started_at = time.monotonic()
    front_end = QuietFrontEnd()
    try:
        prepared = stages.ready(spec, front_end)
    except PolicyError as problem:
        sentences = [f"{violation.sentence}." for violation in problem.violations]
        message = " ".join(sentences) or problem.message
        yield Check(name="policy", outcome="failed", message=message, hint=problem.hint)
        return
    except (SpecError, ResolutionError, BackendError) as problem:
        yield _failed("package index" if isinstance(problem, ResolutionError) else "settings", problem)
        return
    lock = prepared.resolution
    if isinstance(lock, Lock):
        message = f"found {lock.packages[0].name} {lock.packages[0].version} ({time.monotonic() - started_at:.1f} s)"
        yield Check(name="package index", outcome="ok", message=message)
    else:
        yield Check(
            name="package index",
            outcome="note",
            message=f"{lock.reason} Versions will be resolved in the pod instead.",
        )
    try:
        run = stages.submit(prepared, front_end)
    except BackendError as problem:
        yield _failed("submission", problem)
        return
    try:
        yield from _follow(run, backend)
    finally:
        with contextlib.suppress(BackendError):  # the checks have already reported the problem
            run.stop("doctor")


def _outcome(check: Check) -> str:
    return "FAILED" if check.outcome == "failed" else check.outcome


def text(check: Check) -> str:
    """A check as text lines for a terminal."""
    head, margin = f"{_outcome(check):<8} {check.name:<25} ", " " * 35
    lines = textwrap.wrap(check.message, 80, initial_indent=head, subsequent_indent=margin, **_UNBROKEN)
    hint = textwrap.wrap(check.hint, 80, initial_indent=margin, subsequent_indent=margin, **_UNBROKEN)
    return "\n".join([*(lines or [head.rstrip()]), *hint])


def _follow(run: Run, backend: base.Backend) -> Iterator[Check]:
    started_at = time.monotonic()
    yield Check(name="submission", outcome="ok", message=f"accepted as {run.name}")
    reported = {""}
    blocked_at = math.inf
    while not (run.state.hello or run.state.ended) and time.monotonic() < min(
        started_at + PATIENCE, blocked_at + BLOCKED
    ):
        state = run.wait(LOOK)
        blocked_at = min(blocked_at, time.monotonic()) if state.waiting else math.inf
        message = state.node.message if state.node and not state.hello else ""
        if message not in reported:
            reported.add(message)
            yield Check(name="start", outcome="note", message=message)
    state = run.state
    if not state.hello:
        yield _not_started(state, time.monotonic() - started_at)
        return
    detail = f"Python {state.hello.python} started after {time.monotonic() - started_at:.1f} s"
    yield Check(name="start", outcome="ok", message=detail)
    yield from base.run_checks(backend, run.name)
    state = run.wait(PATIENCE)
    if state.installed:
        detail = (
            f"{PACKAGE} was in the environment store"
            if state.installed.cached
            else f"took {state.installed.seconds:.1f} s"
        )
        yield Check(name="install", outcome="ok", message=detail)
    if state.outcome != "Succeeded":
        yield Check(name="cell", outcome="failed", message=messages.sentence(state), hint=messages.hint(state))
        return
    detail = f"output after {time.monotonic() - started_at:.1f} s: {run.logs().strip()}"
    yield Check(name="cell", outcome="ok", message=detail)
    yield _end(run)


def _not_started(state: RunState, seconds: float) -> Check:
    if state.ended:
        return Check(name="start", outcome="failed", message=messages.sentence(state), hint=messages.hint(state))
    cause, _, step = (state.waiting or (state.node.message if state.node else "")).partition("; ")
    return Check(
        name="start",
        outcome="failed",
        message=f"the cell has not started after {seconds:.0f} s" + (f": {cause}" if cause else ""),
        hint=f"{step[:1].upper()}{step[1:]}." if step else "Ask your administrator about the cluster's nodes.",
    )


def _end(run: Run) -> Check:
    """The final phase in the backend, which follows the end of the cell."""
    started_at = time.monotonic()
    while time.monotonic() - started_at < END:
        node = run.state.node
        if node and node.phase in base.FINAL_PHASES:
            if node.phase == "Succeeded":
                return Check(name="end", outcome="ok", message=f"the backend reports {node.phase}")
            return Check(
                name="end",
                outcome="failed",
                message=f"the cell succeeded, but the backend reports {node.phase}: {node.message}",
                hint="Cells work, but their workflows will be shown as Failed until this is fixed.",
            )
        time.sleep(LOOK)
    return Check(
        name="end",
        outcome="note",
        message=f"no final phase after {END:.0f} s",
        hint="Ask your administrator whether the workflow controller is running.",
    )


def _failed(name: str, problem: ArgoMagicError) -> Check:
    return Check(name=name, outcome="failed", message=str(problem), hint=problem.hint)
