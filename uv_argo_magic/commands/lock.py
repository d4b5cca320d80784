"""The `lock` verb: shows the lock of a run or of requirements, writes it to a file, renews it and says what changed.

Rule: nothing is submitted here; what is kept for the notebook changes only by `--upgrade`, or where nothing was kept.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic._os import atomic_write, paths
from uv_argo_magic.backends import base
from uv_argo_magic.core import humanize
from uv_argo_magic.core.commands.table import RunOptions, run_options
from uv_argo_magic.core.resolution import dependency_tree, lock_export
from uv_argo_magic.core.resolution.diff import difference
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.view import messages
from uv_argo_magic.core.view.tables import Table, changes
from uv_argo_magic.engine import image_probe
from uv_argo_magic.engine.spec_builder import CellContext, specify
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.history.entry import HIDDEN
from uv_argo_magic.uv import resolver
from uv_argo_magic.uv.lock_store import LockStore

if TYPE_CHECKING:
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History
    from uv_argo_magic.uv.interpreters import Interpreter


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is to be locked, and the lock that a run was made from."""

    spec: RunSpec
    notebook: str
    had: Lock | None = None
    title: str = ""


def answer(line: Line, history: History, around: CellContext) -> Table:
    """What to show for `lock`, after it is written and kept as the line wants.

    Raises:
        SpecError: the line, a setting, or a run that is not there.
        ResolutionError: no set of versions fits, no index answers, or the run had no lock.
    """
    wanted = _wanted(line, history, around)
    # `locked` is for cells: this verb is how one locks.
    spec = replace(wanted.spec, settings=replace(wanted.spec.settings, locked=False))
    spec, interpreter = image_probe.target(spec, base.load(spec.backend), paths.cache_dir() / "images", None)
    locks = LockStore(paths.data_dir() / "locks", wanted.notebook)
    about: dict[str, Any] = {"interpreter": interpreter, "settings": spec.settings}
    dry = line.has("dry_run")
    if line.has("upgrade"):
        before = resolver.known(spec.requirements, locks=locks, **about) or wanted.had
        lock = _sure(resolver.lock(spec.requirements, **about))
        lock = resolver.explain(lock, spec.requirements, **about)
        shown = _upgraded(before, lock, dry=dry)
        if not dry:
            resolver.keep(lock, spec.requirements, locks=locks, **about)
    else:
        lock = wanted.had or _sure(resolver.lock(spec.requirements, locks=None if dry else locks, **about))
        lock = resolver.explain(lock, spec.requirements, locks=None if dry else locks, **about)
        shown = table(lock, resolver.cached(lock, **about), time.time(), wanted.title)
    if line.has("to") and not dry:
        note = _write(line.text("to"), lock, spec, interpreter, around)
        shown = replace(shown, notes=(*shown.notes, note))
    return shown


def table(lock: Lock, cached: frozenset[str], now: float, title: str = "") -> Table:
    """A lock as a tree; `cached` are the packages that need no download here, `now` Unix seconds."""
    named = any(package.index for package in lock.packages)
    rows = tuple(
        (
            "  " * depth + package.name,
            package.version,
            humanize.size(package.size),
            "yes" if package.name in cached else "",
            *((package.index,) if named else ()),
            ", ".join(package.via) or ("asked for" if package.requested else ""),
        )
        for depth, package in dependency_tree.tree(lock.packages)
    )
    left = sum(package.size for package in lock.packages if package.name not in cached)
    of = lock.target.platform or "this platform"
    said = [f"{humanize.count(len(rows), 'package')} for Python {lock.target.python}, {of}; lock {lock.key}"]
    if rows:
        said.append(f"{humanize.size(lock.size) or '0 B'} in all, {humanize.size(left) or 'nothing'} to download here")
    if lock.created_at:
        said.append(messages.lock_age(lock, now))
    said += filter(None, [messages.base_packages_note(lock)])
    return Table(
        title=title,
        head=("PACKAGE", "VERSION", "SIZE", "CACHED", *(("INDEX",) if named else ()), "NEEDED BY") if rows else (),
        rows=rows,
        notes=(*said, *lock.warnings),
        right=frozenset({2}),
    )


def _wanted(line: Line, history: History, around: CellContext) -> _Wanted:
    options = run_options(line)
    asked = options.deps is not None or bool(options.requirements)
    if line.argument and asked:
        raise SpecError(
            "lock takes a run, or requirements, and not both", hint=f"Leave {line.argument} or the requirements out."
        )
    entries = history.list()
    if not line.argument and (asked or not entries):
        spec, _ = specify("", options, around)
        return _Wanted(spec=spec, notebook=around.notebook)
    entry = history.get(line.argument) if line.argument else history.last(around.notebook or None)
    had = entry.lock()
    if not isinstance(had, Lock) and not line.has("upgrade"):
        raise ResolutionError(
            f"{entry.id} has no lock: its packages were chosen where it ran",
            hint="Resolve them here: lock --upgrade, or lock --deps ...",
        )
    return _Wanted(
        spec=_spec_of(entry, around),
        notebook=entry.notebook,
        had=had if isinstance(had, Lock) else None,
        title=f"{entry.id}: {' '.join(entry.requirements)}",
    )


def _spec_of(entry: RunRecord, around: CellContext) -> RunSpec:
    """What a kept run wanted; secrets are not kept, and come from the configuration of now."""
    spec = entry.spec()
    if spec is None:
        raise SpecError(f"{entry.id} cannot be read any more", hint="Name its requirements: lock --deps ...")
    now, _ = specify("", RunOptions(deps=""), around)
    hidden = {key: getattr(now.settings, key) for key, value in asdict(spec.settings).items() if HIDDEN in str(value)}
    return replace(spec, settings=replace(spec.settings, **hidden))


def _sure(found: Resolution) -> Lock:
    if isinstance(found, Lock):
        return found
    raise ResolutionError(found.reason, hint="What was locked before stays as it is. Try again when the index answers.")


def _upgraded(before: Lock | None, after: Lock, *, dry: bool) -> Table:
    kept = (
        "Nothing was kept (--dry-run)." if dry else "Kept: this notebook's next cells with these requirements use it."
    )
    if before is None:
        shown = table(after, frozenset(), after.created_at)
    else:
        shown = changes(difference(before.packages, after.packages), "An upgrade")
        if before.key != after.key:
            shown = replace(shown, notes=(f"From lock {before.key} to {after.key}.",))
    return replace(shown, notes=(*shown.notes, *after.warnings, kept))


def _write(name: str, lock: Lock, spec: RunSpec, interpreter: Interpreter, around: CellContext) -> str:
    """Write the lock as the file's name wants it; a sentence that says so."""
    path = around.folder / name
    if lock_export.is_pylock(path.name):
        said = resolver.as_pylock(lock, interpreter=interpreter, settings=spec.settings)
        text = lock_export.pylock(lock, said)
    elif path.suffix in {".txt", ".in"}:
        text = lock_export.requirements(lock)
    else:
        raise SpecError(
            f"a lock cannot be written as {path.name}", hint="Name it pylock.toml, pylock.NAME.toml or NAME.txt."
        )
    try:
        atomic_write.write(path, text, mode=0o644)
    except OSError as problem:
        raise SpecError(f"{name} cannot be written: {problem.strerror}", hint="Choose another place.") from problem
    return f"Written: {name}"
