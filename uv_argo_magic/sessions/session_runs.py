"""A session as the backend of its cells: engine/run.py uses it to submit, follow and stop them."""

from __future__ import annotations

import contextlib
import functools
import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.backends.base import Capability, NotTaken, Submission
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.merged_log import MergedLog, SessionLog
from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected
from uv_argo_magic.sessions.channel import LONGEST
from uv_argo_magic.sessions.transfers import ORDER, Stopped, Transfers, remove_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.sessions.channel import Channel, Connections, Message
    from uv_argo_magic.sessions.pod_session import PodSession
    from uv_argo_magic.uv.interpreters import Interpreter

PREFIX = "session-"
LONGEST_ORDER = LONGEST - 1
"""Maximum bytes of a cell's order in a request; a longer order is sent as a file."""
CAUSE = 10.0
"""Seconds to wait for the reason of a pod's end."""
RESEND = 30.0
"""Seconds for which sending a cell to a pod is retried."""
DROPPED = "the session no longer has them"
RETRY = (0.2, 1.5, 2.0)
"""Seconds before a connection to a pod is retried: initial value, growth factor and maximum."""


@dataclass(kw_only=True)
class SessionRuns:
    """The cells of one session; `number` is the number of the next cell in its notebook (0: unknown)."""

    name: str
    connections: Connections
    hold: Callable[[], object]
    """Becomes the worker's holder again, or raises an error."""
    interpreter: Interpreter
    number: int = 0
    can_ask: bool = False
    """Whether the front end can answer questions of the next cell."""
    waits: bool = True
    """Whether `submit` waits until a local worker has accepted the cell; otherwise `watch` reads the response."""
    at_end: Callable[[], object] = lambda: None
    """Called after the log of a run was read."""
    capabilities: Capability = Capability.DETACH
    settings: frozenset[str] = frozenset()
    pod: PodSession | None = None
    """The session's worker, if it runs in a pod."""
    exchange: str = ""
    """The folder on this machine for files of values, if the worker has a different one; "" without values."""
    most_values: int = 0
    """Maximum bytes of values; 0: no limit."""
    _channels: dict[str, Channel] = field(default_factory=dict)
    _unanswered: dict[str, tuple[Channel, Callable[[], None]]] = field(default_factory=dict)
    """Cells sent to a local worker that has not responded: the connection, and a function that sends the cell again."""
    _stopped: set[str] = field(default_factory=set)
    """Cells for which this process requested a stop."""
    nonce: str = ""
    """The nonce of the last cell's records."""
    _merged: dict[str, MergedLog] = field(default_factory=dict)
    """The received part of each cell's log."""
    _sent: Channel | None = None
    """The connection on which the last cell was sent, and on which its log is received."""
    _is_read: bool = False
    """Whether this log was read to its end."""
    _waiting: dict[str, tuple[Callable[[], None], RunSpec]] = field(default_factory=dict)
    """Cells that will be sent when the worker has started."""

    def target(self, spec: RunSpec) -> Interpreter:  # noqa: ARG002 - the protocol's signature
        """The session's Python."""
        return self.interpreter

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """Send the cell to the worker, which runs it after the cells in its queue.

        Raises:
            SessionBusy: another kernel has taken the session.
            SessionLost: the session has ended.
            BackendUnavailable: the worker does not respond.
        """
        name = f"{PREFIX}{run_id}"
        self.nonce = program.nonce
        request = {
            "run": run_id, "client": self.connections.client, "number": self.number, "stdin": self.can_ask,
            "keep": spec.settings.keep,
            "max_age": spec.settings.max_age,
        }  # fmt: skip
        order = program.order.encode()
        pushed = sorted(Path(self.exchange).glob("pushed-*")) if self.exchange and self.pod else []
        submission = Submission(
            name=name,
            location=self.pod.location if self.pod else "",
            worker=self.pod.address if self.pod else "",
        )
        send = functools.partial(self._submit, name, request, order, pushed)
        if self.pod is not None and self.pod.is_starting:
            self._waiting[name] = send, spec
            self.pod.enqueue()
            return submission
        if self.pod is None and not self.waits and len(order) <= LONGEST_ORDER:
            with contextlib.suppress(BackendUnavailable):
                self._sent = channel = self.connections.send("run", request, order)
                self._unanswered[name] = channel, send
                return submission
        send()
        return submission

    def _take_answer(self, name: str) -> None:
        """Read the response to a cell that was sent; if the worker did not accept the cell, send it again.

        Raises:
            NotTaken: the session has ended, another kernel has it, or the worker does not respond.
        """
        if name not in self._unanswered:
            return
        channel, again = self._unanswered[name]
        try:
            try:
                if self._is_taken(channel.answer(), channel):
                    self._channels[name] = channel
                    return
                self._sent = None
            except BackendUnavailable:
                self._sent = None
                channel.close()
            again()
        except BackendError as problem:
            raise NotTaken(problem) from problem
        finally:
            del self._unanswered[name]

    def _submit(self, name: str, request: Mapping[str, object], order: bytes, pushed: Sequence[Path] = ()) -> None:
        """Send the cell and its files; if this process is no longer the worker's holder, become the holder first.

        For a pod, this is retried for RESEND seconds.
        """
        deadline = time.monotonic() + (RESEND if self.pod else 0.0)
        request = {**request, **(self.pod.changes if self.pod else {})}
        files: list[tuple[str, Path | bytes]] = [(path.name, path) for path in pushed]
        if len(order) > LONGEST_ORDER:
            files.append((ORDER, order))
            request, order = {**request, "order": True}, b""
        channel = self._send(request, order, files)
        while channel is None:
            self._hold_again(deadline)
            channel = self._send(request, order, files)
            if channel is None and time.monotonic() >= deadline:
                raise BackendUnavailable(f"the session {self.name} did not accept the cell", hint="Run the cell again.")
        self._channels[name] = channel

    def _hold_again(self, deadline: float) -> None:
        pause = RETRY[0]
        while True:
            try:
                self.hold()
            except BackendUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(RETRY[2], pause * RETRY[1])
            else:
                return

    def _send(
        self, request: Mapping[str, object], order: bytes, files: list[tuple[str, Path | bytes]]
    ) -> Channel | None:
        """Send the cell; return the connection for its log, or None if the worker did not accept it or respond.

        The worker runs a cell only once, even if it is sent again. Sent `files` are removed from the list.
        """
        transfers = Transfers(connections=self.connections, run=str(request["run"]))
        try:
            while files:
                name, source = files[0]
                with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
                    transfers.put(name, file)
                del files[0]
            answer, channel = self.connections.request("run", request, order)
        except BackendUnavailable:
            return None
        return channel if self._is_taken(answer, channel) else None

    def _is_taken(self, answer: Mapping[str, object], channel: Channel) -> bool:
        """Whether the worker has accepted the cell; False if this process is not its holder, or it is ending.

        Raises:
            SubmitRejected: the worker refused the cell.
        """
        if "error" not in answer:
            self.connections.has_modules = bool(answer.get("modules", self.connections.has_modules))
            return True
        self.connections.keep(channel)
        if answer["error"] not in ("busy", "ended"):
            raise SubmitRejected(f"the session did not accept the cell: {answer['error']}")
        return False

    def has_more(self, seconds: float) -> bool:
        """Whether `watch` of the last cell yields an item within some seconds; False if unknown."""
        return self._is_read or (self._sent is not None and self._sent.is_ready(seconds))

    def find(self, name: str, settings: Settings) -> None:
        """None, because runs of sessions are found in the history."""

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | ev.NodePhase]:  # noqa: ARG002 - always to the end
        """The phases of a new session, and the log of a cell as it grows; reconnects after a lost connection."""
        if self.pod is not None and name in self._waiting:
            submit, spec = self._waiting[name]
            phase = ""
            for node in self.pod.start(spec, submit):
                phase = node.phase
                yield node
            del self._waiting[name]
            if phase != "Running" or self.pod.stopping.is_set():
                return
        if self.pod is not None:
            self.pod.activity.begin()
            try:
                yield from self._watch_pod(name, self.pod)
            except BackendError:
                # Another worker, which does not have the cell, can listen at this address.
                if not (cause := self.pod.why_ended()):
                    raise
                yield ev.NodePhase(phase="Failed", message=cause, t=time.time())
            finally:
                self.pod.activity.end()
        else:
            yield from self._watch(name)

    def _watch_pod(self, name: str, pod: PodSession) -> Iterator[str | ev.NodePhase]:
        """The log of a cell as it grows, while the pod exists."""
        yield ev.NodePhase(phase="Running", t=time.time())
        lost_at, pause, is_complete = 0.0, 0.0, False
        last: ev.NodePhase | None = None
        while not is_complete:
            try:
                for text in self._texts(name):
                    if pause:
                        if lost_at:
                            yield ev.NodePhase(phase="Running", t=time.time())
                        lost_at = pause = 0.0
                        with contextlib.suppress(BackendError):
                            self.hold()  # the lease can have ended with the connection
                    is_complete = is_complete or '"k":"exit"' in text
                    if name not in self._stopped and log_reader.exit_reason(text, self.nonce) == "stopped":
                        last = self._phase_of_end(pod)
                        yield last
                    if '"k":"variables"' in text:
                        self._remember(text, pod)
                    yield text
                is_complete = True
            except (BackendUnavailable, OSError) as problem:
                if is_complete:
                    break
                was_silent = isinstance(problem, TimeoutError)
                if was_silent:
                    self.connections.reset()
                is_silent = was_silent or isinstance(problem.__cause__, TimeoutError)
                if (pause or is_silent) and not lost_at:
                    lost_at = time.time() - (self.connections.silence if was_silent else 0.0)
                    message = _unreachable(problem, lost_at)
                    yield ev.NodePhase(phase=ev.UNREACHABLE, message=message, t=time.time())
                # After silence, the API cannot be reached either, and asking would take as long as reconnecting.
                if pause and not is_silent and (cause := pod.why_ended()):
                    yield ev.NodePhase(phase="Failed", message=cause, t=time.time())
                    return
                time.sleep(pause)
                pause = min(RETRY[2], pause * RETRY[1]) or RETRY[0]
        yield last or ev.NodePhase(phase="Succeeded", t=time.time())

    def _phase_of_end(self, pod: PodSession) -> ev.NodePhase:
        """Why the pod ended a cell: its deletion, a deadline, a stop by another client."""
        deadline = time.monotonic() + CAUSE
        while not (cause := pod.why_ended()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return ev.NodePhase(phase="Failed", message=cause, t=time.time())

    def _remember(self, text: str, pod: PodSession) -> None:
        """Store the variables after a cell, because a killed pod cannot report them."""
        for event in log_reader.decode(text, self.nonce):
            if isinstance(event, ev.SessionVariables):
                pod.remember(event)

    def _texts(self, name: str) -> Iterator[str]:
        """The part of a cell's log that was not received yet, until its end.

        Raises:
            BackendUnavailable: the worker does not respond.
            BackendError: the worker no longer has the log.
            OSError: the connection broke.
            ProtocolError: the log differs from the received part.
        """
        run, first = name.removeprefix(PREFIX), 1
        merged = self._merged.setdefault(name, MergedLog(has_one_copy=self.pod is None))
        channel = self._channels.pop(name, None)
        if channel is None:
            answer, channel = self.connections.request("follow", {"run": run, "after": merged.received})
            if "error" in answer:
                channel.close()
                raise BackendError(
                    f"the session {self.name} no longer has the log of this cell",
                    hint="The log of its pod may have it: kubectl logs." if self.pod else "",
                )
            first = 1 + int(answer.get("after", 0))
            yield from self._missing(merged, first - 1, answer)
        try:
            for text in channel.text():
                new = merged.add(text, first)
                if self.exchange and log_reader.exit_reason(new, self.nonce):
                    self._receive_values(name)
                if new:
                    yield new
                first += text.count("\n")
        except BaseException:
            channel.close()
            raise
        self.connections.keep(channel)
        self.connections.has_read(run)

    def _receive_values(self, name: str) -> None:
        """Receive the files of pulled values; retries after a lost connection while the pod exists, until a stop."""
        run, folder = name.removeprefix(PREFIX), Path(self.exchange)
        transfers = Transfers(connections=self.connections, run=run, is_stopped=lambda: name in self._stopped)
        pause = RETRY[0]
        while True:
            try:
                transfers.get_all(folder, self.most_values)
            except (BackendUnavailable, OSError):
                if self.pod is None or self.pod.why_ended() or name in self._stopped:
                    break
                time.sleep(pause)
                pause = min(RETRY[2], pause * RETRY[1])
            except (BackendError, Stopped):
                break
            else:
                return
        remove_parts(folder)

    def _missing(self, merged: MergedLog, last: int, answer: Message) -> Iterator[str]:
        """Lines up to number `last` that the worker has dropped: from the log of its pod, or else the kept records."""
        if merged.received >= last:
            return
        fill = functools.partial(
            merged.fill, str(answer.get("body", "")), nonce=self.nonce, boot=str(answer["boot"]), reason=DROPPED
        )
        log = SessionLog(self.nonce)
        with contextlib.suppress(BackendError):
            for text in self.pod.log() if self.pod else ():
                for first, part in log.feed(text):
                    if first <= last:
                        yield fill(first - 1) + merged.add(part, first)
        yield fill(last)

    def _watch(self, name: str) -> Iterator[str | ev.NodePhase]:
        """The log of a cell as it grows; continues after a lost connection."""
        yield ev.NodePhase(phase="Running", t=time.time())
        self._take_answer(name)
        is_complete = False
        while True:
            try:
                for text in self._texts(name):
                    is_complete = is_complete or '"k":"exit"' in text
                    yield text
                self._is_read = True
                break
            except OSError:
                if is_complete:
                    break
            except BackendError:
                break
        if is_complete:
            yield ev.NodePhase(phase="Succeeded", t=time.time())
        else:
            yield ev.NodePhase(phase="Failed", message="the process of the session was terminated", t=time.time())

    def stop(self, name: str) -> None:
        """Interrupt the cell; a second request, some seconds later, ends the session.

        Raises:
            BackendUnavailable: the worker does not respond.
        """
        if self.pod is not None and name in self._waiting:
            self.pod.stop()
            return
        self._stopped.add(name)
        while name in self._unanswered:  # the worker must have received the cell first
            time.sleep(0.001)
        self.connections.ask("stop", run=name.removeprefix(PREFIX))

    def answer(self, name: str, text: str = "", *, refused: str = "") -> None:
        """Answer the cell's question, or report why there is no answer.

        Raises:
            BackendUnavailable: the worker does not respond.
        """
        self.connections.ask("answer", run=name.removeprefix(PREFIX), text=text, refused=refused)

    def delete(self, name: str) -> None:  # noqa: ARG002 - the signature of the protocol
        """End the connections of an attached run (`at_end`); the worker removes the logs of old cells."""
        self.at_end()


def _unreachable(problem: Exception, since: float) -> str:
    moment = time.strftime("%H:%M:%S", time.localtime(since))
    return f"no connection since {moment} ({problem}); the run continues, and its output will follow"
