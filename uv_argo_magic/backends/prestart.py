"""Start the process of `uv-argo run` before our modules are imported, because both take about the same time.

The process is a spare one, as in local.py: a supervisor that waits on its stdin and has no data of a run. It exits if
this process ends without using it.

Rules:
- This module imports only `os`, `sys` and a table of names, since importing `subprocess` and `pathlib` would take as
  long as starting Python.
- It uses only information that an earlier run left on disk. If that does not fit, no process is started, or
  `end_unused` ends it; the run then starts its own process.
"""

from __future__ import annotations

import _thread
import os
import sys

from uv_argo_magic.core.spec.uv_environ import uv_process_environ

TYPE_CHECKING = False  # `typing` would take too long to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GUEST = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guest")
BOOT = """\
import os, sys
os.chdir(os.environ["UV_ARGO_RUN"])
guest = sys.argv.pop()
sys.path.insert(0, guest)
from uv_argo_guest import supervisor
supervisor.main(b"", guest)
"""
"""The equivalent of `Program.prestart_source` if the store has the guest; the last argument is the guest's folder."""
ELSEWHERE = ("KUBERNETES_SERVICE_HOST", "UV_ARGO_NAMESPACE", "UV_ARGO_PYTHON")
"""If one of these variables is set, the run may need a different process."""
USUAL = frozenset({"-d", "--deps", "-r", "--requirements", "--env-file", "--set", "--timeout", "--upgrade"})
"""Options of `run` that do not prevent it from using the process."""


class Process:
    """The part of `subprocess.Popen` that local.py uses."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        self._waits = _thread.allocate_lock()

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs, or another thread waits for it."""
        if self._waits.acquire(blocking=False):
            try:
                self._reap(os.WNOHANG)
            finally:
                self._waits.release()
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the process, and return the exit status."""
        with self._waits:
            return self._reap(0) or 0

    def send_signal(self, number: int) -> None:
        """Signal the process, unless it has ended.

        Raises:
            ProcessLookupError: the process has just ended.
        """
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.send_signal(9)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Waiting:
    """A waiting supervisor: its origin, its process, its folder, and our end of its lifeline."""

    def __init__(self, origin: tuple[str, str, str], process: Process, folder: str, lifeline: int) -> None:
        self.origin = (*origin, dict(os.environ))
        """The Python, the folders of the guest and of the store, and the environment variables."""
        self.process = process
        self.folder = folder
        self.lifeline = lifeline


_waiting: list[Waiting] = []
_files: list[str] = []
"""The file in which to record how to start a supervisor next time; empty if this is not wanted."""


def begin(argv: Sequence[str]) -> None:
    """Start the process if the command line looks like a run on this machine, similar to an earlier one."""
    environ = os.environ
    if os.name != "posix" or not _is_usual(argv) or environ.get("UV_ARGO_BACKEND", "local") != "local":
        return
    if any(map(environ.get, ELSEWHERE)):
        return
    try:
        path = _file(environ)
        _files.append(path)
        with open(path, encoding="utf-8") as file:
            stamp, python, guest, store, uv = file.read().split("\n")
        if stamp == _stamp() and python == _python() and os.path.isdir(guest) and os.path.isfile(uv):
            _waiting.append(_start(environ, python, guest, store, uv))
    except (OSError, ValueError, NotImplementedError):
        return  # there is no such file yet, or no space; the run reports errors


def _start(environ: Mapping[str, str], python: str, guest: str, store: str, uv: str) -> Waiting:
    """Start the process in a new folder.

    Raises:
        OSError: the process cannot be started, or this process lacks one of the three standard streams.
        NotImplementedError: the system's C library cannot start a process in a new session.
    """
    for fd in range(3):
        os.fstat(fd)  # otherwise a pipe would get its number
    folder = _new_folder(environ)
    try:
        variables = environment(environ, store=store, folder=folder, uv=uv)
        process, lifeline = _spawn([python, "-I", "-S", "-c", BOOT, guest], folder, variables)
    except BaseException:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
        raise
    return Waiting((python, guest, store), process, folder, lifeline)


def _is_usual(argv: Sequence[str]) -> bool:
    """Whether this is a run on this machine with the default Python."""
    if len(argv) < 2 or argv[0] != "run":
        return False
    for word in argv[1:]:
        if word == "--":  # arguments of the script follow
            break
        if word.startswith("-") and word not in USUAL:
            return False
    return True


def take() -> Waiting | None:
    """Return the started process to a caller, who then has to end it; None if there is none, or it was taken."""
    return _waiting.pop() if _waiting else None


def end_unused() -> None:
    """Let the process exit if no run has taken it; it removes its folder."""
    unused = take()
    if unused is not None:
        os.close(unused.lifeline)
        unused.process.stdin.close()
        unused.process.wait()
        unused.process.stdout.close()


def record(*, python: str, guest: str, store: str, uv: str) -> tuple[str, str] | None:
    """(file, text) to write for the next `uv-argo run`; None if nothing is to be written."""
    if not _files:
        return None
    return _files.pop(), f"{_stamp()}\n{python}\n{guest}\n{store}\n{uv}"


def environment(environ: Mapping[str, str], *, store: str, folder: str, uv: str) -> dict[str, str]:
    """The environment variables of a supervisor, without the user's uv settings, which a resolution ignores too.

    PATH has no folder of a venv, such as the kernel's: its commands would use and change the packages of that venv.
    """
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not os.path.isfile(f"{folder}/../pyvenv.cfg"))
    return uv_process_environ(environ) | {
        "UV_ARGO_STORE": store, "UV_ARGO_RUN": folder, "UV_ARGO_UV": uv, "PATH": path,
    }  # fmt: skip


def _spawn(command: list[str], folder: str, environ: Mapping[str, str]) -> tuple[Process, int]:
    """Start the process in its own session; return it with our end of its lifeline."""
    theirs, stdin = os.pipe()
    stdout, output = os.pipe()
    held, lifeline = os.pipe()
    errors = os.open(os.path.join(folder, "supervisor.err"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.set_inheritable(held, True)
    streams = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((theirs, output, errors))]
    try:
        variables = {**environ, "UV_ARGO_LIFELINE": str(held)}
        pid = os.posix_spawn(command[0], command, variables, file_actions=streams, setsid=True)
    except BaseException:
        for fd in (stdin, stdout, lifeline):
            os.close(fd)
        raise
    finally:
        for fd in (theirs, output, held, errors):
            os.close(fd)
    return Process(pid, stdin, stdout), lifeline


def _file(environ: Mapping[str, str]) -> str:
    """The path of the record in our cache folder, which is computed without importing its library."""
    home = environ.get("UV_ARGO_HOME")
    if home:
        return os.path.join(os.path.abspath(os.path.expanduser(home)), "cache", "prestart")
    return os.path.join(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "uv-argo", "prestart")


def _stamp() -> str:
    """A text that changes if a file of the guest changes."""
    with os.scandir(GUEST) as found:
        stats = sorted((item.name, item.stat()) for item in found if item.name.endswith(".py"))
    return " ".join([GUEST, *(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)])


def _python() -> str:
    """The default Python for cells (uv/interpreters.py)."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _new_folder(environ: Mapping[str, str]) -> str:
    """Create a private folder, without importing `tempfile`."""
    folder = os.path.join(environ.get("TMPDIR") or "/tmp", f"uv-argo-{os.urandom(6).hex()}")  # noqa: S108 - a new one
    os.mkdir(folder, 0o700)
    return folder
