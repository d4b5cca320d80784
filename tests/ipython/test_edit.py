"""notebook/editor.py and debounce.py: the editor without a browser, and `%argo edit` without widgets."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from nbconvert import HTMLExporter, MarkdownExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from support.waiting import until

from uv_argo_magic.core.resolution.check_result import CheckResult
from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.errors import ResolutionError, SpecError
from uv_argo_magic.notebook import editor
from uv_argo_magic.notebook.debounce import DebouncedWorker
from uv_argo_magic.renderers.cell_output import OutputSink
from uv_argo_magic.uv.runner import Cancelled

TARGET = Target(python="3.12.1")
LOCK = Lock(packages=(Package(name="alpha", version="1.0", size=9),), target=TARGET)
RESOLVED = CheckResult(lock=LOCK, target="Python 3.12.1")
STORED = replace(RESOLVED, stored=True)
CONFLICT = CheckResult(problem="alpha and beta conflict.", hint="Remove one of them.", blamed=("beta",))


class Page(OutputSink):
    """A front end that records what is published."""

    def __init__(self):
        self.sent = []

    def publish(self, data, metadata, *, transient, update):
        self.sent.append((data, update))

    @property
    def static(self):
        return [data["text/plain"] for data, _ in self.sent if "text/html" in data]


class EditorView:
    """An editor of a file whose checks return `result`."""

    def __init__(self, path):
        self.page, self.path = Page(), path
        self.result, self.checked_texts = RESOLVED, []
        self.locked = []
        options = {"check": self.check, "lock": self.lock, "names": ("alpha", "beta"), "to": self.page}
        self.editor = editor.Editor(path, written="", **options)
        self.editor.open()

    def check(self, cancelled):
        self.checked_texts.append(self.path.read_text(errors="replace") if self.path.exists() else None)
        yield self.result

    def lock(self, displayed_lock, cancelled):
        self.locked.append(displayed_lock)
        if isinstance(self.result, Exception):
            self.result, error = RESOLVED, self.result
            raise error
        self.result = STORED
        return "Locked <here>."

    @property
    def widgets(self):
        return self.editor._widgets

    @property
    def chips(self):
        return [chip.children[0].value for chip in self.widgets._chips.children]

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    def wait_for_status(self, word):
        until(lambda: word in self.widgets._status.value)

    def press(self, name):
        button = {"undo": self.widgets.undo, "redo": self.widgets.redo}.get(name) or next(
            chip.children[1] for chip in self.widgets._chips.children if chip.children[1].tooltip == f"Remove {name}"
        )
        button.click()


@pytest.fixture
def open_editor(shell, tmp_path):
    editors = []

    def open_file(text=None):
        path = tmp_path / "study.requirements.txt"
        if text is not None:
            path.write_text(text, encoding="utf-8")
        editors.append(EditorView(path))
        return editors[-1]

    yield open_file
    for view in editors:
        view.editor.close()
    editor.OPEN.clear()


def test_added_requirements_are_saved_and_checked(open_editor):
    view = open_editor()
    assert "created with the first change" in view.widgets._foot.value
    view.wait_for_status("Resolved")
    assert not view.path.exists()
    view.widgets._add.value = "alpha, beta>=1"
    assert view.text == "alpha\nbeta>=1\n"
    assert view.widgets._add.value == ""
    until(lambda: view.checked_texts[-1:] == ["alpha\nbeta>=1\n"])
    until(lambda: "1.0" in view.chips[0])
    assert view.page.static[-1] == "argo edit study.requirements.txt: alpha, beta>=1"
    assert "Saved to study.requirements.txt; used by cells that list no requirements." in view.widgets._foot.value
    assert "%%argo --deps &quot;alpha beta&gt;=1&quot;" in view.widgets._copy.value


def test_field_is_cleared_before_the_chip_is_shown(open_editor):
    view = open_editor()
    field_values = []
    view.widgets._chips.observe(lambda _: field_values.append(view.widgets._add.value), "children")
    view.widgets._add.value = "alpha"
    assert field_values == [""]


def test_invalid_requirement_stays_in_the_field(open_editor):
    view = open_editor("alpha\n")
    view.widgets._add.value = "pip install beta"
    assert view.widgets._add.value == "pip install beta"
    assert "is a command" in view.widgets._foot.value
    assert view.text == "alpha\n"
    view.widgets._add.value = "beta"
    assert "is a command" not in view.widgets._foot.value
    assert view.text == "alpha\nbeta\n"


def test_remove_undo_and_redo_change_the_file(open_editor):
    view = open_editor("# mine\nalpha  # why\nbeta\n")
    assert view.widgets.undo.disabled
    view.press("alpha")
    assert view.text == "# mine\nbeta\n"
    view.press("undo")
    assert view.text == "# mine\nalpha  # why\nbeta\n"
    assert not view.widgets.redo.disabled
    view.press("redo")
    assert view.text == "# mine\nbeta\n"
    assert len(view.chips) == 1


def test_other_options_are_shown_and_preserved(open_editor):
    view = open_editor("-c limits.txt\nalpha\n")
    assert "Other options: -c limits.txt" in view.widgets._foot.value
    view.widgets._add.value = "beta"
    assert view.text == "-c limits.txt\nalpha\nbeta\n"
    assert "%%argo -r study.requirements.txt" in view.widgets._copy.value


def test_conflicting_requirements_are_marked(open_editor):
    view = open_editor("alpha\nbeta\n")
    view.result = CONFLICT
    view.press("beta")
    view.press("undo")
    view.wait_for_status("Problem")
    assert ["problem" in chip for chip in view.chips] == [False, True]
    assert "uv-bad" in view.widgets._chips.children[1]._dom_classes
    view.result = RESOLVED
    view.press("alpha")
    view.wait_for_status("Resolved")
    assert "uv-bad" not in view.widgets._chips.children[0]._dom_classes


def test_text_mode_saves_only_valid_text(open_editor):
    view = open_editor("alpha\n")
    view.widgets._toggle.value = True
    assert view.widgets._area.value == "alpha\n"
    view.widgets._area.value = "alpha = 1\n"
    assert "when you pause" in view.widgets._foot.value
    view.wait_for_status("is not a comparison")
    assert view.text == "alpha\n"
    assert "Not saved" in view.widgets._foot.value
    view.widgets._toggle.value = False
    assert view.widgets._toggle.value is True  # invalid requirements have no chips
    view.widgets._area.value = "alpha == 1 # one\n"
    until(lambda: view.text == "alpha == 1 # one\n")
    view.wait_for_status("Resolved")
    view.widgets._toggle.value = False
    assert "==1" in view.chips[0]
    view.press("undo")
    assert view.widgets._toggle.value is True
    view.press("undo")
    assert view.text == "alpha\n"


def test_typed_text_is_saved_before_an_undo(open_editor):
    view = open_editor("alpha\n")
    view.widgets._toggle.value = True
    view.widgets._area.value = "alpha\nbeta\n"
    view.press("undo")
    assert view.text == "alpha\n"
    view.press("redo")
    assert view.text == "alpha\nbeta\n"


def test_changes_by_other_programs_can_be_undone(open_editor):
    view = open_editor("alpha\n")
    view.widgets._add.value = "beta"
    view.path.write_text("theirs\n", encoding="utf-8")
    until(lambda: "theirs" in "".join(view.chips))
    until(lambda: "was changed by another program" in view.widgets._foot.value)
    view.press("undo")
    assert view.text == "alpha\nbeta\n"


def test_changes_apply_to_the_current_content_of_the_file(open_editor):
    view = open_editor("alpha\n")
    view.path.write_text("# theirs\nalpha\nbeta\n", encoding="utf-8")
    view.widgets._add.value = "gamma"
    assert view.text == "# theirs\nalpha\nbeta\ngamma\n"


def test_file_with_errors_is_shown_as_text(open_editor):
    view = open_editor("alpha\n")
    view.path.write_text("alpha = 1\n", encoding="utf-8")
    until(lambda: view.widgets._toggle.value)
    assert view.widgets._area.value == "alpha = 1\n"
    assert "is not a comparison" in view.widgets._status.value
    reopened = open_editor()
    assert reopened.widgets._toggle.value is True
    assert reopened.page.static == []


def test_editor_reports_unwritable_file(open_editor, tmp_path, monkeypatch):
    view = open_editor("alpha\n")

    def fail_to_write(*_):
        raise SpecError("study.requirements.txt cannot be written: No space left on device", hint="Make room")

    with monkeypatch.context() as patch:
        patch.setattr(editor.edit, "write", fail_to_write)
        view.widgets._add.value = "beta"
    assert "No space left" in view.widgets._foot.value
    assert "Not saved" in view.widgets._foot.value
    view.path.write_bytes(b"\xff")
    until(lambda: "not UTF-8" in view.widgets._foot.value)


def test_lock_button_locks_and_then_upgrades(open_editor):
    view = open_editor("alpha\n")
    view.wait_for_status("Resolved")
    assert (view.widgets.lock.description, view.widgets.lock.disabled) == ("Lock", False)
    view.widgets.lock.click()
    until(lambda: view.widgets.lock.description == "Upgrade" and not view.widgets.lock.disabled)
    assert view.locked == [LOCK]
    assert "Locked &lt;here&gt;." in view.widgets._foot.value
    assert "locked" in view.widgets._status.value
    view.result = ResolutionError("The index is away.", hint="Wait.")
    view.widgets.lock.click()
    until(lambda: "The index is away. Wait." in view.widgets._foot.value)
    assert view.locked == [LOCK, None]


def test_unresolved_requirements_cannot_be_locked(open_editor):
    view = open_editor("alpha\n")
    view.result = CONFLICT
    view.press("alpha")
    view.wait_for_status("Problem")
    assert view.widgets.lock.disabled
    view.editor.lock()
    assert view.locked == []


def test_long_file_opens_as_text(open_editor):
    view = open_editor("".join(f"name{number}\n" for number in range(editor.MANY_REQUIREMENTS + 1)))
    assert view.widgets._toggle.value is True
    assert view.chips == []
    view.widgets._toggle.value = False
    assert len(view.chips) == editor.MANY_REQUIREMENTS + 1


def test_text_typed_during_a_redraw_is_saved(open_editor):
    view = open_editor("alpha\n")
    view.widgets._toggle.value = True
    view.wait_for_status("Resolved")
    view.widgets._drawing = threading.get_ident() + 1
    view.widgets._area.value = "alpha\nbeta\n"
    until(lambda: view.text == "alpha\nbeta\n")


def test_closing_saves_typed_text(open_editor):
    view = open_editor("alpha\n")
    view.widgets._toggle.value = True
    view.widgets._area.value = "alpha\nbeta\n"
    view.editor.close()
    assert view.text == "alpha\nbeta\n"


def test_new_editor_closes_the_previous_one_of_the_file(open_editor):
    first = open_editor("alpha\n")
    second = open_editor()
    until(lambda: not first.editor._worker._thread.is_alive())
    assert editor.OPEN[first.path] is second.editor
    assert first.page.static[-1].endswith(": alpha")
    second.widgets._add.value = "beta"
    assert second.text == "alpha\nbeta\n"


def test_worker_runs_only_the_last_task():
    events, is_running = [], threading.Event()
    worker = DebouncedWorker(lambda: None, every=0.01)

    def wait_until_cancelled(cancelled):
        is_running.set()
        assert cancelled.wait(60)
        events.append("cancelled")
        raise Cancelled("a newer task was submitted")

    worker.submit(wait_until_cancelled)
    assert is_running.wait(60)
    worker.submit(lambda _: events.append("dropped"), after=30)
    worker.submit(lambda _: events.append("last"), after=0.01)
    until(lambda: events == ["cancelled", "last"])
    worker.submit(lambda _: events.append("never"), after=30)
    worker.close()
    worker._thread.join(60)
    assert not worker._thread.is_alive()
    assert events == ["cancelled", "last"]


def test_edit_prints_requirements_without_widgets(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("uv_argo_magic.commands.edit.check", lambda path, around: RESOLVED)
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study.ipynb"))
    (tmp_path / "study.requirements.txt").write_text("alpha\n", encoding="utf-8")
    shell.run_line_magic("argo", "edit")
    assert capsys.readouterr().out == "argo edit study.requirements.txt: alpha\n"
    shell.run_line_magic("argo", "edit other.txt")
    assert capsys.readouterr().out == "argo edit other.txt: no requirements\n"


def test_edit_opens_the_users_editor_in_a_terminal(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UV_ARGO_PANEL", "auto")
    paths = []
    monkeypatch.setattr("uv_argo_magic.commands.edit_terminal.edit_file", lambda path, _: paths.append(path) or "done")
    shell.run_line_magic("argo", "edit needs.txt")
    assert paths == [tmp_path / "needs.txt"]
    assert capsys.readouterr().out == "done\n"
    with pytest.raises(SpecError, match="cannot determine the notebook's path"):
        shell.run_line_magic("argo", "edit")


def test_edit_cell_inserts_an_equivalent_cell(shell, tmp_path, monkeypatch):
    cells = []
    monkeypatch.setattr(shell, "set_next_input", lambda text, *, replace: cells.append((text, replace)))
    (tmp_path / "needs.txt").write_text("alpha>=1  # why\nbeta\n", encoding="utf-8")
    shell.run_line_magic("argo", "edit needs.txt --cell")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("-r ../needs.txt\n", encoding="utf-8")
    shell.run_line_magic("argo", "edit sub/more.txt --cell")
    assert cells == [('%%argo --deps "alpha>=1 beta"\n', False), ("%%argo -r sub/more.txt\n", False)]


def test_edit_shows_a_live_editor_in_a_notebook(shell, tmp_path, monkeypatch):
    page = Page()
    measured = replace(RESOLVED, cached=frozenset({"alpha"}))
    monkeypatch.setattr("uv_argo_magic.commands.edit.check", lambda *_: RESOLVED)
    monkeypatch.setattr("uv_argo_magic.commands.edit.measure", lambda *_: measured)
    monkeypatch.setattr(editor, "CellSink", lambda _: page)
    monkeypatch.setattr(editor, "why_not", lambda *_: "")
    monkeypatch.setattr(editor, "mode", lambda *_: "widget")
    shell.run_line_magic("argo", "edit needs.txt")
    live_editor = editor.OPEN.pop(tmp_path / "needs.txt")
    until(lambda: "nothing to download" in live_editor._widgets._status.value)
    assert "cells use it with -r needs.txt" in live_editor._widgets._foot.value
    assert [list(data) for data, _ in page.sent][:2] == [
        ["text/html", "text/plain"],
        ["application/vnd.jupyter.widget-view+json", "text/plain"],
    ]
    # nbconvert shows the static form once.
    outputs = [new_output("display_data", data) for data, _ in (page.sent[-1], page.sent[1])]
    stored = new_notebook(cells=[new_code_cell("%argo edit needs.txt", outputs=outputs)])
    html, _ = HTMLExporter().from_notebook_node(stored)
    assert html.count("Requirements</b>") == 1
    assert "Requirements</b>" in MarkdownExporter().from_notebook_node(stored)[0]
    live_editor.close()
