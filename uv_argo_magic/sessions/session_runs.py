"""A session as the backend of its cells: the run loop (engine/run.py) submits, follows and stops them through it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uv_argo_magic.backends.base import Capability, Submission
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.errors import BackendUnavailable, SessionBusy, SessionLost

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            SessionLost: the session is ending.
            BackendUnavailable: the worker does not answer.
        """
        channel = self.connections.open()
        order = {
            "run": run_id, "client": self.connections.client, "number": self.number, "stdin": self.can_ask,
            "keep": spec.settings.keep,
            "max_age": spec.settings.max_age,
        }  # fmt: skip
        answer = channel.request("run", order, program.payload.encode())
        match answer.get("error"):
            case None:
                self._channels[f"{PREFIX}{run_id}"] = channel
                return Submission(name=f"{PREFIX}{run_id}")
            case "busy":
                raise SessionBusy(
                    f"another kernel has taken the session {self.name}",
                    hint=f"%argo sessions --take {self.name} moves it here.",
                )
            case "ended":
                raise SessionLost(
                    f"the session {self.name} has ended: {answer.get('reason')}",
                    hint=f"%argo restart {self.name} starts it again, without its variables.",
                )
            case problem:
                raise BackendUnavailable(f"the session did not accept the cell: {problem}")

    def find(self, name: str, settings: Settings) -> None:
        """None: the history has the runs of sessions."""

    def watch(self, name: str, *, follow: bool = True) -> Iterator[str | ev.NodePhase]:  # noqa: ARG002 - always to the end
        """The log of a cell as it grows; after a lost connection, from its start once more."""
        yield ev.NodePhase(phase="Running", t=time.time())
        channel = self._channels.pop(name, None)
        is_complete = False
        while not is_complete:
            try:
                if channel is None:
                    channel = self.connections.open()
                    if "error" in channel.request("follow", {"run": name.removeprefix(PREFIX)}):
                        break
                for text in channel.text():
                    is_complete = is_complete or '"k":"exit"' in text
                    yield text
            except (BackendUnavailable, ConnectionRefusedError, FileNotFoundError):
                break
            except OSError:
                pass
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
