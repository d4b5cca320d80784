"""The view of a run in its cell, from the resolution of packages to the end of the run.

Rules:
- The packages are resolved in a thread, so that this one can redraw the panel and reply to the front end.
- If this takes less than FIRST seconds, the panel is shown when the run starts.
- If there is no run, the panel shows the outcome, and the exception that the cell raises has the reason.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import fold
from uv_argo_magic.core.spec import output_metadata
from uv_argo_magic.core.view import messages
from uv_argo_magic.errors import Stopped
from uv_argo_magic.notebook import background, reconnect
from uv_argo_magic.remote_traceback import rebuild
from uv_argo_magic.renderers import kernel_messages
from uv_argo_magic.renderers.choose import renderers
from uv_argo_magic.renderers.panel import WidgetPanel
from uv_argo_magic.uv.runner import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Run
    from uv_argo_magic.errors import RunError

    Shell = Any
    """An InteractiveShell."""

FIRST = 0.3
"""Seconds until the panel is shown while packages are resolved."""
PACE = 0.05
"""Seconds between two checks of the work."""
STOP_BUTTON = "the Stop button"


class CellView:
    """The view of one run, with the id `run_id`, in the running cell.

    `is_quick` means that such runs are usually quick; `sent` are the pushed values; `rebuild_error` is `rebuild` of
    `CellOutput`.
    """

    def __init__(  # noqa: PLR0913 - the parts of a view, most by keyword
        self,
        shell: Shell,
        settings: Settings,
        run_id: str,
        *,
        is_detached: bool,
        is_quick: bool = False,
        sent: ev.Sent = (),
        rebuild_error: Callable[[RemoteError], RunError] | None = None,
    ) -> None:
        self._shell = shell
        self._request = reconnect.current_request(shell)
        self._run: Run | None = None
        self._prepared: Prepared | None = None
        self._started: reconnect.Started | None = None
        self._cancelled = threading.Event()
        self._is_moved = threading.Event()
        self._run_requests: list[tuple[kernel_messages.Message, int | None]] = []
        self._state = fold([ev.Preparing(t=time.time(), sent=sent)])
        self._is_shown = False
        self.is_detached = is_detached and not background.why_not(shell, settings)
        self._sink: background.CellSink | background.SwitchingSink | None = None
        if self.is_detached:
            self._sink = background.CellSink(shell)
        elif not background.why_not(shell, settings):
            self._sink = background.SwitchingSink(shell)
        self._views = renderers(
            settings, ip=shell, on_stop=self._stop, metadata=self._metadata, sink=self._sink,
            full_log=f"%argo logs {run_id}", lock=self._lock, is_reloaded=reconnect.watch_pages(shell),
            is_quick=is_quick, rebuild=rebuild_error,
        )  # fmt: skip

    @property
    def is_left(self) -> bool:
        """Whether the same cell, run again in another page, continues to show the run."""
        return self._is_moved.is_set() and self._run is not None and not self._run.state.ended

    def prepare(self, work: Callable[[threading.Event], Prepared]) -> Prepared:
        """Call `work` and show its progress; setting the event cancels it.

        Raises:
            KeyboardInterrupt: the user interrupted the work.
            Stopped: the user stopped the run.
        """
        if self._sink is None:
            return work(self._cancelled)
        with self._listening() as pump, ThreadPoolExecutor(1, "uv-argo-prepare") as executor:
            future = executor.submit(work, self._cancelled)
            began = time.monotonic()
            try:
                while not future.done():
                    pump()
                    if time.monotonic() - began > FIRST:
                        self._show(self._state)
                    with contextlib.suppress(TimeoutError):
                        future.exception(PACE)
                return future.result()
            except KeyboardInterrupt:
                self._cancelled.set()
                self._end(ev.StopRequested(by="an interrupt", t=time.time()))
                raise rebuild.Interrupted(messages.sentence(self._state)) from None
            except Cancelled:
                self._end(ev.StopRequested(by=STOP_BUTTON, t=time.time()))
                sentence, hint = messages.sentence(self._state), messages.hint(self._state)
                raise Stopped(sentence, hint=hint, state=self._state) from None

    def abandon(self) -> None:
        """Show that the run was not submitted, if the panel is shown already without a run."""
        if self._run is None and self._is_shown and not self._state.ended:
            self._end(ev.NodePhase(phase=ev.NOT_STARTED, t=time.time()))

    def follow(self, run: Run, prepared: Prepared) -> bool:
        """Show the run; return whether this waited for its end. It can continue in the background or in another page.

        Raises:
            KeyboardInterrupt: the user interrupted the run, which was stopped.
        """
        self._run, self._prepared = run, prepared
        self._started = reconnect.remember(self._request, run, prepared)
        self._claim()
        if self._cancelled.is_set():
            run.ask_to_stop(STOP_BUTTON)
        if isinstance(self._sink, background.CellSink):
            background.show_with(run, self._sink, self._views)
            return False
        background.remember(run)
        hand_over = None
        if self._sink is not None:
            hand_over = functools.partial(background.follow_later, run, self._sink, self._views)
        with self._listening() as pump:
            try:
                run.follow(*self._views, _Pump(pump), hand_over=hand_over, is_left=self._is_moved.is_set)
            except KeyboardInterrupt:
                raise rebuild.Interrupted(messages.sentence(run.state)) from None
        if self.is_left:
            for view in self._views:
                if isinstance(view, WidgetPanel):
                    view.leave()
            return False
        rebuild.show_groups(self._shell)
        return True

    def _show(self, state: RunState) -> None:
        self._is_shown = True
        for view in self._views:
            view.update(state)

    def _end(self, event: ev.Event) -> None:
        self._state = fold([event, ev.LogEnded(t=time.time())], self._state)
        if self._is_shown:
            self._show(self._state)

    def _stop(self) -> None:
        """Handle the Stop button, in the thread that receives the click."""
        self._cancelled.set()
        if self._run is not None:
            self._run.ask_to_stop(STOP_BUTTON)

    def _metadata(self, state: RunState) -> dict[str, Any]:
        prepared = self._prepared
        if prepared is None:
            return {output_metadata.KEY: {"schema": output_metadata.SCHEMA}}
        return output_metadata.metadata(
            state, cell_digest=prepared.spec.cell_digest, resolution=prepared.resolution,
            image=prepared.interpreter.image,
        )  # fmt: skip

    def _lock(self) -> Resolution | None:
        return self._run.lock() if self._run is not None else None

    @contextlib.contextmanager
    def _listening(self) -> Iterator[Callable[[], None]]:
        """Reply to the front end while the cell blocks; yields a function to call often in the main thread."""
        listener = kernel_messages.of(self._shell)
        if listener is None or not self._request:
            yield lambda: None
            return
        with listener.blocking(kernel_messages.Blocked(parent=self._request, on_request=self._take_note)):
            yield listener.pump

    def _take_note(self, message: kernel_messages.Message, waiting: int | None) -> None:
        self._run_requests.append((message, waiting))
        self._claim()

    def _claim(self) -> None:
        """Let a request from another page continue the run; before there is a run, remember the request."""
        while self._started is not None and self._run_requests:
            message, waiting = self._run_requests.pop()
            if reconnect.claim(self._started, message) and waiting == 0:
                self._is_moved.set()


class _Pump:
    """A renderer that replies to the front end whenever the main thread updates the renderers."""

    def __init__(self, pump: Callable[[], None]) -> None:
        self._pump = pump

    def update(self, state: RunState) -> None:  # noqa: ARG002 - the protocol's signature
        """Reply to waiting messages."""
        self._pump()
