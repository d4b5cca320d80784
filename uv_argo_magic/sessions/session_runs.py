"""A session as the backend of its cells: the run loop (engine/run.py) submits, follows and stops them through it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uv_argo_magic.backends.base import Capability, Submission
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.sessions.channel import Channel, Connections
    from uv_argo_magic.uv.interpreters import Interpreter

PREFIX = "session-"


@dataclass(kw_only=True)
class SessionRuns:
    """The cells of one session; `number` is that of the next cell in its notebook (0: not known)."""

    name: str
    connections: Connections
    hold: Callable[[], object]
    """Becomes the worker's holder once more, or raises why that cannot be."""
    interpreter: Interpreter
    number: int = 0
    can_ask: bool = False
    """Whether the front end can answer questions of the next cell."""
    capabilities: Capability = Capability.DETACH
    settings: frozenset[str] = frozenset()
    _channels: dict[str, Channel] = field(default_factory=dict)

    def target(self, spec: RunSpec) -> Interpreter:  # noqa: ARG002 - the protocol's signature
        """The session's Python."""
        return self.interpreter

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """Send the cell to the worker, which runs it after those that it has.

        Raises:
            SessionBusy: another kernel has taken the session.
            SessionLost: the session has ended.
            BackendUnavailable: the worker does not answer.
        """
        request = {
            "run": run_id, "client": self.connections.client, "number": self.number, "stdin": self.can_ask,
            "keep": spec.settings.keep,
            "max_age": spec.settings.max_age,
        }  # fmt: skip
        order = program.order.encode()
        channel = self._send(request, order)
        if channel is None:
            self.hold()
            channel = self._send(request, order)
        if channel is None:
            raise BackendUnavailable(f"the session {self.name} did not accept the cell", hint="Run the cell again.")
        name = f"{PREFIX}{run_id}"
        self._channels[name] = channel
        return Submission(name=name)

    def _send(self, request: Mapping[str, object], order: bytes) -> Channel | None:
        """The connection on which the cell's log follows; None: the worker did not take it, or did not answer.

        The worker runs a cell once, even if it is sent again.
        """
        try:
            answer, channel = self.connections.request("run", request, order)
        except BackendUnavailable:
            return None
        if "error" not in answer:
            return channel
        self.connections.keep(channel)
        if answer["error"] not in ("busy", "ended"):
            raise BackendUnavailable(f"the session did not accept the cell: {answer['error']}")
        return None

    def find(self, name: str, settings: Settings) -> None:
        """None: the history has the runs of sessions."""

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | ev.NodePhase]:  # noqa: ARG002 - always to the end
        """The log of a cell as it grows; after a lost connection, from its start once more."""
        yield ev.NodePhase(phase="Running", t=time.time())
        channel = self._channels.pop(name, None)
        is_complete = is_read = False
        while not is_read:
            try:
                if channel is None:
                    answer, channel = self.connections.request("follow", {"run": name.removeprefix(PREFIX)})
                    if "error" in answer:
                        break
                for text in channel.text():
                    is_complete = is_complete or '"k":"exit"' in text
                    yield text
                is_read = True
                self.connections.keep(channel)
                channel = None
            except BackendUnavailable:
                break
            except OSError:
                is_read = is_complete
            finally:
                if channel is not None:
                    channel.close()
                    channel = None
        phase = ev.NodePhase(phase="Succeeded", t=time.time())
        if not is_complete:
            phase = ev.NodePhase(phase="Failed", message="the process of the session was ended", t=time.time())
        yield phase

    def stop(self, name: str) -> None:
        """Interrupt the cell; a second request, some seconds later, ends the session.

        Raises:
            BackendUnavailable: the worker does not answer.
        """
        self.connections.ask("stop", run=name.removeprefix(PREFIX))

    def answer(self, name: str, text: str = "", *, refused: str = "") -> None:
        """Answer the cell's question, or say why there is no answer.

        Raises:
            BackendUnavailable: the worker does not answer.
        """
        self.connections.ask("answer", run=name.removeprefix(PREFIX), text=text, refused=refused)

    def delete(self, name: str) -> None:
        """Nothing: the worker removes the logs of old cells."""
