"""The widgets of a requirements editor: chips with a field to add one, or a text area, and the result of the check.

Rules:
- They work while a cell runs, if the kernel and the front end support it; callbacks then come from several threads.
- They only pass on events and show the editor's state.
- The text of a text area is never sent back to it, because the user may have typed more.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.view import requirements_html
from uv_argo_magic.core.view.tables import escape
from uv_argo_magic.renderers import kernel_messages
from uv_argo_magic.renderers.panel_css import CSS, EDIT_CSS
from uv_argo_magic.renderers.widget_registry import WidgetRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.requirements.model import Requirement
    from uv_argo_magic.core.resolution.check_result import CheckResult
    from uv_argo_magic.notebook.editor import Editor

# Runs in the browser; the button contains the text to copy.
_COPY = (
    "const b=this,t=b.textContent;navigator.clipboard.writeText(b.dataset.line)"
    ".then(()=>{b.textContent='Copied'},()=>{b.textContent='Not allowed'});setTimeout(()=>{b.textContent=t},1500)"
)


class Widgets:
    """The visible part of an editor. Only changed traits are sent to the browser."""

    def __init__(self, editor: Editor, name: str, names: tuple[str, ...]) -> None:
        self._registry = registry = WidgetRegistry()
        create = registry.create
        self._editor = editor
        self._drawing = 0
        self.text_mode = False
        self.area_text = ""
        title = f'<span class="uv-title">Requirements</span><span class="uv-name">{escape(name)}</span>'
        self._title = registry.html(title, flex="1 1 auto")
        self._toggle = create("ToggleButton", css="uv-tool", description="Text", tooltip="Edit as a requirements file")
        self.undo = create("Button", css="uv-tool", description="Undo", tooltip="Undo the last change")
        self.redo = create("Button", css="uv-tool", description="Redo", tooltip="Redo the change")
        self.lock = create(
            "Button",
            css="uv-tool",
            description="Lock",
            tooltip="Lock these versions for this notebook, or upgrade them",
        )
        self.lock.on_click(lambda _: editor.lock())
        self._copy = registry.html(css="uv-copy")
        head = create("HBox", [self._title, self.undo, self.redo, self.lock, self._copy, self._toggle], css="uv-head")
        self._chips = create("Box", [], css="uv-chips")
        # Without continuous_update, the value changes when the user presses Enter or leaves the field.
        self._add = create(
            "Combobox", css="uv-add", description="Add a requirement", placeholder="Add: numpy, pandas>=2",
            options=names, continuous_update=False, ensure_option=False,
        )  # fmt: skip
        self._listed = create("HBox", [self._chips, self._add], css="uv-listed")
        self._area = create("Textarea", css="uv-area", description="Requirements file", rows=6)
        self._status = registry.html(css="uv-status")
        self._foot = registry.html(css="uv-foot")
        style = registry.html(f"<style>{CSS}{EDIT_CSS}</style>", display="none")
        parts = [style, head, self._listed, self._area, self._status, self._foot]
        self._root = create("VBox", parts, css="uv-argo uv-edit uv-live")
        self._by_line: dict[str, tuple[Any, Any, Any]] = {}
        for widget in (self.undo, self.redo, self.lock, self._toggle, self._add, self._area):
            kernel_messages.at_once(widget)
        self.undo.on_click(lambda _: editor.undo())
        self.redo.on_click(lambda _: editor.redo())
        self._toggle.observe(lambda change: self._changed(editor.as_text, change["new"]), "value")
        self._area.observe(lambda change: self._changed(editor.typed, change["new"]), "value")
        self._add.observe(lambda change: self._changed(self._entered, change["new"]), "value")

    def _changed(self, act: Callable[[Any], object], value: object) -> None:
        """Pass on a change by the user, not one made by `draw`."""
        # Typing can be handled in another thread while this one draws.
        if self._drawing != threading.get_ident():
            act(value)

    def _entered(self, typed: str) -> None:
        if typed.strip():
            self._editor.add(typed)

    def clear_field(self) -> None:
        """Empty the field for the next requirement."""
        self._add.value = ""

    def draw(self, text: str, items: tuple[Requirement, ...], verdict: CheckResult | None) -> None:
        """Set every widget from the state."""
        self._drawing = threading.get_ident()
        try:
            self._toggle.value = self.text_mode
            # Do not send the area's own text back, because the user may have typed more.
            if text != self.area_text:
                self.area_text = self._area.value = text
        finally:
            self._drawing = 0
        self._area.layout.display = None if self.text_mode else "none"
        self._listed.layout.display = "none" if self.text_mode else None
        if not self.text_mode:
            self._set_chips(items, verdict)
        self._status.value = requirements_html.status(verdict, time.time())

    def set_foot(self, saved: str, remark: str, *, done: bool) -> None:
        """Show where the text is saved, and a remark (a warning unless `done`)."""
        kind = 'class="uv-remark uv-done" role="status"' if done else 'class="uv-remark" role="alert"'
        remark_html = f"<div {kind}>{escape(remark)}</div>" if remark else ""
        self._foot.value = f'{remark_html}<div class="uv-dim">{escape(saved)}</div>'

    def _set_chips(self, items: tuple[Requirement, ...], verdict: CheckResult | None) -> None:
        create = self._registry.create
        lines = [str(item) for item in items]
        for line in [line for line in self._by_line if line not in lines]:
            self._registry.close(*self._by_line.pop(line))
        for item in items:
            if str(item) not in self._by_line:
                button = create("Button", css="uv-x", tooltip=f"Remove {item}")
                kernel_messages.at_once(button)
                button.on_click(lambda _, item=item: self._removed(item))
                label = self._registry.html()
                box = create("HBox", [label, button], css="uv-chip")
                self._by_line[str(item)] = box, label, button
            box, label, _ = self._by_line[str(item)]
            label.value = requirements_html.chip(item, verdict)
            (box.add_class if verdict and item.name in verdict.blamed else box.remove_class)("uv-bad")
        children = tuple(self._by_line[line][0] for line in lines)
        if children != self._chips.children:
            self._chips.children = children

    def _removed(self, item: Requirement) -> None:
        self._editor.remove(item)
        # The removed button had the focus, so move it to the field.
        self._add.focus()

    def set_copy_line(self, line: str) -> None:
        """Set the line that the Copy button copies."""
        self._copy.value = (
            f'<button type="button" data-line="{escape(line)}" title="{escape(line)}" onclick="{escape(_COPY)}">'
            "Copy the cell&#x27;s line</button>"
            if line
            else ""
        )

    def bundle(self) -> dict[str, Any]:
        """The live display; its text is empty, because the static form above has it, and nbconvert requires one."""
        view_of = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        return {"application/vnd.jupyter.widget-view+json": view_of, "text/plain": ""}

    def close(self) -> None:
        """Remove the models from the kernel and the browser."""
        self._registry.close()
