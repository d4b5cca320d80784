"""The first process of a run: owns the log, makes the environment, runs the cell, outlives it, and says how it ended.

Rules:
- One thread, one loop. Nothing but this process writes to the log.
- Whatever happens to the cell's process, the log ends with one `exit` record; only our own death prevents it.
- SIGTERM, SIGINT or the end of a lifeline stop the run: as an interrupt first, so that the user's code cleans up.
"""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from . import cell, environment, install_handoff, install_uv, log_writer, processes

LIFELINE = "UV_ARGO_LIFELINE"
INSTALL, RUN = "install", "run"
"""What UV_ARGO_ROLE may say: do only this part; without it, both."""
HANDED = "handed"
"""In the place of a reason: nothing has ended, another container goes on."""
PROTOCOL = 1
POLL = 0.25  # seconds between looks at what an install uses


class Stop(Exception):
    """The run was asked to end."""


class InstallProblem(Exception):
    """The environment could not be made: uv's exit status, and which limit it broke if it broke one."""

    def __init__(self, code, detail=""):
        Exception.__init__(self, code, detail)
        self.code = code
        self.detail = detail


def main(payload, guest):
    """Run what `payload` (gzip of JSON) wants; `guest` is the folder that holds this package.

    Without a payload: be ready for one, which comes on stdin behind a line that says where to keep the output.
    """
    groups, above = processes.outlive()
    fd = os.dup(1)
    os.set_inheritable(fd, False)
    os.dup2(2, 1)
    supervisor = Supervisor(guest, groups, above)
    if not payload:
        supervisor.start_process({})
        payload = supervisor.wait_for_payload()
    wanted = json.loads(gzip.decompress(payload))
    log = log_writer.Log(fd, wanted["nonce"])
    system = os.uname()
    try:
        after = supervisor.take_over(wanted["nonce"]) if supervisor.role == RUN else ""
        log.emit(
            "hello", protocol=PROTOCOL, python=".".join(map(str, sys.version_info[:3])), pid=os.getpid(),
            platform="%s %s" % (system.sysname, system.machine), host=system.nodename, after=after,
        )  # fmt: skip
        code = supervisor.run(log, wanted)
    except BaseException:  # noqa: BLE001 - the last thing that must be said, whatever happened
        log.emit("exit", reason="guest", code=70, detail=traceback.format_exc())
        code = 70
    sys.exit(code)


class Supervisor:
    """One run, from its payload to its `exit` record."""

    def __init__(self, guest, groups, above):
        self.guest = guest
        self.process = None
        environ = os.environ
        self.store = environ.get("UV_ARGO_STORE") or os.path.join(tempfile.gettempdir(), "uv-argo-store")
        self.home = environ.get("UV_ARGO_RUN") or tempfile.mkdtemp(prefix="uv-argo-run-")
        self.uv = environ.get("UV_ARGO_UV") or "uv"
        self.role = environ.get("UV_ARGO_ROLE") or ""
        self.handed = None
        self.output = environ.get("UV_ARGO_OUTPUT") or os.path.join(self.home, "output.log")
        # The run stops when one of these ends: the process above was killed, or whoever started it.
        self.lifelines = [above]
        self.wanted_by = int(environ[LIFELINE]) if LIFELINE in environ else -1
        if self.wanted_by >= 0:
            self.lifelines.append(self.wanted_by)
        self.groups = groups
        self.stopping = False
        self.wake, self.woken = os.pipe()
        for end in (self.wake, self.woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, _nothing)

    def start_process(self, env):
        """Start the cell's process in a venv of its own, before it is known what it will run."""
        python = environment.thin_venv(os.path.join(self.home, "venv"))
        self.process = cell.Process(self, python, env)

    def take_over(self, nonce):
        """Take what another container has installed; the name of its process start, whose log this one goes on."""
        self.handed = install_handoff.take(self.store, nonce)
        return self.handed.boot

    def wait_for_payload(self):
        """What comes on stdin; if this run is not wanted any more, this process ends here."""
        data = b""
        while True:
            ready = self.select([0], None)
            came = os.read(0, 1 << 16) if ready else b""
            if self.stopping or (ready and not came and not data):
                processes.end_descendants()
                shutil.rmtree(self.home, ignore_errors=True)
                sys.exit(0)
            if ready and not came:
                output, _, payload = data.partition(b"\n")
                self.output = os.fsdecode(output)
                return payload
            data += came

    def run(self, log, wanted):
        """Do it all; this process's exit status."""
        self.log = log
        self.wanted = wanted
        self.settings = wanted["settings"]
        try:
            reason, code, detail = self._outcome()
        finally:
            processes.end_descendants()
            self._clear()
        if reason == HANDED:
            return 0
        self.log.emit("exit", reason=reason, code=code, detail=detail)
        return 0 if reason == "ok" else (code if 0 < code < 256 else 1)

    def _outcome(self):
        """(reason, code, detail) of the exit record."""
        try:
            if self.role == INSTALL and any(re.match("UV_INDEX_.*_PASSWORD$", name) for name in os.environ):
                self.log.emit("note", text="the index has credentials, so the packages are installed by a container "
                              "of their own: the cell sees neither it nor them")  # fmt: skip
            self._compare()
            if self.process is None and self.role != INSTALL:
                secrets = {name: os.environ[name] for name in self.settings["secrets"] if name in os.environ}
                self.start_process(dict(secrets, **self.settings["env"]))
            tree = self._environment()
        except Stop:
            return "stopped", 143, "before the cell began"
        except InstallProblem as problem:
            return "install", problem.code, problem.detail
        if self.role == INSTALL:
            install_handoff.leave(self.store, self.wanted["nonce"], self.log.boot, tree)
            return HANDED, 0, ""
        sites = [tree.site] if tree else []
        if self.settings["base"]:
            sites += environment.beneath()
        if sites:
            environment.put_over(os.path.join(self.home, "venv"), sites)
        if self.stopping:
            return "stopped", 143, "before the cell began"
        self.log.emit("phase", phase="running")
        return cell.Cell(self, self.process).run(sites)

    def _compare(self):
        """Say where this Python is not the one the lock was made for; another minor cannot use it."""
        target = self.wanted["lock"].get("target")
        here = "%d.%d" % sys.version_info[:2]
        if target and target["python"].split(".")[:2] != here.split("."):
            text = "resolved for Python %s, and running Python %s" % (target["python"], here)
            if self.wanted["lock"]["lines"]:
                self.log.emit("uv", text="error: No interpreter found: " + text + "\n")
                raise InstallProblem(2, "python")
            self.log.emit("note", text=text)

    def _environment(self):
        """The tree that the cell needs, made if it is not there; None without requirements."""
        lock = self.wanted["lock"]
        lines, key = lock["lines"], lock["key"]
        if not lines:
            return None
        if self.handed:
            tree = self.handed.tree
            self.log.emit("installed", packages=tree.packages, seconds=tree.seconds, cached=tree.cached)
            return tree
        if not key:
            self.log.emit("phase", phase="resolving")
            self._provide()
            aside = os.path.join(self.home, "resolve")
            lines, code = environment.resolve(aside, lines, lock["bounds"], self.uv, self._uv)
            if code:
                raise InstallProblem(code)
            key = environment.key_of(lines)
            self.log.emit("lock", lock=json.dumps({"key": key, "lines": lines}))
        tree = environment.find(self.store, key)
        if tree is None:
            self.log.emit("phase", phase="installing")
            environment.sweep(self.store)
            self._provide()
            tree = environment.build(self.store, key, lines, self.uv, self._uv, self.log.boot)
            if isinstance(tree, int):
                raise InstallProblem(tree)
        self.log.emit("installed", packages=tree.packages, seconds=round(tree.seconds, 3), cached=tree.cached)
        return tree

    def _provide(self):
        """Where the image has no uv, and may be given one: install it."""
        version = self.wanted["provision"]
        if not version or shutil.which(self.uv):
            return

        def run(args):
            heard = []  # type: list[str]
            return self._uv(args, heard), "".join(heard)

        index = self.wanted["uv"].get("UV_DEFAULT_INDEX", "")
        try:
            self.uv = install_uv.uv(self.store, version, re.sub(r"^[\w.-]+=", "", index), run, self.log.boot)
        except install_uv.ProvisionProblem as problem:
            self.log.emit("uv", text="error: uv could not be installed there\n  cause: %s\n" % problem.why)
            raise InstallProblem(problem.code) from problem

    def _uv(self, args, heard=None):
        """Run uv, its words into the log (and into `heard`), within the install's limits; its exit status."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_ARGO_", "VIRTUAL_ENV"))}
        for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):  # a notebook's kernel sets them for its own front end
            env.pop(name, None)
        env.update(UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1", NO_COLOR="1")
        env.update(self.wanted["uv"])
        try:
            uv = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                start_new_session=True, preexec_fn=self.guard,
            )  # fmt: skip
        except OSError as problem:
            self.log.emit("uv", text="error: uv could not be started: %s\n" % problem)
            raise InstallProblem(127) from problem
        begun = time.monotonic()
        text = ""
        said = uv.stdout.fileno()  # type: ignore[union-attr]
        while True:
            if self.select([said], POLL):
                data = os.read(said, 65536)
                if not data:
                    break
                said_now = data.decode("utf-8", "replace")
                if heard is not None:
                    heard.append(said_now)
                text += said_now
                cut = text.rfind("\n") + 1
                if cut:
                    self.log.emit("uv", text=text[:cut])
                    text = text[cut:]
            broken = "stopped" if self.stopping else self._over_limit(uv.pid, begun, args)
            if broken:
                processes.kill_group(uv.pid)
                uv.wait()
                if broken == "stopped":
                    raise Stop
                raise InstallProblem(137, broken)
        if text:
            self.log.emit("uv", text=text + "\n")
        uv.stdout.close()  # type: ignore[union-attr]
        return uv.wait()

    def _over_limit(self, pid, begun, args):
        """The install's limit that is broken: install_timeout, install_memory, install_disk or nothing."""
        settings = self.settings
        if settings["install_timeout"] and time.monotonic() - begun > settings["install_timeout"]:
            return "install_timeout"
        used = processes.resident([pid, *processes.descendants()]) if settings["install_memory"] else 0
        if used > settings["install_memory"]:
            return "install_memory"
        if settings["install_disk"] and "--target" in args:
            target = args[args.index("--target") + 1]
            if processes.disk_use(target) > settings["install_disk"]:
                return "install_disk"
        return ""

    def guard(self):
        """Called by a new process before it becomes what it is for: its group ends if we are killed."""
        os.write(self.groups, b"%d\n" % os.getpid())

    def select(self, sources, seconds):
        """Wait for one of the sources, a signal or the lifeline; those that are ready. Notes a stop."""
        import select

        ready = select.select([*sources, self.wake, *self.lifelines], [], [], seconds)[0]
        if self.wake in ready:
            try:
                os.read(self.wake, 4096)
            except BlockingIOError:
                pass
        for lifeline in [fd for fd in self.lifelines if fd in ready]:
            if not os.read(lifeline, 4096):
                self.lifelines.remove(lifeline)
                self.stopping = True
        return [source for source in ready if source in sources]

    def _stop(self, _number, _frame):
        self.stopping = True

    def _clear(self):
        """Remove what this run made for itself; the whole output stays where it was kept."""
        for name in ("venv", "work", "resolve"):
            shutil.rmtree(os.path.join(self.home, name), ignore_errors=True)
        if self.wanted_by >= 0 and self.wanted_by not in self.lifelines:
            # Whoever started this run is gone, and would have removed the folder.
            shutil.rmtree(self.home, ignore_errors=True)


def _nothing(_number, _frame):
    pass
