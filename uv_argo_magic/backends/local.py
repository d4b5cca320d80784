"""The program in a process here: its own session, its own folder, its own environment.

Rules:
- The kernel's packages and environment variables are not the cell's: what runs here runs the same elsewhere.
- The process holds a lifeline to this one: when this one is killed, it ends the cell and itself.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic._os import paths
from uv_argo_magic.backends.base import Capability, Check, Submission
from uv_argo_magic.core.protocol.events import NodePhase
from uv_argo_magic.core.spec import indexes
from uv_argo_magic.core.spec import program as programs
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.uv.interpreters import Interpreter

PREFIX = "local-"
ROOM = 2**30
"""Bytes on the disk below which installs are likely to fail."""
GRACE = 5.0
"""Seconds that a stopped supervisor has to say goodbye: its own steps take three."""


@dataclass(kw_only=True)
class _Started:
    """A supervisor process; one that waits has no run yet."""

    process: subprocess.Popen[bytes]
    home: Path
    lifeline: int
    about: tuple[object, ...]
    again: Callable[[], _Started] | None = None
    stopping: bool = False

    def end(self) -> None:
        """Kill it if it lives, and remove its folder."""
        _kill(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        os.close(self.lifeline)
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class LocalBackend:
    """Runs programs in processes of this machine (Linux, macOS).

    After `warm` one process waits, with its Python started and nothing of any run in it, for a program like the last.
    """

    capabilities = Capability.DETACH | Capability.LOCAL
    settings = frozenset({"base"})

    def __init__(self, store: Path | None = None) -> None:
        self._store = store
        self._runs: dict[str, _Started] = {}
        self._last: tuple[Program, str] | None = None
        self._spare: _Started | None = None
        self._lock = threading.Lock()

    def target(self, spec: RunSpec) -> Interpreter:
        """A Python of this machine.

        Raises:
            SpecError: no such Python is here.
        """
        return interpreters.find(spec.python)

    def image(self, spec: RunSpec) -> str:
        """There is none.

        Raises:
            SpecError: the settings name one whose packages the cell should see.
        """
        if spec.settings.base not in ("", "own"):
            raise SpecError(
                f"a cell of the local backend runs in no image, and base is {spec.settings.base}",
                hint="Write --set base=own for the packages of the Python that runs it, or name a cluster: -b argo.",
            )
        return ""

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """Start the process; its name is "local-" and the run's id.

        Raises:
            BackendUnavailable: this machine cannot run cells (Windows), or has no room for one.
        """
        if sys.platform == "win32":
            raise BackendUnavailable(
                "the local backend does not run on Windows", hint="run Jupyter in WSL, or use a cluster: -b argo"
            )
        python = interpreters.find(spec.python).path
        kept_in = paths.run_dir(run_id)
        output = kept_in / "output.log" if kept_in.is_dir() else None
        # Variables of the cell's own are there when its Python starts, or they would not mean the same; what logs in at
        # an index is in no process but the run's.
        logins = indexes.credentials(spec.settings)
        own = spec.settings.env or spec.settings.secret_env or logins
        started = None if own else self._take_spare(program, python, output)
        name = f"{PREFIX}{run_id}"
        if started is None:
            started = self._start(program.source, program, python, output, logins=logins)
        else:
            started.again = functools.partial(self._start, program.source, program, python, output)
        self._runs[name] = started
        self._last = None if own else (program, python)
        return Submission(name=name)

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """uv, the Python, and room for environments."""
        try:
            said = subprocess.run([find_uv_bin(), "--version"], capture_output=True, text=True, check=True, timeout=60)
            yield Check(name="uv", outcome="ok", message=said.stdout.strip())
        except (OSError, subprocess.SubprocessError) as problem:
            yield Check(name="uv", outcome="failed", message=str(problem), hint="Install it again: pip install -U uv.")
        try:
            found = interpreters.find(spec.python)
            others = ", ".join(sorted(interpreters.versions()))
            yield Check(
                name="Python",
                outcome="ok",
                message=f"{found.target.python} at {found.path}; here are {others or 'no others'}",
            )
        except SpecError as problem:
            yield Check(name="Python", outcome="failed", message=problem.message, hint=problem.hint)
        try:
            self._home().mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._home()).free
        except OSError as problem:
            yield Check(
                name="disk", outcome="failed", message=str(problem), hint="Make it writable, or set UV_ARGO_HOME."
            )
        else:
            yield Check(
                name="disk",
                outcome="ok" if free >= ROOM else "failed",
                message=f"{free / 2**30:.1f} GiB free for environments in {self._home()}",
                hint="" if free >= ROOM else "Free some, or set UV_ARGO_HOME to a folder on another disk.",
            )

    def run_checks(self, name: str) -> Iterator[Check]:  # noqa: ARG002 - the protocol's signature
        """None: the run itself shows everything."""
        yield from ()

    def warm(self) -> None:
        """Have a process wait for the next program, if the last one began without variables of its own."""
        with self._lock:
            if self._last is None or self._spare is not None:
                return
            with contextlib.suppress(BackendUnavailable):
                program, python = self._last
                self._spare = self._start(program.prestart_source, program, python, None, stdin=subprocess.PIPE)

    def _about(self, program: Program, python: str) -> tuple[object, ...]:
        """What a process that waits was started with; another of these needs another process."""
        return program.guest, python, str(self._home()), tuple(sorted(os.environ.items()))

    def _home(self) -> Path:
        return self._store or paths.cache_dir() / "store"

    def _take_spare(self, program: Program, python: str, output: Path | None) -> _Started | None:
        """The process that waits, with the program given to it; None where there is none like it."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is None:
            return None
        if spare.about == self._about(program, python) and spare.process.poll() is None and spare.process.stdin:
            try:
                where = os.fsencode(output or spare.home / "output.log")
                spare.process.stdin.write(where + b"\n" + base64.b64decode(program.payload))
                spare.process.stdin.close()
            except BrokenPipeError:
                spare.end()
                return None
            return spare
        spare.end()
        return None

    def _start(
        self,
        source: str,
        program: Program,
        python: str,
        output: Path | None,
        *,
        stdin: int = subprocess.DEVNULL,
        logins: Mapping[str, str] | None = None,
    ) -> _Started:
        about = self._about(program, python)
        try:
            home = Path(tempfile.mkdtemp(prefix="uv-argo-"))
            (home / "program.py").write_text(source, encoding="utf-8")
            self._home().mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BackendUnavailable(
                f"no folder could be made for the run: {problem}", hint="free some disk space, or set TMPDIR"
            ) from problem
        lifeline, held = os.pipe()
        # uv's settings in this environment must not make an install there another than what was resolved here.
        environment = (
            programs.uv_process_environ(os.environ)
            | dict(logins or {})
            | {
                "UV_ARGO_STORE": str(self._home()),
                "UV_ARGO_RUN": str(home),
                "UV_ARGO_UV": find_uv_bin(),
                "UV_ARGO_OUTPUT": str(output or home / "output.log"),
                "UV_ARGO_LIFELINE": str(lifeline),
            }
        )
        with (home / "supervisor.err").open("wb") as err:
            process = subprocess.Popen(
                [python, "-I", "-S", str(home / "program.py")],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=err,
                env=environment,
                cwd=home,
                pass_fds=(lifeline,),
                start_new_session=True,
            )
        os.close(lifeline)
        # `held` is open as long as the run: the operating system closes it when this process ends, however it ends.
        return _Started(process=process, home=home, lifeline=held, about=about)

    def find(self, name: str, settings: Settings) -> None:
        """Nothing: a run does not outlive the process that began it."""

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | NodePhase]:  # noqa: ARG002 - it is never asked
        """The log as it is written, then how the supervisor ended."""
        started = self._runs.get(name)
        if started is None:
            yield NodePhase(phase="Error", message=f"no process of this kernel is named {name}", t=time.time())
            return
        yield NodePhase(phase="Running", t=time.time(), uid=str(started.process.pid))
        begun = False
        for text in _read(started.process):
            begun = True
            yield text
        if not begun and started.again and not started.stopping:
            # It was killed while it waited. It never said hello, so nothing of the cell has run.
            started.end()
            started = self._runs[name] = started.again()
            yield from _read(started.process)
        code = started.process.wait()
        yield NodePhase(phase="Succeeded" if code == 0 else "Failed", message=self._words(started, code), t=time.time())

    def stop(self, name: str) -> None:
        """Ask the supervisor to end the cell; kill it if it does not."""
        started = self._runs.get(name)
        if started is None or started.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            started.process.send_signal(signal.SIGTERM)
        if not started.stopping:
            started.stopping = True
            timer = threading.Timer(GRACE, _kill, (started.process,))
            timer.daemon = True
            timer.start()

    def delete(self, name: str) -> None:
        """End it if it runs, and remove its folder."""
        started = self._runs.pop(name, None)
        if started is None:
            return
        started.end()

    @staticmethod
    def _words(started: _Started, code: int) -> str:
        """How the supervisor ended, where that is not its log's last record."""
        number = -code if code < 0 else code - 128
        # Any other status above 128 is one that the cell chose, and its own record says so.
        if number in set(signal.Signals):
            return f"the supervisor process was ended by {signal.Signals(number).name}"
        if code == 0:
            return ""
        try:
            text = (started.home / "supervisor.err").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # the cell may remove the folder of its run
            return ""
        return text.rsplit("\n", 1)[-1]


def _read(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """What it writes, whole lines at a time; the last may lack its newline."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    rest = b""
    while data := os.read(process.stdout.fileno(), 1 << 18):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        if cut:
            yield data[:cut].decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
