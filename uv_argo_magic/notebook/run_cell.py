"""Run a `%%argo` cell with the engine, and show the run in the cell.

Rule: this module is not imported by %load_ext, but by the first cell.
"""

from __future__ import annotations

import functools
import getpass
import threading
from typing import TYPE_CHECKING, Any

from IPython.display import display

from uv_argo_magic import cell_syntax
from uv_argo_magic.commands import edit, export
from uv_argo_magic.core.spec import output_metadata
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.history.store import History
from uv_argo_magic.notebook import background, late_output, reconnect
from uv_argo_magic.notebook.cell_view import CellView
from uv_argo_magic.remote_traceback import frames, local_names, rebuild

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.run_options import RunOptions
    from uv_argo_magic.core.protocol.events import LocalName, Question
    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Run

    Shell = Any
    """An InteractiveShell."""


def run_cell(text: str, cell: str, options: RunOptions, request: Request) -> object:
    """Run a cell and show it; return its run with `--detach`, else None. `text` is the line as written.

    Raises:
        ArgoMagicError: the run was not accepted, or failed.
        KeyboardInterrupt: the user interrupted the run, which was stopped.
    """
    shell: Shell = request.shell
    context = request.context
    front_end = CellFrontEnd(rebuild.cell_namer(shell, text, cell), context.notebook, options, request)
    started = None if options.dry_run else reconnect.find(reconnect.current_request(shell))
    try:
        run = execute(cell, options, context, front_end) if started is None else front_end.resume(started)
    except BaseException:
        front_end.abandon()
        raise
    if front_end.is_left:
        return None
    if run is None or front_end.is_detached:
        return run
    return None


def write_deps(text: str, cell: str, request: Request) -> None:
    """Replace the running cell by one whose line has the requirements of the notebook's file.

    Raises:
        SpecError: there is no such file, or it cannot be read.
    """
    shell: Shell = request.shell
    # While a cell runs, the front end replaces that cell.
    shell.set_next_input(f"{edit.line_with_requirements(text, request.context)}\n{cell}", replace=True)


class CellFrontEnd:
    """The engine's front end in a notebook's cell, or in a cell of IPython in a terminal."""

    command = "%argo"
    keeps_warm = True

    def __init__(self, get_name: Callable[[], str], notebook: str, options: RunOptions, request: Request) -> None:
        self.document = notebook
        self.waits_for_end = not options.detach
        self.is_detached = False
        self._view: CellView | None = None
        self._get_name = get_name
        self._options = options
        self._request = request
        self._shell: Shell = request.shell

    @property
    def is_left(self) -> bool:
        """Whether the same cell, run again in another page, continues to show the run."""
        return self._view is not None and self._view.is_left

    def abandon(self) -> None:
        """Show that no run was submitted, if there is a view."""
        if self._view is not None:
            self._view.abandon()

    def check_syntax(self, cell: str, code: str, python: str) -> None:
        """Refuse a cell with a syntax error, if the run's Python has the same version as this one.

        Raises:
            CellFailed: the cell has a syntax error.
        """
        if cell_syntax.is_this_version(python):
            cell_syntax.refuse_invalid_python(self._get_name, cell, code)

    def prepare(self, work: Callable[[threading.Event], Prepared], spec: RunSpec, run_id: str) -> Prepared:
        """Call `work`, and show its progress."""
        if self._options.dry_run:
            return work(threading.Event())
        if spec.session and not spec.requirements and "%pip" not in spec.cell:
            return work(threading.Event())  # there is nothing to show, because it takes a millisecond
        return self._open_view(spec, run_id).prepare(work)

    def notify(self, note: str) -> None:
        """Show a note, marked as ours, because it is not output of the cell."""
        display({"text/plain": note}, raw=True, metadata={output_metadata.KEY: {"schema": output_metadata.SCHEMA}})

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:
        """Show the expanded variables of the line, and the notes."""
        lines = [f"{name} = {text}" for name, text in self._request.line.expanded]
        lines += notes
        if self._options.detach and (reason := background.why_not(self._shell, settings)):
            lines.append(reason)
        if lines:
            self.notify("\n".join(lines))

    def show_plan(self, prepared: Prepared) -> None:
        """Print the plan, or write it to the file of `--to`."""
        print(export.export_prepared(prepared, self._options.to) if self._options.to else prepared.describe())

    def history(self, settings: Settings) -> History:
        """The history of this machine."""
        return History(self._request.history.root, keep=settings.history)

    def rebuild(self, remote: RemoteError, state: RunState | None = None) -> rebuild.Rebuilt:
        """The exception with the lines of the cell, and of earlier cells of its session."""
        for run in frames.unknown_cells(remote):
            entry = self._request.history.read().find(run)
            if entry is not None:
                frames.remember_cell(run, functools.partial(frames.add_cell, f"cell of {run}", entry.cell, 1))
        return rebuild.rebuild(remote, state=state, cell_name=self._get_name())

    def bind(self, values: dict[str, object]) -> None:
        """Bind the pulled variables in the notebook."""
        self._shell.push(values)

    def ask(self, question: Question) -> str:
        """Ask the user in the cell."""
        return getpass.getpass(question.prompt) if question.password else input(question.prompt)

    def resume(self, started: reconnect.Started) -> Run:
        """Show the run that this cell started in another page, like `execute` does for a new run.

        Raises:
            RunError: the run failed.
        """
        self.notify(f"Showing the run {started.run.id}, which this cell started before.")
        if self.follow(started.run, started.prepared):
            started.run.deliver()
        return started.run

    def find(self, name: str) -> LocalName | None:
        """The notebook's variable with this name, or a module in its folder."""
        return local_names.find(name, self.document, self._shell.user_ns)

    def follow(self, run: Run, prepared: Prepared) -> bool:
        """Show the run in the cell; False if it continues in the background, or in another page."""
        if prepared.spec.session:
            frames.remember_cell(run.id, self._get_name)
            late_output.expect(run.id, self._shell, prepared.spec.session)
        if self._options.out:
            self._shell.push({self._options.out: run})
        view = self._open_view(prepared.spec, run.id)
        self.is_detached = view.is_detached
        return view.follow(run, prepared)

    def _open_view(self, spec: RunSpec, run_id: str) -> CellView:
        if self._view is None:
            self._view = CellView(
                self._shell, spec.settings, run_id, is_detached=self._options.detach, is_quick=bool(spec.session),
                sent=spec.sent, rebuild_error=self.rebuild,
            )  # fmt: skip
        return self._view
