"""Show detached and attached runs live while the kernel runs other cells.

Rules:
- Each view has a thread, which calls `Run.follow` with the usual renderers, and ends with the run.
- Its messages have the parent header of the view's cell. IPython's state is not changed.
- Output is never lost: if a front end would not show a late message, the cell waits instead.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.protocol.state import step
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.engine.find_run import locate_entry, locate_remote
from uv_argo_magic.engine.run import Hooks
from uv_argo_magic.engine.start_run import join
from uv_argo_magic.errors import RunError, SpecError, Stopped
from uv_argo_magic.notebook import reconnect
from uv_argo_magic.remote_traceback import frames, rebuild
from uv_argo_magic.renderers.cell_output import OutputSink
from uv_argo_magic.renderers.choose import can_send_later, renderers

if TYPE_CHECKING:
    from uv_argo_magic.config import Config
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.engine.run import Renderer, Run
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History

_runs: dict[str, weakref.ref[Run]] = {}
"""The runs of this kernel by id. A live run is kept by its thread, an ended one only by variables of the user.

In the callbacks of a WeakValueDictionary, which run at any time, Python would ignore an interrupt.
"""

LATE_OUTPUT_IGNORED = "--detach ignored: this front end cannot show output later, so the cell waits."

Shell = Any
"""An InteractiveShell."""


class CellSink(OutputSink):
    """Shows output in the current cell, from any thread, even while another cell runs."""

    is_background = True

    def __init__(self, shell: Shell) -> None:
        """The shell must support this (see `why_not`)."""
        self._session = shell.display_pub.session
        self._socket = shell.display_pub.pub_socket
        self._parent = shell.get_parent()

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], *, transient: dict[str, str], update: bool
    ) -> None:
        """Show a mimebundle, or update an earlier one."""
        kind = "update_display_data" if update else "display_data"
        self._send(kind, {"data": data, "metadata": metadata, "transient": transient})

    def result(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show the value of the last expression; `Out` is not changed."""
        self.publish(data, metadata, transient={}, update=False)

    def clear(self, *, wait: bool) -> None:
        """Clear the output of the cell."""
        self._send("clear_output", {"wait": wait})

    def write(self, stream: str, text: str) -> None:
        """Add text to stdout or stderr."""
        self._send("stream", {"name": stream, "text": text})

    def error(self, error: RunError, *, is_result: bool = False) -> None:  # noqa: ARG002 - the cell has returned
        """Show an exception of the cell."""
        lines = error._render_traceback_()
        self._send("error", {"ename": type(error).__name__, "evalue": str(error), "traceback": lines})

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        self._session.send(self._socket, kind, content, parent=self._parent, ident=kind.encode())


class SwitchingSink(OutputSink):
    """An OutputSink while the cell runs, a CellSink once it has returned."""

    def __init__(self, shell: Shell) -> None:
        self._current: OutputSink = OutputSink()
        self._later = CellSink(shell)

    def leave(self) -> None:
        """Switch to the CellSink when the cell returns."""
        self._current = self._later

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], *, transient: dict[str, str], update: bool
    ) -> None:
        """Show a mimebundle, or update an earlier one."""
        self._current.publish(data, metadata, transient=transient, update=update)

    def result(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show the value of the last expression."""
        self._current.result(data, metadata)

    def error(self, error: RunError, *, is_result: bool) -> None:
        """Show an exception that a value raised while it was shown."""
        self._current.error(error, is_result=is_result)

    def clear(self, *, wait: bool) -> None:
        """Clear the output of the cell."""
        self._current.clear(wait=wait)

    def write(self, stream: str, text: str) -> None:
        """Add text to stdout or stderr."""
        self._current.write(stream, text)


def remember(run: Run) -> None:
    """Make a run of this kernel known to `attach`, as long as it exists."""
    for name in [name for name, reference in _runs.items() if reference() is None]:
        del _runs[name]
    _runs[run.id] = weakref.ref(run)


def known() -> list[Run]:
    """The runs of this kernel that still exist."""
    return [run for reference in _runs.values() if (run := reference())]


def follow_later(run: Run, sink: SwitchingSink, views: tuple[Renderer, ...]) -> threading.Thread:
    """Follow a run whose cell has returned, with the cell's renderers, in the returned thread."""
    sink.leave()
    remember(run)
    thread = threading.Thread(target=run.follow, args=views, name=f"uv-argo-view-{run.id}", daemon=True)
    thread.start()
    return thread


def why_not(shell: Shell, settings: Settings) -> str:
    """A sentence on why a run cannot continue in the background; "" if it can."""
    if getattr(shell, "kernel", None) is None:
        return "--detach ignored: it needs a notebook, so the cell waits."
    if not can_send_later(shell):
        return LATE_OUTPUT_IGNORED
    # nbclient (nbconvert, papermill, nbval) does not support input, and stops listening after the last cell.
    is_batch = shell.get_parent().get("content", {}).get("allow_stdin") is False
    if is_batch or settings.panel in {"static", "text"}:
        return LATE_OUTPUT_IGNORED
    return ""


def show(run: Run, shell: Shell, settings: Settings) -> threading.Thread:
    """Show a run in this cell until its end, in the returned thread."""
    sink = CellSink(shell)
    views = renderers(
        settings, ip=shell, on_stop=lambda: run.ask_to_stop("the Stop button"), sink=sink,
        full_log=f"%argo logs {run.id}", lock=run.lock, is_reloaded=reconnect.watch_pages(shell),
    )  # fmt: skip
    return show_with(run, sink, views)


def show_with(run: Run, sink: CellSink, views: tuple[Renderer, ...]) -> threading.Thread:
    """Show a run with these views until its end, in the returned thread."""
    remember(run)
    for renderer in views:
        renderer.update(run.state)  # once in this thread, which must create the widgets

    def follow() -> None:
        run.follow(*views)
        try:
            run.raise_for_state()
        except Stopped:
            pass  # the panel shows this
        except RunError as error:
            sink.error(error)

    thread = threading.Thread(target=follow, name=f"uv-argo-view-{run.id}", daemon=True)
    thread.start()
    return thread


def attach(name: str, shell: Shell, history: History, notebook: str, configuration: Config) -> Run | RunRecord | None:
    """Show a run again: a live run in the background, an ended run completely.

    Returns the run if it is live or has values. Runs of this kernel come first, then the history, then the configured
    backend.

    Raises:
        SpecError: the run does not exist, or another kernel has it.
        BackendError: the backend does not respond.
    """
    live = [run for run in known() if not run.state.ended]
    if not name and live:
        name = max(run.id for run in live)
    listing = history.read()
    entry = listing.find(name) if name else listing.last(notebook)
    run = next((run for run in known() if name == run.name or (entry and entry.id == run.id)), None)
    if run is not None and run.state.ended and entry is not None and entry.summary is None:
        run.wait()  # the history gets its end after the state
        entry = history.find(run.id) or entry
    if run is None or run.state.ended:
        if entry is not None and entry.summary is not None:
            return replay(entry, shell)
        ref = locate_entry(entry, configuration) if entry is not None else locate_remote(name, listing, configuration)
        if ref.remote is not None:
            run = join(
                ref,
                history=history,
                settings=configuration.settings,
                hooks=Hooks(rebuild=functools.partial(_rebuild, entry), bind=shell.push, command="%argo"),
            )
        elif entry is not None and entry.live:
            raise SpecError(
                f"{entry.id} runs in another kernel",
                hint=f"%argo logs {entry.id} prints its output so far; %argo stop {entry.id} stops it.",
            )
        elif entry is not None:
            return replay(entry, shell)
    if run is None:  # pragma: no cover - `locate` would have raised
        return None
    if why_not(shell, run.settings):
        stop = functools.partial(run.ask_to_stop, "the Stop button")
        run.follow(*renderers(run.settings, ip=shell, on_stop=stop, lock=run.lock))
    else:
        show(run, shell, run.settings)
    return run


def _rebuild(entry: RunRecord | None, remote: remote_error.RemoteError, state: RunState) -> rebuild.Rebuilt:
    """The exception of a run that another cell or kernel started, with the lines of that cell."""
    spec = entry.spec() if entry is not None else None
    if entry is None or spec is None:
        return rebuild.rebuild(remote, state=state)
    name = frames.add_cell(f"cell of {entry.id}", spec.cell, spec.line_offset)
    return rebuild.rebuild(remote, state=state, cell_name=name)


class _ReplaySink(OutputSink):
    def result(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show the value as a display, because it is not the value of this cell."""
        self.publish(data, metadata, transient={}, update=False)


def replay(entry: RunRecord, shell: Shell) -> RunRecord | None:
    """Show an ended run: its panel, its output, and its error as text, because this cell has not failed.

    Returns the run if it has values.
    """
    state = entry.state()
    if not state.ended:  # its end is not in the history
        state = step(state, ev.LogEnded(t=state.phases[-1][1] if state.phases else entry.begun))
    views = renderers(
        Settings(panel="static"), ip=shell, sink=_ReplaySink(), full_log=f"%argo logs {entry.id}", lock=entry.lock
    )
    for renderer in reversed(views):  # the panel first, as in the cell that ran it
        renderer.update(state)
    if state.error and state.outcome != "Stopped":
        error = _rebuild(entry, remote_error.parse(state.error), state)
        sys.stderr.write("\n".join(error._render_traceback_()) + "\n")
    return entry if state.values else None
