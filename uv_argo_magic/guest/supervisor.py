"""The first process of a run: it writes the log, builds the environment, runs the cell, and reports its end.

Rules:
- There is one thread with one loop. Only this process writes to the log.
- Whatever happens to the cell's process, the log ends with one `exit` record, unless this process is killed.
- To stop the cell, it is interrupted first, so that the user's code can clean up.
"""

import json
import os
import re
import sys
import zlib

from . import cell, log_writer, processes
from .host import Host
from .install import thin_venv
from .install.installer import INSTALL, Installer
from .install.uv_process import InstallProblem, Stop

STOPPED = "stopped", processes.TERMINATED, "before the cell started"
HANDED = "handed"
"""A reason that means that the run has not ended, but continues in another container."""
PROTOCOL = 1
GZIP = 31  # zlib's `wbits` for gzip; zlib takes less time to import than gzip


def main(payload, guest, status=-1):
    """Run `payload` (gzip of JSON); `guest` is the folder of this package, `status` as in `processes.outlive`.

    Without a payload, start the cell's process and read the payload from stdin, after a line with the path for output.
    """
    groups, above = processes.outlive(status)
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
        self.host = host
        self.log = log
        self.payload = payload
        self.settings = payload["settings"]
        self.role = os.environ.get("UV_ARGO_ROLE") or ""
        self.installer = Installer(host, log, payload, self.role)
        handoff = self.installer.handoff
        self.after = handoff.boot if handoff else ""

    def run(self):
        """Install and run; return the exit status of this process."""
        try:
            reason, code, detail = self._outcome()
        finally:
            processes.end_descendants()
            self.installer.check_trees()
            self.host.clear()
        if reason == HANDED:
            return 0
        self.log.emit("exit", reason=reason, code=code, detail=detail)
        return 0 if reason == "ok" else (code if 0 < code < 256 else 1)

    def _outcome(self):
        """(reason, code, detail) of the exit record."""
        installer = self.installer
        persistent = installer.persistent
        try:
            if self.role == INSTALL and any(re.match("UV_INDEX_.*_PASSWORD$", name) for name in os.environ):
                self.log.emit("note", text="a separate container installs the packages, because the index has "
                              "credentials: the cell has no access to them")  # fmt: skip
            self._check_python()
            if self.role == INSTALL:
                processes.adopt()
            elif persistent:
                installer.take(persistent)
            elif self.host.process is None:
                self.host.start_process(self._variables())
            try:
                tree = self._environment()
                # Replace the lock of each line by its folder and packages, for the cell.
                installs = [[line, *installer.install(*lock)] for line, *lock in self.payload["installs"]]
            except OSError as problem:
                cause = "%s (os error %d)" % (problem, problem.errno or 0)
                raise installer.refusal("the environment could not be written\n  cause: " + cause) from problem
            self.payload["installs"][:] = installs
            if persistent:
                if not tree.cached:
                    import shlex

                    self.log.emit("note", text="The environment stays at %s. To use it again: --set venv=%s" % (
                        self.host.venv, shlex.quote(self.host.venv)))  # fmt: skip
                self.host.start_process(self._variables(), persistent.python)
        except Stop:
            return STOPPED
        except InstallProblem as problem:
            return "install", problem.code, problem.detail
        if self.role == INSTALL:
            installer.leave(tree)
            return HANDED, 0, ""
        sites = [tree.site] if tree and not persistent else []
        if self.settings["base"]:
            sites += self._base_folders()
        if tree and not tree.cached and not installer.handoff:
            from .install import precompile

            self.host.precompiler = precompile.start(self.host, tree.site, self.payload["cell"])
        return self._run_cell(sites)

    def _variables(self):
        """The environment variables of the cell from the settings."""
        secrets = {name: os.environ[name] for name in self.settings["secrets"] if name in os.environ}
        return dict(secrets, **self.settings["env"])

    def _environment(self):
        return self.installer.environment()

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
