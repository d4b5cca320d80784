"""Resolve requirements to a Lock with uv on this machine, before anything is submitted.

Rules:
- The same question in the same notebook has the same lock until an upgrade (lock_store.py). A question contains
  requirements, Python, settings and index. It does not contain uv's version, the network or credentials.
- If no index responds, the last lock for the question is used, with a warning.
- uv reads no configuration of the user. Of its environment variables, only those for the index, its credentials,
  certificates, the network and the cache are passed on.
- Requirements and URLs are passed in files and environment variables, never on the command line.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import Marker

from uv_argo_magic._os import paths
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements import look_alikes
from uv_argo_magic.core.requirements.parser import parse_items
from uv_argo_magic.core.resolution import conflicts, dependency_tree, install_errors, pylock
from uv_argo_magic.core.resolution.lock import Lock, Unresolved
from uv_argo_magic.core.resolution.pylock import read_pylock
from uv_argo_magic.core.resolution.uv_stderr import redact
from uv_argo_magic.core.spec import indexes
from uv_argo_magic.core.spec.uv_environ import uv_process_environ
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.uv import runner
from uv_argo_magic.uv.stub_wheels import BASE, mention_base_packages, refuse_contradictions, write_wheels

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.resolution.base_packages import BaseEnvironment
    from uv_argo_magic.core.resolution.install_errors import InstallFailure
    from uv_argo_magic.core.resolution.lock import Package, Target
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.uv.interpreters import Interpreter
    from uv_argo_magic.uv.lock_store import LockStore

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""Pythons to try if a package has no wheel for the requested one."""


YOUNG = 30 * 24 * 3600.0
"""A file is young for this many seconds after its upload."""


@frozen
class _Question:
    """The input of uv: its options, files (name -> text), environment variables, and Python."""

    python: str
    options: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    environ: tuple[tuple[str, str], ...]
    extra: tuple[str, ...]
    base: BaseEnvironment | None = None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the question, without credentials and network settings."""
        index = [
            (name, redact(value))
            for name, value in self.environ
            if name.startswith("UV_")
            and ("INDEX" in name or "LINKS" in name)
            and not name.endswith(("_USERNAME", "_PASSWORD"))
        ]
        text = json.dumps([self.options, self.files, sorted(index), self.extra])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@frozen
class Resolver:
    """Resolves requirements for one interpreter and one set of settings.

    `environ` replaces `os.environ`. `store` has the locks of a notebook; without it, no lock is reused or stored.
    """

    interpreter: Interpreter
    settings: Settings
    environ: Mapping[str, str] | None = None
    store: LockStore | None = None

    def lock(
        self,
        requirements: Requirements,
        *,
        upgrade: bool = False,
        save: bool = True,
        cancelled: threading.Event | None = None,
    ) -> Lock | Unresolved:
        """The lock of the requirements; `Unresolved` if no index responds on this machine.

        The stored lock is used unless `upgrade`; a new one is stored if `save`. Setting `cancelled`, in another thread,
        ends uv.

        Raises:
            SpecError: a setting is invalid for uv.
            ResolutionError: the requirements have no solution, or the setting `locked` is on and there is no lock.
            Cancelled: `cancelled` was set.
        """
        base = self.interpreter.base
        refuse_contradictions(requirements, self.interpreter)
        if not requirements:
            return Lock.empty(self.interpreter.target, base.digest if base else "")
        question = self._question(requirements)
        stored = self.store.find(question.digest) if self.store else None
        missing = next((link for link in self.settings.find_links if "://" not in link and not Path(link).is_dir()), "")
        if missing and not stored:
            if not self.interpreter.image:
                raise SpecError(f"find_links names {missing}, which is not a folder", hint="Name a folder with wheels.")
            return Unresolved(
                lines=requirements.lines,
                reason=f"The folder {missing} is not on this machine.",
                hint="Create it here with the same wheels, or remove it from find_links.",
            )
        if self.settings.locked and (upgrade or not stored):
            raise ResolutionError(
                "The setting locked is on, but "
                + ("an upgrade would change the lock." if upgrade else "there is no lock for these requirements."),
                hint="Lock them first: run the cell once without locked, or run %argo lock --deps ...",
            )
        if stored and not upgrade:
            return stored
        result = self._resolve(question, requirements, cancelled)
        if isinstance(result, Lock):
            doubts = self._look_alikes(result)
            if self.store and save:
                with contextlib.suppress(OSError):  # the next cell resolves again
                    self.store.keep(question.digest, result)
            return replace(result, warnings=(*result.warnings, *doubts))
        is_offline = result.unreachable or result.cause == "offline"
        last = self.store.last_anywhere(question.digest) if self.store and is_offline else None
        if last:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(last.created_at))
            return replace(last, warnings=(*last.warnings, f"{result.sentence} Using the versions of {day}."))
        # With a Secret for the index in the cluster, this machine does not need credentials.
        if result.unreachable or (result.cause == "auth" and self.settings.index_secrets):
            return Unresolved(lines=requirements.lines, reason=result.sentence, hint=result.hint)
        raise ResolutionError(result.sentence, hint=result.hint, names=result.blamed)

    def _look_alikes(self, lock: Lock) -> tuple[str, ...]:
        """A warning for each package that looks like a popular one, and is young or new in the notebook.

        Warnings are not stored with the lock, so that users who keep the name do not see them again.
        """
        found = [(package, look_alikes.popular_name(package.name)) for package in lock.packages]
        doubtful = [(package, popular) for package, popular in found if popular]
        if not doubtful:
            return ()
        known = self.store.names() if self.store else frozenset()
        return tuple(
            f"{package.name} differs from {popular} by one character. Check that this is not a typo."
            for package, popular in doubtful
            if package.name not in known or _is_young(package)
        )

    def stored(self, requirements: Requirements) -> Lock | None:
        """The notebook's lock for these requirements, without running uv."""
        return self.store.find(self._question(requirements).digest) if self.store else None

    def save(self, lock: Lock, requirements: Requirements) -> None:
        """Store a lock for these requirements.

        Raises:
            SpecError: the lock cannot be written.
        """
        try:
            if self.store:
                self.store.keep(self._question(requirements).digest, lock)
        except OSError as error:
            raise SpecError(f"cannot store the lock: {error.strerror}", hint=paths.WRITABLE) from error

    def explain(self, lock: Lock, requirements: Requirements) -> Lock:
        """The lock with the dependents and the index of each package; also stored, if the given lock is stored.

        uv reports this only in its requirements.txt output, so it runs again: offline first, then online for indexes
        that forbid caching. Unknown fields stay empty.
        """
        if lock.is_annotated:
            return lock
        question = self._question(requirements)
        pins = "".join(f"{package.name}=={package.version}\n" for package in lock.packages if not package.url)
        options = ("--annotation-style", "line", "--emit-index-annotation", "--constraints", "pins.txt")
        rc, out, _ = self._compile(question, ("--offline", *options), pins=pins)
        if rc and not self.settings.offline:
            rc, out, _ = self._compile(question, options, pins=pins)
        if rc:
            return lock
        explained = dependency_tree.annotate(lock, out, dict(question.environ).get("UV_INDEX", ""))
        stored = self.store.find(question.digest) if self.store else None
        if self.store and stored and (stored.key, stored.created_at) == (lock.key, lock.created_at):
            # Without the warnings, which only a new lock has.
            with contextlib.suppress(OSError):
                self.store.keep(question.digest, replace(explained, warnings=stored.warnings))
        return explained

    def complete(self, lock: Lock) -> Lock:
        """The lock with missing sizes and upload times filled in, if an index provides them.

        Locks in a notebook's output, and those of older versions, have neither.
        """
        if all(package.url or (package.size and package.uploaded) for package in lock.packages):
            return lock
        try:
            known = pylock.files(self.as_pylock(lock))
        except ResolutionError:
            return lock
        packages = []
        for package in lock.packages:
            size, uploaded = known.get(package.sha256, (0, ""))
            packages.append(replace(package, size=package.size or size, uploaded=package.uploaded or uploaded))
        return replace(lock, packages=tuple(packages))

    def cached(self, lock: Lock, *, cancelled: threading.Event | None = None) -> frozenset[str]:
        """The names of the packages whose files are in uv's cache on this machine, as reported by uv.

        Raises:
            Cancelled: `cancelled` was set, in another thread.
        """
        question = self._question(parse_items((), source=""))
        command = ["pip", "install", "--dry-run", "--verbose", "--no-deps", "--require-hashes"]
        command += [*question.options, "--python", question.python, "--target", "tree", "-r", "lock.txt"]
        files = {"lock.txt": "".join(f"{line}\n" for line in lock.lines)}
        stderr = ""
        for network_options in ([],) if self.settings.offline else (["--offline"], []):
            rc, _, stderr = runner.call(
                [*command, *network_options], files, dict(question.environ), self.settings.install_timeout,
                cancelled=cancelled,
            )  # fmt: skip
            if rc == 0:
                break
        return frozenset(re.findall(r"already cached: ([a-z0-9-]+)(?:==| @)", stderr))

    def as_pylock(self, lock: Lock) -> str:
        """The pylock.toml that uv writes for the versions of a lock, with the URL of each file.

        Raises:
            ResolutionError: no index responds, or an index no longer has these versions.
        """
        pins = [f"{package.name}=={package.version}" for package in lock.packages if not package.url]
        question = self._question(parse_items(pins, source="the lock"))
        rc, out, stderr = self._compile(question, ("--format", "pylock.toml", "--no-deps"))
        if rc:
            failure = install_errors.classify(rc, stderr)
            raise ResolutionError(failure.sentence, hint=failure.hint)
        return out

    def _question(self, requirements: Requirements) -> _Question:
        """The complete input of uv for these requirements."""
        interpreter, settings, environ = self.interpreter, self.settings, self.environ
        target = interpreter.target
        variables = uv_process_environ(os.environ if environ is None else environ)
        listed = {name: parse_items(getattr(settings, name), source=name) for name in ("constraints", "overrides")}
        if not settings.allow_urls:
            _refuse_urls(requirements, *listed.values())
        # This is the first option, because `_with_pythons` replaces it.
        options = ["--python-version", target.python]
        if target.platform:
            options += ["--python-platform", target.platform]
        if requirements.complete:
            options.append("--no-deps")
        if settings.only_binary:
            options += ["--only-binary", ":all:"]
        if settings.index_url:
            variables.pop("UV_INDEX_URL", None)
        # Not as options, because all users of this machine can read a command line.
        variables |= indexes.environment(settings) | indexes.credentials(settings)
        for name in ("exclude_newer", "prerelease", "resolution"):
            value = getattr(settings, name)
            if value:
                # With "=" in one word, a value cannot be read as an option.
                options.append(f"--{name.replace('_', '-')}={value}")
        if settings.offline:
            variables["UV_OFFLINE"] = "1"
        if settings.find_links:
            variables["UV_FIND_LINKS"] = ",".join(settings.find_links)
        if settings.torch_backend:
            options.append(f"--torch-backend={settings.torch_backend}")
        files = {dependency_tree.REQUIREMENTS_FILE: requirements.lines}
        for name, items in listed.items():
            if items:
                files[f"{name}.txt"] = items.lines
                options += [f"--{name}", f"{name}.txt"]
        base = (interpreter.base.digest,) if interpreter.base else ()
        hashes = sorted({f"{item.name} {digest}" for item in requirements.items for digest in item.hashes})
        return _Question(
            python=interpreter.path,
            options=tuple(options),
            files=tuple((name, "".join(f"{line}\n" for line in lines)) for name, lines in files.items()),
            environ=tuple(sorted(variables.items())),
            extra=(target.abi, target.implementation, *hashes, *map(str, interpreter.wheel_tags), *base),
            base=interpreter.base,
        )

    def _resolve(
        self, question: _Question, requirements: Requirements, cancelled: threading.Event | None
    ) -> Lock | InstallFailure:
        """Run uv; return its lock or the failure."""
        interpreter, base = self.interpreter, self.interpreter.base
        options = ("--format", "pylock.toml", "--generate-hashes")
        rc, out, stderr = self._compile(question, options, cancelled=cancelled)
        if rc:
            names = (item.name for item in requirements.items)
            failure = replace(install_errors.classify(rc, stderr), blamed=install_errors.blamed(rc, stderr, names))
            folders = " or ".join(link for link in self.settings.find_links if "://" not in link)
            if failure.cause == "offline" and folders:
                hint = f"Add a wheel to {folders}, or run once with --set offline=false to fill the cache."
                failure = replace(failure, hint=hint)
            failure = self._with_nearest(failure, requirements, question, cancelled)
            failure = self._with_pythons(failure, requirements, question, cancelled)
            return mention_base_packages(failure, stderr, interpreter)
        lock = read_pylock(
            out,
            target=interpreter.target,
            tags=interpreter.wheel_tags,
            only_binary=self.settings.only_binary,
            hashes=_hashes(requirements, interpreter.target),
            base_names={package.name for package in base.constraints} if base else (),
        )
        return replace(
            lock,
            warnings=install_errors.warnings(stderr),
            uv=runner.uv_version(),
            created_at=time.time(),
            base_digest=base.digest if base else "",
        )

    def _with_nearest(
        self,
        failure: InstallFailure,
        requirements: Requirements,
        question: _Question,
        cancelled: threading.Event | None,
    ) -> InstallFailure:
        """The failure with the nearest versions, if an exact version was requested that does not exist."""
        for item in requirements.items if failure.cause == "version" else ():
            exact = re.fullmatch(r"==\s*([^,*\s]+)", item.specifier)
            if not exact or item.name not in failure.blamed:
                continue
            nearest_versions = []
            for sign, direction in (("<", "highest"), (">", "lowest")):
                files = {**dict(question.files), dependency_tree.REQUIREMENTS_FILE: f"{item.name}{sign}{exact[1]}\n"}
                options = tuple(option for option in question.options if not option.startswith("--resolution="))
                nearest_question = replace(question, files=tuple(files.items()), options=options)
                extra_options = ("--no-deps", "--no-annotate", f"--resolution={direction}")
                _, out, _ = self._compile(nearest_question, extra_options, cancelled=cancelled)
                nearest_versions += re.findall(r"^\S+==([^\s;]+)", out)[:1]
            if nearest_versions:
                return replace(failure, hint=f"Nearest compatible versions: {' and '.join(nearest_versions)}.")
        return failure

    def _with_pythons(
        self,
        failure: InstallFailure,
        requirements: Requirements,
        question: _Question,
        cancelled: threading.Event | None,
    ) -> InstallFailure:
        """The failure with the Pythons for which the package has wheels, if uv did not list them."""
        item = next((item for item in requirements.items if item.name == failure.package), None)
        if item is None:
            return failure
        current = self.interpreter.target.minor
        files = {**dict(question.files), dependency_tree.REQUIREMENTS_FILE: f"{replace(item, marker='')}\n"}
        found = []
        for python in PYTHONS:
            options = ["--python-version", python, *question.options[2:]]
            python_question = replace(question, files=tuple(files.items()), options=tuple(options))
            if python == current:
                continue
            status, _, _ = self._compile(python_question, ("--no-deps", "--no-annotate"), cancelled=cancelled)
            if not status:
                found.append(python)
        if not found:
            return failure
        package = f"{item.name}{item.specifier}".replace("==", " ")
        return replace(conflicts.only_for(package, "for Python ", found, is_python=True), blamed=failure.blamed)

    def _compile(
        self,
        question: _Question,
        options: tuple[str, ...],
        *,
        pins: str = "",
        cancelled: threading.Event | None = None,
    ) -> tuple[int, str, str]:
        """Run `uv pip compile` for this question; return exit status, stdout and stderr."""
        files = dict(question.files) | ({"pins.txt": pins} if pins else {})
        # uv warns of a file without constraints.
        base = question.base if question.base and question.base.constraints else None
        command = ["pip", "compile", "--no-header", "--python", question.python]
        command += [
            *options,
            *question.options,
            *(["--constraint", BASE] if base else []),
            dependency_tree.REQUIREMENTS_FILE,
        ]
        prepare = functools.partial(write_wheels, base) if base else None
        return runner.call(
            command, files, dict(question.environ), self.settings.install_timeout, cancelled=cancelled,
            prepare_folder=prepare,
        )  # fmt: skip


def _is_young(package: Package) -> bool:
    """Whether the file was uploaded recently; False if unknown."""
    return bool(package.uploaded) and time.time() - datetime.fromisoformat(package.uploaded).timestamp() < YOUNG


def _refuse_urls(*lists: Requirements) -> None:
    """Raise SpecError for a direct URL. Dependencies cannot add one, because uv accepts only requested URLs."""
    for item in (item for items in lists for item in items.items):
        if item.url:
            raise SpecError(
                f"{item.name} is requested by URL, but allow_urls is off.",
                hint=f"Use a version from the index ({item.name}==VERSION), or add --set allow_urls=true.",
            )


def _hashes(requirements: Requirements, target: Target) -> dict[str, frozenset[str]]:
    """The allowed hashes by package; with two requirements for a package on this target, those allowed by both."""
    environment = {"python_version": target.minor, "python_full_version": target.python, "extra": ""}
    if target.platform:
        machine = target.platform.partition("-")[0]
        environment |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine}
    allowed: dict[str, frozenset[str]] = {}
    for item in requirements.items:
        if item.hashes and (not item.marker or Marker(item.marker).evaluate(environment)):
            allowed[item.name] = allowed.get(item.name, frozenset(item.hashes)) & frozenset(item.hashes)
    return allowed
