"""All errors that this package raises; the first level shows what failed.

    ArgoMagicError(message, hint)      shown as "Name: message" and the hint, without our own frames
    +- SpecError                       the line or the requirements are invalid    nothing was submitted
    +- ResolutionError                 no versions satisfy the requirements        nothing was submitted
    +- PolicyError                     a check refused the run                     nothing was submitted
    +- BackendError                    the backend cannot be reached, or refused
    |  +- BackendUnavailable . SubmitRejected . StreamLost . SessionLost . SessionBusy
    +- RunError(state)                 accepted, but failed
    |  +- InstallFailed . CellFailed . PullError . NodeFailed(reason) . Stopped
    +- VerifyFailed                    a saved notebook gave different results
    +- ProtocolError                   the runner wrote something unreadable       a bug in this package

Exceptions of other libraries are translated where the library is called, with `raise ... from`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.model import Violation
    from uv_argo_magic.core.protocol.state import RunState


class ArgoMagicError(Exception):
    """The base class: `message` says in one sentence what is wrong, `hint` what to do ("" if unknown)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython prints instead of a traceback."""
        lines = [f"{type(self).__name__}: {self}"]
        if self.hint:
            lines.append(self.hint)
        return lines


class SpecError(ArgoMagicError):
    """The line, the cell or the requirements are invalid; nothing was submitted."""


class ResolutionError(ArgoMagicError):
    """No versions satisfy the requirements, or the index did not respond; nothing was submitted.

    `names` are the requirements that, according to uv, cause the failure.
    """

    def __init__(self, message: str, *, hint: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.names = names


class PolicyError(ArgoMagicError):
    """A check refused the run (engine/checks.py); nothing was submitted.

    `violations` are all violations of the package policy; the text of the error lists them.
    """

    def __init__(self, message: str, *, hint: str = "", violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.violations = violations

    @property
    def is_question(self) -> bool:
        """Whether the user can confirm the run, and then continue."""
        return bool(self.violations) and all(violation.is_question for violation in self.violations)

    def __str__(self) -> str:
        return "\n".join((self.message, *(f"- {violation.text}" for violation in self.violations)))


class BackendError(ArgoMagicError):
    """The backend cannot be reached, or refused the run."""


class BackendUnavailable(BackendError):
    """The backend is not installed, or does not respond."""


class SubmitRejected(BackendError):
    """The backend refused the run."""


class StreamLost(BackendError):
    """The run was accepted, but could not be followed to its end."""


class SessionLost(BackendError):
    """The session has ended, and its variables are lost; the cell was not run."""


class SessionBusy(BackendError):
    """Another kernel uses the session; the cell was not run."""


class RunError(ArgoMagicError):
    """The run was accepted, but failed; `state` is its last state."""

    def __init__(self, message: str, *, hint: str = "", state: RunState | None = None) -> None:
        super().__init__(message, hint=hint)
        self.state = state


class InstallFailed(RunError):
    """The environment could not be installed; the cell did not start."""


class CellFailed(RunError):
    """The user's code raised an exception, or exited with a nonzero status."""


class PullError(RunError):
    """The cell succeeded, but a pulled value could not be brought back; the other values are assigned."""


class NodeFailed(RunError):
    """The process, pod or node of the cell ended before the cell did; `reason` is one word."""

    def __init__(self, message: str, *, hint: str = "", state: RunState | None = None, reason: str = "") -> None:
        super().__init__(message, hint=hint, state=state)
        self.reason = reason


class Stopped(RunError):
    """The run was stopped."""


class VerifyFailed(ArgoMagicError):
    """Cells of a saved notebook gave different results when they were run again."""


class ProtocolError(ArgoMagicError):
    """The runner wrote something that this version cannot read: a bug in this package."""
