"""List, verify and remove the environments of a store.

Rules:
- This module also runs as the text of a cell in a pod with the store. It therefore uses only Python 3.8 and the
  standard library, and imports none of our modules.
- An environment in use has a shared lock on its `.ok` file, and is removed only with an exclusive lock. If the file
  system has no locks, the last use must be longer ago than the longest run.
- An environment is renamed before it is removed, so that a run sees either all of it or nothing.
- An environment that a run has changed is not used again, and is removed when possible (guest/install/environment.py).
  The same applies to one with a damaged `.ok` file. A folder without this file is not an environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Callable, Iterable, Iterator  # noqa: UP035 - collections.abc has no subscripts in Python 3.8

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

KEY = re.compile(r"[0-9a-f]{32}(?:-\d+)?")
"""The name of an environment: a key, with a number if it replaces one that a run has changed."""
DAY = 24 * 3600.0
MONTH = 30 * DAY
CACHE = "uv-cache"
"""The folder of uv's cache in the store of a cluster."""
IN_USE = "a run uses it"
"""The reason for which an environment is not removed."""


@dataclass(frozen=True)
class Environment:
    """One environment: its packages as (name, version), its own size on the disk, and its last use.

    Times are Unix seconds; `used_by` is the user whose run used it last, or "".
    """

    key: str
    path: str
    python: str
    packages: tuple[tuple[str, str], ...]
    bytes: int
    files: int
    built: float
    used: float
    used_by: str
    in_use: bool
    is_changed: bool = False
    """Whether a run has changed it, or its `.ok` file is damaged, so that no other run uses it."""
    problems: tuple[tuple[str, str], ...] = ()
    """(path, "changed", "missing" or "added") of the files found by `verify`, and of a damaged `.ok` file."""
    kept: str = ""
    """Why `prune` did not remove it, or ""."""


@dataclass(frozen=True)
class Limits:
    """The environments to remove: those with these `keys`, or without keys, those beyond one of the limits.

    Environments that were last used before the time `before` are removed. At most `keep` remain, with a total size of
    at most `max_bytes`.
    """

    keys: tuple[str, ...] = ()
    before: float | None = None
    keep: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Contents:
    """Environments of a store, and the bytes of the byte code that they share and of uv's cache.

    After `prune`, `cache` is what was removed, and `problem` why the cache was kept.
    """

    environments: tuple[Environment, ...]
    byte_code: int = 0
    cache: int = 0
    problem: str = ""


def contents(root: str) -> Contents:
    """The contents of the store, the most recently used environment first."""
    byte_code = 0
    for path in Path(root).glob("bytecode/*/*"):
        with contextlib.suppress(OSError):
            byte_code += path.lstat().st_blocks * 512
    return Contents(environments=tuple(environments(root)), byte_code=byte_code, cache=_size(Path(root) / CACHE)[0])


def clean_cache(root: str, *, dry_run: bool = False) -> tuple[int, str]:
    """Remove uv's cache in the store; return the bytes that become free, and why it was kept, or ""."""
    cache = Path(root) / CACHE
    before, _ = _size(cache)
    if dry_run or not before:
        return before, ""
    problem = ""
    try:
        # uv waits for its other processes that use the cache.
        command = ["uv", "cache", "clean", "--cache-dir", str(cache)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        problem = "the image has no uv"
    except subprocess.CalledProcessError as error:
        problem = error.stderr.strip() or "uv failed"
    return before - _size(cache)[0], problem


def environments(root: str) -> list[Environment]:
    """All environments of the store, the most recently used first."""
    found = []
    for home in _folders(Path(root) / "trees"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_read(home))
    return sorted(found, key=lambda env: -env.used)


def persistent(folder: str) -> list[Environment]:
    """All persistent environments in a folder (guest/persistent/venv.py), the most recently used first."""
    found = []
    for mark in Path(folder).glob("*/uv-argo.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_read_persistent(mark))
    return sorted(found, key=lambda env: -env.used)


def remove_persistent(env: Environment, *, dry_run: bool = False) -> Environment:
    """Remove a persistent environment with its lock file; return it with the reason if it was kept."""
    home, lock = Path(env.path), _lock_file(Path(env.path))
    garbage = lock.with_suffix(f".building-{os.getpid()}")  # if we are killed, the next build removes it
    if env.in_use or dry_run:
        return replace(env, kept=IN_USE if env.in_use else "")
    try:
        with _locked(lock):
            home.rename(garbage)
            lock.unlink()
    except OSError as error:
        return replace(env, kept=_reason(error))
    shutil.rmtree(str(garbage), ignore_errors=True)
    return env


def prune(root: str, limits: Limits, *, dry_run: bool = False) -> list[Environment]:
    """Remove environments; return those to remove, each with the reason if it was kept."""
    found = []
    count = total = 0
    for env in environments(root):
        if limits.keys:
            is_due = env.key in limits.keys
        elif env.is_changed:
            is_due = True
        else:
            # Also those to remove count, so that none is removed before one that was used longer ago.
            count, total = count + 1, total + env.bytes
            is_due = (
                (limits.before is not None and env.used < limits.before)
                or (limits.keep is not None and count > limits.keep)
                or (limits.max_bytes is not None and total > limits.max_bytes)
            )
        if is_due:
            kept = IN_USE if env.in_use else "" if dry_run else _remove(Path(root), env.key)
            found.append(replace(env, kept=kept))
    if not dry_run:
        _remove_leftovers(Path(root))
    return found


Check = Callable[[str], Iterable[Iterable[str]]]
"""A function that finds the problems of an environment (`verify` in guest/install/environment.py)."""


def verify(root: str, keys: tuple[str, ...], check: Check) -> list[Environment]:
    """The environments with these keys (default: all that runs use), with their problems.

    Those with problems are not used again.
    """
    found = []
    for env in environments(root):
        if keys and env.key not in keys:
            continue
        if env.problems:
            found.append(env)
        elif keys or not env.is_changed:
            with contextlib.suppress(OSError):  # it was removed in the meantime
                problems = check(str(Path(env.path).parent))
                found.append(replace(env, problems=tuple((path, problem) for path, problem in problems)))
    return found


def respond(request: str, root: str, check: Check) -> str:
    """The text that a cell prints: `Contents` as JSON. `request` is JSON: an `action` and its arguments."""
    options = json.loads(request)
    action, dry_run, has_cache = options.pop("action"), options.pop("dry_run", False), options.pop("cache", False)
    if action == "prune":
        found = tuple(prune(root, Limits(**options), dry_run=dry_run))
        cache, problem = clean_cache(root, dry_run=dry_run) if has_cache else (0, "")
        response = Contents(environments=found, cache=cache, problem=problem)
    elif action == "verify":
        response = Contents(environments=tuple(verify(root, tuple(options["keys"]), check)))
    else:
        response = contents(root)
    return json.dumps(asdict(response))


def parse_response(text: str) -> Contents:
    """Parse the text that such a cell printed.

    Raises:
        ValueError: the text is not the contents of a store.
    """
    try:
        response = json.loads(text)
        found = tuple(
            Environment(
                **{**item, **{key: tuple((name, text) for name, text in item[key]) for key in ("packages", "problems")}}
            )
            for item in response["environments"]
        )
        return Contents(**{**response, "environments": found})
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from error


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if KEY.fullmatch(path.name)]
    except OSError:
        return []


def _read(home: Path) -> Environment:
    mark, last_use = home / ".ok", home / ".used"
    is_changed = (home / ".changed").exists()
    python = ""
    packages: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    try:
        record = json.loads(mark.read_text(encoding="utf-8"))
        python = str(record.get("python", ""))
        packages = tuple((str(name), str(version)) for name, version in record["packages"])
    except (ValueError, KeyError, TypeError, AttributeError):
        problems = () if is_changed else ((mark.name, "changed"),)
        is_changed = True
    built = used = mark.stat().st_mtime
    used_by = ""
    with contextlib.suppress(OSError):
        used_by = _user(last_use)
        used = last_use.stat().st_mtime
    size, files = _size(home)
    return Environment(
        key=home.name,
        path=str(home / "site"),
        python=python,
        packages=packages,
        bytes=size,
        files=files,
        built=built,
        used=used,
        used_by=used_by,
        in_use=_is_in_use(mark),
        is_changed=is_changed,
        problems=problems,
    )


def _read_persistent(mark: Path) -> Environment:
    home, record = mark.parent, json.loads(mark.read_text(encoding="utf-8"))
    lock = _lock_file(home)
    (site,) = home.glob("lib/python*/site-packages")
    size, files = _size(home)
    stems = (path.name[: -len(".dist-info")].partition("-") for path in site.glob("*.dist-info"))
    return Environment(
        key=record["key"],
        path=str(home),
        python=str(record["python"][0]),
        packages=tuple(sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, _, version in stems)),
        bytes=size,
        files=files,
        built=mark.stat().st_mtime,
        used=lock.stat().st_mtime,
        used_by=_user(lock),
        in_use=_is_in_use(lock),
    )


def _lock_file(home: Path) -> Path:
    """The lock file of a persistent environment."""
    return home.with_name(f".uv-argo-{home.name}.lock")


def _user(file: Path) -> str:
    """The user in a file that a run has written, below the machine or pod; older versions did not write the user."""
    _, *rest = file.read_text(encoding="utf-8", errors="replace").split("\n", 2)
    return rest[0][:200].strip() if rest else ""


def _size(home: Path) -> tuple[int, int]:
    """(bytes on the disk, files).

    Byte code that environments share by hard links (guest/install/byte_code.py) is not part of the size, because it
    stays when an environment is removed.
    """
    size = files = 0
    for folder, _, names in os.walk(str(home)):
        for name in names:
            with contextlib.suppress(OSError):
                status = (Path(folder) / name).lstat()
                size += status.st_blocks * 512 if status.st_nlink == 1 else 0
                files += 1
    return size, files


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock of a file, if the file system has locks.

    Raises:
        BlockingIOError: a run has a lock on the file.
        OSError: the file does not exist.
    """
    # NFS grants an exclusive lock only on a file that is open for writing.
    with path.open("r+" if os.access(str(path), os.W_OK) else "r", encoding="utf-8") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield


def _is_in_use(path: Path) -> bool:
    try:
        with _locked(path):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _remove(root: Path, key: str) -> str:
    """Remove an environment; return the reason if it was kept."""
    home, garbage = root / "trees" / key, root / "aside" / f"{key}-removed-{os.urandom(6).hex()}"
    try:
        garbage.parent.mkdir(exist_ok=True)
        with _locked(home / ".ok"):
            home.rename(garbage)
    except OSError as error:
        return _reason(error)
    shutil.rmtree(str(garbage), ignore_errors=True)
    return ""


def _reason(error: OSError) -> str:
    """Why an environment was kept; "" if another process has removed it."""
    if isinstance(error, FileNotFoundError):
        return ""
    return IN_USE if isinstance(error, BlockingIOError) else str(error.strerror)


def _remove_leftovers(root: Path) -> None:
    """Remove folders of killed processes and locks of builds after a day, and unused byte code after a month."""
    for path in root.glob("bytecode/*/*"):
        with contextlib.suppress(OSError):
            status = path.lstat()  # its last change is that of the number of its links
            if status.st_nlink == 1 and time.time() - status.st_ctime > MONTH:
                path.unlink()
    for path in (*root.glob("aside/*"), *root.glob("locks/*")):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > DAY:
                if path.is_dir():
                    shutil.rmtree(str(path), ignore_errors=True)
                else:
                    path.unlink()
