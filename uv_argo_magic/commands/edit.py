"""Find, read, write and check the requirements file that an editor changes.

Rules:
- A change by another program is never overwritten: `write` returns False and writes nothing.
- A file keeps its line endings and its mode, and a symbolic link stays one.
- A check resolves the requirements like a cell, but has a shorter time limit and can be cancelled. It stores nothing;
  only `lock` stores a lock.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic import requirements_files
from uv_argo_magic._os import paths
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.commands import cell_line
from uv_argo_magic.core.commands.run_options import RunOptions
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.requirements.import_names import POPULAR
from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.resolution.diff import difference
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.preparation.prepare import find_target
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, PolicyError, ResolutionError, SpecError
from uv_argo_magic.uv import runner

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.preparation.prepared import RunTarget
    from uv_argo_magic.history.store import History
    from uv_argo_magic.uv.resolver import Resolver

PATIENCE = 30.0
"""Time limit of a check in seconds."""

ENTRIES = 50
"""Number of recent runs whose packages are suggested as names."""


def find(name: str, context: CellContext) -> Path:
    """The file to edit: the one with this name, or the requirements file of the named notebook or of this one.

    Raises:
        SpecError: this is not a requirements file, or the path of the notebook is unknown.
    """
    if name and not name.endswith(".ipynb"):
        path = context.folder / paths.expanded(name)
        if path.suffix not in {".txt", ".in", ""}:
            raise SpecError(
                f"edit supports only requirements files, and {path.name} is not one",
                hint=f"Edit it with its own tools. To use it in a cell, write -r {shlex.quote(path.name)}."
                if path.exists()
                else "Name a text file, for example requirements.txt.",
            )
        return path
    notebook = str(paths.expanded(name)) if name else context.notebook
    notebook_path = requirements_files.notebook_file(notebook, context.folder)
    if notebook_path is None:
        raise SpecError(
            "cannot determine the notebook's path",
            hint="Name a file or a notebook: edit analysis.ipynb",
        )
    return notebook_path


def line_with_requirements(line: str, context: CellContext) -> str:
    """The `%%argo` line with the requirements in this notebook's file; `line` is its text after `%%argo`.

    Raises:
        SpecError: the file does not exist, or cannot be read.
    """
    path = find("", context)
    if not path.exists():
        raise SpecError(f"{path.name} not found", hint="Create it with %argo edit.")
    return cell_line.replace_cell_line(line, read(path), path.name)


def read(path: Path) -> str:
    """The text of the file, with newlines as line endings; "" if the file does not exist.

    Raises:
        SpecError: the file cannot be read.
    """
    try:
        return edits.normalize(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise SpecError(f"{path.name} is not UTF-8 text", hint="Save the requirements file as UTF-8.") from error
    except OSError as error:
        raise SpecError(f"cannot read {path.name}: {error.strerror}", hint="Name another file.") from error


def write(path: Path, text: str, expected: str) -> bool:
    """Write the file and return True; return False if its text is no longer `expected`.

    Raises:
        SpecError: the file cannot be read or written.
    """
    if read(path) != expected:
        return False
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        old_bytes = target.read_bytes() if target.exists() else b""
        newline = b"\r\n" if b"\r\n" in old_bytes else b"\n"
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(text.encode("utf-8").replace(b"\n", newline))
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise SpecError(
            f"cannot write {path.name}: {error.strerror}", hint="Make its folder writable, or name another file."
        ) from error
    return True


def _target(path: Path, context: CellContext) -> RunTarget:
    """The target of a cell with the requirements of this file."""
    # With `-r`, so that includes and constraints have the same effect as in a cell.
    files = (os.path.relpath(path, context.folder),) if path.exists() else ()
    spec, _ = specify("", RunOptions(deps="", requirements=files), context)
    timeout = min(spec.settings.install_timeout or PATIENCE, PATIENCE)
    # The setting `locked` is for cells; an editor changes the lock.
    spec = replace(spec, settings=replace(spec.settings, install_timeout=timeout, locked=False))
    spec = checks.begin(spec, lookup.load(spec.backend), context.notebook_path)
    return find_target(spec, may_run=False)


def _enforce(target: RunTarget, resolution: Resolution, resolver: Resolver, context: CellContext) -> None:
    checks.enforce(
        checks.Proposal(
            spec=target.spec,
            resolution=resolution,
            purpose="lock",
            document=context.notebook_path,
            backend=target.backend,
            resolver=lambda: resolver,
        )
    )


def _resolver(target: RunTarget, context: CellContext) -> Resolver:
    return target.resolver(context.notebook, {**context.environ, "UV_HTTP_RETRIES": "0"})


def _is_local(target: RunTarget) -> bool:
    """Whether cells run on this machine, and use its uv cache."""
    return base.Capability.LOCAL in target.backend.capabilities


def check(path: Path, context: CellContext, cancelled: threading.Event | None = None) -> CheckResult:
    """The packages that a cell would get from this file as saved; nothing is stored.

    Raises:
        Cancelled: `cancelled` was set, in another thread.
    """
    try:
        target = _target(path, context)
        resolver, requirements = _resolver(target, context), target.spec.requirements
        stored = resolver.stored(requirements) if requirements else None
        resolution = stored or resolver.lock(requirements, save=False, cancelled=cancelled)
        _enforce(target, resolution, resolver, context)
    except runner.Cancelled:
        raise
    except ResolutionError as error:
        return CheckResult(problem=error.message, hint=error.hint, blamed=error.names)
    except PolicyError as error:
        sentences = [f"{violation.sentence}. {violation.action}" for violation in error.violations]
        blamed = tuple(dict.fromkeys(violation.path[0] for violation in error.violations if violation.path))
        return CheckResult(problem=" ".join(sentences) or error.message, hint=error.hint, blamed=blamed)
    except ArgoMagicError as error:
        return CheckResult(problem=error.message, hint=error.hint)
    except OSError as error:
        return CheckResult(problem=f"cannot run uv: {error}", unreachable=True)
    if not isinstance(resolution, Lock):
        return CheckResult(problem=resolution.reason, unreachable=True)
    python = f"Python {target.interpreter.target.python}"
    return CheckResult(
        lock=resolution,
        stored=stored is not None,
        target=python if _is_local(target) else f"{python} on {target.spec.backend}",
    )


def measure(result: CheckResult, path: Path, context: CellContext, cancelled: threading.Event) -> CheckResult:
    """The result with the packages in uv's cache, if cells run on this machine.

    Raises:
        Cancelled: `cancelled` was set, in another thread.
    """
    if result.lock is None or not result.lock.packages:
        return result
    try:
        target = _target(path, context)
        if not _is_local(target):
            return result
        return replace(result, cached=_resolver(target, context).cached(result.lock, cancelled=cancelled))
    except runner.Cancelled:
        raise
    except (ArgoMagicError, OSError):
        return result  # the resolution is still valid


def lock(path: Path, context: CellContext, shown_lock: Lock | None, cancelled: threading.Event) -> str:
    """Store this lock for the notebook; if it is None, resolve again and store the new one. Returns a message.

    Raises:
        SpecError: the file cannot be read, or the lock cannot be stored.
        ResolutionError: no versions satisfy the requirements, or no index responds.
        PolicyError: a check refused these versions.
        Cancelled: `cancelled` was set, in another thread; nothing is stored.
    """
    target = _target(path, context)
    resolver, requirements = _resolver(target, context), target.spec.requirements
    resolution = shown_lock or replace(resolver, store=None).lock(requirements, cancelled=cancelled)
    if not isinstance(resolution, Lock):
        raise ResolutionError(resolution.reason, hint=resolution.hint)
    _enforce(target, resolution, resolver, context)
    previous = resolver.stored(requirements)
    resolver.save(resolution, requirements)
    if shown_lock is not None:
        return "Locked: the cells of this notebook use these versions until you upgrade them."
    changes = difference(previous.packages, resolution.packages) if previous else ()
    lines = [
        f"{change.name} {change.before or 'new'} \N{RIGHTWARDS ARROW} {change.after or 'removed'}" for change in changes
    ]
    return f"Upgraded: {', '.join(lines) or 'no newer versions'}."


def names(history: History) -> tuple[str, ...]:
    """Package names to suggest: those of recent runs, and popular ones."""
    package_names = set(POPULAR)
    for entry in history.list()[:ENTRIES]:
        package_names.update(name for name, _ in entry.packages)
    return tuple(sorted(package_names))
