"""The program in a process here: its own session, its own folder, its own environment.

Rules:
- The kernel's packages and environment variables are not the cell's: what runs here runs the same elsewhere.
- The process holds a lifeline to this one: when this one is killed, it ends the cell and itself.
"""

from __future__ import annotations

import contextlib
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

from uv_argo_magic import interpreters, places
from uv_argo_magic.core import program as programs
from uv_argo_magic.core.events import NodePhase
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.program import Program
    from uv_argo_magic.core.spec import RunSpec

PREFIX = "local-"
GRACE = 5.0
"""Seconds that a stopped supervisor has to say goodbye: its own steps take three."""


@dataclass(kw_only=True)
class _Started:
    process: subprocess.Popen[bytes]
    home: Path
    lifeline: int
    stopping: bool = False


class LocalBackend:
    """Runs programs in processes of this machine (Linux, macOS)."""

    capabilities: frozenset[str] = frozenset()
    place = "here"

    def __init__(self, store: Path | None = None) -> None:
        self._store = store or places.cache_dir() / "store"
        self._runs: dict[str, _Started] = {}

    def submit(self, program: Program, spec: RunSpec, run_id: str) -> str:
        """Start the process; its name is "local-" and the run's id.

        Raises:
            BackendUnavailable: this machine cannot run cells (Windows), or has no room for one.
        """
        if sys.platform == "win32":
            raise BackendUnavailable(
                "the local backend does not run on Windows", hint="run Jupyter in WSL, or use a cluster: -b argo"
            )
        interpreter = interpreters.find(spec.python)
        try:
            home = Path(tempfile.mkdtemp(prefix=f"uv-argo-{run_id}-"))
            (home / "program.py").write_text(program.source, encoding="utf-8")
            self._store.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BackendUnavailable(
                f"no folder could be made for the run: {problem}", hint="free some disk space, or set TMPDIR"
            ) from problem
        kept_in = places.run_dir(run_id)
        output = (kept_in if kept_in.is_dir() else home) / "output.log"
        lifeline, held = os.pipe()
        # uv's settings in this environment must not make an install there another than what was resolved here.
        environment = programs.uv_surroundings(os.environ) | {
            "UV_ARGO_STORE": str(self._store),
            "UV_ARGO_RUN": str(home),
            "UV_ARGO_UV": find_uv_bin(),
            "UV_ARGO_OUTPUT": str(output),
            "UV_ARGO_LIFELINE": str(lifeline),
        }
        with (home / "supervisor.err").open("wb") as err:
            process = subprocess.Popen(
                [str(interpreter.path), "-I", "-S", str(home / "program.py")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                env=environment,
                cwd=home,
                pass_fds=(lifeline,),
                start_new_session=True,
            )
        os.close(lifeline)
        name = f"{PREFIX}{run_id}"
        # Open as long as the run: the operating system closes it when this process ends, however it ends.
        self._runs[name] = _Started(process=process, home=home, lifeline=held)
        return name

    def watch(self, name: str) -> Iterator[str | NodePhase]:
        """The log as it is written, then how the supervisor ended."""
        started = self._runs.get(name)
        if started is None:
            yield NodePhase(phase="Error", message=f"no process of this kernel is named {name}", t=time.time())
            return
        yield NodePhase(phase="Running", t=time.time(), uid=str(started.process.pid))
        stdout = started.process.stdout
        assert stdout is not None  # noqa: S101 - submit asked for a pipe
        rest = b""
        while data := os.read(stdout.fileno(), 1 << 18):
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if cut:
                yield data[:cut].decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")
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
        _kill(started.process)
        started.process.wait()
        if started.process.stdout:
            started.process.stdout.close()
        os.close(started.lifeline)
        shutil.rmtree(started.home, ignore_errors=True)

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


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
