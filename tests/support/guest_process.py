"""Run a program without a backend, for tests of the guest and its protocol."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic.core.protocol import events, log_reader
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.resolution.lock import Lock, Resolution, Target
from uv_argo_magic.core.spec import program
from uv_argo_magic.core.spec.run_spec import Pushed, RunSpec, Settings
from uv_argo_magic.engine.preparation.build import guest_text
from uv_argo_magic.engine.preparation.guest_archive import values_modules

if TYPE_CHECKING:
    from pathlib import Path

NONCE = "0123abcd"
HERE = ".".join(map(str, sys.version_info[:3]))
BASE = getattr(sys, "_base_executable", sys.executable)


@dataclass(kw_only=True)
class Guest:
    """One supervisor process; `read` waits for its end and returns the log."""

    home: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    lifeline: int

    def read(self) -> str:
        out = self.process.communicate()[0].decode()
        self.close_lifeline()
        return out

    def close_lifeline(self) -> None:
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def state(self) -> RunState:
        return fold(log_reader.decode(self.read(), NONCE))


def empty_lock() -> Lock:
    return Lock(packages=(), target=Target(python=HERE))


def start_guest(
    home: Path,
    cell: str,
    *,
    resolution: Resolution | None = None,
    env: dict[str, str] | None = None,
    push: tuple[Pushed, ...] = (),
    pull: tuple[str, ...] = (),
    python: str = BASE,
    requirements: Requirements = Requirements(),  # noqa: B008 - frozen
    cell_env: tuple[tuple[str, str], ...] = (),
    uv: str = "",
    code: str = "",
    script: bool = False,
    modules: dict[str, str] | None = None,
    installs: tuple[tuple[str, Lock], ...] = (),
    **settings: object,
) -> Guest:
    """Start a supervisor whose run folder and store are in `home`."""
    cell_settings = Settings(variables=cell_env, **settings)  # type: ignore[arg-type]
    spec = RunSpec(
        cell=cell, requirements=requirements, push=push, pull=pull, settings=cell_settings, code=code, script=script
    )
    built = program.build(
        spec,
        resolution or empty_lock(),
        guest=guest_text(*(["provision"] if uv else [])),
        nonce=NONCE,
        uv=uv,
        modules=modules,
        installs=installs,
        values=values_modules() if push or pull else None,
    )
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    (run / "program.py").write_text(built.source)
    lifeline, parent_end = os.pipe()
    environ = os.environ | {
        "UV_ARGO_STORE": str(home / "store"),
        "UV_ARGO_RUN": str(run),
        "UV_ARGO_UV": find_uv_bin(),
        "UV_ARGO_OUTPUT": str(home / "output.log"),
        "UV_ARGO_LIFELINE": str(lifeline),
        **(env or {}),
    }
    process = subprocess.Popen(
        [python, "-I", "-S", str(run / "program.py")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environ,
        cwd=run,
        pass_fds=(lifeline,),
        start_new_session=True,
    )
    os.close(lifeline)
    return Guest(home=home, process=process, lifeline=parent_end)


def text_of(state: RunState, stream: str = "stdout") -> str:
    """The output on one stream."""
    texts = (output for output in state.outputs if isinstance(output, events.Lines | events.Text))
    return "".join(output.text for output in texts if getattr(output, "stream", "stdout") == stream)


ALARMS = """
import json, signal, sys

class Tick(Exception):
    pass

def tick(*_):
    global is_armed
    print("tick", file=sys.stderr)
    if is_armed and number % 2:
        is_armed = False
        raise Tick

signal.signal(signal.SIGALRM, tick)
completed, wrong = [], []
for number in range(3000):
    try:
        is_armed = True
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * (number % 120 + 1))
        written = sys.stdout.write(f"line {number}\\n")
        is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Tick:
        pass
    else:
        completed.append(number)
        if written != len(f"line {number}\\n"):
            wrong.append(number)
print(json.dumps([completed, wrong]))
"""
"""A cell that prints numbered lines; a signal handler prints at any moment of a write, and raises every other time."""


def check_interrupted_writes(state: RunState) -> None:
    """Check the output of ALARMS: no line is broken or repeated, and those of completed writes are there, in order."""
    assert (state.outcome, state.gaps) == ("Succeeded", ()), state.error
    *written, last = text_of(state).splitlines()
    completed, wrong = json.loads(last)
    assert wrong == []
    assert [line for line in written if not re.fullmatch(r"line \d+", line)] == []
    numbers = [int(line[5:]) for line in written]
    assert numbers == sorted(set(numbers))
    assert set(completed) <= set(numbers)
    ticks = text_of(state, "stderr")
    assert ticks == "tick\n" * ticks.count("tick")
    assert ticks
