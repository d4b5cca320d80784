"""Find or build the environments of a run.

Rules:
- Only one run at a time builds an environment; the others wait for it.
- A build is repeated if the network fails, or if uv's cache is damaged.
"""

import functools
import json
import os
import re

from . import environment, integrity
from .uv_process import POLL, InstallProblem, UvProcess

INSTALL, RUN = "install", "run"
"""Values of UV_ARGO_ROLE: do only this part; without a value, both."""
LISTED = 5  # maximum changed files that a note lists
WAITS = 5, 15, 45  # seconds after which an install is retried
NETWORK = re.compile(
    r"dns error|lookup address|resolving DNS|429 Too Many|server error \(5|timed out|tcp connect error"
    r"|[Cc]onnection (?:re[fs]|error|closed)|reading a body|response body|sending request|Request failed after"
)
"""Messages of uv after which a retry can help, unless there is also one of LASTING. Clients explain these failures in
the same way (core/resolution/install_errors.py)."""
LASTING = re.compile(r"certificate|InvalidContentType|407 Proxy|os error (?:13|28)\b")


class Installer:
    """Installs what a payload requires; `role` is the value of UV_ARGO_ROLE, or "".

    `trees` is the store of this run, `persistent` its persistent environment or None, and `handoff` what the container
    before this one has left, or None.
    """

    def __init__(self, host, log, payload, role):
        self.host = host
        self.log = log
        self.payload = payload
        self.settings = payload["settings"]
        self.uv_process = UvProcess(host, log, payload)
        self.run_uv = self.uv_process.run
        # The program has put this package into the store.
        self.store = os.path.dirname(os.path.dirname(host.guest))
        kind = self.settings["environment"]
        root = host.home if kind == "ephemeral" else self.store
        # Without a volume, the store of a pod is deleted with the pod, so it is not shared.
        is_shared = kind != "ephemeral" and root != "/tmp/uv-argo-store"  # noqa: S108
        self.trees = environment.Store(root, is_shared, self.settings["environment_user"])
        self.persistent = _persistent(host.venv) if kind == "persistent" else None
        self.uv = os.environ.get("UV_ARGO_UV") or "uv"
        self.role = role
        self.handoff = _handoff().take(self.store, payload["nonce"]) if self.role == RUN else None

    def environment(self):
        """The tree for the cell, built if it is missing; None without requirements."""
        lock = self.payload["lock"]
        lines, key = lock["lines"], lock["key"] if lock["lines"] else ""
        if not lines and not self.persistent:
            return None
        if self.handoff:
            tree = self.handoff.tree
            self.log.emit("installed", packages=tree.packages, seconds=tree.seconds, cached=tree.cached)
            return tree
        if lines and not key:
            from . import resolution

            self.log.emit("phase", phase="resolving")
            self._install_uv()
            aside = os.path.join(self.host.home, "resolve")
            lines, code = resolution.resolve(aside, lines, lock["bounds"], self.uv, self.run_uv)
            if code:
                raise InstallProblem(code)
            key = resolution.key_of(lines)
            self.log.emit("lock", lock=json.dumps({"key": key, "lines": lines}))
        tree = self._find_or_build(key, lines, self.persistent or self.trees)
        self.log.emit("installed", packages=tree.packages, seconds=round(tree.seconds, 3), cached=tree.cached)
        return tree

    def install(self, key, lines):
        """The folder with the packages of a `%pip` line, and the packages as [name, version]."""
        if not lines:
            return "", []
        tree = self._find_or_build(key, lines, self.trees)
        return tree.site, tree.packages

    def _find_or_build(self, key, lines, place):
        try:
            tree = place.find(key)
            if tree is None:
                self.log.emit("phase", phase="installing")
                tree = self._build(key, lines, place)
        except environment.Problem as problem:
            raise self.refusal(problem) from problem
        if isinstance(tree, int):
            raise InstallProblem(tree)
        if tree.lock:
            self.host.held.append(tree.lock)
        if self.role == INSTALL and self.trees.is_shared and not tree.cached:
            from . import byte_code

            byte_code.compile_all(self.trees.root, os.path.dirname(tree.site))
        if tree.folders and self.role != INSTALL:
            self.host.watched.append((tree, integrity.Watch(tree.site, tree.folders)))
        return tree

    def check_trees(self, in_session=False):
        """Reject the trees that changed during the run, so that no other run uses them."""
        for tree, watch in self.host.watched:
            home = os.path.dirname(tree.site)
            found = integrity.problems(home, tree.site) if watch.has_changes() else []
            if not found:
                if watch.has_compiled:
                    from . import byte_code

                    byte_code.keep(self.trees.root, home)
                    watch.has_compiled = False
                continue
            if not in_session and all(problem == "added" for _, problem in found):
                integrity.remove(tree.site, found)
                step = "They were removed"
            else:
                environment.reject(tree, in_session)
                step = "The next run installs it again"
            listed = ", ".join("%s (%s)" % (path, problem) for path, problem in found[:LISTED])
            more = " and %d more" % (len(found) - LISTED) if len(found) > LISTED else ""
            self.log.emit("note", text="Files of the shared environment changed during the run: %s%s. %s." % (
                listed, more, step))  # fmt: skip

    def _build(self, key, lines, place):
        """Build a tree; return it, or the exit status if uv failed. Only one run at a time builds a tree."""
        held = []  # type: list
        find = functools.partial(place.find, key)
        try:
            for paths in place.locks(key):
                lock, tree = self._lock(paths, find)
                if tree is not None:
                    return tree
                held.append(lock)
            tree = find() if held else None  # another run may have built it in the meantime
            if tree is None:
                self._install_uv()
                tree = self._try_to_build(key, lines, place)
            return tree
        finally:
            for lock in filter(None, held):
                lock.close()

    def _try_to_build(self, key, lines, place):
        """Like `build`, with later retries if the network fails; uv itself retries for ten seconds."""
        for seconds in WAITS if os.environ.get("UV_HTTP_RETRIES") != "0" else ():
            output = []  # type: list[str]
            tree = self._build_intact(key, lines, place, functools.partial(self.run_uv, output=output))
            if not isinstance(tree, int) or not is_network_failure("".join(output)):
                return tree
            self.log.emit("note", text="The packages could not be downloaded. Retrying in %d seconds." % seconds)
            self.uv_process.wait(seconds)
        return self._build_intact(key, lines, place, self.run_uv)

    def _build_intact(self, key, lines, place, run_uv):
        """Like `build`, with one retry and new downloads if uv's cache is damaged."""
        try:
            return place.build(key, lines, self.uv, run_uv, self.log.boot)
        except environment.Damaged as problem:
            names = ", ".join(problem.names)
            self.log.emit("note", text="uv's cache has damaged files of %s. Downloading again." % names)
            return place.build(key, lines, self.uv, run_uv, self.log.boot, problem.names)

    def _lock(self, paths, find):
        """Wait for the lock of one of these files, or until another run has built the tree; return (lock, tree).

        The lock is None without locks, as two builds are harmless. Many runs can wait for one tree; they do not need
        its lock, for which they would wait for each other.
        """
        turns = 0
        while True:
            if turns == 4:  # after a second
                self.log.emit("note", text="Waiting for the install of another run.")
            for path in paths:
                try:
                    return environment.lock(path), None
                except BlockingIOError:
                    pass
            self.uv_process.wait(POLL)
            turns += 1
            tree = find()
            if tree is not None:
                return None, tree

    def _install_uv(self):
        """Install uv if the image has none and the payload has a version."""
        version = self.payload["provision"]
        if not version:
            return
        import shutil

        from ..provision import install_uv

        if shutil.which(self.uv):
            return

        def run(command):
            output = []  # type: list[str]
            return self.run_uv(command, output), "".join(output)

        index = self.payload["uv"].get("UV_DEFAULT_INDEX", "")
        try:
            self.uv = install_uv.uv(self.store, version, re.sub(r"^[\w.-]+=", "", index), run, self.log.boot)
        except install_uv.ProvisionProblem as problem:
            self.log.emit("uv", text="error: uv could not be installed in the pod\n  cause: %s\n" % problem.cause)
            raise InstallProblem(problem.code) from problem

    def take(self, venv):
        """Take the lock of the persistent environment, whose Python runs the cell."""
        self.host.keeps_venv = True
        try:
            name = "run " + (os.environ.get("UV_ARGO_NAME") or "on " + os.uname().nodename)
            venv.take("%s\n%s" % (name, self.settings["environment_user"]))
        except environment.Problem as problem:
            raise self.refusal(problem) from problem
        if venv.lock:
            self.host.held.append(venv.lock)

    def leave(self, tree):
        """Leave the tree for the container that runs the cell."""
        _handoff().leave(self.store, self.payload["nonce"], self.log.boot, tree)

    def refusal(self, problem):
        """Log why there is no environment; return the error to raise."""
        self.log.emit("uv", text="error: %s\n" % problem)
        return InstallProblem(2, "environment")


def is_network_failure(text):
    """Whether uv failed because of the network, by its output."""
    text = text.split(" [std", 1)[0]  # the output of a build can contain the same messages
    return bool(NETWORK.search(text) and not LASTING.search(text))


def _persistent(path):
    from ..persistent import venv

    return venv.PersistentVenv(path)


def _handoff():
    from . import handoff

    return handoff
