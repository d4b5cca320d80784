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

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from uv_argo_magic import editing, external_editor
from uv_argo_magic.core import edit_view, edits
from uv_argo_magic.core.tables import escape
from uv_argo_magic.core.verbs import RunOptions
from uv_argo_magic.errors import ArgoMagicError, SpecError
from uv_argo_magic.notebook.background import OfCell, why_not
from uv_argo_magic.notebook.checker import Checker
from uv_argo_magic.notebook.outputs import Outlet
from uv_argo_magic.notebook.renderers import mode
from uv_argo_magic.notebook.style import CSS, EDIT_CSS, EDIT_STATIC_CSS
from uv_argo_magic.specify import specify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from uv_argo_magic.core import lock as locks
    from uv_argo_magic.core.options import Line
    from uv_argo_magic.core.requirements import Requirement
    from uv_argo_magic.history import History
    from uv_argo_magic.specify import Surroundings

    Check: TypeAlias = Callable[[threading.Event], edits.Verdict]
    Lock: TypeAlias = Callable[[locks.Lock | None], str]

TYPING = 0.4
"""Seconds after the last key stroke before a text is written and checked."""

OPEN: dict[Path, Editor] = {}
"""The live editor of each file: one, for two would write past each other."""


def edit(line: Line, shell: Any, around: Callable[[], Surroundings], history: History) -> None:
    """Open the editor of the file that the line names, or of this notebook's, as this front end can show it.

    Raises:
        SpecError: nobody knows which file, or it cannot be read.
    """
    here = around()
    path = editing.find(line.argument, here)
    settings = specify("", RunOptions(deps=""), here)[0].settings
    match mode(settings.panel, shell):
        case "text":
            print(external_editor.edit(path, here))
        case "widget" if not why_not(shell, settings):
            Editor(
                path, check=lambda cancelled: editing.check(path, around(), cancelled), names=editing.names(history),
                lock=lambda seen: editing.lock(path, around(), seen), to=OfCell(shell),
            ).open()  # fmt: skip
        case _:
            text = editing.read(path)
            listed = edits.items(text, path.name)
            html = edit_view.static_html(listed, text, path.name, editing.check(path, here))
            data = {"text/html": html, "text/plain": edit_view.static_text(listed, path.name)}
            Outlet().publish(data, {}, transient={}, update=False)


class Editor:
    """The live editor of one file.

    `check` asks the index about what is written there, `lock` keeps these versions for the notebook, or newer ones.
    """

    def __init__(self, path: Path, *, check: Check, lock: Lock, names: tuple[str, ...], to: Outlet) -> None:
        self._path = path
        self._check, self._lock = check, lock
        self._to = to
        self._id = f"uv-argo-edit-{uuid.uuid4().hex}"
        self._shown = ""
        self._state = threading.RLock()
        self._disk = editing.read(path)
        self._edits = edits.Edits(text=self._disk)
        self._draft: str | None = None
        self._problem = ""
        self._remark = ""
        self._verdict: edits.Verdict | None = None
        self._w = _Widgets(self, path.name, names)
        self._judge()
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
        self._checker.close()
        with self._state:
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
                said = self._lock(None if seen.kept else seen.lock)
            except ArgoMagicError as error:
                said = f"{error.message} {error.hint}"
            with self._state:
                self._remark = said
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
        verdict = self._check(cancelled)
        with self._state:
            if not cancelled.is_set():
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
            disk = editing.read(self._path)
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
        self._remark = ""
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
                if editing.write(self._path, made.text, self._disk):
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
            self._verdict = edits.Verdict(problem=error.message, hint=error.hint)
            self._w.text_mode = True

    def _draw(self) -> None:
        text = self._edits.text if self._draft is None else self._draft
        listed = () if self._problem else edits.items(self._edits.text, self._path.name)
        # First, so that a notebook that is saved as soon as something is seen has it.
        if not self._problem:
            self._show_static(listed)
        self._w.draw(text, listed, self._verdict, self._where(), self._remark)
        lock = self._verdict.lock if self._verdict else None
        self._w.lock.disabled = lock is None or not lock.packages
        self._w.lock.description = "Upgrade" if self._verdict and self._verdict.kept else "Lock"
        self._w.undo.disabled = not self._edits.past
        self._w.redo.disabled = not self._edits.future
        self._w.copied("" if self._problem else edits.cell_line(self._edits.text, self._path.name))

    def _where(self) -> str:
        name = self._path.name
        if self._draft is not None:
            return f"Saved in {name} when you pause."
        if self._problem:
            return f"Not saved: {name} keeps what it says until this can be read."
        if self._edits.text != self._disk:
            return f"Not saved: {name} says something else."
        if not self._path.exists():
            return f"{name} is written with the first change; cells that say nothing else then use it."
        return f"Saved in {name}; cells that say nothing else use it."

    def _show_static(self, listed: tuple[Requirement, ...]) -> None:
        html = edit_view.static_html(listed, self._edits.text, self._path.name, self._verdict)
        if html != self._shown:
            data = {"text/html": EDIT_STATIC_CSS + html, "text/plain": edit_view.static_text(listed, self._path.name)}
            self._to.publish(data, {}, transient={"display_id": self._id}, update=bool(self._shown))
            self._shown = html


class _Widgets:
    """What is seen of it. Only traits whose value changed travel to the browser."""

    def __init__(self, editor: Editor, name: str, names: tuple[str, ...]) -> None:
        import ipywidgets as w  # noqa: PLC0415 - heavy, and not every front end shows widgets

        self._ipywidgets = w
        self._editor = editor
        self._quiet = False
        self.text_mode = False
        self.known = ""
        none = w.Layout(margin="0")
        said = f'<span class="uv-title">Requirements</span><span class="uv-name">{escape(name)}</span>'
        self._title = w.HTML(said, layout=w.Layout(flex="1 1 auto", margin="0"))
        self._toggle = w.ToggleButton(description="Text", tooltip="Edit as a requirements file")
        self.undo = w.Button(description="Undo", tooltip="Take the last change back")
        self.redo = w.Button(description="Redo", tooltip="Make it again")
        for tool in (self._toggle, self.undo, self.redo):
            tool.add_class("uv-tool")
        self.lock = w.Button(description="Lock", tooltip="Keep these versions for this notebook, or newer ones")
        self.lock.add_class("uv-tool")
        self.lock.on_click(lambda _: editor.lock())
        self._copy = w.HTML(layout=none)
        self._copy.add_class("uv-copy")
        head = w.HBox([self._title, self.undo, self.redo, self.lock, self._copy, self._toggle])
        head.add_class("uv-head")
        self._chips = w.Box([])
        self._chips.add_class("uv-chips")
        # Without continuous_update its value is what Enter, or leaving the field, ends.
        self._add = w.Combobox(
            description="Add a requirement", placeholder="Add: numpy, pandas>=2", options=names,
            continuous_update=False, ensure_option=False,
        )  # fmt: skip
        self._add.add_class("uv-add")
        self._listed = w.HBox([self._chips, self._add])
        self._listed.add_class("uv-listed")
        self._area = w.Textarea(description="Requirements file", rows=6)
        self._area.add_class("uv-area")
        self._status = w.HTML(layout=none)
        self._status.add_class("uv-status")
        self._foot = w.HTML(layout=none)
        self._foot.add_class("uv-foot")
        style = w.HTML(f"<style>{CSS}{EDIT_CSS}</style>", layout=w.Layout(display="none"))
        self._root = w.VBox([style, head, self._listed, self._area, self._status, self._foot])
        self._root.add_class("uv-argo").add_class("uv-edit")
        self._by_line: dict[str, tuple[Any, Any, Any]] = {}
        self._all = [style, head, self._title, self._toggle, self.undo, self.redo, self.lock, self._copy, self._chips]
        self._all += [self._add, self._listed, self._area, self._status, self._foot, self._root]
        self.undo.on_click(lambda _: editor.undo())
        self.redo.on_click(lambda _: editor.redo())
        self._toggle.observe(lambda change: self._heard(editor.as_text, change["new"]), "value")
        self._area.observe(lambda change: self._heard(editor.typed, change["new"]), "value")
        self._add.observe(lambda change: self._heard(self._entered, change["new"]), "value")

    def _heard(self, act: Callable[[Any], object], value: object) -> None:
        """Pass on what the browser said; what is set here says nothing."""
        if not self._quiet:
            act(value)

    def _entered(self, typed: str) -> None:
        # What could not be read stays, to be corrected.
        if typed.strip() and self._editor.add(typed):
            self._add.value = ""

    def draw(
        self, text: str, items: tuple[Requirement, ...], verdict: edits.Verdict | None, where: str, remark: str
    ) -> None:
        """Set every widget to what the state says."""
        self._quiet = True
        try:
            self._toggle.value = self.text_mode
            # What the area said itself is not said back: more may have been typed by now.
            if text != self.known:
                self.known = self._area.value = text
        finally:
            self._quiet = False
        self._area.layout.display = None if self.text_mode else "none"
        self._listed.layout.display = "none" if self.text_mode else None
        self._set_chips(items, verdict)
        self._status.value = edit_view.status(verdict, time.time())
        noted = f'<div class="uv-remark" role="alert">{escape(remark)}</div>' if remark else ""
        self._foot.value = f'{noted}<div class="uv-dim">{escape(where)}</div>'

    def _set_chips(self, items: tuple[Requirement, ...], verdict: edits.Verdict | None) -> None:
        w = self._ipywidgets
        wanted = [str(item) for item in items]
        for line in [line for line in self._by_line if line not in wanted]:
            for part in self._by_line.pop(line):
                part.close()
        for item in items:
            if str(item) not in self._by_line:
                button = w.Button(tooltip=f"Remove {item}")
                button.add_class("uv-x")
                button.on_click(lambda _, item=item: self._removed(item))
                label = w.HTML(layout=w.Layout(margin="0"))
                box = w.HBox([label, button])
                box.add_class("uv-chip")
                self._by_line[str(item)] = box, label, button
            box, label, _ = self._by_line[str(item)]
            label.value = edit_view.chip(item, verdict)
            (box.add_class if verdict and item.name in verdict.names else box.remove_class)("uv-bad")
        children = tuple(self._by_line[line][0] for line in wanted)
        if children != self._chips.children:
            self._chips.children = children

    def _removed(self, item: Requirement) -> None:
        self._editor.remove(item)
        # The button that had the focus is gone: the next key goes on here.
        self._add.focus()

    def copied(self, line: str) -> None:
        """What the Copy button copies."""
        self._copy.value = (
            f'<button type="button" data-line="{escape(line)}" title="{escape(line)}" onclick="{escape(_COPY)}">'
            "Copy the cell&#x27;s line</button>"
            if line
            else ""
        )

    def bundle(self) -> dict[str, Any]:
        """The live display; it has no text of its own, for the static form above says all."""
        view_of = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        return {"application/vnd.jupyter.widget-view+json": view_of}

    def close(self) -> None:
        """Take the models out of kernel and browser."""
        for widget in [*self._all, *(part for chip in self._by_line.values() for part in chip)]:
            for part in ("layout", "style"):
                if hasattr(widget, part):
                    getattr(widget, part).close()
            widget.close()


# In the browser: what is copied is on the button already.
_COPY = (
    "const b=this,t=b.textContent;navigator.clipboard.writeText(b.dataset.line)"
    ".then(()=>{b.textContent='Copied'},()=>{b.textContent='Not allowed'});setTimeout(()=>{b.textContent=t},1500)"
)
