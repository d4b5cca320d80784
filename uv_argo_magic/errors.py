"""Every error this package raises on purpose; the first level says whose move it is.

    ArgoMagicError(message, hint)      rendered as "Name: message" and the hint, without frames of ours
    +- SpecError                       the line or the requirements are wrong      nothing was submitted
    +- ResolutionError                 no set of versions satisfies it             nothing was submitted
    +- PolicyError                     the policy refuses, rule by rule            nothing was submitted
    +- BackendError                    the place could not be reached, or refused
    |  +- BackendUnavailable . SubmitRejected . StreamLost
    +- RunError(state)                 accepted, ended badly
    |  +- InstallFailed . CellFailed . NodeFailed(reason) . Stopped
    +- VerifyFailed                    what a notebook says it ran does not come out again
    +- ProtocolError                   the guest said something unreadable         a bug, ours

Vendor exceptions are translated into these in one place per vendor, with `raise ... from`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.state import RunState


class ArgoMagicError(Exception):
    """What happened (`message`, one sentence) and what to do next (`hint`, may be empty)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def _render_traceback_(self) -> list[str]:
        """Lines for IPython, which calls this instead of printing our frames."""
        lines = [f"{type(self).__name__}: {self}"]
        if self.hint:
            lines.append(self.hint)
        return lines


class SpecError(ArgoMagicError):
    """The line, the cell or the requirements are wrong; nothing was submitted."""


class ResolutionError(ArgoMagicError):
    """No set of versions satisfies the requirements, or the index did not answer; nothing was submitted.

    `names` are the packages among the requirements that the reason speaks of.
    """

    def __init__(self, message: str, *, hint: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.names = names


class PolicyError(ArgoMagicError):
    """The policy refuses this run; nothing was submitted."""


class BackendError(ArgoMagicError):
    """The place where the cell should run could not be reached, or refused."""


class BackendUnavailable(BackendError):
    """There is no such backend here, or it does not answer."""


class SubmitRejected(BackendError):
    """The backend answered, and refused the run."""


class StreamLost(BackendError):
    """The run was accepted, and then could not be followed any further."""


class RunError(ArgoMagicError):
    """The run was accepted and ended badly; `state` is the last that was seen of it."""

    def __init__(self, message: str, *, hint: str = "", state: RunState | None = None) -> None:
        super().__init__(message, hint=hint)
        self.state = state


class InstallFailed(RunError):
    """The environment could not be made; the cell did not start."""


class CellFailed(RunError):
    """The user's code raised, or left with an exit status other than 0."""


class NodeFailed(RunError):
    """The process, pod or node that ran the cell ended without saying how; `reason` is one word."""

    def __init__(self, message: str, *, hint: str = "", state: RunState | None = None, reason: str = "") -> None:
        super().__init__(message, hint=hint, state=state)
        self.reason = reason


class Stopped(RunError):
    """Somebody stopped the run."""


class VerifyFailed(ArgoMagicError):
    """What a notebook says it ran was run again, and does not come out the same."""


class ProtocolError(ArgoMagicError):
    """The guest wrote something that this version cannot read: a bug, ours."""
