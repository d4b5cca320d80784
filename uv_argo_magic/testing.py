r"""Helpers for tests: a backend that runs nothing, and functions that make a log and play it.

    log = write(("hello", {...}), "a line of output\\n", ("exit", {"reason": "ok"}))
    state = play(log)

Rule: a log made here is read by the same `decode` and `step` as a real one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from uv_argo_magic.backends.base import Capability, Submission
from uv_argo_magic.core.protocol.log_reader import PREFIX, decode
from uv_argo_magic.core.protocol.state import RunState, step
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uv_argo_magic.backends.base import RemoteRun
    from uv_argo_magic.core.protocol import events as ev
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings

NONCE = "test"
"""The nonce of the logs that `write` makes; `FakeBackend` replaces it by the program's."""

Written: TypeAlias = str | tuple[str, dict[str, Any]]
"""Raw text that ends with a newline, or (kind, fields) of a record (docs/protocol.md)."""


def write(*items: Written, boot: str = "boot", nonce: str = NONCE, start: float = 1000.0, n: int = 0) -> str:
    """Log text as a guest writes it: each record gets its boot, its number after `n`, and a time one second later."""
    lines = []
    for item in items:
        if isinstance(item, str):
            n += item.count("\n")
            lines.append(item)
            continue
        kind, fields = item
        n += 1
        start += 1.0
        body = {"k": kind, "b": boot, "n": n, "t": start, **fields}
        lines.append(f"{PREFIX}{nonce} {json.dumps(body)}\n")
    return "".join(lines)


def states(
    log: str | Iterable[str | ev.Event], *, nonce: str = NONCE, start: RunState | None = None
) -> Iterator[RunState]:
    """Every state that a log leads to, line by line; pieces of text are whole lines."""
    state = start or RunState()
    for piece in [log] if isinstance(log, str) else log:
        for event in decode(piece, nonce) if isinstance(piece, str) else [piece]:
            state = step(state, event)
            yield state


def play(log: str | Iterable[str | ev.Event], *, nonce: str = NONCE, start: RunState | None = None) -> RunState:
    """The state after a whole log."""
    state = start or RunState()
    for state in states(log, nonce=nonce, start=start):  # noqa: B007 - the last one is wanted
        pass
    return state


class FakeBackend:
    """A backend that runs nothing: `watch` yields the given records for each run, then ends.

    `remote_runs` are the runs that `find` finds. `submitted`, `stopped` and `deleted` list the calls, in order. No more
    records come after `stop`.
    """

    def __init__(self, records: Iterable[str | ev.NodePhase] = ()) -> None:
        self.records = tuple(records)
        self.submitted: list[tuple[Program, RunSpec, str]] = []
        self.remote_runs: list[RemoteRun] = []
        self.stopped: list[str] = []
        self.deleted: list[str] = []

    capabilities = Capability.NONE
    settings: frozenset[str] = frozenset()

    def target(self, spec: RunSpec) -> interpreters.Interpreter:
        """A Python of this machine, as for `local`."""
        return interpreters.find(spec.python)

    def describe(self, program: Program, spec: RunSpec) -> str:  # noqa: ARG002 - the protocol's signature
        """Nothing."""
        return ""

    def manifest(self, program: Program, spec: RunSpec) -> str:  # noqa: ARG002 - the protocol's signature
        """The program itself."""
        return program.source

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """Record the program, its spec and the run's id; names are fake-1, fake-2, ..."""
        self.submitted.append((program, spec, run_id))
        return Submission(name=f"fake-{len(self.submitted)}", location="nowhere")

    def find(self, name: str, settings: Settings) -> RemoteRun | None:  # noqa: ARG002 - the protocol's signature
        """The run in `remote_runs` with this name or ID."""
        return next((run for run in self.remote_runs if name in (run.name, run.run)), None)

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | ev.NodePhase]:  # noqa: ARG002
        """Yield the records from the start, with the nonce of the program that was submitted as `name`."""
        remote = next((run for run in self.remote_runs if run.name == name), None)
        nonce = remote.nonce if remote else self.submitted[int(name.removeprefix("fake-")) - 1][0].nonce
        for record in self.records:
            if name in self.stopped or name in self.deleted:
                return
            yield record.replace(f"{PREFIX}{NONCE} ", f"{PREFIX}{nonce} ") if isinstance(record, str) else record

    def stop(self, name: str) -> None:
        """Record the call; idempotent."""
        if name not in self.stopped:
            self.stopped.append(name)

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        """A command that does nothing."""
        return (f"true {name}",)

    def delete(self, name: str) -> None:
        """Record the call; idempotent."""
        if name not in self.deleted:
            self.deleted.append(name)
