"""The local backend: it runs the program as a process on this machine, with its own session, folder and environment.

Rules:
- The cell does not get the kernel's packages and environment variables, so that it behaves as it would on a cluster.
- This process holds one end of a pipe, the lifeline. When it is killed, the supervisor notices, and ends the cell and
  itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic._os import interrupts, paths
from uv_argo_magic.backends import local_limits, prestart
from uv_argo_magic.backends.base import Capability, Check, Submission
from uv_argo_magic.backends.supervisor_process import Launch, kill
from uv_argo_magic.core.protocol import events, log_reader
from uv_argo_magic.core.protocol.whole_lines import whole_lines
from uv_argo_magic.core.spec import indexes
from uv_argo_magic.core.spec import program as programs
from uv_argo_magic.core.spec.settings import Resources
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from uv_argo_magic.backends.fork_server import ForkServer
    from uv_argo_magic.backends.sessions import WorkerOptions
    from uv_argo_magic.backends.supervisor_process import Supervisor, SupervisorProcess
    from uv_argo_magic.core.protocol.events import NodePhase
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.uv.interpreters import Interpreter

PREFIX = "local-"
MIN_FREE = 2**30
"""With fewer free bytes on the disk, installs are likely to fail."""
GRACE = 5.0
"""Seconds in which a stopped supervisor can write its last records; it needs about three."""
SEQUENCE = 0.2
"""A run that starts within these seconds after the last one is part of a sequence, such as a loop or Run All Cells."""


class LocalBackend:
    """Runs programs as processes on this machine (Linux, macOS).

    After `warm`, a spare process waits for the next run: its Python has started, and it has no data of any run. In a
    sequence, it starts while the run before it is in progress. While runs are in progress, a fork server starts the
    spare processes (fork_server.py).
    """

    capabilities = Capability.DETACH | Capability.LOCAL
    settings = frozenset({"base", "secret_env"})
    limited = local_limits.LIMITED

    def __init__(self, store: Path | None = None) -> None:
        self._store = store
        self._lock = threading.Lock()
        """Guards the attributes below, because different threads submit, follow and delete runs."""
        self._runs: dict[str, Supervisor] = {}
        self._ending: list[Supervisor] = []
        """Supervisors that are being deleted, by a daemon thread."""
        self._spare: Supervisor | None = None
        self._ended_at = -math.inf
        """The time at which the last run ended, on the monotonic clock."""
        self._fork_server: tuple[tuple[object, ...], ForkServer] | None = None
        """The fork server with the `spare_key` of the launches that it is for."""
        atexit.register(self._remove_folders)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def target(self, spec: RunSpec) -> Interpreter:
        """A Python of this machine.

        Raises:
            SpecError: this machine does not have the Python, or it cannot be installed.
        """
        settings = spec.settings
        download = settings.python_downloads == "automatic"
        return interpreters.find(spec.python, download=download, offline=settings.offline)

    def image(self, spec: RunSpec) -> str:
        """An empty string, because there are no images.

        Raises:
            SpecError: the setting `base` is an image.
        """
        if spec.settings.base not in ("", "own"):
            raise SpecError(
                f"the local backend cannot use the image {spec.settings.base}",
                hint="Use --set base=own for the packages of the Python that runs the cell, or a cluster: -b argo.",
            )
        return ""

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """Start the process; its name is "local-" and the run's id.

        Raises:
            BackendUnavailable: this is Windows, or the process cannot be started.
        """
        if sys.platform == "win32":
            raise BackendUnavailable(
                "the local backend does not support Windows", hint="Run Jupyter in WSL, or use a cluster: -b argo."
            )
        run_folder = paths.run_dir(run_id)
        credentials = indexes.credentials(spec.settings)
        launch = Launch(
            program=program,
            python=interpreters.find(spec.python).path,
            store=self._store_folder(),
            output=run_folder / "output.log" if run_folder.is_dir() else None,
            credentials=credentials,
            resources=spec.resources,
            venv=_persistent_venv(spec.settings, run_id),
            name=run_id,
        )
        name = f"{PREFIX}{run_id}"
        try:
            with interrupts.delayed():  # an interrupt would leave a process that nothing ends
                supervisor = (None if _needs_own_process(spec) else self._use_spare(launch)) or launch.start()
                with self._lock:
                    is_alone = all(other.has_exited for other in self._runs.values())
                    follows = is_alone and time.monotonic() - self._ended_at < SEQUENCE
                    supervisor.is_in_sequence = follows and supervisor.was_spare
                    self._runs[name] = supervisor
        except KeyboardInterrupt:
            self.delete(name)
            raise
        return Submission(name=name)

    def start_worker(self, program: Program, spec: RunSpec, options: WorkerOptions) -> str:
        """Start the worker of a session, which outlives this process unless it is bound; return its socket's path.

        Raises:
            BackendUnavailable: this is Windows, or the worker cannot be started.
        """
        python = interpreters.find(spec.python).path
        credentials = indexes.credentials(spec.settings)
        store = self._store_folder()
        return str(_local_worker().start(program, options, python, store, credentials, spec.resources))

    def connect(self, address: str) -> socket.socket:
        """A connection to the socket at this path.

        Raises:
            OSError: no worker listens on this socket.
        """
        connection: socket.socket = _local_worker().connect(address)
        return connection

    def find(self, name: str, settings: Settings) -> None:
        """None, because a run ends with the process that started it."""

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | NodePhase]:  # noqa: ARG002 - always to the end
        """The log as it is written, then the phase in which the supervisor ended."""
        supervisor = self._runs.get(name)
        if supervisor is None:
            yield events.NodePhase(phase="Error", message=f"no process of this kernel is named {name}", t=time.time())
            return
        yield events.NodePhase(phase="Running", t=time.time(), uid=str(supervisor.process.pid))
        has_output = False
        for text in _read(supervisor.process):
            supervisor.has_exited = '"exit"' in text and bool(
                log_reader.exit_reason(text, supervisor.launch.program.nonce)
            )
            if supervisor.has_exited:
                self._ended_at = time.monotonic()
            yield text
            if not has_output and supervisor.is_in_sequence and not supervisor.has_exited:
                self._keep_spare(supervisor.launch.for_spare, forks_only=True)
            has_output = True
        if supervisor.was_spare and not has_output and not supervisor.stopping:
            # The spare process was killed while it waited. Without a first record, the cell has not started.
            supervisor = supervisor.restart()
            with self._lock:
                self._runs[name] = supervisor
            yield from _read(supervisor.process)
        code = supervisor.process.wait()
        supervisor.has_exited = True  # even if it was killed before its last record
        phase = "Succeeded" if code == 0 else "Failed"
        yield events.NodePhase(phase=phase, message=supervisor.end_message(code), t=time.time())

    def stop(self, name: str) -> None:
        """Signal the supervisor to end the cell; kill the supervisor if it does not end in time."""
        supervisor = self._runs.get(name)
        if supervisor is None or supervisor.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            supervisor.process.send_signal(signal.SIGTERM)
        if not supervisor.stopping:
            supervisor.stopping = True
            timer = threading.Timer(GRACE, kill, (supervisor.process,))
            timer.daemon = True
            timer.start()

    def delete(self, name: str) -> None:
        """Kill the process if it is running, and remove its folder."""
        with self._lock:
            supervisor = self._runs.pop(name, None)
            if supervisor is None:
                return
            self._ending.append(supervisor)
        supervisor.close()
        with self._lock:
            self._ending.remove(supervisor)

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """Check uv, the Python, and the disk space for environments."""
        try:
            uv = subprocess.run([find_uv_bin(), "--version"], capture_output=True, text=True, check=True, timeout=60)
            yield Check(name="uv", outcome="ok", message=uv.stdout.strip())
        except (OSError, subprocess.SubprocessError) as problem:
            yield Check(name="uv", outcome="failed", message=str(problem), hint="Reinstall it: pip install -U uv.")
        try:
            python = interpreters.find(spec.python)
            versions = ", ".join(sorted(interpreters.versions())) or "none"
            message = f"{python.target.python} at {python.path}; installed: {versions}"
            yield Check(name="Python", outcome="ok", message=message)
        except SpecError as problem:
            yield Check(name="Python", outcome="failed", message=problem.message, hint=problem.hint)
        folder = self._store_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
        except OSError as problem:
            hint = "Make it writable, or set UV_ARGO_HOME."
            yield Check(name="disk", outcome="failed", message=str(problem), hint=hint)
        else:
            is_enough = free >= MIN_FREE
            yield Check(
                name="disk",
                outcome="ok" if is_enough else "failed",
                message=f"{free / 2**30:.1f} GiB free for environments in {folder}",
                hint="" if is_enough else "Free some, or set UV_ARGO_HOME to a folder on another disk.",
            )

    def run_checks(self, name: str) -> Iterator[Check]:  # noqa: ARG002 - the protocol's signature
        """No checks, because the run itself shows all problems."""
        yield from ()

    def warm(self, guest: str, spec: RunSpec) -> None:
        """Start a spare process for such a run, unless there is one, or the run cannot use a spare process."""
        if _needs_own_process(spec) or sys.platform == "win32":
            return
        with contextlib.suppress(SpecError):  # the next run reports the error
            python = interpreters.find(spec.python).path
            program = programs.Program(guest=guest, payload="", nonce="")
            self._keep_spare(lambda: Launch(program=program, python=python, store=self._store_folder(), is_spare=True))

    def _keep_spare(self, make_launch: Callable[[], Launch], *, forks_only: bool = False) -> None:
        """Start a spare process, unless there is one; with `forks_only`, only by the fork server."""
        with self._lock:
            has_spare = self._spare is not None
        if has_spare:
            return
        launch = make_launch()
        try:
            spare = self._fork_spare(launch) or (None if forks_only else launch.adopt() or launch.start())
        except BackendUnavailable:
            return  # the next run starts its own process, and reports the error
        if spare is None:
            return
        with self._lock:
            extra = self._spare
            self._spare = spare
        if extra is not None:
            extra.close()  # another thread has started one in the meantime

    def _fork_spare(self, launch: Launch) -> Supervisor | None:
        """A spare process of the fork server; None if no run is in progress, or if this fails."""
        if not self._runs or sys.platform != "linux":
            return None
        from uv_argo_magic.backends import fork_server  # noqa: PLC0415 - 4 ms with `socket`, and only for concurrent runs

        try:
            with self._lock:
                key, server = self._fork_server or ((), None)
                if server is None or key != launch.spare_key or not server.is_current():
                    if server is not None:
                        server.close()
                    guest = launch.program.guest
                    folder = launch.store / "guest" / launch.program.digest
                    environ = prestart.environment(launch.environ, store=str(launch.store), folder="", uv=find_uv_bin())
                    server = fork_server.ForkServer(launch.python, guest, folder, environ)
                    self._fork_server = launch.spare_key, server
            return launch.fork(server)
        except OSError:
            self._fork_server = None
            return None

    def _remove_folders(self) -> None:
        """At the end of this process, remove the folders of ended runs that were not deleted yet."""
        with self._lock:
            supervisors = (*self._runs.values(), *self._ending)  # threads of runs can still be deleting theirs
        for supervisor in supervisors:
            if supervisor.has_exited:
                shutil.rmtree(supervisor.folder, ignore_errors=True)

    def _forget(self) -> None:
        """In a forked process, forget all processes, because they belong to its parent."""
        self._lock = threading.Lock()  # another thread of the parent can hold it
        for supervisor in filter(None, (self._spare, *self._runs.values())):
            os.close(supervisor.lifeline)  # they end with the parent, not with this process
        if self._fork_server is not None:
            self._fork_server[1].close.detach()
        self._runs, self._ending, self._spare, self._fork_server = {}, [], None, None

    def _store_folder(self) -> Path:
        return self._store or paths.cache_dir() / "store"

    def _use_spare(self, launch: Launch) -> Supervisor | None:
        """The spare process, after sending it the run; None if there is none that fits."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and not spare.hand_over(launch):
            spare.close()
            return None
        return spare


def _local_worker() -> ModuleType:
    from uv_argo_magic.backends import local_worker  # noqa: PLC0415 - 4 ms with `socket`, and only sessions need it

    return local_worker


def _needs_own_process(spec: RunSpec) -> bool:
    """Whether a spare process cannot run this, because its variables or limits must exist when Python starts."""
    settings = spec.settings
    has_variables = settings.variables or settings.secret_env or indexes.credentials(settings)
    return bool(has_variables or spec.resources != Resources() or settings.environment == "persistent")


def _persistent_venv(settings: Settings, run_id: str) -> Path | None:
    """The path of a persistent environment: the user's, or one in the cache with the run's id."""
    if settings.environment != "persistent":
        return None
    return paths.expanded(settings.venv).absolute() if settings.venv else paths.cache_dir() / "venvs" / run_id


def _read(process: SupervisorProcess) -> Iterator[str]:
    """The output of the process in whole lines; the last one may lack its newline."""
    assert process.stdout is not None  # noqa: S101 - started with a pipe
    return whole_lines(iter(functools.partial(os.read, process.stdout.fileno(), 1 << 18), b""))
