"""`%argo edit` in a notebook: the requirements file as chips or as text, saved at once, checked as it changes.

Rules:
- Nothing blocks: the magic returns, and callbacks and one thread make, write and check each change.
- There are two outputs. The static form comes first, for readers without widgets: a reopened notebook, nbconvert,
  GitHub. In JupyterLab, a style sheet hides it while the live form below exists, and otherwise hides "model not found".
- An invalid text is shown but not written. A change by another program is adopted; Undo restores the old text.
"""

from __future__ import annotations

import os
import threading
import uuid
from typing import TYPE_CHECKING, Any

from uv_argo_magic import requirements_files
from uv_argo_magic.commands import edit, edit_terminal
from uv_argo_magic.core.commands.cell_line import cell_line
from uv_argo_magic.core.commands.run_options import RunOptions
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.view import requirements_html
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, SpecError
from uv_argo_magic.notebook.background import CellSink, why_not
from uv_argo_magic.notebook.debounce import DebouncedWorker
from uv_argo_magic.notebook.editor_widgets import Widgets
from uv_argo_magic.renderers.cell_output import OutputSink
from uv_argo_magic.renderers.choose import mode
from uv_argo_magic.renderers.panel_css import LIVE_OR_STATIC_CSS
from uv_argo_magic.uv import runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.requirements.model import Requirement
    from uv_argo_magic.core.resolution import lock as locks
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.history.store import History

    Check: TypeAlias = Callable[[threading.Event], Iterator[CheckResult]]
    Lock: TypeAlias = Callable[[locks.Lock | None, threading.Event], str]

TYPING = 0.4
"""Seconds between the last keystroke and the writing and checking of the text."""

MANY_REQUIREMENTS = 60
"""A file with more requirements opens as text."""

OPEN: dict[Path, Editor] = {}
"""The live editor of each file; there is only one, because two would overwrite each other's changes."""


def open_editor(line: Line, shell: Any, context: Callable[[], CellContext], history: History) -> None:
    """Open the editor of the file on the line, or of this notebook's file, in the form that this front end supports.

    Raises:
        SpecError: the file is unknown, or cannot be read.
    """
    current = context()
    path = edit.find(line.argument, current)
    written = os.path.relpath(path, current.folder)
    if line.has("cell"):
        # Set this while the cell runs and as a new cell; later, or with `replace`, it would overwrite another cell.
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
                lock=lambda lock, cancelled: edit.lock(path, context(), lock, cancelled),
            ).open()  # fmt: skip
        case _:
            text = edit.read(path)
            listed = edits.items(text, path.name)
            html = requirements_html.static_html(listed, text, path.name, edit.check(path, current))
            data = {"text/html": html, "text/plain": requirements_html.static_text(listed, path.name)}
            OutputSink().publish(data, {}, transient={}, update=False)


def _checks(path: Path, context: Callable[[], CellContext], cancelled: threading.Event) -> Iterator[CheckResult]:
    """The result of checking the file, and then the same result with the cached packages of this machine."""
    verdict = edit.check(path, context(), cancelled)
    yield verdict
    yield edit.measure(verdict, path, context(), cancelled)


class Editor:
    """The live editor of one file.

    `written` is its name for `-r` ("": it is the notebook's file, which needs no `-r`). `check` checks the file against
    the index, and `lock` stores these versions, or newer ones, for the notebook.
    """

    def __init__(
        self, path: Path, *, written: str, check: Check, lock: Lock, names: tuple[str, ...], to: OutputSink
    ) -> None:
        self._path, self._written = path, written or path.name
        self._use = f"cells use it with -r {written}" if written else "used by cells that list no requirements"
        self._check, self._lock = check, lock
        self._to = to
        self._id = f"uv-argo-edit-{uuid.uuid4().hex}"
        self._shown_html = ""
        self._state = threading.RLock()
        self._disk = edit.read(path)
        self._edits = edits.Edits(text=self._disk)
        self._draft: str | None = None
        self._problem = ""
        self._remark, self._done = "", False
        self._verdict: CheckResult | None = None
        self._widgets = Widgets(self, path.name, names)
        self._parse()
        if not self._problem and len(edits.items(self._disk, path.name)) > MANY_REQUIREMENTS:
            self._widgets.text_mode = True
        self._worker = DebouncedWorker(self._poll)

    def open(self) -> None:
        """Show the editor, and start a check."""
        former = OPEN.pop(self._path, None)
        if former:
            former.close()
        OPEN[self._path] = self
        self._draw()
        self._to.publish(self._widgets.bundle(), {}, transient={}, update=False)
        self._worker.submit(self._run_check)

    def close(self) -> None:
        """End the thread and remove the widgets; the static form stays."""
        with self._state:
            self._commit(look=False)
            self._worker.close()
            self._widgets.close()

    # Called by the widgets.

    def add(self, typed: str) -> None:
        """Add typed requirements; an invalid text stays in the field, so that the user can correct it."""

        def make(text: str) -> str:
            changed = edits.add(text, typed, self._path.name)
            # Before the new chip is shown: a user who sees it types the next requirement, which must not be cleared.
            self._widgets.clear_field()
            return changed

        self._change(make)

    def remove(self, item: Requirement) -> None:
        """Remove a requirement."""
        self._change(lambda text: edits.remove(text, item, self._path.name))

    def undo(self) -> None:
        """Undo the last change."""
        self._step(edits.Edits.undo)

    def redo(self) -> None:
        """Redo the last undone change."""
        self._step(edits.Edits.redo)

    def lock(self) -> None:
        """Lock the versions shown; if they are locked already, upgrade the lock."""
        with self._state:
            verdict = self._verdict
            if verdict is None or verdict.lock is None:
                return
            self._verdict = None
            self._draw()

        def keep(cancelled: threading.Event) -> None:
            try:
                remark, done = self._lock(None if verdict.stored else verdict.lock, cancelled), True
            except runner.Cancelled:
                raise
            except ArgoMagicError as error:
                remark, done = f"{error.message.rstrip('.')}. {error.hint}", False
            with self._state:
                self._remark, self._done = remark, done
            self._run_check(cancelled)

        self._worker.submit(keep)

    def typed(self, text: str) -> None:
        """Write and check the typed text when the user pauses."""
        with self._state:
            self._widgets.area_text = self._draft = text
            self._remark, self._verdict = "", None
            self._draw()
        self._worker.submit(self._save_and_check, after=TYPING)

    def as_text(self, as_text: bool) -> None:
        """Show the file's text, or its chips if the text is valid."""
        with self._state:
            self._commit()
            self._widgets.text_mode = as_text or bool(self._problem)
            self._draw()

    def _change(self, make: Callable[[str], str]) -> None:
        with self._state:
            self._commit()
            try:
                self._set(self._edits.change(make(self._edits.text)))
            except SpecError as error:
                self._remark = f"{error.message}. {error.hint}"
                self._draw()
                return
        self._worker.submit(self._run_check)

    def _step(self, step: Callable[[edits.Edits], edits.Edits]) -> None:
        with self._state:
            self._commit()
            self._set(step(self._edits))
        self._worker.submit(self._run_check)

    # Called by the thread.

    def _run_check(self, cancelled: threading.Event) -> None:
        """Check the requirements with the index, and show the result unless cancelled."""
        if self._problem:
            return
        for verdict in self._check(cancelled):
            with self._state:
                if cancelled.is_set():
                    return
                self._verdict = verdict
                self._draw()

    def _save_and_check(self, cancelled: threading.Event) -> None:
        with self._state:
            self._commit(look=False)
        self._run_check(cancelled)

    def _poll(self) -> None:
        """Show changes of the file by other programs."""
        with self._state:
            if not self._reload():
                return
            self._draw()
        self._worker.submit(self._run_check)

    # The state; these methods need the lock.

    def _reload(self) -> bool:
        """If the file has changed, adopt its content, so that Undo restores ours; return whether it has changed."""
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
        self._parse()
        self._remark = f"{self._path.name} was changed by another program. Undo brings your text back."
        return True

    def _commit(self, *, look: bool = True) -> None:
        """Make the typed text a change, and reload the file if another program changed it."""
        self._remark, self._done = "", False
        draft, self._draft = self._draft, None
        if draft is not None:
            self._set(self._edits.change(draft))
        elif look:
            self._reload()

    def _set(self, text_edits: edits.Edits) -> None:
        """Set the text, and write it unless it is invalid or the file has changed."""
        self._edits = text_edits
        self._parse()
        if not self._problem and text_edits.text != self._disk:
            try:
                if edit.write(self._path, text_edits.text, self._disk):
                    self._disk = text_edits.text
                else:
                    self._reload()
            except SpecError as error:
                self._remark = f"{error.message}. {error.hint}"
        self._draw()

    def _parse(self) -> None:
        """Parse the text; an invalid text is shown as text instead of chips."""
        self._verdict, self._problem = None, ""
        try:
            edits.items(self._edits.text, self._path.name)
        except SpecError as error:
            self._problem = error.message
            self._verdict = CheckResult(problem=error.message, hint=error.hint)
            self._widgets.text_mode = True

    def _draw(self) -> None:
        text = self._edits.text if self._draft is None else self._draft
        listed = () if self._problem else edits.items(self._edits.text, self._path.name)
        # First, so that it is part of a notebook that is saved immediately.
        if not self._problem:
            self._show_static(listed)
        self._widgets.draw(text, listed, self._verdict)
        self._widgets.set_foot(self._saved_text(), self._remark, done=self._done)
        lock = self._verdict.lock if self._verdict else None
        self._widgets.lock.disabled = lock is None or not lock.packages
        self._widgets.lock.description = "Upgrade" if self._verdict and self._verdict.stored else "Lock"
        self._widgets.undo.disabled = not self._edits.past
        self._widgets.redo.disabled = not self._edits.future
        self._widgets.set_copy_line("" if self._problem else cell_line(self._edits.text, self._written))

    def _saved_text(self) -> str:
        name = self._path.name
        if self._draft is not None:
            return f"Saved to {name} when you pause."
        if self._problem:
            return "Not saved: fix the error first."
        if self._edits.text != self._disk:
            return f"Not saved: {name} was changed by another program."
        if not self._path.exists():
            return f"{name} will be created with the first change; {self._use}."
        more = ", ".join(edits.option_lines(self._edits.text))
        return f"Saved to {name}; {self._use}." + (f" Other options: {more}" if more else "")

    def _show_static(self, listed: tuple[Requirement, ...]) -> None:
        html = requirements_html.static_html(listed, self._edits.text, self._path.name, self._verdict)
        if html != self._shown_html:
            data = {
                "text/html": LIVE_OR_STATIC_CSS + html,
                "text/plain": requirements_html.static_text(listed, self._path.name),
            }
            self._to.publish(data, {}, transient={"display_id": self._id}, update=bool(self._shown_html))
            self._shown_html = html
