"""Asks uv, here, what would be installed there: requirements -> Lock, before anything is submitted.

Rules:
- The same question has the same answer for a day, in this process and on disk; then uv is asked anew. Everything that
  could change the answer is part of the question: requirements, Python, settings, index, and uv itself.
- uv sees no configuration but ours: of its own variables only those about the index, its credentials, certificates,
  the network and the cache get through.
- Requirements reach uv in files, never on its command line.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic.core import failures, program
from uv_argo_magic.core.lock import Lock, Unresolved
from uv_argo_magic.core.pylock import read_pylock
from uv_argo_magic.core.requirements import parse_items
from uv_argo_magic.errors import ResolutionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.requirements import Requirements
    from uv_argo_magic.core.spec import Settings
    from uv_argo_magic.interpreters import Interpreter

MAX_AGE = 24 * 3600.0
"""Seconds that an answer is good for: an index gets new releases, and a span of exclude_newer moves on."""

_memory: dict[str, tuple[float, Lock]] = {}


def lock(
    requirements: Requirements,
    *,
    interpreter: Interpreter,
    settings: Settings,
    cache: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Lock | Unresolved:
    """What uv would install for `requirements` on `interpreter`; `Unresolved` where no index can be reached from here.

    `cache` is a folder of ours for answers (None: this process only), `environ` stands in for `os.environ`.

    Raises:
        SpecError: a setting is not what uv understands.
        ResolutionError: uv finds no set of files, with its reason in plain words.
    """
    if not requirements:
        return Lock(packages=(), target=interpreter.target)
    question = _question(
        requirements, interpreter, settings, program.uv_surroundings(os.environ if environ is None else environ)
    )
    known = _recall(question.digest, cache)
    if known:
        return known
    answer = _ask(question, requirements, interpreter, settings)
    if isinstance(answer, Lock):
        _remember(question.digest, answer, cache)
    return answer


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What uv is asked: its options, the files it reads (by name), and its environment."""

    options: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    environ: tuple[tuple[str, str], ...]
    extra: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that could change the answer; credentials go in, and cannot be got out."""
        index = [(name, value) for name, value in self.environ if name.startswith("UV_") and "INDEX" in name]
        text = json.dumps([self.options, self.files, sorted(index), self.extra])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _question(
    requirements: Requirements, interpreter: Interpreter, settings: Settings, environ: Mapping[str, str]
) -> _Question:
    """Build first, ask second."""
    target = interpreter.target
    listed = {name: parse_items(getattr(settings, name), source=name) for name in ("constraints", "overrides")}
    if not settings.allow_urls:
        _refuse_urls(requirements, *listed.values())
    options = ["--python", interpreter.path, "--python-version", target.python]
    if target.platform:
        options += ["--python-platform", target.platform]
    if requirements.complete:
        options.append("--no-deps")
    if settings.only_binary:
        options += ["--only-binary", ":all:"]
    if settings.index_url:
        if not settings.index_url.startswith(("https://", "http://", "file://")):
            raise SpecError(
                f"index_url must be the address of an index, and is {settings.index_url!r}.",
                hint="Write --set index_url=https://index.example.com/simple",
            )
        # Not an option: an address may hold credentials, and everybody here can read a command line.
        environ = {name: value for name, value in environ.items() if name != "UV_INDEX_URL"}
        environ["UV_DEFAULT_INDEX"] = settings.index_url
    for name in ("exclude_newer", "prerelease", "resolution"):
        value = getattr(settings, name)
        if value:
            # One word with "=": a value can then never be taken for an option.
            options.append(f"--{name.replace('_', '-')}={value}")
    if settings.offline:
        options.append("--offline")
    files = {"requirements.in": requirements.lines}
    for name, items in listed.items():
        if items:
            files[f"{name}.txt"] = items.lines
            options += [f"--{name}", f"{name}.txt"]
    hashes = sorted({f"{item.name} {wanted}" for item in requirements.items for wanted in item.hashes})
    return _Question(
        options=tuple(options),
        files=tuple((name, "".join(f"{line}\n" for line in lines)) for name, lines in files.items()),
        environ=tuple(sorted(environ.items())),
        extra=(_uv_version(), target.abi, target.implementation, *hashes, *map(str, interpreter.tags)),
    )


def _refuse_urls(*lists: Requirements) -> None:
    """Raise SpecError for a direct URL; packages cannot bring one in, since uv takes it only where it is asked for."""
    for item in (item for one in lists for item in one.items):
        if item.url:
            raise SpecError(
                f"{item.name} is asked for by its URL, and allow_urls is off.",
                hint=f"Take it from the index ({item.name}==VERSION), or write --set allow_urls=true.",
            )


def _ask(
    question: _Question, requirements: Requirements, interpreter: Interpreter, settings: Settings
) -> Lock | Unresolved:
    """Run uv, and read what it says."""
    with tempfile.TemporaryDirectory(prefix="uv-argo-") as folder:
        for name, text in question.files:
            (Path(folder) / name).write_text(text, encoding="utf-8")
        command = [find_uv_bin(), "pip", "compile", "--format", "pylock.toml", "--generate-hashes", "--no-header"]
        command += [*question.options, "requirements.in"]
        rc, out, said = _run(command, folder, dict(question.environ), settings.install_timeout)
    if rc:
        failure = failures.classify(rc, said)
        if failure.unreachable:
            return Unresolved(lines=requirements.lines, reason=failure.sentence)
        raise ResolutionError(failure.sentence, hint=failure.hint)
    made = read_pylock(
        out,
        target=interpreter.target,
        tags=interpreter.tags,
        only_binary=settings.only_binary,
        hashes=_hashes(requirements),
    )
    return replace(made, warnings=failures.warnings(said))


def _hashes(requirements: Requirements) -> dict[str, frozenset[str]]:
    """The hashes that the user allows, by package; two requirements for one package must both be content."""
    allowed: dict[str, frozenset[str]] = {}
    for item in requirements.items:
        if item.hashes:
            allowed[item.name] = allowed.get(item.name, frozenset(item.hashes)) & frozenset(item.hashes)
    return allowed


def _run(command: list[str], folder: str, environ: Mapping[str, str], timeout: float) -> tuple[int, str, str]:
    """Exit status, stdout and stderr; an interrupt ends uv and whatever it builds with."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=os.name == "posix",
    )
    with process:
        try:
            out, said = process.communicate(timeout=timeout or None)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ResolutionError(
                f"uv found no answer within {timeout:g} seconds.",
                hint="Run the cell again, or give it longer: --set install_timeout=3600.",
            ) from None
        except BaseException:
            _kill(process)
            raise
    return process.returncode, out, said


def _kill(process: subprocess.Popen[str]) -> None:
    """End uv and what it started: builds are its children, and a killed uv does not take them along."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    # After an interrupt Popen does not wait by itself.
    process.wait()


@functools.cache
def _uv_version() -> str:
    """What `uv --version` says; another uv may resolve differently."""
    done = subprocess.run([find_uv_bin(), "--version"], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def _recall(digest: str, cache: Path | None) -> Lock | None:
    """A young enough answer, from this process or from disk; what cannot be read is no answer."""
    now = time.time()
    if digest in _memory and now - _memory[digest][0] < MAX_AGE:
        return _memory[digest][1]
    if cache is None:
        return None
    try:
        data = json.loads((cache / f"{digest}.json").read_text(encoding="utf-8"))
        made, known = float(data["made"]), Lock.from_json(data["lock"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    # A clock that was put back makes answers of the future: those are no answers either.
    if not 0 <= now - made < MAX_AGE:
        return None
    _memory[digest] = (made, known)
    return known


def _remember(digest: str, answer: Lock, cache: Path | None) -> None:
    """Keep an answer; a disk that does not take it costs a second next time, and nothing else."""
    now = time.time()
    _memory[digest] = (now, answer)
    if cache is None:
        return
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("*.json"):
            if now - old.stat().st_mtime > MAX_AGE:
                old.unlink(missing_ok=True)
        text = json.dumps({"made": now, "lock": answer.to_json()})
        with tempfile.NamedTemporaryFile("w", dir=cache, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(cache / f"{digest}.json")
