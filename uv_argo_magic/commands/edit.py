"""A requirements file that somebody edits: which it is, read, written at once, and checked against the index.

Rules:
- What somebody else wrote meanwhile is never overwritten: `write` says so, and writes nothing.
- A file is written aside and renamed; it keeps its line ends and its mode, and a link stays a link.
- A check is the resolution that a cell would get, but it gives up sooner, can be cancelled, and sticks to nothing:
  what a notebook keeps changes by `lock` alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uv_argo_magic import requirements_files
from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.core.commands import cell_line
from uv_argo_magic.core.commands.table import RunOptions
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.resolution.conflicts import POPULAR
from uv_argo_magic.core.resolution.diff import difference
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.engine import image_probe
from uv_argo_magic.engine.spec_builder import CellContext, specify
from uv_argo_magic.errors import ArgoMagicError, ResolutionError, SpecError
from uv_argo_magic.uv import resolver, runner
from uv_argo_magic.uv.lock_store import LockStore

if TYPE_CHECKING:
    import threading

    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.history.store import History
    from uv_argo_magic.uv.interpreters import Interpreter

PATIENCE = 30.0
"""Seconds that a check may take: nobody waits longer for a chip's colour."""

ENTRIES = 50
"""Runs whose packages are offered as names."""


def find(named: str, around: CellContext) -> Path:
    """The file to edit: the one that is named, a named notebook's, or this notebook's.

    Raises:
        SpecError: nobody knows which.
    """
    if named and not named.endswith(".ipynb"):
        path = around.folder / Path(named).expanduser()
        if path.suffix not in {".txt", ".in", ""}:
            raise SpecError(
                f"{path.name} is no requirements file, and edit knows only those",
                hint="Edit it with its own tools; %%argo -r FILE reads it."
                if path.exists()
                else "Name a file: needs.txt",
            )
        return path
    notebook = str(Path(named).expanduser()) if named else around.notebook
    beside = requirements_files.notebook_file(notebook, around.folder)
    if beside is None:
        raise SpecError(
            "which requirements? No notebook is known here",
            hint="Name a file, or a notebook: edit analysis.ipynb",
        )
    return beside


def written_into(line: str, around: CellContext) -> str:
    """A cell's first line, `line` behind the magic's name, with what this notebook's requirements file asks for.

    Raises:
        SpecError: there is no such file, or it cannot be read.
    """
    path = find("", around)
    if not path.exists():
        raise SpecError(f"there is no {path.name} beside this notebook", hint="%argo edit makes it.")
    return cell_line.replace_cell_line(line, read(path), path.name)


def read(path: Path) -> str:
    """The file's text with plain line ends; "" where there is no file.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        return edits.normalize(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise SpecError(f"{path.name} is not UTF-8 text", hint="Save the requirements file as UTF-8.") from error
    except OSError as error:
        raise SpecError(f"{path.name} cannot be read: {error.strerror}", hint="Name another file.") from error


def write(path: Path, text: str, known: str) -> bool:
    """Write the file, unless it no longer says `known`; whether it was written.

    Raises:
        SpecError: it cannot be read or written.
    """
    if read(path) != known:
        return False
    real = path.resolve()
    aside = real.with_name(f".{real.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        before = real.read_bytes() if real.exists() else b""
        ends = b"\r\n" if b"\r\n" in before else b"\n"
        real.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(text.encode("utf-8").replace(b"\n", ends))
        if real.exists():
            shutil.copymode(real, aside)
        aside.replace(real)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise SpecError(
            f"{path.name} cannot be written: {error.strerror}", hint="Make its folder writable, or name another file."
        ) from error
    return True


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """What a cell with these requirements would ask uv, and where its answers are kept."""

    spec: RunSpec
    interpreter: Interpreter
    locks: LockStore

    @property
    def about(self) -> dict[str, Any]:
        return {"interpreter": self.interpreter, "settings": self.spec.settings}

    @property
    def where(self) -> str:
        place = "" if self.spec.backend == "local" else f" on {self.spec.backend}"
        return f"Python {self.interpreter.target.python}{place}"


def _cell(path: Path, around: CellContext) -> _Cell:
    # By `-r`, so that includes and constraints count as they do in a cell.
    files = (os.path.relpath(path, around.folder),) if path.exists() else ()
    spec, _ = specify("", RunOptions(deps="", requirements=files), around)
    timeout = min(spec.settings.install_timeout or PATIENCE, PATIENCE)
    # `locked` is for cells: an editor is where one locks.
    spec = replace(spec, settings=replace(spec.settings, install_timeout=timeout, locked=False))
    spec, interpreter = image_probe.target(spec, base.load(spec.backend), paths.cache_dir() / "images", None)
    return _Cell(spec=spec, interpreter=interpreter, locks=LockStore(paths.data_dir() / "locks", around.notebook))


def check(path: Path, around: CellContext, cancelled: threading.Event | None = None) -> CheckResult:
    """What a cell would get from this file, as it is on the disk; nothing is kept.

    Raises:
        Cancelled: nobody waits for the answer any more.
    """
    try:
        cell = _cell(path, around)
        needs = cell.spec.requirements
        kept = resolver.known(needs, locks=cell.locks, **cell.about) if needs else None
        environ = {**around.environ, "UV_HTTP_RETRIES": "0"}
        answer = kept or resolver.lock(
            needs, locks=cell.locks, keeping=False, environ=environ, cancelled=cancelled, **cell.about
        )
    except runner.Cancelled:
        raise
    except ResolutionError as error:
        return CheckResult(problem=error.message, hint=error.hint, blamed=error.names)
    except ArgoMagicError as error:
        return CheckResult(problem=error.message, hint=error.hint)
    except OSError as error:
        return CheckResult(problem=f"uv could not be asked: {error}", unreachable=True)
    if not isinstance(answer, Lock):
        return CheckResult(problem=answer.reason, unreachable=True)
    return CheckResult(lock=answer, stored=kept is not None, target=cell.where)


def measure(verdict: CheckResult, path: Path, around: CellContext, cancelled: threading.Event) -> CheckResult:
    """The same, with what has to be downloaded; a place other than this machine has a cache of its own.

    Raises:
        Cancelled: nobody waits for the answer any more.
    """
    if verdict.lock is None or not verdict.lock.packages:
        return verdict
    try:
        cell = _cell(path, around)
        if cell.spec.backend != "local":
            return verdict
        environ = {**around.environ, "UV_HTTP_RETRIES": "0"}
        return replace(
            verdict, cached=resolver.cached(verdict.lock, environ=environ, cancelled=cancelled, **cell.about)
        )
    except runner.Cancelled:
        raise
    except (ArgoMagicError, OSError):
        return verdict  # what was resolved a moment ago stands


def lock(path: Path, around: CellContext, seen: Lock | None, cancelled: threading.Event) -> str:
    """Keep these versions for the notebook, or (None) resolve anew and keep those; a sentence on what was done.

    Raises:
        SpecError: the file cannot be read.
        ResolutionError: no set of versions fits, or no index answers.
        Cancelled: nobody waits for the answer any more; nothing is kept.
    """
    cell = _cell(path, around)
    needs = cell.spec.requirements
    if seen is not None:
        resolver.keep(seen, needs, locks=cell.locks, **cell.about)
        return "Locked: this notebook's cells get these versions until they are upgraded."
    before = resolver.known(needs, locks=cell.locks, **cell.about)
    environ = {**around.environ, "UV_HTTP_RETRIES": "0"}
    made = resolver.lock(needs, environ=environ, cancelled=cancelled, **cell.about)
    if not isinstance(made, Lock):
        raise ResolutionError(made.reason, hint="What was locked before stays as it is.")
    resolver.keep(made, needs, locks=cell.locks, **cell.about)
    found = difference(before.packages, made.packages) if before else ()
    said = [f"{one.name} {one.before or 'new'} \N{RIGHTWARDS ARROW} {one.after or 'gone'}" for one in found]
    return f"Upgraded: {', '.join(said) or 'nothing is newer'}."


def names(history: History) -> tuple[str, ...]:
    """Names of packages that are known here without asking anybody: of the last runs, and those of common use."""
    found = set(POPULAR)
    for entry in history.list()[:ENTRIES]:
        found.update(name for name, _ in entry.packages)
    return tuple(sorted(found))
