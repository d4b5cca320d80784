"""Prepare a run before it is submitted: target, lock and program."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic import sessions, values
from uv_argo_magic._os import paths
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.resolution.lock import Lock, Resolution, Unresolved
from uv_argo_magic.core.spec import indexes
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.preparation import ipython_syntax
from uv_argo_magic.engine.preparation.build import build
from uv_argo_magic.engine.preparation.prepared import Prepared, RunTarget
from uv_argo_magic.errors import ResolutionError, SpecError

if TYPE_CHECKING:
    import threading

    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.engine.preparation.image_probe import Notify
    from uv_argo_magic.sessions.session import Session


def find_target(
    spec: RunSpec,
    backend: base.Backend | None = None,
    *,
    may_run: bool = True,
    notify: Notify | None = None,
    cancelled: threading.Event | None = None,
) -> RunTarget:
    """Find the requested Python of the backend, and the packages in its image.

    An image is inspected with a probe run, which `notify` announces. Without `may_run`, an image that was never
    inspected is an error.

    Raises:
        SpecError: there is no such Python.
        BackendError: the backend is not installed, cannot be reached, or refused the probe.
        Cancelled: `cancelled` was set, in another thread.
    """
    backend = backend or lookup.load(spec.backend)
    found_spec, packages = spec, None
    if spec.settings.base or spec.settings.image:
        from uv_argo_magic.engine.preparation import image_probe  # noqa: PLC0415 - 7 ms, and a run on this machine has no image

        cache = paths.cache_dir() / "images"
        found_spec, packages = image_probe.inspect_image(
            spec, backend, cache, may_run=may_run, notify=notify, cancelled=cancelled
        )
    interpreter = replace(backend.target(found_spec), base=packages)
    return RunTarget(requested=spec, spec=found_spec, backend=backend, interpreter=interpreter)


def prepare(  # noqa: PLR0913 - keyword-only, with defaults for a plain cell
    spec: RunSpec,
    backend: base.Backend | None = None,
    *,
    notebook: str = "",
    upgrade: bool = False,
    resolution: Resolution | None = None,
    dry_run: bool = False,
    purpose: checks.Purpose | None = None,
    notify: Notify | None = None,
    session: Session | None = None,
    cancelled: threading.Event | None = None,
    exchange: str = "",
) -> Prepared:
    """Find the target, resolve the requirements for it, apply the checks, and build the program.

    The lock stored for this `notebook` (its path) is used, unless `upgrade`; a given `resolution` is used unchanged.
    With `dry_run`, no lock is stored. `purpose` is for the checks (default: "plan" with `dry_run`, else "run").
    `exchange` is a folder for files of values. `notify` and `cancelled` are those of `find_target`. A `session`
    installs only the packages that it lacks.

    Raises:
        SpecError: there is no such Python, or a password would be sent to the backend.
        BackendUnavailable: there is no such backend.
        ResolutionError: no versions satisfy the requirements.
        PolicyError: a check refused the run.
        Cancelled: `cancelled` was set, in another thread.
    """
    backend = backend or lookup.load(spec.backend)
    if base.Capability.LOCAL not in backend.capabilities:
        _refuse_passwords(spec.settings)
    spec = checks.begin(spec, backend, notebook)
    if session is not None and session.interpreter is not None:
        target = RunTarget(requested=spec, spec=spec, backend=backend, interpreter=session.interpreter)
    else:
        target = find_target(spec, backend, notify=notify, cancelled=cancelled)
    missing: Resolution | None = None
    if session is not None and session.lock is not None:
        resolver = functools.partial(target.resolver, notebook)
        resolution, missing = session.extend(session.lock, target.spec.requirements, resolver, resolution)
    if not resolution:
        target, resolution = _resolve(target, notebook, upgrade=upgrade, save=not dry_run, cancelled=cancelled)
    if spec.push:
        values.pushing.refuse_other_python(spec.push, target.interpreter.target.minor)
    ipython_syntax.refuse_unknown(target.spec, resolution, is_started=missing is not None)
    installs = _lock_installs(target, resolution, notebook, session, save=not dry_run, cancelled=cancelled)
    proposal = checks.Proposal(
        spec=target.spec,
        resolution=resolution,
        purpose=purpose or ("plan" if dry_run else "run"),
        installs=installs,
        document=notebook,
        backend=backend,
        resolver=functools.partial(target.resolver, notebook),
    )
    program = build(proposal, missing, exchange, has_modules=session is not None and session.has_modules)
    return Prepared(
        target=target, notebook=notebook, resolution=resolution, installs=installs, program=program, exchange=exchange
    )


def _refuse_passwords(settings: Settings) -> None:
    if indexes.credentials(settings):
        raise SpecError(
            "the URL of an index contains a password, which would be sent to the cluster",
            hint="Remove it from the URL (--set indexes=NAME=URL). For this machine, set UV_INDEX_NAME_USERNAME and "
            "UV_INDEX_NAME_PASSWORD; for the cluster, add --set index_secrets=NAME=SECRET.",
        )


def _resolve(
    target: RunTarget, notebook: str, *, upgrade: bool, save: bool, cancelled: threading.Event | None
) -> tuple[RunTarget, Resolution]:
    """The lock, and the target with the final requirements: IPython is added for a notebook's cell that needs it.

    Raises:
        ResolutionError: no versions satisfy the requirements, or the cell runs on this machine and no index responds.
    """
    requirements, interpreter = target.spec.requirements, target.interpreter
    if not target.spec.script:
        names = (item.name for item in requirements.items)
        requirements = ipython_syntax.with_ipython(requirements, names, target.spec.code)
    if not requirements:
        return target, Lock.empty(interpreter.target, interpreter.base.digest if interpreter.base else "")
    resolver = target.resolver(notebook)
    resolution = resolver.lock(requirements, upgrade=upgrade, save=save, cancelled=cancelled)
    if not target.spec.script and isinstance(resolution, Lock):
        more = ipython_syntax.with_ipython(requirements, (package.name for package in resolution.packages))
        if more != requirements:
            requirements = more
            resolution = resolver.lock(more, upgrade=upgrade, save=save, cancelled=cancelled)
    _refuse_unresolved(target, resolution)
    return replace(target, spec=replace(target.spec, requirements=requirements)), resolution


def _refuse_unresolved(target: RunTarget, resolution: Resolution) -> None:
    """Raise if the run would ask the same index from this machine again."""
    if isinstance(resolution, Unresolved) and base.Capability.LOCAL in target.backend.capabilities:
        raise ResolutionError(resolution.reason, hint=resolution.hint)


def _lock_installs(
    target: RunTarget,
    resolution: Resolution,
    notebook: str,
    session: Session | None,
    *,
    save: bool,
    cancelled: threading.Event | None,
) -> tuple[tuple[str, Lock], ...]:
    """A lock for each `%pip install` line, with the packages that are missing at that line, in compatible versions.

    Raises:
        SpecError: the packages of the cell are not known on this machine.
        ResolutionError: no versions satisfy a line together with the packages before it.
    """
    spec, found = target.spec, []
    lines = ipython_syntax.installs(spec.code, spec.line_offset) if spec.code else ()
    present = {package.name: package.version for package in getattr(resolution, "packages", ())}
    for argument, requirements in lines:
        pins = tuple(f"{name}=={version}" for name, version in present.items() if version)
        settings = replace(spec.settings, constraints=(*spec.settings.constraints, *pins))
        resolver = replace(target, spec=replace(spec, settings=settings)).resolver(notebook)
        lock = resolution
        if isinstance(resolution, Lock):
            try:
                lock = resolver.lock(requirements, save=save, cancelled=cancelled)
            except ResolutionError as problem:
                if session is None:
                    raise
                resolver = target.resolver(notebook)
                raise sessions.packages.conflict(session.name, requirements, resolver, present, problem) from problem
        _refuse_unresolved(target, lock)
        if not isinstance(lock, Lock):
            raise SpecError(
                f"%pip {argument}: the versions cannot be resolved here ({lock.reason.rstrip('.')})",
                hint="Add the packages to --deps: they are then resolved where the cell runs.",
            )
        missing = tuple(package for package in lock.packages if package.name not in present)
        present |= {package.name: package.version for package in missing}
        found.append((argument, replace(lock, packages=missing)))
    return tuple(found)
