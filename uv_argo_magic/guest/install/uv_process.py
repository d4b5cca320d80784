"""Run uv within the limits of the install, and log its output."""

import codecs
import os
import subprocess
import time

from .. import processes

POLL = 0.25  # seconds between two checks of an install's limits


class Stop(Exception):
    """The run has to stop."""


class InstallProblem(Exception):
    """The environment could not be built; has uv's exit status, and the limit that was exceeded, if any."""

    def __init__(self, code, detail=""):
        Exception.__init__(self, code, detail)
        self.code = code
        self.detail = detail


class UvProcess:
    """Runs uv or pip, one at a time. The time limit is for the whole install of a run, including the waits."""

    def __init__(self, host, log, payload):
        self.host = host
        self.log = log
        self.settings = payload["settings"]
        self.variables = payload["uv"]
        self.started = time.monotonic()

    def run(self, command, output=None, terminal=False):
        """Run uv or pip within the install's limits, log its output and add it to `output`; return its exit status.

        With `terminal`, it runs in a pseudo terminal, if there is one, to report its progress.
        """
        from . import uv_tool

        ends = uv_tool.open_terminal() if terminal else None
        stdout, theirs = ends or os.pipe()
        try:
            process = self._start(command, theirs, bool(ends))
        except BaseException:
            os.close(stdout)
            raise
        finally:
            os.close(theirs)
        try:
            return self._follow(process, stdout, command, output, uv_tool.Screen(self.log.emit) if ends else None)
        finally:
            os.close(stdout)

    def wait(self, seconds):
        """Wait for this time; raise if the run has to stop, or the time limit is exceeded."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.host.select([], POLL)
            self._check()

    def _follow(self, process, stdout, command, output, screen):
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
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
            self._check(process, command)
        pending += screen.close() if screen is not None else ""
        if pending:
            self.log.emit("uv", text=pending.rstrip("\n") + "\n")
        code, most = processes.wait(process)
        # A fast command can end between two checks.
        limit = "" if code else self._exceeded_limit(most, command)
        if limit:
            raise InstallProblem(processes.KILLED, limit)
        return code

    def _start(self, command, stdout, terminal):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_ARGO_", "VIRTUAL_ENV"))}
        for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):  # a notebook's kernel sets them for its own front end
            env.pop(name, None)
        env.update(UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never", NO_COLOR="1", UV_NO_WRAP="1", TERM="xterm")
        env.update(self.variables, UV_NO_PROGRESS="1")
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

    def _check(self, process=None, command=()):
        """Raise if the run has to stop, or a limit of the install is exceeded; before, kill uv if it runs."""
        limit = ""
        if not self.host.stopping:
            is_limited = process and self.settings["install_memory"]
            used = processes.resident([process.pid, *processes.descendants(process.pid)]) if is_limited else 0
            limit = self._exceeded_limit(used, command)
        if self.host.stopping or limit:
            if process:
                processes.kill_group(process.pid)
                process.wait()
            raise InstallProblem(processes.KILLED, limit) if limit else Stop

    def _exceeded_limit(self, memory, command):
        """The limit that the install exceeds, as "SETTING USED LIMIT" in seconds or bytes, or ""."""
        used = {"timeout": time.monotonic() - self.started, "memory": memory}
        if self.settings["install_disk"] and "--target" in command:
            used["disk"] = processes.disk_use(command[command.index("--target") + 1])
        for name, amount in used.items():
            limit = self.settings["install_" + name]
            if limit and amount > limit:
                return "install_%s %.3f %.3f" % (name, amount, limit)
        return ""


def _read(fd):
    """Read available data; b"" at the end, which a terminal reports as an error."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
