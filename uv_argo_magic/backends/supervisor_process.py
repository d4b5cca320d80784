"""The process of a run on this machine: how to start a supervisor, and what to do with one."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic._os import atomic_write, descriptors, process_attributes
from uv_argo_magic.backends import local_limits, prestart
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec.settings import Resources
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.backends.fork_server import ForkedProcess, ForkServer
    from uv_argo_magic.core.spec.program import Program

    SupervisorProcess = subprocess.Popen[bytes] | prestart.Process | ForkedProcess

ENDS = 1.0
"""Seconds in which the processes of a killed supervisor end."""


def copy_environ() -> dict[str, str]:
    """A copy of the environment variables of this process."""
    while True:
        with contextlib.suppress(KeyError):  # another thread has just removed a variable
            return dict(os.environ)


@frozen
class Launch:
    """How to start a supervisor.

    `credentials` are environment variables only for this process, `resources` are its limits, and `output` is the
    folder for omitted output.
    """

    program: Program
    python: str
    store: Path
    output: Path | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    venv: Path | None = None
    """The path of a persistent environment."""
    name: str = ""
    """The name of this run for other runs that need the same persistent environment."""
    is_spare: bool = False
    """Whether the process waits on stdin for the payload of a run."""
    environ: Mapping[str, str] = field(default_factory=copy_environ)
    """The environment variables of this process. They are read once, because a notebook can change them at any time,
    and a process that started with other variables must not be used."""
    attributes: tuple[object, ...] = field(default_factory=process_attributes.inherited)
    """What a process inherits besides, at the same time."""

    @property
    def spare_key(self) -> tuple[object, ...]:
        """Launches with equal keys can use the same spare process."""
        return self.program.guest, self.python, self.store, tuple(sorted(self.environ.items())), self.attributes

    def for_spare(self) -> Launch:
        """How to start a spare process for a run like this one."""
        program = replace(self.program, payload="", nonce="")
        return Launch(program=program, python=self.python, store=self.store, is_spare=True)

    def start(self) -> Supervisor:
        """Start the process.

        Raises:
            BackendUnavailable: the process cannot be started, or its folder cannot be created.
        """
        source = self.program.prestart_source if self.is_spare else self.program.source
        source = local_limits.prelude(self.resources) + source
        with contextlib.ExitStack() as cleanup:
            try:
                folder = self._new_folder()
                cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
                (folder / "program.py").write_text(source, encoding="utf-8")
                self.store.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise BackendUnavailable(
                    f"cannot create a folder for the run: {problem}", hint="Free some disk space, or set TMPDIR."
                ) from problem
            if not os.access(self.store, os.W_OK):
                raise BackendUnavailable(
                    f"cannot write to the store of environments, {self.store}",
                    hint="Make it writable, or set UV_ARGO_HOME to another folder.",
                )
            try:
                command = [self.python, "-I", "-S", str(folder / "program.py")]
                process, lifeline = self._spawn(command, folder)
            except OSError as problem:
                raise BackendUnavailable(
                    f"cannot start {self.python}: {problem}",
                    hint="Choose another Python (--python), or close other programs.",
                ) from problem
            cleanup.pop_all()
        return Supervisor(launch=self, process=process, folder=folder, lifeline=lifeline)

    def adopt(self) -> Supervisor | None:
        """Take the process that was started in advance (prestart.py); return None if it does not exist or does not fit.

        If it does not exist, record how to start one in advance at the next `uv-argo run`.
        """
        guest = self.store / "guest" / self.program.digest
        origin = (self.python, str(guest), str(self.store), self.environ)
        found = prestart.take()
        if found is None:
            if record := prestart.record(python=self.python, guest=str(guest), store=str(self.store), uv=find_uv_bin()):
                with contextlib.suppress(OSError):
                    atomic_write.write(Path(record[0]), record[1])
            return None
        supervisor = Supervisor(launch=self, process=found.process, folder=Path(found.folder), lifeline=found.lifeline)
        if found.origin != origin:
            supervisor.close()
            return None
        return supervisor

    def fork(self, server: ForkServer) -> Supervisor:
        """Let the fork server start the process, as a spare one.

        Raises:
            OSError: the fork server cannot start it, or the folder of the run cannot be created.
        """
        folder = self._new_folder()
        try:
            process, lifeline = server.start(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Supervisor(launch=self, process=process, folder=folder, lifeline=lifeline, fork_server=server)

    def _new_folder(self) -> Path:
        """Create a folder in the current TMPDIR; `tempfile` keeps the first one."""
        chosen = self.environ.get("TMPDIR", "")
        return Path(tempfile.mkdtemp(prefix="uv-argo-", dir=chosen if chosen and Path(chosen).is_dir() else None))

    def _spawn(self, command: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
        """The process, and our end of its lifeline, which the operating system closes when this process ends."""
        read_end, write_end = os.pipe()
        try:
            with (folder / "supervisor.err").open("wb") as err:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if self.is_spare else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=err,
                    env=self._environ(folder) | {"UV_ARGO_LIFELINE": str(read_end)},
                    cwd=folder,
                    pass_fds=(read_end,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return process, write_end

    def _environ(self, folder: Path) -> dict[str, str]:
        return (
            prestart.environment(self.environ, store=str(self.store), folder=str(folder), uv=find_uv_bin())
            | dict(self.credentials)
            | ({"UV_ARGO_VENV": str(self.venv), "UV_ARGO_NAME": self.name} if self.venv else {})
            | {"UV_ARGO_OUTPUT": str(self.output or folder / "output.log")}
        )


@dataclass(kw_only=True, eq=False, repr=False)
class Supervisor:
    """A supervisor process; a spare one does not have a run yet."""

    launch: Launch
    process: SupervisorProcess
    folder: Path
    lifeline: int
    fork_server: ForkServer | None = None
    """The fork server that started it."""
    stopping: bool = False
    is_in_sequence: bool = False
    """Whether the run started directly after another one, in a spare process, so that a third run is likely."""
    has_exited: bool = False
    """Whether it wrote its last record or ended, so that the run no longer uses its folder."""

    @property
    def was_spare(self) -> bool:
        """Whether it was started as a spare process."""
        return self.launch.is_spare

    def hand_over(self, launch: Launch) -> bool:
        """Send the payload of a run to a spare process; False if this fails."""
        is_current = self.folder.is_dir() and (self.fork_server is None or self.fork_server.is_current())
        if not is_current or self.launch.spare_key != launch.spare_key or self.process.poll() is not None:
            return False
        assert self.process.stdin is not None  # noqa: S101 - a spare process has a pipe
        try:
            path = os.fsencode(launch.output or self.folder / "output.log")
            self.process.stdin.write(path + b"\n" + base64.b64decode(launch.program.payload))
            self.process.stdin.close()
        except BrokenPipeError:
            return False
        self.launch = replace(launch, is_spare=True)
        return True

    def restart(self) -> Supervisor:
        """Start the run again in a new process, after the spare one was killed before it wrote anything.

        Raises:
            BackendUnavailable: the process cannot be started.
        """
        self.close()
        return replace(self.launch, is_spare=False).start()

    def end_message(self, code: int) -> str:
        """Why the process ended; "" if its log should have the reason."""
        number = -code if code < 0 else code - 128
        # Any other status above 128 is the cell's own exit status, which is in its last record.
        if number in set(signal.Signals):
            return f"the supervisor process was terminated by {signal.Signals(number).name}"
        if code == 0:
            return ""
        try:
            text = (self.folder / "supervisor.err").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # the cell can remove the folder of its run
            return ""
        line = text.rsplit("\n", 1)[-1]
        # A full disk is the only error before the first record that a user can fix.
        return (
            f"{line}; free some space, or set UV_ARGO_HOME to a folder on another disk"
            if "[Errno 28]" in line
            else line
        )

    def close(self) -> None:
        """Kill the process if it is running, and remove its folder."""
        kill(self.process)
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        os.close(self.lifeline)
        self.process.wait()
        if self.process.stdout:
            # The killed process had a child, which ends now. Until then it could create files.
            _wait_for_end(self.process.stdout.fileno())
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _wait_for_end(output: int) -> None:
    """Wait until no process has this output, for at most ENDS."""
    deadline = time.monotonic() + ENDS
    while descriptors.is_readable(output, max(0.0, deadline - time.monotonic())) and os.read(output, 1 << 16):
        pass


def kill(process: SupervisorProcess) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
