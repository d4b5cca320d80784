"""The protocol of front ends, and base classes for those without a panel.

Rule: this module imports very little, because every command needs it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from uv_argo_magic import cell_syntax, remote_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.protocol.events import LocalName, Question
    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Run
    from uv_argo_magic.history.store import History


class FrontEnd(Protocol):
    """Starts and shows runs: a notebook, a terminal or a Python program."""

    document: str
    """The path of the notebook or file to which locks and history belong, or ""."""
    command: str
    """The prefix of a command for the user: "%argo", "uv-argo"."""
    keeps_warm: bool
    """Whether another cell is likely to follow, so that the local backend starts its process in advance."""
    waits_for_end: bool
    """Whether `follow` waits for the end of the run. If so, `submit` can return before the backend accepts the run."""

    def check_syntax(self, cell: str, code: str, python: str) -> None:
        """Refuse a cell with a syntax error, if this process can check it for that version of Python ("": unknown).

        `code` is the translation of a cell with IPython's syntax; "" for plain Python.

        Raises:
            CellFailed: the cell has a syntax error.
        """

    def prepare(self, work: Callable[[threading.Event], Prepared], spec: RunSpec, run_id: str) -> Prepared:
        """Call `work`, which finds the target and resolves the packages, and show its progress.

        Setting the event cancels the work. The run will have the id `run_id`.

        Raises:
            KeyboardInterrupt: the user interrupted the work.
            Stopped: the user stopped the run.
        """

    def notify(self, note: str) -> None:
        """Show a note on something that takes time before the run is submitted; can be called from any thread."""

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:
        """Show a note about the run, separate from the cell's output."""

    def show_plan(self, prepared: Prepared) -> None:
        """Show what would run (`--dry-run`)."""

    def history(self, settings: Settings) -> History | None:
        """The history that stores the run, or None."""

    def rebuild(self, remote: RemoteError, state: RunState) -> BaseException:
        """The exception to raise for the cell's exception."""

    def bind(self, values: dict[str, object]) -> None:
        """Bind the pulled variables; called by `Run.result`."""

    def find(self, name: str) -> LocalName | None:
        """Find a name that the failed cell lacks, in the notebook or process."""

    def ask(self, question: Question) -> str:
        """The user's answer to a question of the cell; exceptions are raised in the cell."""

    def follow(self, run: Run, prepared: Prepared) -> bool:
        """Show the run; return whether this waited for its end.

        Raises:
            KeyboardInterrupt: the user interrupted the run, which was stopped.
        """


class QuietFrontEnd:
    """A front end for internal runs: it shows, stores and binds nothing, and does not wait for the run."""

    document = ""
    command = "uv-argo"
    keeps_warm = False
    waits_for_end = False

    def check_syntax(self, cell: str, code: str, python: str) -> None:
        """Does nothing, since the run reports errors."""

    def prepare(self, work: Callable[[threading.Event], Prepared], spec: RunSpec, run_id: str) -> Prepared:  # noqa: ARG002
        """Call `work`."""
        return work(threading.Event())

    def notify(self, note: str) -> None:
        """Do nothing."""

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:
        """Do nothing."""

    def show_plan(self, prepared: Prepared) -> None:
        """Do nothing."""

    def history(self, settings: Settings) -> History | None:  # noqa: ARG002 - the protocol's signature
        """None, because such a run is not stored."""
        return None

    def rebuild(self, remote: RemoteError, state: RunState) -> BaseException:
        """The exception, without lines of a cell."""
        return remote_traceback.rebuild.rebuild(remote, state=state)

    def bind(self, values: dict[str, object]) -> None:
        """Do nothing."""

    def find(self, name: str) -> LocalName | None:  # noqa: ARG002 - the protocol's signature
        """None, because names are not looked up."""
        return None

    def ask(self, question: Question) -> str:
        """Raise an error, because there is no user."""
        raise EOFError(f"{question.prompt}: no answer")

    def follow(self, run: Run, prepared: Prepared) -> bool:  # noqa: ARG002 - the protocol's signature
        """False, because the caller waits."""
        return False


class SourceFrontEnd(QuietFrontEnd):
    """A front end for Python code; `name` is its name in tracebacks, `document` the path of its file, or ""."""

    def __init__(self, name: str, document: str) -> None:
        self.document = document
        self._name = name

    def check_syntax(self, cell: str, code: str, python: str) -> None:  # noqa: ARG002 - the protocol's signature
        """Refuse code with a syntax error, if the run's Python has the same version as this one.

        Raises:
            CellFailed: the code has a syntax error.
        """
        if cell_syntax.is_this_version(python):
            cell_syntax.refuse_invalid_python(lambda: self._name, cell, offset=0)

    def show_notes(self, notes: tuple[str, ...], settings: Settings) -> None:  # noqa: ARG002 - the protocol's signature
        """Show each note with `notify`."""
        for note in notes:
            self.notify(note)

    def rebuild(self, remote: RemoteError, state: RunState) -> BaseException:
        """The exception, with the lines of this code."""
        return remote_traceback.rebuild.rebuild(remote, state=state, cell_name=self._name)

    def find(self, name: str) -> LocalName | None:
        """A module in the folder of the file."""
        return remote_traceback.local_names.find(name, self.document, {})
