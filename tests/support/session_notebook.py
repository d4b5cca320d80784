"""A notebook without a kernel whose cells run in sessions: the engine with a minimal front end."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.waiting import gated, until, until_printed
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.engine.front_end import QuietFrontEnd
from uv_argo_magic.errors import BackendUnavailable
from uv_argo_magic.history.store import History
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.registry import Registry, SessionEntry, SessionKey

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from uv_argo_magic.engine.run import Run


@dataclass
class Notebook(QuietFrontEnd):
    """Runs cells; `notes` are the notes of all cells so far."""

    path: Path
    is_interactive: bool = True
    notes: list[str] = field(default_factory=list)
    number: int = 0
    names: dict[str, object] = field(default_factory=dict)

    command = "%argo"

    def show_notes(self, notes, settings):
        self.notes += notes

    def history(self, settings):
        return History(self.path.parent / "runs", keep=0)

    def begin(self, cell: str, line: str = "-s") -> Run:
        """Start a cell without waiting for it."""
        self.number += 1
        context = CellContext(
            names=self.names, traits={}, environ=os.environ, folder=self.path.parent, notebook=str(self.path),
            number=self.number, is_interactive=self.is_interactive,
        )  # fmt: skip
        run = execute(cell, run_options(read_cell(line, self.names)), context, self)
        assert run is not None
        return run

    def run(self, cell: str, line: str = "-s") -> Run:
        """Run a cell to its end."""
        run = self.begin(cell, line)
        assert run.wait(60).ended, run
        return run

    def text(self, cell: str, line: str = "-s") -> str:
        """The output of a cell, which must succeed."""
        run = self.run(cell, line)
        run.raise_for_state()
        return run.logs()

    def entry_key(self, name: str = "main") -> SessionKey:
        return SessionKey.of(name, str(self.path))

    def entry(self, name: str = "main") -> SessionEntry:
        found = Registry.of_this_user().find(self.entry_key(name))
        assert found is not None
        return found


def run_past_max_age(notebook: Notebook, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a cell beyond the session's `max_age`: a warning and then the end must follow it."""
    events: list[dict[str, str]] = []
    monkeypatch.setattr(workers, "show_end", events.append)
    run = notebook.begin(gated(gate), "-s --set max_age=1")
    until_printed(run, "begun")
    started = workers.ask(notebook.entry(), "status")["status"]["started"]
    until(lambda: time.time() > started + 1)
    gate.touch()
    assert run.wait(60).outcome == "Succeeded"
    until(lambda: len(events) == 2)
    warnings = [(event["event"], event["setting"], event["run"]) for event in events]
    assert warnings == [("ending", "max_age", run.id), ("ended", "max_age", run.id)]


def forget_connections() -> None:
    """Forget all connections to sessions, as in a new kernel."""
    for connections in workers._connections.values():
        connections.close()
    workers._connections.clear()


def end_all() -> None:
    """End all sessions in this home folder, except those in clusters that have ended."""
    registry = Registry.of_this_user()
    for entry in registry.list():
        with contextlib.suppress(BackendUnavailable):
            workers.stop(entry, registry)


def result(run: Run) -> str:
    """The text of a cell's value."""
    (value,) = (output for output in run.state.outputs if isinstance(output, ev.Result))
    return dict(value.data)["text/plain"]
