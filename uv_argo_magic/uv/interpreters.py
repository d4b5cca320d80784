"""Find the Pythons of this machine by version, and their wheel tags.

Rules:
- The result is always a base interpreter and never that of a venv, because an environment must not depend on another.
- A missing Python is installed only on request; otherwise the error has the command that installs it.
- An interpreter is inspected once for each (path, mtime) in this process.
- `packaging` is imported only if versions must be compared or resolved, because its import takes longer than a run's
  start.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import packaging
from uv import find_uv_bin

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution.lock import Target
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from types import ModuleType

    from packaging.tags import Tag

    from uv_argo_magic.core.resolution.base_packages import BaseEnvironment

OLDEST = (3, 8)
"""The oldest Python that the guest supports."""

_TIMEOUT = 60.0  # seconds; a first start from a cold network disk can take some
_INSTALL_TIMEOUT = 600.0

# Runs in the inspected interpreter, which uses our `packaging` to list its platform tags, since these depend on its C
# library. Our folder is last on its path, so that it hides nothing. Python 3.8 is too old for our `packaging`, and
# lists no tags.
_PROBE = """
import json, sys, sysconfig
report = {
    "path": sys.executable,
    "base": getattr(sys, "_base_executable", None) or sys.executable,
    "venv": sys.prefix != sys.base_prefix,
    "implementation": sys.implementation.name,
    "version": list(sys.version_info),
    "platform": sysconfig.get_platform(),
    "tags": [],
}
if sys.version_info >= (3, 8) and report["implementation"] == "cpython" and not report["venv"]:
    sys.path.append(sys.argv[1])
    try:
        from packaging.tags import sys_tags
        report["tags"] = [str(tag) for tag in sys_tags()]
    except Exception:
        pass
print(json.dumps(report))
"""


@frozen
class _ProbeResult:
    """The report of an interpreter about itself."""

    path: str
    base: str
    venv: bool
    implementation: str
    version: tuple[int, int, int]
    python: str
    platform: str
    tags: tuple[str, ...]


@frozen
class Interpreter:
    """A Python that runs cells.

    `path` is its executable. For a Python in an `image`, it is that of a Python on this machine, with which uv resolves
    for the target. `tags` are its wheel tags, best first; None for the Python of this process. `base` are the
    preinstalled packages, if the cell can import them.
    """

    path: str
    target: Target
    tags: tuple[Tag, ...] | None = None
    image: str = ""
    base: BaseEnvironment | None = None

    @property
    def wheel_tags(self) -> tuple[Tag, ...]:
        """The compatible wheel tags, best first."""
        if self.tags is not None:
            return self.tags
        tags: tuple[Tag, ...] = _wheel_tags().of_this_process()
        return tags


def find(version: str = "", *, download: bool = False, offline: bool = False) -> Interpreter:
    """The interpreter for "3.12", "3.12.1", "3.13t" or ">=3.12"; "" is the Python of this process.

    With `download`, uv installs a missing Python, unless `offline`.

    Raises:
        SpecError: the version is invalid, or the Python is not found, or cannot be installed.
    """
    current = _current()
    request = version.strip()
    if fits(current.target.python, request, free_threaded=current.target.abi.endswith("t")):
        return current
    try:
        path = _find_with_uv(request, os.environ.get("PATH", ""))
    except SpecError as problem:
        if not download:
            raise
        if offline:
            raise SpecError(
                f"Python {request} is not installed, and offline mode is on.",
                hint="Install it with `uv python install`, or add --set offline=false.",
            ) from problem
        _install(request)
        path = _find_with_uv(request, os.environ.get("PATH", ""))
    if not Path(path).exists():
        _find_with_uv.cache_clear()
        path = _find_with_uv(request, os.environ.get("PATH", ""))
    return _probe_base(path)


def versions() -> tuple[str, ...]:
    """The versions of the usable Pythons that uv finds, newest first; "3.13.0t" is free-threaded."""
    completed = _uv("python", "list", "--only-installed", "--output-format", "json")
    found_versions = set()
    for row in json.loads(completed.stdout) if completed.returncode == 0 else ():
        parts = row["version_parts"]
        if row["implementation"] == "cpython" and (parts["major"], parts["minor"]) >= OLDEST:
            found_versions.add(row["version"] + ("t" if "freethreaded" in row.get("variant", "") else ""))
    return tuple(
        sorted(found_versions, key=lambda text: [int(part) for part in re.findall(r"\d+", text)], reverse=True)
    )


def fits(python: str, request: str, *, free_threaded: bool = False) -> bool:
    """Whether a Python with this full version matches the request: "", "3.12", "3.12.1", "3.13t" or ">=3.12".

    Raises:
        SpecError: `request` is not a version.
    """
    if not request:
        return True
    match = re.fullmatch(r"(\d+(?:\.\d+){0,2})(t?)", request)
    if match:
        numbers = match[1].split(".")
        return python.split(".")[: len(numbers)] == numbers and free_threaded == bool(match[2])
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - 4 ms, see the rules of this module

    try:
        return not free_threaded and SpecifierSet(request).contains(python, prereleases=True)
    except InvalidSpecifier:
        raise SpecError(
            f"Invalid Python version {request!r}.",
            hint='Write for example --python 3.12, 3.12.1, 3.13t or ">=3.12".',
        ) from None


@functools.lru_cache(maxsize=64)
def _find_with_uv(request: str, search: str) -> str:  # noqa: ARG001 - `search` is part of the cache key
    """The path that uv finds for a valid version."""
    try:
        completed = _uv("python", "find", "--system", "--no-project", request)
    except subprocess.TimeoutExpired as error:
        raise SpecError(
            f"uv took more than {_TIMEOUT:.0f} seconds to find Python {request}.",
            hint="Check whether a folder in PATH is on a disk that does not respond.",
        ) from error
    path = completed.stdout.strip()
    if completed.returncode == 0 and path:
        return path
    installed = ", ".join(versions()) or "none"
    match = re.search(r"\d+(?:\.\d+)*t?", request)
    example = match[0] if match else "3.12"
    raise SpecError(
        f"Python {request} is not installed; installed versions: {installed}.",
        hint=f"Choose one of them with --python, or install it: uv python install {example}, or add "
        "--set python_downloads=automatic.",
    )


def _install(request: str) -> None:
    """Install the newest matching Python with uv.

    Raises:
        SpecError: uv cannot install it.
    """
    try:
        completed = _uv("python", "install", "--no-bin", request, timeout=_INSTALL_TIMEOUT)
        lines = completed.stderr.strip().splitlines() or ["no output"]
        from uv_argo_magic.core.resolution.uv_stderr import redact  # noqa: PLC0415 - 1 ms, and few Pythons are installed

        problem = redact(lines[-1].strip().removeprefix("cause: ")) if completed.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"uv took more than {_INSTALL_TIMEOUT:.0f} seconds"
    if problem:
        raise SpecError(
            f"cannot install Python {request}: {problem}",
            hint="Set UV_PYTHON_INSTALL_MIRROR if this machine needs a mirror, or choose an installed version.",
        )


def _uv(*args: str, timeout: float = 0.0) -> subprocess.CompletedProcess[str]:
    """Run uv without a project's settings."""
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__")
    passed_on = {
        "UV_PYTHON_INSTALL_DIR", "UV_CACHE_DIR", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL",
        "UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES",
    }  # fmt: skip
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and (not name.startswith("UV_") or name in passed_on)
    }
    # "manual": `python find` never downloads a Python, only `python install` does.
    environ |= {
        "UV_NO_CONFIG": "1",
        "UV_NO_WRAP": "1",
        "UV_PYTHON_DOWNLOADS": "manual",
        "PATH": _search_path(environ.get("PATH", "")),
    }
    return _run([find_uv_bin(), *args], environ, timeout or _TIMEOUT)


def _run(command: list[str], environ: dict[str, str], timeout: float = _TIMEOUT) -> subprocess.CompletedProcess[str]:
    """Run a command with an empty stdin and a time limit; the caller checks the exit status."""
    return subprocess.run(
        command,
        env=environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )


def _search_path(path: str) -> str:
    """PATH with the folder of pyenv's shims replaced by those of all its versions.

    A shim runs only the version that pyenv has activated.
    """
    folders: list[str] = []
    for folder in path.split(os.pathsep):
        location = Path(folder)
        if location.name == "shims" and (location.parent / "versions").is_dir():
            folders += sorted(map(str, (location.parent / "versions").glob("*/bin")), reverse=True)
        else:
            folders.append(folder)
    return os.pathsep.join(folders)


def _current() -> Interpreter:
    """The base interpreter of this process, found without starting another process."""
    path = getattr(sys, "_base_executable", None) or sys.executable
    if _is_venv(path) or sys.implementation.name != "cpython":
        return _probe_base(path)
    return _describe_current(path, _modified_at(path))


@functools.lru_cache(maxsize=1)
def _is_venv(path: str) -> bool:
    return any((folder / "pyvenv.cfg").exists() for folder in list(Path(path).parents)[:2])


@functools.lru_cache(maxsize=1)
def _describe_current(path: str, changed: int) -> Interpreter:  # noqa: ARG001 - `changed` is part of the cache key
    """The interpreter of this process; inspected again if an upgrade has replaced its file."""
    if _describe_current.cache_info().misses > 1:
        return _probe_base(path)
    abi = f"cp{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
    python = sys.version.split()[0].removesuffix("+")  # of a development build
    return Interpreter(path=path, target=Target(python=python, implementation="cpython", abi=abi))


def _probe_base(path: str) -> Interpreter:
    """Inspect the interpreter at `path`, or for a venv's interpreter, its base interpreter."""
    result = _probe(path, _modified_at(path))
    if result.venv:
        result = _probe(result.base, _modified_at(result.base))
    if result.implementation != "cpython" or result.version[:2] < OLDEST:
        name = f"{result.implementation} {result.python}"
        raise SpecError(f"Cells need CPython 3.8 or newer, but {path} is {name}.", hint="Choose another with --python.")
    wheel_tags = _wheel_tags()
    tags = wheel_tags.parse(result.tags) or wheel_tags.compute(result.path, result.version[:2], result.platform)
    return Interpreter(
        path=result.path,
        target=Target(python=result.python, implementation=result.implementation, abi=tags[0].abi),
        tags=tags,
    )


def _wheel_tags() -> ModuleType:
    from uv_argo_magic.uv import wheel_tags  # noqa: PLC0415 - 5 ms, see the rules of this module

    return wheel_tags


def _modified_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - faster than creating a Path for each cell
    except OSError as error:
        raise SpecError(
            f"Cannot use the Python at {path}: {error.strerror}.", hint="Choose another with --python."
        ) from error


@functools.lru_cache(maxsize=64)
def _probe(path: str, changed: int) -> _ProbeResult:  # noqa: ARG001 - `changed` is part of the cache key
    """Run an interpreter in isolated mode, and read its report."""
    packaging_path = str(Path(packaging.__file__).parent.parent)
    environ = {name: value for name, value in os.environ.items() if name != "__PYVENV_LAUNCHER__"}
    try:
        completed = _run([path, "-I", "-c", _PROBE, packaging_path], environ)
        report = json.loads(completed.stdout.strip().splitlines()[-1]) if completed.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise SpecError(f"Cannot run the Python at {path}: {error}.", hint="Choose another with --python.") from error
    if not isinstance(report, dict):
        reason = (completed.stderr.strip().splitlines() or [f"exit status {completed.returncode}"])[-1]
        raise SpecError(f"Cannot run the Python at {path}: {reason}.", hint="Choose another with --python.")
    major, minor, micro, level, serial = report["version"]
    suffix = "" if level == "final" else {"alpha": "a", "beta": "b", "candidate": "rc"}[level] + str(serial)
    return _ProbeResult(
        path=report["path"],
        base=report["base"],
        venv=report["venv"],
        implementation=report["implementation"],
        version=(major, minor, micro),
        python=f"{major}.{minor}.{micro}{suffix}",
        platform=report["platform"],
        tags=tuple(report["tags"]),
    )
