"""The `lock` command: show the lock of a run or of requirements, write it to a file, or upgrade it.

Rule: nothing is submitted. The lock of the notebook changes only with `--upgrade`, or if there is none yet.
"""

from __future__ import annotations

import functools
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from uv_argo_magic import requirements_files
from uv_argo_magic._os import atomic_write, paths
from uv_argo_magic.backends import lookup
from uv_argo_magic.core import humanize
from uv_argo_magic.core.commands.run_options import RunOptions, run_options
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution import dependency_tree, lock_export
from uv_argo_magic.core.resolution.diff import difference
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.view import messages
from uv_argo_magic.core.view.tables import Table, changes
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.preparation.prepare import find_target
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.history.entry import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.preparation.prepared import RunTarget
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History
    from uv_argo_magic.uv.resolver import Resolver


@frozen
class _LockRequest:
    """The requirements to lock, and the lock of the run from which they come, if any."""

    spec: RunSpec
    notebook: str
    run_lock: Lock | None = None
    title: str = ""
    notes: tuple[str, ...] = ()


def handle(request: Request) -> Iterator[Table]:
    """The `lock` command."""
    yield lock_and_report(request.line, request.history, request.context)


def lock_and_report(line: Line, history: History, context: CellContext) -> Table:
    """Lock the requirements, store the lock and write it to the file of `--to`; the table to show.

    Raises:
        SpecError: the line or a setting is invalid, or the run does not exist.
        ResolutionError: no versions satisfy the requirements, no index responds, or the run had no lock.
    """
    request = _read_request(line, history, context)
    target = _target(request)
    requirements = target.spec.requirements
    stored = target.resolver(request.notebook)
    unstored = replace(stored, store=None)
    dry_run = line.has("dry_run")
    if line.has("upgrade"):
        previous = stored.stored(requirements) or request.run_lock
        lock = unstored.explain(_require_lock(unstored.lock(requirements)), requirements)
        _enforce(target, lock, request.notebook)
        report = _upgrade_report(previous, lock, dry_run=dry_run)
        if not dry_run:
            stored.save(lock, requirements)
    else:
        resolver = unstored if dry_run else stored
        lock = request.run_lock or _require_lock(resolver.lock(requirements))
        lock = resolver.explain(lock, requirements)
        _enforce(target, lock, request.notebook)
        report = table(lock, resolver.cached(lock), time.time(), request.title)
    report = replace(report, notes=(*report.notes, *request.notes))
    if line.has("to") and not dry_run:
        note = _write(line.text("to"), lock, stored, context)
        report = replace(report, notes=(*report.notes, note))
    return report


def find(line: Line, history: History, context: CellContext) -> tuple[RunTarget, Lock]:
    """The lock of a run or of requirements, and its target.

    Raises:
        SpecError: the line or a setting is invalid, or the run does not exist.
        ResolutionError: no versions satisfy the requirements, no index responds, or the run had no lock.
        PolicyError: a check refused the lock.
    """
    request = _read_request(line, history, context)
    target = _target(request)
    lock = request.run_lock or _require_lock(target.resolver(request.notebook).lock(target.spec.requirements))
    _enforce(target, lock, request.notebook)
    return target, lock


def _target(request: _LockRequest) -> RunTarget:
    """The target of the lock."""
    # The setting `locked` is for cells; these commands change the lock.
    spec = replace(request.spec, settings=replace(request.spec.settings, locked=False))
    return find_target(checks.begin(spec, lookup.load(spec.backend), request.notebook))


def _enforce(target: RunTarget, lock: Lock, notebook: str) -> None:
    checks.enforce(
        checks.Proposal(
            spec=target.spec,
            resolution=lock,
            purpose="lock",
            document=notebook,
            backend=target.backend,
            resolver=functools.partial(target.resolver, notebook),
        )
    )


def table(lock: Lock, cached: frozenset[str], now: float, title: str = "") -> Table:
    """A lock as a tree. `cached` are the packages that need no download on this machine; `now` is in Unix seconds."""
    has_index = any(package.index for package in lock.packages)
    rows = tuple(
        (
            "  " * depth + package.name,
            package.version,
            humanize.size(package.size),
            "yes" if package.name in cached else "",
            *((package.index,) if has_index else ()),
            ", ".join(package.via) or ("requested" if package.requested else ""),
        )
        for depth, package in dependency_tree.tree(lock.packages)
    )
    to_download = sum(package.size for package in lock.packages if package.name not in cached)
    platform = lock.target.platform or "this platform"
    notes = [f"{humanize.count(len(rows), 'package')} for Python {lock.target.python}, {platform}; lock {lock.key}"]
    if rows:
        notes.append(
            f"{humanize.size(lock.size) or '0 B'} in total, {humanize.size(to_download) or 'nothing'} to download"
        )
    if lock.created_at:
        notes.append(messages.lock_age(lock, now))
    notes += filter(None, [messages.base_packages_note(lock)])
    head = ("PACKAGE", "VERSION", "SIZE", "CACHED", *(("INDEX",) if has_index else ()), "REQUIRED BY")
    return Table(
        title=title,
        head=head if rows else (),
        rows=rows,
        flexible=frozenset({0, len(head) - 1}),
        notes=(*notes, *lock.warnings),
        right=frozenset({2}),
    )


def _read_request(line: Line, history: History, context: CellContext) -> _LockRequest:
    options, argument = run_options(line), line.argument
    has_requirements = options.deps is not None or bool(options.requirements)
    if argument and has_requirements:
        raise SpecError(
            f"{line.command} takes a run or requirements, not both", hint=f"Leave out {argument} or the requirements."
        )
    listing = history.read()
    entry = listing.find(argument) if argument else None
    if argument and entry is None and requirements_files.exists(argument, context.folder):
        options, argument, has_requirements = replace(options, requirements=(argument,)), "", True
    if not argument and (has_requirements or not listing.entries):
        spec, configuration = specify("", options, context)
        return _LockRequest(
            spec=spec, notebook=context.notebook, notes=(*configuration.notes, *spec.requirements.warnings)
        )
    entry = entry or (listing.get(argument) if argument else listing.last(context.notebook or None))
    run_lock = entry.lock()
    if not isinstance(run_lock, Lock) and not line.has("upgrade"):
        raise ResolutionError(
            f"{entry.id} has no lock: its packages were resolved in the pod",
            hint="Resolve them on this machine: lock --upgrade, or lock --deps ...",
        )
    return _LockRequest(
        spec=_spec_of(entry, context),
        notebook=entry.notebook,
        run_lock=run_lock if isinstance(run_lock, Lock) else None,
        title=f"{entry.id}: {' '.join(entry.requirements)}",
    )


def _spec_of(entry: RunRecord, context: CellContext) -> RunSpec:
    """The spec of a run in the history. Secrets are not stored there, and come from the current configuration."""
    spec = entry.spec()
    if spec is None:
        raise SpecError(f"cannot read the run {entry.id}", hint="Give its requirements instead: lock --deps ...")
    current_spec, _ = specify("", RunOptions(deps=""), context)
    hidden = {
        key: getattr(current_spec.settings, key) for key, value in asdict(spec.settings).items() if HIDDEN in str(value)
    }
    return replace(spec, settings=replace(spec.settings, **hidden))


def _require_lock(resolution: Resolution) -> Lock:
    if isinstance(resolution, Lock):
        return resolution
    raise ResolutionError(resolution.reason, hint=resolution.hint)


def _upgrade_report(before: Lock | None, after: Lock, *, dry_run: bool) -> Table:
    note = (
        "Nothing was stored (--dry-run)."
        if dry_run
        else "Stored: cells of this notebook with these requirements use this lock."
    )
    if before is None:
        report = table(after, frozenset(), after.created_at)
    else:
        report = changes(difference(before.packages, after.packages), "An upgrade")
        if before.key != after.key:
            report = replace(report, notes=(f"From lock {before.key} to {after.key}.",))
    return replace(report, notes=(*report.notes, *after.warnings, note))


def _write(name: str, lock: Lock, resolver: Resolver, context: CellContext) -> str:
    """Write the lock in the format given by the file's name; a note about the file."""
    path = context.folder / paths.expanded(name)
    if lock_export.is_pylock(path.name):
        uv_pylock = resolver.as_pylock(lock)
        text = lock_export.pylock(lock, uv_pylock)
    elif path.suffix in {".txt", ".in"}:
        text = lock_export.requirements(lock)
    else:
        raise SpecError(
            f"cannot infer the lock format from {name}", hint="Use pylock.toml, pylock.NAME.toml or NAME.txt."
        )
    try:
        atomic_write.write(path, text, mode=0o644)
    except OSError as problem:
        raise SpecError(f"cannot write {name}: {problem.strerror}", hint="Choose another file.") from problem
    return f"Wrote {name}."
