"""Submit a prepared run unchanged, or join a run that another process started."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.core.protocol import events
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec.program import pushed_file
from uv_argo_magic.engine.run import Run, not_started, remove_pushed
from uv_argo_magic.errors import BackendUnavailable
from uv_argo_magic.guest_values import files

if TYPE_CHECKING:
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.find_run import RunRef
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Hooks
    from uv_argo_magic.history.run_files import RunFiles
    from uv_argo_magic.history.store import History


def new_id() -> str:
    """A new, unique id for a run; ids sort by time."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + os.urandom(3).hex()


def start(  # noqa: PLR0913 - by keyword, each with a default
    prepared: Prepared,
    *,
    history: History | None = None,
    notebook: str = "",
    backend: base.Backend | None = None,
    warm: bool = False,
    hooks: Hooks | None = None,
    run_id: str = "",
    began_at: float = 0.0,
    is_followed: bool = False,
) -> Run:
    """Submit a run and start reading it; with `warm`, the backend prepares for the next run at the end.

    If `is_followed`, the caller must call `follow` at once.

    `run_id` is from `new_id` (default: a new one), `began_at` the start of the preparation (Unix seconds; 0: now).

    Raises:
        BackendError: the backend cannot be reached, or refused the run.
    """
    chosen = backend or prepared.target.backend
    run_id, spec = run_id or new_id(), prepared.spec
    files = _begin(history, prepared, chosen, run_id, notebook) if history is not None else None
    try:
        if prepared.exchange and (spec.push or spec.pull):
            _write_pushed(prepared)
        submission = chosen.submit(prepared.program, spec, run_id, notebook=notebook)
    except BaseException as problem:
        if prepared.exchange:
            remove_pushed(Path(prepared.exchange))
        if files is not None:
            _keep_refusal(files, run_id, problem)
        raise
    if files is not None and submission.worker:
        with contextlib.suppress(OSError):
            files.note("worker", submission.worker)
    submitted = events.Submitted(
        name=submission.name,
        location=submission.location,
        t=time.time(),
        session=spec.session,
        requirements=spec.requirements.lines,
        requirements_source=spec.requirements_source,
        sent=spec.sent,
    )
    run = Run(
        chosen, run_id=run_id, submitted=submitted, nonce=prepared.program.nonce, settings=spec.settings,
        resolution=prepared.resolution, files=files, hooks=hooks, began_at=began_at,
        warm=functools.partial(base.warm, chosen, prepared.program.guest, spec) if warm else None,
        has_more=base.polled(chosen) if is_followed else None,
    )  # fmt: skip
    lock = prepared.resolution
    # Do not run uv again for each later cell of a session, whose packages are already installed.
    if isinstance(lock, Lock) and not lock.is_annotated and (spec.requirements or not spec.session):
        run.explain(functools.partial(prepared.resolver.explain, lock, spec.requirements))
    return run


def _begin(history: History, prepared: Prepared, backend: base.Backend, run_id: str, notebook: str) -> RunFiles:
    """Record the beginning of the run in the history.

    Raises:
        BackendUnavailable: the history cannot be written.
    """
    return history.begin(
        run_id,
        spec=prepared.spec,
        resolution=prepared.resolution,
        notebook=notebook,
        nonce=prepared.program.nonce,
        image=prepared.interpreter.image,
        # The history must not lose a workflow; a local run ends with this process, or has a worker.
        later=bool(prepared.spec.session) or base.Capability.LOCAL in backend.capabilities,
    )


def _write_pushed(prepared: Prepared) -> None:
    """Write the pushed values that are sent as files.

    Raises:
        BackendUnavailable: the values cannot be written.
    """
    folder = Path(prepared.exchange)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the folder of a session's cell is created later
        folder.mkdir(mode=0o700)
        for number, item in enumerate(prepared.spec.push):
            if name := pushed_file(item, number):
                files.write(str(folder / name), item.text, item.buffers, is_sealed=item.form == "sealed")
    except OSError as problem:
        raise BackendUnavailable(f"cannot write the pushed values: {problem}", hint=paths.WRITABLE) from problem


def _keep_refusal(files: RunFiles, run_id: str, problem: BaseException) -> None:
    """Record in the history that the run was not submitted, and why."""
    now = time.time()
    event: events.Event = events.StopRequested(by="an interrupt", t=now)
    if isinstance(problem, Exception):
        event = not_started(problem)
    with contextlib.suppress(OSError):
        files.finish(fold([event, events.LogEnded(t=now)], RunState(run=run_id)))


def join(
    ref: RunRef,
    *,
    history: History | None = None,
    settings: Settings,
    hooks: Hooks | None = None,
) -> Run:
    """Follow a run that another process started; `settings` are those for showing it.

    If that process was on this machine and has ended, this process continues the history of the run.

    Raises:
        BackendError: the backend cannot be reached.
    """
    remote, entry = ref.remote, ref.entry
    if remote is None:
        raise ValueError(f"the backend has no run {ref.id}")
    submitted = events.Submitted(name=remote.name, location=remote.location, t=remote.started_at)
    files = history.take_over(entry) if history is not None and entry is not None and entry.unseen else None
    return Run(
        ref.source, run_id=ref.id, submitted=submitted, nonce=remote.nonce, settings=settings,
        resolution=entry.lock() if entry else None, files=files, hooks=hooks,
    )  # fmt: skip
