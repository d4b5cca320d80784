"""One submitted run, until its end: one thread reads it, and any number of threads can show it.

Rules:
- The reading thread folds the backend's items into the state. A state is replaced, never modified, so that other
  threads can wait for it and show it, each with its own renderers.
- The cell returns when the `exit` record is read; the thread continues to read until the backend's end.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Protocol

from uv_argo_magic import values
from uv_argo_magic._os import interrupts, threads
from uv_argo_magic.backends import base
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol import events, log_reader
from uv_argo_magic.core.protocol.state import Gap, Restarted, RunState, fold
from uv_argo_magic.core.view import messages, run_text
from uv_argo_magic.errors import ArgoMagicError, BackendError, BackendUnavailable, ProtocolError
from uv_argo_magic.history.recorder import Recorder
from uv_argo_magic.renderers.remote_result import RemoteResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import ModuleType

    from uv_argo_magic.core.resolution.lock import Lock, Resolution
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.outcome import Rebuild
    from uv_argo_magic.history.run_files import RunFiles


LAST_VALUE = "_"
"""The name of the value of a cell's last expression, as in IPython."""
QUICK = 0.05
"""Seconds for which the thread that calls `follow` reads the run itself, before the reading thread starts."""
PACE = 0.05
"""Minimum seconds between two updates of a renderer: 20 per second are more than a browser shows."""
TICK = 0.25
"""Seconds between two updates without a change, for the times on a panel, and stop requests of other processes."""
EXPLAIN_AFTER = 10.0
"""Maximum seconds that an ended run waits for uv to explain which package needs which."""
LEAVE_AFTER = 10.0
"""Maximum seconds that an interrupted cell waits for the end of its run, if the end cannot be shown later."""
FREE_AFTER = 0.5
"""Seconds after a stop until the cell returns, if the end of the run is shown in the background."""
WRITE_AFTER = 2.0
"""Maximum seconds that an ended run waits until the history is written."""
ASK_AGAIN = 2.0
"""Seconds between two attempts to stop a run whose backend does not respond."""


@frozen
class Hooks:
    """Functions of the front end for a run.

    `rebuild` creates the exception to raise for the cell's exception (default: a plain CellFailed). `bind` binds the
    pulled variables when `Run.result` is called. `command` is the prefix of a command for the user. `find` finds names
    that the cell lacks in the notebook. `ask` answers a question of the cell, in the thread that follows the run; its
    exceptions are raised in the cell.
    """

    rebuild: Rebuild | None = None
    bind: Callable[[dict[str, object]], object] | None = None
    command: str = "uv-argo"
    find: Callable[[str], events.LocalName | None] | None = None
    ask: Callable[[events.Question], str] | None = None


class Renderer(Protocol):
    """Shows a run; it is called in the thread that follows the run."""

    def update(self, state: RunState) -> None:
        """Show this state; in the last call, `state.ended` is true."""


def not_started(problem: Exception) -> events.NodePhase:
    """The event of a run that the backend did not accept, and why."""
    hint = getattr(problem, "hint", "")
    message = "; ".join(filter(None, (str(problem), hint)))
    return events.NodePhase(phase=events.NOT_STARTED, message=message, t=time.time())


def remove_pushed(folder: Path) -> None:
    """Remove the files of pushed values that the cell has not read."""
    for path in folder.glob("pushed-*"):
        with contextlib.suppress(OSError):
            path.unlink()


class Run:
    """One execution: its current state, and methods to follow, stop and query it."""

    def __init__(  # noqa: PLR0913 - the parts of a submitted run, by keyword
        self,
        backend: base.Backend,
        *,
        run_id: str,
        submitted: events.Submitted,
        nonce: str,
        settings: Settings,
        resolution: Resolution | None = None,
        files: RunFiles | None = None,
        warm: Callable[[], object] | None = None,
        hooks: Hooks | None = None,
        began_at: float = 0.0,
        has_more: Callable[[float], bool] | None = None,
    ) -> None:
        self.id = run_id
        self.name = submitted.name
        self.settings = settings
        self.resolution = resolution
        """The resolution of the run; None if unknown."""
        self._backend = backend
        self._nonce = nonce
        self._warm = warm
        self._hooks = hooks or Hooks()
        self._recorder = Recorder(files)
        self._state = RunState(run=run_id)
        self._changed = threading.Condition()
        """Guards `_state`, and is notified of each change."""
        self._answered: events.Question | None = None
        self._decoded: tuple[tuple[events.Value, ...], tuple[dict[str, object], list[str]]] | None = None
        self._ended = threading.Event()
        """Set when the state has ended and was written to the history."""
        self._is_read = threading.Event()
        """Set when everything was read from the backend."""
        self._explaining: threading.Thread | None = None
        self._refusal: BackendError | None = None
        """Why the backend refused the run, if it did so after `submit` had returned."""
        self._take(*([events.Preparing(t=began_at, sent=submitted.sent)] if began_at else []), submitted)
        self._recorder.note("name", submitted.name)
        self._has_more = has_more
        """Used by `follow` to read the beginning, before the reading thread is started."""
        self._items = backend.watch(submitted.name)
        if has_more is None:
            threads.start(self._read, f"uv-argo-{run_id}")

    def __repr__(self) -> str:
        # A notebook keeps this text under the cell, so it has no state that becomes outdated.
        return f"<Run {self.id}: {self.status}>" if self.state.ended else f"<Run {self.id}>"

    @property
    def state(self) -> RunState:
        """The current state."""
        return self._state

    @property
    def status(self) -> str:
        """The state as one word."""
        return messages.title(self.state)

    def lock(self) -> Resolution | None:
        """The resolution of the run; after its end, with the dependents of each package, if uv could determine them."""
        if self.state.ended and self._explaining:
            self._explaining.join(EXPLAIN_AFTER)
        return self.resolution

    def explain(self, explain_lock: Callable[[], Lock]) -> None:
        """Determine the dependents of each package in a thread, so that the run does not wait for it."""

        def learn() -> None:
            with contextlib.suppress(ArgoMagicError, OSError):
                self.resolution = explained = explain_lock()
                self._recorder.lock(explained)

        self._explaining = threading.Thread(target=learn, name=f"uv-argo-why-{self.id}", daemon=True)
        self._explaining.start()

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """The installed packages, as (name, version)."""
        return self.state.installed.packages if self.state.installed else ()

    def logs(self) -> str:
        """The cell's text output so far: stdout and stderr in order, with a line where a part is missing."""
        kinds = events.Lines | events.Text | events.Traceback | events.Skipped | Gap
        return "".join(run_text.output_text(output) for output in self.state.outputs if isinstance(output, kinds))

    def follow(
        self,
        *renderers: Renderer,
        hand_over: Callable[[], object] | None = None,
        stops: bool = True,
        is_left: Callable[[], bool] = lambda: False,
    ) -> RunState:
        """Show the run until it has ended. An interrupt stops the run (with `stops`); after a second one, this returns.

        If the run does not end soon after a stop, `hand_over` is called to show the rest in another way, and this
        returns a state that has not ended. It also returns when `is_left` is true, because another view continues.

        Raises:
            KeyboardInterrupt: the run was stopped, or it has not ended at the second interrupt.
        """
        try:
            self._read_here()
            self._show_until(renderers, None if hand_over is None else FREE_AFTER, is_left)
        except KeyboardInterrupt:
            self.read_on()
            if not stops:
                raise
            self.ask_to_stop("an interrupt")
            has_viewer = hand_over is not None
            try:
                self._show_until(renderers, LEAVE_AFTER if hand_over is None else FREE_AFTER)
            except KeyboardInterrupt:
                has_viewer = False  # the second interrupt: return, and explain how to stop the run
            if not self.state.ended:
                if hand_over is not None:
                    hand_over()
                if not has_viewer:
                    sys.stderr.write(self._left_behind())
            raise
        finally:
            self.read_on()
        if not self.state.ended and hand_over is not None and not is_left():
            hand_over()
        return self.state

    def _read_here(self) -> None:
        """Read the beginning in this thread, because a quick cell ends before another thread would have started.

        Raises:
            KeyboardInterrupt: the user interrupted the run.
        """
        has_more = self._has_more
        if has_more is None or threading.current_thread() is not threading.main_thread():
            self.read_on()
            return
        until = time.monotonic() + QUICK
        with interrupts.delayed():  # an interrupt within a read would lose part of the log
            goes_on = self._read_one()  # the phase, which is available immediately
            while (
                goes_on
                and not self.state.question
                and has_more(0.0 if self.state.ended else max(0.0, until - time.monotonic()))
            ):
                goes_on = self._read_one()
            if not goes_on and not self._recorder.must_make_room():
                self._has_more = None
                self._end_reading()
        if not self.state.ended:
            self.read_on()

    def read_on(self) -> None:
        """Start the thread that reads everything else, unless it has been started."""
        if self._has_more is not None:
            self._has_more = None
            threads.start(self._read, f"uv-argo-{self.id}")

    def _left_behind(self) -> str:
        commands = "".join(f"    {line}\n" for line in base.manual_stop_commands(self._backend, self.name))
        command = self._hooks.command
        text = f"uv-argo: {self.id} has not ended yet. To request a stop again: {command} stop {self.id}\n"
        text += f"To see it: {command} attach {self.id}\n"
        return text + (f"To stop it without uv-argo-magic:\n{commands}" if commands else "")

    def wait(self, timeout: float | None = None) -> RunState:
        """Wait until the run has ended or `timeout` seconds have passed; return the state."""
        self._ended.wait(timeout)
        return self.state

    def stop(self, by: str = "stop()") -> None:
        """Request a stop; the state shows when the run has ended. Does nothing if it has already ended."""
        if self.state.ended:
            return
        self._take(events.StopRequested(by=by, t=time.time()))
        self._backend.stop(self.name)

    def ask_to_stop(self, by: str) -> None:
        """Like `stop`, without waiting for a response; if the backend does not respond, the request is repeated."""
        if self.state.ended:
            return
        self._take(events.StopRequested(by=by, t=time.time()))
        threading.Thread(target=self._ask, name=f"uv-argo-stop-{self.id}", daemon=True).start()

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                self._backend.stop(self.name)
            except BackendError as problem:
                self._take(events.StopFailed(problem=f"{problem}. {problem.hint}".strip(), t=time.time()))
                if not isinstance(problem, BackendUnavailable):
                    return  # a second request would get the same response
                self._ended.wait(ASK_AGAIN)
            else:
                return

    def raise_for_state(self) -> None:
        """Return if the cell succeeded, otherwise raise its error.

        Raises:
            RunError: InstallFailed, CellFailed, NodeFailed or Stopped, with the state.
            BackendError: the backend refused the run.
        """
        if self._refusal is not None:
            raise self._refusal
        state = self.state
        if state.outcome == "Succeeded":
            if state.values and (problems := self._received[1]):
                raise _outcome().pull_error(state, problems, tuple(self._received[0]))
            return
        if error := _outcome().error(state, self._hooks.rebuild):
            raise error

    @property
    def values(self) -> dict[str, object]:
        """The pulled variables; values that are not plain data are `Sealed`."""
        return dict(self._received[0])

    @property
    def _received(self) -> tuple[dict[str, object], list[str]]:
        """The pulled variables, and the problems of the others; decoded once."""
        records = self.state.values
        if not records:
            return {}, []
        if self._decoded is None or self._decoded[0] is not records:
            origin = values.sealed.Origin(
                run=self.id, folder=self._recorder.values_folder, lock=getattr(self.resolution, "key", ""),
                packages=self.packages,
            )  # fmt: skip
            self._decoded = records, values.sealed.receive(records, origin)
        return self._decoded[1]

    def deliver(self) -> None:
        """Bind the pulled variables in the notebook, then return or raise like `raise_for_state`.

        Raises:
            RunError: as in `raise_for_state`.
        """
        if self.state.outcome == "Succeeded" and self._hooks.bind is not None:
            # IPython stops updating `_` if other code sets it.
            bound = {name: value for name, value in self.values.items() if name != LAST_VALUE}
            if bound:
                self._hooks.bind(bound)
        self.raise_for_state()

    def result(self, timeout: float | None = None) -> dict[str, object]:
        """Wait for the end; bind and return the pulled variables, or raise like `raise_for_state`.

        Raises:
            TimeoutError: the run has not ended in time.
            RunError: the run failed.
        """
        if not self.wait(timeout).ended:
            raise TimeoutError(f"the run {self.id} has not ended after {timeout} seconds")
        self.deliver()
        return self.values

    def value(self, timeout: float | None = None) -> object:
        """Wait for the end; return the value of the last expression or None, or raise like `raise_for_state`.

        With `--pull _`, this is the value itself, otherwise an object that displays it (`data` is its mimebundle).

        Raises:
            TimeoutError: the run has not ended in time.
            RunError: the run failed.
        """
        pulled = self.result(timeout)
        if LAST_VALUE in pulled:
            return pulled[LAST_VALUE]
        for output in reversed(self.state.outputs):
            if isinstance(output, events.Result):
                data = {mime: json.loads(body) for mime, body in output.data}
                return RemoteResult(data, json.loads(output.metadata))
            if isinstance(output, Restarted):
                break
        return None

    def _show_until(
        self,
        renderers: tuple[Renderer, ...],
        seconds: float | None,
        is_left: Callable[[], bool] = lambda: False,
    ) -> None:
        """Update the renderers at every change until the end, or until `seconds` after a stop was requested."""
        deadline = math.inf
        reported: set[int] = set()
        state: RunState | None = None
        while True:
            state = self._next_state(state, min(TICK, max(0.0, deadline - time.monotonic())))
            if not state.stop_requested and (by := self._recorder.stop_asked()):
                self.ask_to_stop(by)
            if seconds is not None and state.stop_requested:
                deadline = min(deadline, time.monotonic() + seconds)
            for index, renderer in enumerate(renderers):
                try:
                    with interrupts.delayed(can_block=True):  # an interrupt within it would lose or repeat output
                        renderer.update(state)
                except Exception:  # noqa: BLE001 - a broken panel must not affect the run or its output
                    if index not in reported:
                        reported.add(index)
                        sys.stderr.write(f"uv-argo: Cannot update the view of the run:\n{traceback.format_exc()}")
            if state.ended:
                self._ended.wait(WRITE_AFTER)
                return
            if state.question is not None and state.question != self._answered:
                self._answer(state.question)
            if time.monotonic() > deadline or is_left():
                return
            self._ended.wait(PACE)

    def _answer(self, question: events.Question) -> None:
        """Ask the user, and send the answer to the cell."""
        self._answered = question
        text = refused = ""
        if self._hooks.ask is None:
            refused = "this front end does not support input"
        else:
            try:
                text = self._hooks.ask(question)
            except Exception as problem:  # noqa: BLE001 - any exception of the front end; the cell reports it
                refused = str(problem) or type(problem).__name__
        with contextlib.suppress(BackendError):  # the cell may have ended in the meantime
            base.answer(self._backend, self.name, text, refused=refused)

    def _next_state(self, seen: RunState | None, timeout: float) -> RunState:
        """Wait until the state is not `seen`, for at most `timeout` seconds; return the state."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is not seen, timeout)
            return self._state

    def _read(self) -> None:
        """Read all items of the backend, in the reading thread."""
        while self._read_one():
            pass
        self._end_reading()

    def _end_reading(self) -> None:
        """Handle the end of the backend's items."""
        self._take(events.LogEnded(t=time.time()))
        with contextlib.suppress(BackendError):
            self._backend.delete(self.name)
        if self._warm is not None:
            self._warm()
        if self._recorder.must_make_room():
            self._recorder.make_room()
        self._is_read.set()

    def _read_one(self) -> bool:
        """Handle the next item of the backend; return False if there is none."""
        try:
            item = next(self._items, None)
            if isinstance(item, str):
                self._recorder.append(item)
                self._take(*log_reader.decode(item, self._nonce))
            elif item is not None:
                self._take(item)
        except base.NotTaken as refused:
            self._refusal = refused.problem
            self._take(not_started(refused.problem))
        except (BackendError, ProtocolError) as problem:
            message = ". ".join(part for part in (str(problem), problem.hint) if part)
            self._take(events.NodePhase(phase=type(problem).__name__, message=message, t=time.time()))
        except Exception as problem:  # noqa: BLE001 - without an outcome for a backend's defect, the run would never end
            message = f"internal error in {type(self._backend).__name__}: {type(problem).__name__}: {problem}"
            self._take(events.NodePhase(phase="Unknown", message=message, t=time.time()))
        else:
            return item is not None
        return False

    def _take(self, *new_events: events.Event) -> None:
        """Fold events into the state; the history is written afterwards, without the lock."""
        new_events = tuple(self._with_local_names(new_events))
        with self._changed:
            previous, state = self._state, fold(new_events, self._state)
            self._state = state
            self._changed.notify_all()
        hello = state.hello
        if hello and not previous.hello and base.Capability.LOCAL in self._backend.capabilities:
            # The supervisor is a process on this machine; with its id, another process can stop the run.
            self._recorder.note("pid", str(hello.pid))
        if state.ended and not previous.ended:
            if self._state.sent and (folder := self._recorder.values_folder) is not None:
                remove_pushed(folder)
            try:
                self._recorder.finish(state)
            finally:
                self._ended.set()

    def _with_local_names(self, new_events: Iterable[events.Event]) -> Iterator[events.Event]:
        """The events, and the names of the cell's exception that the notebook has."""
        for event in new_events:
            yield event
            if isinstance(event, events.Raised) and self._hooks.find:
                found = map(self._hooks.find, messages.missing_names(event.error))
                yield events.FoundHere(names=tuple(filter(None, found)))


def _outcome() -> ModuleType:
    from uv_argo_magic.engine import outcome  # noqa: PLC0415 - 3 ms, and most runs succeed

    return outcome
