"""A fake engine that runs nothing: `install` replaces prepare and start, to test the code that calls them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.resolution.lock import Lock, Target
from uv_argo_magic.errors import CellFailed

if TYPE_CHECKING:
    from uv_argo_magic.core.spec.run_spec import RunSpec

PYTHON = ".".join(map(str, sys.version_info[:3]))


@dataclass(frozen=True)
class Prepared:
    spec: RunSpec
    resolution: Lock

    @property
    def interpreter(self):
        return SimpleNamespace(target=self.resolution.target, image="")

    def describe(self):
        return f"would run {self.spec.requirements.lines} with {self.spec.python or 'any Python'}"


class Run:
    def __init__(self, engine, prepared, bind):
        self.id = "r1"
        self.engine = engine
        self.bind = bind
        self.spec = prepared.spec
        self.state = RunState(run=self.id)
        self.lock = lambda: prepared.resolution

    def read_on(self) -> None:
        """Does nothing, since everything has been read."""

    def follow(self, *renderers, hand_over=None, is_left=lambda: False):
        if self.engine.interrupt:
            raise KeyboardInterrupt
        self.state = fold(self.engine.events, self.state)
        for renderer in renderers:
            renderer.update(self.state)
        return self.state

    def deliver(self, *_):
        if self.state.outcome != "Succeeded":
            raise CellFailed("ValueError: no", state=self.state)
        self.bind(dict(self.engine.values))

    def ask_to_stop(self, by):
        self.engine.stopped.append(by)


@dataclass
class Engine:
    """The results to return, and the recorded calls."""

    events: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    interrupt: bool = False
    prepared: list = field(default_factory=list)
    prepare_arguments: list = field(default_factory=list)
    started: list = field(default_factory=list)
    stopped: list = field(default_factory=list)

    def prepare(self, spec, *, notebook="", upgrade=False, **_):
        self.prepare_arguments.append((notebook, upgrade))
        target = Target(python=spec.python if spec.python.count(".") else PYTHON)
        self.prepared.append(spec)
        return Prepared(spec, Lock(packages=(), target=target))

    def start(self, prepared, *, hooks, history=None, notebook="", **_):
        self.started.append((prepared, history, notebook))
        return Run(self, prepared, hooks.bind)

    @property
    def spec(self):
        return self.prepared[-1]


def ended(reason="ok", *events, code=0):
    return [*events, ev.Exited(boot="b", n=len(events) + 1, t=2.0, reason=reason, code=code)]


def install(monkeypatch):
    from uv_argo_magic.engine import execute, stages, start_run

    engine = Engine(events=ended())
    monkeypatch.setattr(stages, "prepare", engine.prepare)
    monkeypatch.setattr(start_run, "start", engine.start)
    monkeypatch.setattr(execute.base, "warm", lambda *_: None)
    return engine
