"""Supervisors for runs that are started side by side: forked from one process that has imported the supervisor.

Starting Python and importing the supervisor takes most of the CPU time of a supervisor. The standard library's
`multiprocessing.forkserver` would import its own modules and the main module into each supervisor.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import weakref
import zlib
from pathlib import Path

from uv_argo_magic._os import descriptors
from uv_argo_magic.guest.install import integrity

PROGRAM = Path(__file__).with_name("fork_server_program.py")
PATIENCE = 5.0
"""Seconds in which the fork server must answer; if it does not, it is killed."""


class ForkServer:
    """The client of one fork server (Linux).

    `guest` is the guest of a Program, and `folder` the folder for its files in the store. A cell that is in progress
    could change these files while a process imports them; after a change, the fork server and its supervisors that wait
    are not used.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, python: str, guest: str, folder: Path, environ: dict[str, str]) -> None:
        files: dict[str, str] = json.loads(zlib.decompress(base64.b64decode(guest)))
        integrity.put(str(folder), files)
        self._paths = [os.path.join(folder, name) for name in files]  # noqa: PTH118 - for `os.stat`, at each run
        self._changed_at = _change_times(self._paths)
        with contextlib.ExitStack() as cleanup:
            self._channel, theirs = map(cleanup.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            self._process = subprocess.Popen(
                [python, "-I", "-S", str(PROGRAM), str(folder)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,
            )
            cleanup.pop_all()
            theirs.close()
        self._channel.settimeout(PATIENCE)
        self.close = weakref.finalize(self, _close, self._channel, self._process)
        """End the process; the supervisors that it started continue."""

    def is_current(self) -> bool:
        """Whether the guest's files have not changed since before the process was started."""
        return _change_times(self._paths) == self._changed_at

    def start(self, folder: Path) -> tuple[ForkedProcess, int]:
        """Start a supervisor for the run with this folder; return it with our end of its lifeline.

        Raises:
            OSError: the fork server has ended, or does not read, or there are too many descriptors.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            stdin_reader, stdin = _pipe(theirs, ours)
            stdout, stdout_writer = _pipe(ours, theirs)
            held, lifeline = _pipe(theirs, ours)
            status, status_writer = _pipe(ours, theirs)
            errors = os.open(folder / "supervisor.err", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            theirs.callback(os.close, errors)
            descriptors = [stdin_reader, stdout_writer, errors, held, status_writer]
            socket.send_fds(self._channel, [os.fsencode(folder)], descriptors)
            ours.pop_all()
        return ForkedProcess(self._process, stdin, stdout, status), lifeline


def _change_times(paths: list[str]) -> list[int]:
    """The times of the last change of the files or their metadata, in nanoseconds; [] if one of them is missing."""
    try:
        return [os.stat(path).st_ctime_ns for path in paths]  # noqa: PTH116 - pathlib takes twice as long
    except OSError:
        return []


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with these stacks."""
    ends = os.pipe()
    reader.callback(os.close, ends[0])
    writer.callback(os.close, ends[1])
    return ends


def _close(channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    channel.close()
    process.kill()  # it may not read
    process.wait()


class ForkedProcess:
    """The part of `subprocess.Popen` that local.py uses, for a supervisor that the fork server starts.

    `status` is a pipe to which the supervisor writes its process id, and its exit status at its end.
    """

    def __init__(self, server: subprocess.Popen[bytes], stdin: int, stdout: int, status: int) -> None:
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        self.returncode: int | None = None
        self._server = server
        self._status = os.fdopen(status, "rb", buffering=0)
        self._text = b""
        """What was read of the status."""
        self._pid: int | None = None
        self._reads = threading.Lock()

    @property
    def pid(self) -> int:
        """The process id; 0 if the fork server ended before it started the process."""
        if self._pid is None:
            with self._reads:
                while self._pid is None:
                    if not self._read_status(PATIENCE):
                        self._server.kill()
        return self._pid

    def poll(self) -> int | None:
        """The exit status; None while the process runs, or another thread waits for it."""
        if self._reads.acquire(blocking=False):
            try:
                while self.returncode is None and self._read_status(0):
                    pass
            finally:
                self._reads.release()
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the process, and return the exit status; -9 if it was killed."""
        if self.pid:  # known before this thread takes the lock for long
            with self._reads:
                while self.returncode is None:
                    self._read_status(None)
        return self.returncode or 0

    def send_signal(self, number: int) -> None:
        """Signal the process, unless it has ended.

        Raises:
            ProcessLookupError: the process has just ended.
        """
        if self.poll() is None and self.pid:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _read_status(self, seconds: float | None) -> bool:
        """Read what the supervisor wrote; False if it wrote nothing within `seconds`. The pipe closes when it ends."""
        if not descriptors.is_readable(self._status.fileno(), seconds):
            return False
        data = self._status.read(64) or b""
        self._text += data
        pid, newline, code = self._text.partition(b"\n")
        if newline:
            self._pid = int(pid)
        if not data:
            self._status.close()
            self._pid = self._pid or 0
            self.returncode = int(code or -signal.SIGKILL)
        return True
