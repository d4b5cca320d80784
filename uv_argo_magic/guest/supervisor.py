"""The first process of a run: it writes the log, builds the environment, runs the cell, and reports its end.

Rules:
- There is one thread with one loop. Only this process writes to the log.
- Whatever happens to the cell's process, the log ends with one `exit` record, unless this process is killed.
- To stop the cell, it is interrupted first, so that the user's code can clean up.
"""

import codecs
import functools
import json
import os
import re
import subprocess
import sys
import time
import zlib

from . import cell, log_writer, processes
from .host import Host
from .install import environment, integrity, thin_venv

INSTALL, RUN = "install", "run"
"""Values of UV_ARGO_ROLE: do only this part; without a value, both."""
STOPPED = "stopped", processes.TERMINATED, "before the cell started"
HANDED = "handed"
"""A reason that means that the run has not ended, but continues in another container."""
PROTOCOL = 1
GZIP = 31  # zlib's `wbits` for gzip; zlib takes less time to import than gzip
LISTED = 5  # maximum changed files that a note lists
POLL = 0.25  # seconds between two checks of an install's limits
WAITS = 5, 15, 45  # seconds after which an install is retried
NETWORK = re.compile(
    r"dns error|failed to lookup address|429 Too Many Requests|HTTP status server error \(5|timed out|tcp connect error"
    r"|Connection re|connection (?:error|closed|reset)|error sending request|Request failed after"
)
"""Messages of uv after which a retry can help."""


class Stop(Exception):
    """The run has to stop."""


class InstallProblem(Exception):
    """The environment could not be built; has uv's exit status, and the limit that was exceeded, if any."""

    def __init__(self, code, detail=""):
        Exception.__init__(self, code, detail)
        self.code = code
        self.detail = detail


def main(payload, guest):
    """Run `payload` (gzip of JSON); `guest` is the folder of this package.

    Without a payload, start the cell's process and read the payload from stdin, after a line with the path for output.
    """
    groups, above = processes.outlive()
    fd = os.dup(1)
    os.set_inheritable(fd, False)
    os.dup2(2, 1)
    host = Host(guest, groups, above)
    if not payload:
        host.start_process({})
        payload = host.wait_for_payload()
    payload = json.loads(zlib.decompress(payload, GZIP))
    log = log_writer.Log(fd, payload["nonce"])
    early = os.environ.pop("UV_ARGO_EARLY", "")
    if early:
        from .early import output

        log.copies.append(output.EarlyOutput(json.loads(early)))
    system = os.uname()
    try:
        supervisor = Supervisor(host, log, payload)
        log.emit(
            "hello", protocol=PROTOCOL, python=".".join(map(str, sys.version_info[:3])), pid=os.getpid(),
            platform="%s %s" % (system.sysname, system.machine), host=system.nodename, after=supervisor.after,
        )  # fmt: skip
        code = supervisor.run()
    except BaseException:  # noqa: BLE001 - the log must end with a record, whatever happened
        import traceback

        code = processes.INTERNAL_ERROR
        log.emit("exit", reason="guest", code=code, detail=traceback.format_exc())
    for copy in log.copies:
        copy.finish()
    os._exit(code)  # nothing is buffered, and the client is waiting for the end of the log


class Supervisor:
    """One run, from payload to `exit` record. `after` is the boot of the container that installed, or ""."""

    def __init__(self, host, log, payload):
        environ = os.environ
        self.host = host
        self.log = log
        self.payload = payload
        self.settings = payload["settings"]
        # The program has put this package into the store.
        self.store = os.path.dirname(os.path.dirname(host.guest))
        kind = self.settings["environment"]
        root = host.home if kind == "ephemeral" else self.store
        # Without a volume, the store of a pod is deleted with the pod, so it is not shared.
        self.trees = environment.Store(root, kind != "ephemeral" and root != "/tmp/uv-argo-store")  # noqa: S108
        self.persistent = _persistent(host.venv) if kind == "persistent" else None
        self.uv = environ.get("UV_ARGO_UV") or "uv"
        self.role = environ.get("UV_ARGO_ROLE") or ""
        self.handoff = _handoff().take(self.store, payload["nonce"]) if self.role == RUN else None
        self.after = self.handoff.boot if self.handoff else ""

    def run(self):
        """Install and run; return the exit status of this process."""
        try:
            reason, code, detail = self._outcome()
        finally:
            processes.end_descendants()
            self._check_trees()
            self.host.clear()
        if reason == HANDED:
            return 0
        self.log.emit("exit", reason=reason, code=code, detail=detail)
        return 0 if reason == "ok" else (code if 0 < code < 256 else 1)

    def _outcome(self):
        """(reason, code, detail) of the exit record."""
        try:
            if self.role == INSTALL and any(re.match("UV_INDEX_.*_PASSWORD$", name) for name in os.environ):
                self.log.emit("note", text="a separate container installs the packages, because the index has "
                              "credentials: the cell has no access to them")  # fmt: skip
            self._check_python()
            if self.role == INSTALL:
                processes.adopt()
            elif self.persistent:
                self._take(self.persistent)
            elif self.host.process is None:
                self.host.start_process(self._variables())
            try:
                tree = self._environment()
                # Replace the lock of each line by its folder and packages, for the cell.
                installs = [[line, *self._install(*lock)] for line, *lock in self.payload["installs"]]
            except OSError as problem:
                cause = "%s (os error %d)" % (problem, problem.errno or 0)
                raise self._refusal("the environment could not be written\n  cause: " + cause) from problem
            self.payload["installs"][:] = installs
            if self.persistent:
                if not tree.cached:
                    self.log.emit("note", text="The environment stays at %s. To use it again: --set venv=%s" % (
                        self.host.venv, self.host.venv))  # fmt: skip
                self.host.start_process(self._variables(), self.persistent.python)
        except Stop:
            return STOPPED
        except InstallProblem as problem:
            return "install", problem.code, problem.detail
        if self.role == INSTALL:
            _handoff().leave(self.store, self.payload["nonce"], self.log.boot, tree)
            return HANDED, 0, ""
        sites = [tree.site] if tree and not self.persistent else []
        if self.settings["base"]:
            sites += self._base_folders()
        return self._run_cell(sites)

    def _variables(self):
        """The environment variables of the cell from the settings."""
        secrets = {name: os.environ[name] for name in self.settings["secrets"] if name in os.environ}
        return dict(secrets, **self.settings["env"])

    def _take(self, venv):
        """Take the lock of the persistent environment, whose Python runs the cell."""
        self.host.keeps_venv = True
        try:
            venv.take("process %d on %s" % (os.getpid(), os.uname().nodename))
        except environment.Problem as problem:
            raise self._refusal(problem) from problem
        if venv.lock:
            self.host.held.append(venv.lock)

    def _refusal(self, problem):
        self.log.emit("uv", text="error: %s\n" % problem)
        return InstallProblem(2, "environment")

    def _base_folders(self):
        return thin_venv.base_package_folders()

    def _run_cell(self, sites):
        """Run the cell with these package folders; return (reason, code, detail) of the exit record."""
        if sites:
            thin_venv.add_folders(self.host.venv, sites)
        if self.host.stopping:
            return STOPPED
        self.log.emit("phase", phase="running")
        return cell.Cell(self.host, self.log, self.payload).run(sites)

    def _check_python(self):
        """Add a note if this Python differs from the lock's; with another minor version, the lock cannot be used."""
        target = self.payload["lock"].get("target")
        minor = "%d.%d" % sys.version_info[:2]
        if target and target["python"].split(".")[:2] != minor.split("."):
            text = "resolved for Python %s, but running on Python %s" % (target["python"], minor)
            if self.payload["lock"]["lines"]:
                self.log.emit("uv", text="error: No interpreter found: " + text + "\n")
                raise InstallProblem(2, "python")
            self.log.emit("note", text=text)

    def _environment(self):
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
            self.log.emit("phase", phase="resolving")
            self._install_uv()
            aside = os.path.join(self.host.home, "resolve")
            from .install import resolution

            lines, code = resolution.resolve(aside, lines, lock["bounds"], self.uv, self._run_uv)
            if code:
                raise InstallProblem(code)
            key = resolution.key_of(lines)
            self.log.emit("lock", lock=json.dumps({"key": key, "lines": lines}))
        tree = self._find_or_build(key, lines, self.persistent or self.trees)
        self.log.emit("installed", packages=tree.packages, seconds=round(tree.seconds, 3), cached=tree.cached)
        return tree

    def _install(self, key, lines):
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
            raise self._refusal(problem) from problem
        if isinstance(tree, int):
            raise InstallProblem(tree)
        if tree.lock:
            self.host.held.append(tree.lock)
        if self.role == INSTALL and self.trees.is_shared and not tree.cached:
            from .install import byte_code

            byte_code.compile_all(self.trees.root, os.path.dirname(tree.site))
        if tree.folders and self.role != INSTALL:
            self.host.watched.append((tree, integrity.Watch(tree.site, tree.folders)))
        return tree

    def _check_trees(self, in_session=False):
        """Reject the trees that changed during the run, so that no other run uses them."""
        for tree, watch in self.host.watched:
            home = os.path.dirname(tree.site)
            found = integrity.problems(home, tree.site) if watch.has_changes() else []
            if not found:
                if watch.has_compiled:
                    from .install import byte_code

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
            tree = self._build_intact(key, lines, place, functools.partial(self._run_uv, output=output))
            if not isinstance(tree, int) or not NETWORK.search("".join(output)):
                return tree
            self.log.emit("note", text="The package index did not respond. Retrying in %d seconds." % seconds)
            until = time.monotonic() + seconds
            while time.monotonic() < until and not self.host.stopping:
                self.host.select([], until - time.monotonic())
            if self.host.stopping:
                raise Stop
        return self._build_intact(key, lines, place, self._run_uv)

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

        The lock is None without locks or after too long, as two builds are harmless. Many runs can wait for one tree;
        they do not need its lock, for which they would wait for each other.
        """
        until = time.monotonic() + (self.settings["install_timeout"] or sys.maxsize)
        while time.monotonic() < until:
            for path in paths:
                try:
                    return environment.lock(path), None
                except BlockingIOError:
                    pass
            self.host.select([], POLL)
            if self.host.stopping:
                raise Stop
            tree = find()
            if tree is not None:
                return None, tree
        return None, None

    def _install_uv(self):
        """Install uv if the image has none and the payload has a version."""
        version = self.payload["provision"]
        if not version:
            return
        import shutil

        from .provision import install_uv

        if shutil.which(self.uv):
            return

        def run(command):
            output = []  # type: list[str]
            return self._run_uv(command, output), "".join(output)

        index = self.payload["uv"].get("UV_DEFAULT_INDEX", "")
        try:
            self.uv = install_uv.uv(self.store, version, re.sub(r"^[\w.-]+=", "", index), run, self.log.boot)
        except install_uv.ProvisionProblem as problem:
            self.log.emit("uv", text="error: uv could not be installed in the pod\n  cause: %s\n" % problem.cause)
            raise InstallProblem(problem.code) from problem

    def _run_uv(self, command, output=None, terminal=False):
        """Run uv or pip within the install's limits, log its output and add it to `output`; return its exit status.

        With `terminal`, it runs in a pseudo terminal, if there is one, to report its progress.
        """
        from .install import uv_tool

        ends = uv_tool.open_terminal() if terminal else None
        stdout, theirs = ends or os.pipe()
        try:
            process = self._start_uv(command, theirs, bool(ends))
        except BaseException:
            os.close(stdout)
            raise
        finally:
            os.close(theirs)
        try:
            return self._follow_uv(process, stdout, command, output, uv_tool.Screen(self.log.emit) if ends else None)
        finally:
            os.close(stdout)

    def _follow_uv(self, process, stdout, command, output, screen):
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        started = time.monotonic()
        pending = ""  # an unfinished line
        while True:
            if self.host.select([stdout], POLL):
                data = _read(stdout)
                if not data:
                    break
                text = decode(data)
                if screen is not None:
                    text = screen.feed(text)
                if output is not None:
                    output.append(text)
                lines, newline, pending = (pending + text).rpartition("\n")
                if newline:
                    self.log.emit("uv", text=lines + newline)
            self._check_install(process, started, command)
        pending += screen.close() if screen is not None else ""
        if pending:
            self.log.emit("uv", text=pending.rstrip("\n") + "\n")
        code, most = processes.wait(process)
        # A fast command can end between two checks.
        limit = "" if code else self._exceeded_limit(most, started, command)
        if limit:
            raise InstallProblem(processes.KILLED, limit)
        return code

    def _start_uv(self, command, stdout, terminal):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_ARGO_", "VIRTUAL_ENV"))}
        for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):  # a notebook's kernel sets them for its own front end
            env.pop(name, None)
        env.update(UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never", NO_COLOR="1", UV_NO_WRAP="1", TERM="xterm")
        env.update(self.payload["uv"], UV_NO_PROGRESS="1")
        if terminal:
            del env["UV_NO_PROGRESS"]
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stdout, env=env,
                start_new_session=True, preexec_fn=self.host.guard,
            )  # fmt: skip
        except OSError as problem:
            self.log.emit("uv", text="error: uv could not be started: %s\n" % problem)
            raise InstallProblem(processes.NOT_FOUND) from problem

    def _check_install(self, process, started, command):
        """Kill uv and raise if the run has to stop, or a limit of the install is exceeded."""
        limit = ""
        if not self.host.stopping:
            is_limited = self.settings["install_memory"]
            used = processes.resident([process.pid, *processes.descendants(process.pid)]) if is_limited else 0
            limit = self._exceeded_limit(used, started, command)
        if self.host.stopping or limit:
            processes.kill_group(process.pid)
            process.wait()
            raise InstallProblem(processes.KILLED, limit) if limit else Stop

    def _exceeded_limit(self, memory, started, command):
        """The limit that the install exceeds, as "SETTING USED LIMIT" in seconds or bytes, or ""."""
        used = {"timeout": time.monotonic() - started, "memory": memory}
        if self.settings["install_disk"] and "--target" in command:
            used["disk"] = processes.disk_use(command[command.index("--target") + 1])
        for name, amount in used.items():
            limit = self.settings["install_" + name]
            if limit and amount > limit:
                return "install_%s %d %d" % (name, amount, limit)
        return ""


def _persistent(path):
    from .persistent import venv

    return venv.PersistentVenv(path)


def _handoff():
    from .install import handoff

    return handoff


def _read(fd):
    """Read available data; b"" at the end, which a terminal reports as an error."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
