"""The exception that a run raises, by its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, assert_never

from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.view import messages
from uv_argo_magic.errors import CellFailed, InstallFailed, NodeFailed, PullError, Stopped

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.state import RunState

Rebuild: TypeAlias = Callable[[remote_error.RemoteError, "RunState"], BaseException]
"""Creates the exception to raise from the cell's exception."""


def pull_error(state: RunState, problems: Sequence[str], others: Sequence[str]) -> PullError:
    """The error of a run that succeeded, but lacks pulled values; the `others` were received."""
    hint = "The cell itself succeeded" + (f", and {', '.join(others)} came back." if others else ".")
    if state.session:
        hint += f" The session {state.session} still has the variables."
    return PullError("; ".join(problems), hint=hint, state=state)


def error(state: RunState, rebuild: Rebuild | None = None) -> BaseException | None:  # noqa: PLR0911 - one line a case
    """The error of a run; None if it succeeded or has not ended. Without `rebuild`, a cell's exception is a CellFailed.

    Raises:
        ProtocolError: the record of the cell's exception is invalid.
    """
    sentence, hint = messages.sentence(state), messages.hint(state)
    match state.outcome:
        case "":
            return Stopped(sentence, hint=hint, state=state) if state.stop_requested else None
        case "Succeeded":
            return None
        case "Failed" if state.exited and state.exited.reason == "error" and state.error:
            remote = remote_error.parse(state.error)
            if rebuild is not None:
                return rebuild(remote, state)
            return CellFailed(f"{remote.ename}: {remote.evalue}", state=state)
        case "Failed":
            return CellFailed(sentence, hint=hint, state=state)
        case "InstallFailed":
            return InstallFailed(sentence, hint=hint, state=state)
        case "Stopped":
            return Stopped(sentence, hint=hint, state=state)
        case "Lost":
            return NodeFailed(sentence, hint=hint, state=state, reason="lost")
        case "NotStarted":
            return NodeFailed(sentence, hint=hint, state=state, reason="unstarted")
        case _:  # pragma: no cover
            assert_never(state.outcome)
