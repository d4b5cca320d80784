"""`%argo edit` in a notebook: the requirements file as chips or as text, saved at once, checked as it changes.

Rules:
- Nothing blocks: the magic returns, and each change is made, written and checked from callbacks and one thread.
- Two outputs. The static form comes first and is what readers see who have no widgets: a notebook opened again,
  nbconvert, GitHub. In JupyterLab a style sheet of its own hides it while the live one below is there, and hides what
  JupyterLab says in place of a live one that is gone ("model not found").
- A text that cannot be read is shown, never written; a file that somebody else changed is taken as it is, and what was
  here is one Undo away.
"""

from __future__ import annotations

import os
import threading
import uuid
from typing import TYPE_CHECKING, Any

from uv_argo_magic import requirements_files
from uv_argo_magic.commands import edit, edit_terminal
from uv_argo_magic.core.commands.cell_line import cell_line
from uv_argo_magic.core.commands.table import RunOptions
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.view import requirements_html
from uv_argo_magic.engine.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, SpecError
from uv_argo_magic.notebook.background import CellSink, why_not
from uv_argo_magic.notebook.debounce import Checker
from uv_argo_magic.notebook.editor_widgets import Widgets
from uv_argo_magic.renderers.cell_output import OutputSink
from uv_argo_magic.renderers.choose import mode
from uv_argo_magic.renderers.panel_css import EDIT_STATIC_CSS
from uv_argo_magic.uv import runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.requirements.model import Requirement
    from uv_argo_magic.core.resolution import lock as locks
    from uv_argo_magic.engine.spec_builder import CellContext
    from uv_argo_magic.history.store import History

    Check: TypeAlias = Callable[[threading.Event], Iterator[CheckResult]]
    Lock: TypeAlias = Callable[[locks.Lock | None, threading.Event], str]

TYPING = 0.4
"""Seconds after the last key stroke before a text is written and checked."""

MANY = 60
"""Requirements of a file that is shown as text at first: nobody looks for a chip among so many."""

OPEN: dict[Path, Editor] = {}
"""The live editor of each file: one, for two would write past each other."""


def open_editor(line: Line, shell: Any, context: Callable[[], CellContext], history: History) -> None:
    """Open the editor of the file that the line names, or of this notebook's, as this front end can show it.

    Raises:
        SpecError: nobody knows which file, or it cannot be read.
    """
    current = context()
    path = edit.find(line.argument, current)
    written = os.path.relpath(path, current.folder)
    if line.has("cell"):
        # While this cell runs, and as a cell of its own: later, or with `replace`, it would overwrite another one.
        shell.set_next_input(f"{cell_line(edit.read(path), written)}\n", replace=False)
        return
    settings = specify("", RunOptions(deps=""), current)[0].settings
    match mode(settings.panel, shell):
        case "text":
            print(edit_terminal.edit_file(path, current))
        case "widget" if not why_not(shell, settings):
            own = path == requirements_files.notebook_file(current.notebook, current.folder)
            Editor(
                path, written="" if own else written, to=CellSink(shell), names=edit.names(history),
                check=lambda cancelled: _checks(path, context, cancelled),
                lock=lambda seen, cancelled: edit.lock(path, context(), seen, cancelled),
            ).open()  # fmt: skip
        case _:
            text = edit.read(path)
            listed = edits.items(text, path.name)
            html = requirements_html.static_html(listed, text, path.name, edit.check(path, current))
            data = {"text/html": html, "text/plain": requirements_html.static_text(listed, path.name)}
            OutputSink().publish(data, {}, transient={}, update=False)


def _checks(path: Path, context: Callable[[], CellContext], cancelled: threading.Event) -> Iterator[CheckResult]:
    """What is known of the file, and then what more takes longer to know."""
    verdict = edit.check(path, context(), cancelled)
    yield verdict
    yield edit.measure(verdict, path, context(), cancelled)


class Editor:
    """The live editor of one file.

    `written` names it as a cell does with `-r` ("": it is the notebook's own, and counts without); `check` asks the
    index about what is written there, `lock` keeps these versions for the notebook, or newer ones.
    """

    def __init__(
        self, path: Path, *, written: str, check: Check, lock: Lock, names: tuple[str, ...], to: OutputSink
    ) -> None:
        self._path, self._written = path, written or path.name
        self._use = f"a cell uses it with -r {written}" if written else "cells that say nothing else use it"
        self._check, self._lock = check, lock
        self._to = to
        self._id = f"uv-argo-edit-{uuid.uuid4().hex}"
        self._shown = ""
        self._state = threading.RLock()
        self._disk = edit.read(path)
        self._edits = edits.Edits(text=self._disk)
        self._draft: str | None = None
        self._problem = ""
        self._remark, self._done = "", False
        self._verdict: CheckResult | None = None
        self._w = Widgets(self, path.name, names)
        self._judge()
        if not self._problem and len(edits.items(self._disk, path.name)) > MANY:
            self._w.text_mode = True
        self._checker = Checker(self._look)

    def open(self) -> None:
        """Show it, and begin to check."""
        former = OPEN.pop(self._path, None)
        if former:
            former.close()
        OPEN[self._path] = self
        self._draw()
        self._to.publish(self._w.bundle(), {}, transient={}, update=False)
        self._checker.ask(self._ask)

    def close(self) -> None:
        """End the thread and take the widgets away; the static form stays."""
        with self._state:
            self._flush(look=False)
            self._checker.close()
            self._w.close()

    # What the widgets call.

    def add(self, typed: str) -> bool:
        """Add what was typed; whether it could be read."""
        return self._change(lambda text: edits.add(text, typed, self._path.name))

    def remove(self, item: Requirement) -> None:
        """Take one requirement away."""
        self._change(lambda text: edits.remove(text, item, self._path.name))

    def undo(self) -> None:
        """Take the last change back."""
        self._step(edits.Edits.undo)

    def redo(self) -> None:
        """Make the change again that was taken back."""
        self._step(edits.Edits.redo)

    def lock(self) -> None:
        """Keep the versions that are shown; where they are kept, look for newer ones and keep those."""
        with self._state:
            seen = self._verdict
            if seen is None or seen.lock is None:
                return
            self._verdict = None
            self._draw()

        def keep(cancelled: threading.Event) -> None:
            try:
                said, done = self._lock(None if seen.stored else seen.lock, cancelled), True
            except runner.Cancelled:
                raise
            except ArgoMagicError as error:
                said, done = f"{error.message} {error.hint}", False
            with self._state:
                self._remark, self._done = said, done
            self._ask(cancelled)

        self._checker.ask(keep)

    def typed(self, text: str) -> None:
        """The text has changed under somebody's fingers: written and checked when they rest."""
        with self._state:
            self._w.known = self._draft = text
            self._remark, self._verdict = "", None
            self._draw()
        self._checker.ask(self._rest, after=TYPING)

    def as_text(self, wanted: bool) -> None:
        """Show the file's text, or its chips where it can be read."""
        with self._state:
            self._flush()
            self._w.text_mode = wanted or bool(self._problem)
            self._draw()

    def _change(self, make: Callable[[str], str]) -> bool:
        with self._state:
            self._flush()
            try:
                self._put(self._edits.change(make(self._edits.text)))
            except SpecError as error:
                self._remark = f"{error.message}. {error.hint}"
                self._draw()
                return False
        self._checker.ask(self._ask)
        return True

    def _step(self, step: Callable[[edits.Edits], edits.Edits]) -> None:
        with self._state:
            self._flush()
            self._put(step(self._edits))
        self._checker.ask(self._ask)

    # What the thread calls.

    def _ask(self, cancelled: threading.Event) -> None:
        """Ask the index, and show what it says unless somebody asked anew."""
        if self._problem:
            return
        for verdict in self._check(cancelled):
            with self._state:
                if cancelled.is_set():
                    return
                self._verdict = verdict
                self._draw()

    def _rest(self, cancelled: threading.Event) -> None:
        with self._state:
            self._flush(look=False)
        self._ask(cancelled)

    def _look(self) -> None:
        """Take up what somebody else wrote into the file."""
        with self._state:
            if not self._take():
                return
            self._draw()
        self._checker.ask(self._ask)

    # The state; all of it with the lock held.

    def _take(self) -> bool:
        """Whether the file says something else than it did; then this becomes the text, one Undo behind ours."""
        try:
            disk = edit.read(self._path)
        except SpecError as error:
            self._remark = f"{error.message}. {error.hint}"
            self._draw()
            return False
        if disk == self._disk:
            return False
        if self._draft is not None:
            self._edits, self._draft = self._edits.change(self._draft), None
        self._disk = disk
        self._edits = self._edits.change(disk)
        self._judge()
        self._remark = (
            f"{self._path.name} was changed elsewhere, and this is what it says; Undo brings back what was here."
        )
        return True

    def _flush(self, *, look: bool = True) -> None:
        """Take what is being typed as a change, and what was written elsewhere."""
        self._remark, self._done = "", False
        draft, self._draft = self._draft, None
        if draft is not None:
            self._put(self._edits.change(draft))
        elif look:
            self._take()

    def _put(self, made: edits.Edits) -> None:
        """Make this the text, and write it unless it cannot be read or the file has changed."""
        self._edits = made
        self._judge()
        if not self._problem and made.text != self._disk:
            try:
                if edit.write(self._path, made.text, self._disk):
                    self._disk = made.text
                else:
                    self._take()
            except SpecError as error:
                self._remark = f"{error.message}. {error.hint}"
        self._draw()

    def _judge(self) -> None:
        """Whether the text can be read at all; where not, it is shown as a text."""
        self._verdict, self._problem = None, ""
        try:
            edits.items(self._edits.text, self._path.name)
        except SpecError as error:
            self._problem = error.message
            self._verdict = CheckResult(problem=error.message, hint=error.hint)
            self._w.text_mode = True

    def _draw(self) -> None:
        text = self._edits.text if self._draft is None else self._draft
        listed = () if self._problem else edits.items(self._edits.text, self._path.name)
        # First, so that a notebook that is saved as soon as something is seen has it.
        if not self._problem:
            self._show_static(listed)
        self._w.draw(text, listed, self._verdict)
        self._w.tell(self._where(), self._remark, done=self._done)
        lock = self._verdict.lock if self._verdict else None
        self._w.lock.disabled = lock is None or not lock.packages
        self._w.lock.description = "Upgrade" if self._verdict and self._verdict.stored else "Lock"
        self._w.undo.disabled = not self._edits.past
        self._w.redo.disabled = not self._edits.future
        self._w.copied("" if self._problem else cell_line(self._edits.text, self._written))

    def _where(self) -> str:
        name = self._path.name
        if self._draft is not None:
            return f"Saved in {name} when you pause."
        if self._problem:
            return f"Not saved: {name} keeps what it says until this can be read."
        if self._edits.text != self._disk:
            return f"Not saved: {name} says something else."
        if not self._path.exists():
            return f"{name} is written with the first change; then {self._use}."
        more = ", ".join(edits.option_lines(self._edits.text))
        return f"Saved in {name}; {self._use}." + (f" It says more: {more}" if more else "")

    def _show_static(self, listed: tuple[Requirement, ...]) -> None:
        html = requirements_html.static_html(listed, self._edits.text, self._path.name, self._verdict)
        if html != self._shown:
            data = {
                "text/html": EDIT_STATIC_CSS + html,
                "text/plain": requirements_html.static_text(listed, self._path.name),
            }
            self._to.publish(data, {}, transient={"display_id": self._id}, update=bool(self._shown))
            self._shown = html
