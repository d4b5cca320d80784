"""A persistent environment: a venv at a path of the user's choice, which outlives its runs.

Rules:
- It is built in a temporary folder and renamed, like a tree of the store. It contains its packages, so it needs no
  store.
- Only one run at a time uses it, and holds its lock file. Packages that the run installs are kept.
- It is reused only for the same lock and Python. Files and folders that this package did not create are never changed.
  The names of the lock file and the temporary folder therefore begin with `.uv-argo-`: PATH.lock could be another
  tool's, such as poetry.lock. The lock file is not in the environment, because it exists before the environment does.
"""

import json
import os
import re
import sys
import time

from .. import processes
from ..install import environment, thin_venv

MARK = "uv-argo.json"
"""The file with the lock's key and the Python of the environment."""


class PersistentVenv:
    """The environment at this path."""

    def __init__(self, path):
        self.path = path
        self.beside = os.path.join(os.path.dirname(path), ".uv-argo-" + os.path.basename(path))
        """The beginning of the paths of the lock file and the temporary folder."""
        self.python = os.path.join(path, "bin", "python")
        self.site = thin_venv.site_packages(path)
        self.lock = None

    def take(self, holder):
        """Take the lock of the environment; `holder` is the name of this run for other runs, and below it, the user.

        Raises:
            Problem: another run has the lock, the folder cannot be created, or this package did not create it.
        """
        self._read_mark()  # first, because a refused run leaves no lock file
        path = self.beside + ".lock"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.lock = environment.lock(path)
            if self.lock:
                self.lock.truncate(0)
                self.lock.write(holder + "\n")
                self.lock.flush()
        except BlockingIOError as problem:
            with open(path, encoding="utf-8", errors="replace") as file:
                user = file.readline(200).strip() or "another run"
            raise environment.Problem("the environment %s is in use by %s" % (self.path, user)) from problem
        except OSError as problem:
            raise environment.Problem(
                "the environment %s cannot be created: %s (user %d)" % (self.path, problem.strerror, os.getuid())
            ) from problem

    def locks(self, _key):
        """No further locks, because `take` has locked the environment."""
        return ()

    def find(self, key):
        """The existing environment, or None; without a `key`, any environment is accepted.

        Raises:
            Problem: it is for another lock or Python, or this package did not create the folder.
        """
        mark = self._read_mark()
        if mark is None:
            return None
        python, found = mark
        if python != _python():
            raise environment.Problem(
                "the environment %s was made for Python %s, and this is Python %s"
                % (self.path, " at ".join(python), " at ".join(_python()))
            )
        if key and found != key:
            raise environment.Problem(
                "the environment %s was made for other requirements: its lock is %s, and this is %s"
                % (self.path, found[:12] or "empty", key[:12])
            )
        return environment.Tree(self.site, environment.installed(self.site), 0.0, True)

    def _read_mark(self):
        """The Python and the lock's key of the existing environment, or None.

        Raises:
            Problem: this package did not create the folder.
        """
        try:
            with open(os.path.join(self.path, MARK), encoding="utf-8") as file:
                mark = json.load(file)
            return mark["python"], mark["key"]
        except (OSError, ValueError, KeyError, TypeError) as problem:
            if os.path.lexists(self.path):
                raise environment.Problem(
                    "%s exists and is not an environment of uv-argo-magic" % self.path
                ) from problem
            return None

    def build(self, key, lines, uv, run_uv, boot, refresh=()):
        """Build the environment with the locked `lines`; return it, or uv's exit status if that failed.

        Raises:
            Damaged: as for a tree of the store.
        """
        started = time.monotonic()
        aside = "%s.building-%s" % (self.beside, boot)
        self._sweep()
        os.makedirs(aside)
        try:
            code = environment.install(aside, lines, uv, run_uv, refresh)[0] if lines else 0
            if code:
                return code
            home = os.path.join(aside, "venv")
            thin_venv.create(home)
            site, target = os.path.join(aside, environment.SITE), thin_venv.site_packages(home)
            if lines:
                os.rmdir(target)
                os.rename(site, target)
                commands = os.path.join(target, "bin")
                # Their first line has the path after the rename.
                thin_venv.console_scripts(commands, os.path.join(home, "bin"), os.path.join(self.path, "bin", "python"))
                processes.remove(commands)
            with open(os.path.join(home, MARK), "w", encoding="utf-8") as file:
                json.dump({"key": key, "python": _python()}, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(home, self.path)
        finally:
            processes.remove(aside)
        return environment.Tree(self.site, environment.installed(self.site), time.monotonic() - started, False)

    def _sweep(self):
        """Remove the folders of killed builds of this path; none is in use, because this run has the lock."""
        folder, name = os.path.split(self.beside)
        for other in os.listdir(folder):
            # A name of an environment can also contain ".building-".
            if re.fullmatch(re.escape(name) + r"\.building-[0-9a-f]+", other):
                processes.remove(os.path.join(folder, other))


def _python():
    """The version and the path of the base Python, on which a persistent environment depends."""
    return [".".join(map(str, sys.version_info[:2])), thin_venv.base_python()]
