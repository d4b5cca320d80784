r"""Helpers for tests: a backend that runs nothing, and functions that write a log and replay it.

    log = write(("hello", {...}), "a line of output\\n", ("exit", {"reason": "ok"}))
    state = play(log)

Rule: these logs are read with the same `decode` and `step` as real ones.
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
"""The nonce of logs from `write`; `FakeBackend` replaces it with that of the program."""

Written: TypeAlias = str | tuple[str, dict[str, Any]]
"""Raw text that ends with a newline, or (kind, fields) of a record (docs/protocol.md)."""


def write(*items: Written, boot: str = "boot", nonce: str = NONCE, start: float = 1000.0, n: int = 0) -> str:
    """Log text in the guest's format. Records get the boot, numbers from `n` + 1 on, and times one second apart."""
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
    """Every state that results from a log, line by line; each text consists of whole lines."""
    state = start or RunState()
    for piece in [log] if isinstance(log, str) else log:
        for event in decode(piece, nonce) if isinstance(piece, str) else [piece]:
            state = step(state, event)
            yield state


def play(log: str | Iterable[str | ev.Event], *, nonce: str = NONCE, start: RunState | None = None) -> RunState:
    """The state at the end of a log."""
    state = start or RunState()
    for state in states(log, nonce=nonce, start=start):  # noqa: B007 - only the last state is used
        pass
    return state


class FakeBackend:
    """A backend that runs nothing: for each run, `watch` yields the given records and ends.

    `find` searches `remote_runs`. `submitted`, `stopped` and `deleted` list the calls in order. After `stop`, `watch`
    yields no more records.
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
        """A Python of this machine, as with the local backend."""
        return interpreters.find(spec.python)

    def describe(self, program: Program, spec: RunSpec) -> str:  # noqa: ARG002 - the protocol's signature
        """An empty string."""
        return ""

    def manifest(self, program: Program, spec: RunSpec) -> str:  # noqa: ARG002 - the protocol's signature
        """The source of the program."""
        return program.source

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """Record the call. The names of the runs are fake-1, fake-2 and so on."""
        self.submitted.append((program, spec, run_id))
        return Submission(name=f"fake-{len(self.submitted)}", location="nowhere")

    def find(self, name: str, settings: Settings) -> RemoteRun | None:  # noqa: ARG002 - the protocol's signature
        """The run in `remote_runs` with this name or id."""
        return next((run for run in self.remote_runs if name in (run.name, run.run)), None)

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | ev.NodePhase]:  # noqa: ARG002
        """Yield the records from the start, with the nonce of the run with this name."""
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
