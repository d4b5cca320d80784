"""The resources of a supervisor before its payload is known: its folder, signals, lifelines and the cell's process.

Rule: SIGTERM, SIGINT or the end of a lifeline sets `stopping`, and makes `select` return at once.
"""

import os
import signal
import subprocess
import sys

from . import cell, processes, streams
from .install import thin_venv

LIFELINE = "UV_ARGO_LIFELINE"
PATIENCE = 0.2  # seconds


class Host:
    """One per supervisor. New process groups are written to `groups`; `above` is closed when the parent ends."""

    def __init__(self, guest, groups, above):
        environ = os.environ
        self.guest = guest
        self.groups = groups
        self.home = environ.get("UV_ARGO_RUN") or _new_folder()
        self.venv = environ.get("UV_ARGO_VENV") or os.path.join(self.home, "venv")
        self.output = environ.get("UV_ARGO_OUTPUT") or os.path.join(self.home, "output.log")
        self.keeps_venv = False
        """Whether the environment outlives the run."""
        self.held = []
        """The locked files of the environments that the run uses."""
        self.watched = []
        """(tree, watch) of the environments that other runs use too."""
        self.process = None
        self.precompiler = None
        """The process that compiles what the cell imports (install/precompile.py), if any."""
        self.stopping = False
        # The run stops when one of these is closed: by the end of the parent process, or of the client.
        self.lifelines = [above]
        self.client = int(environ[LIFELINE]) if LIFELINE in environ else -1
        if self.client >= 0:
            self.lifelines.append(self.client)
        self.wake, woken = os.pipe()
        for end in (self.wake, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, _nothing)

    def start_process(self, env, python=""):
        """Start the cell's process with this python, or in a new venv, before the order is known."""
        self.process = cell.Process(self, python or thin_venv.create(self.venv), env)
        # This runs while the cell's Python starts, and no code of the user runs before the order.
        processes.adopt()

    def wait_for_payload(self):
        """Read the payload from stdin; exit if the client closes it without one."""
        data = b""
        while True:
            found = self.select([0], None)
            chunk = os.read(0, 1 << 16) if found else b""
            if self.stopping or (found and not chunk and not data):
                processes.end_descendants()
                processes.remove(self.home)
                sys.exit(0)
            if found and not chunk:
                output, _, payload = data.partition(b"\n")
                self.output = os.fsdecode(output)
                return payload
            data += chunk

    def guard(self):
        """Prepare a new process before exec, so that its group ends if this process is killed."""
        os.write(self.groups, b"%d\n" % os.getpid())

    def select(self, sources, seconds):
        """Wait for a source, a signal or a lifeline; return the sources that are ready."""
        found = self.wait([*sources, self.wake, *self.lifelines], seconds)
        if self.wake in found:
            try:
                os.read(self.wake, 4096)
            except BlockingIOError:
                pass
        for lifeline in [fd for fd in self.lifelines if fd in found]:
            if not os.read(lifeline, 4096):
                self.lifelines.remove(lifeline)
                self._stop(0, None)
        return [source for source in found if source in sources]

    def wait(self, sources, seconds):
        """Wait for one of the sources; return those that are ready."""
        return streams.wait_for(sources, seconds)[0]

    def end_precompiler(self):
        """End it when it has written a module, or while it compiles a very long one."""
        process, self.precompiler = self.precompiler, None
        if process:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def clear(self):
        """Remove everything that the run created, except the output file."""
        for name in ("venv", "bin", "work", "resolve", "modules", "values", "trees", "aside"):
            processes.remove(os.path.join(self.home, name))
        if not self.keeps_venv:
            processes.remove(self.venv)
        # Release the locks before the run reports its end, since the next run may need the same environment at once.
        while self.held:
            self.held.pop().close()
        # The client removes the folder too, but could be killed before. It reads only what is in stderr, a file there.
        if self.client >= 0 and not (self.client in self.lifelines and os.fstat(2).st_size):
            processes.remove(self.home)

    def _stop(self, _number, _frame):
        self.stopping = True


def _new_folder():
    import tempfile

    return tempfile.mkdtemp(prefix="uv-argo-run-")


def _nothing(_number, _frame):
    pass
