"""`doctor`: looks at what a run needs, in order, then runs a small one and says how far it came.

Rules:
- Checks appear as they become known; a failed one says what to do, and what depends on it is skipped and said.
- The small run asks for one package, so that the index is asked from here and from over there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.backends.base import Check
from uv_argo_magic.commands.registry import Failure
from uv_argo_magic.core.commands.table import run_options
from uv_argo_magic.core.requirements.model import parse
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine import run as engine
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, BackendError, ResolutionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.engine.context import CellContext

PACKAGE = "six"
"""A small one that every index has."""
CELL = "import six, sys\nprint(sys.version.split()[0], six.__version__)\n"
PATIENCE = 180.0
"""Seconds that a pod may take to start: an image is pulled."""
END = 45.0
"""Seconds that the place may take to say how its process ended: Argo's controller looks every ten."""
LOOK = 0.1


def handle(request: Request) -> Iterator[str | Failure]:
    """The `doctor` command."""
    has_failed = False
    for check in examine(request.line, request.context):
        yield text(check)
        has_failed = has_failed or check.outcome == "failed"
    if has_failed:
        yield Failure()


def examine(line: Line, context: CellContext) -> Iterator[Check]:
    """Every check, one after the other, for the backend and settings of the line.

    Raises:
        SpecError: the line is wrong.
        BackendUnavailable: there is no such backend.
    """
    spec, _ = specify(CELL, run_options(line), context, parse(PACKAGE))
    backend = base.load(spec.backend)
    failed = ""
    for check in base.checks(backend, spec):
        yield check
        failed = failed or (check.name if check.outcome == "failed" else "")
    if failed:
        yield Check(name="a small run", outcome="skipped", message=f"needs {failed}")
        return
    started_at = time.monotonic()
    try:
        prepared = prepare(spec, backend)
    except (SpecError, ResolutionError, BackendError) as problem:
        yield _failed("index, from here" if isinstance(problem, ResolutionError) else "settings", problem)
        return
    lock = prepared.resolution
    if isinstance(lock, Lock):
        message = f"has {lock.packages[0].name} {lock.packages[0].version} ({time.monotonic() - started_at:.1f} s)"
        yield Check(name="index, from here", outcome="ok", message=message)
    else:
        yield Check(name="index, from here", outcome="note", message=f"{lock.reason} It is asked from over there.")
    try:
        run = engine.start(prepared, backend=backend)
    except BackendError as problem:
        yield _failed("submission", problem)
        return
    try:
        yield from _follow(run, backend)
    finally:
        run.stop("doctor")


def text(check: Check) -> str:
    """A check as lines for people."""
    outcome = "FAILED" if check.outcome == "failed" else check.outcome
    line = f"{outcome:<8} {check.name:<22} {check.message}".rstrip()
    return f"{line}\n{'':<32}{check.hint}" if check.hint else line


def _follow(run: engine.Run, backend: base.Backend) -> Iterator[Check]:
    started_at = time.monotonic()
    yield Check(name="submission", outcome="ok", message=f"accepted as {run.name}")
    reported = {""}
    while not (run.state.hello or run.state.ended) and time.monotonic() - started_at < PATIENCE:
        state = run.wait(LOOK)
        message = state.node.message if state.node and not state.hello else ""
        if message not in reported:
            reported.add(message)
            yield Check(name="start", outcome="note", message=message)
    state = run.state
    if not state.hello:
        yield _not_started(state)
        return
    detail = f"Python {state.hello.python} began after {time.monotonic() - started_at:.1f} s"
    yield Check(name="start", outcome="ok", message=detail)
    yield from base.run_checks(backend, run.name)
    state = run.wait(PATIENCE)
    if state.installed:
        detail = f"{PACKAGE} was there already" if state.installed.cached else f"took {state.installed.seconds:.1f} s"
        yield Check(name="install", outcome="ok", message=detail)
    if state.outcome != "Succeeded":
        yield Check(name="cell", outcome="failed", message=messages.sentence(state), hint=messages.hint(state))
        return
    detail = f"its output came back after {time.monotonic() - started_at:.1f} s: {run.logs().strip()}"
    yield Check(name="cell", outcome="ok", message=detail)
    yield _end(run)


def _not_started(state: RunState) -> Check:
    if state.ended:
        return Check(name="start", outcome="failed", message=messages.sentence(state), hint=messages.hint(state))
    detail = f": {state.node.message}" if state.node and state.node.message else ""
    return Check(
        name="start",
        outcome="failed",
        message=f"nothing began in {PATIENCE:.0f} s{detail}",
        hint="Correct what it waits for, or ask an administrator about it.",
    )


def _end(run: engine.Run) -> Check:
    """What the place itself says of the end, which comes after the cell's own."""
    begun = time.monotonic()
    while time.monotonic() - begun < END:
        node = run.state.node
        if node and node.phase in base.FINAL_PHASES:
            if node.phase == "Succeeded":
                return Check(name="end", outcome="ok", message="its place says so too")
            return Check(
                name="end",
                outcome="failed",
                message=f"the cell succeeded, and its place says {node.phase}: {node.message}",
                hint="Cells run and their output is right; their workflows show as failed until this is mended.",
            )
        time.sleep(LOOK)
    return Check(
        name="end",
        outcome="note",
        message=f"the place has not said how it ended in {END:.0f} s",
        hint="Ask an administrator whether the workflow controller runs.",
    )


def _failed(name: str, problem: ArgoMagicError) -> Check:
    return Check(name=name, outcome="failed", message=str(problem), hint=problem.hint)
