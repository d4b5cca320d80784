"""notebook/editor.py, worker.py: the editor's logic without a browser, and `%argo edit` where there are no widgets."""

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
FINE = CheckResult(lock=LOCK, target="Python 3.12.1")
KEPT = replace(FINE, stored=True)
BAD = CheckResult(problem="alpha and beta quarrel.", hint="Part them.", blamed=("beta",))


class Page(OutputSink):
    """The front end: what was published, in order."""

    def __init__(self):
        self.sent = []

    def publish(self, data, metadata, *, transient, update):
        self.sent.append((data, update))

    @property
    def static(self):
        return [data["text/plain"] for data, _ in self.sent if "text/html" in data]


class Opened:
    """An editor on a file, with an index that says what `verdict` says."""

    def __init__(self, path):
        self.page, self.path = Page(), path
        self.verdict, self.asked = FINE, []
        self.locked = []
        given = {"check": self.check, "lock": self.lock, "names": ("alpha", "beta"), "to": self.page}
        self.made = editor.Editor(path, written="", **given)
        self.made.open()

    def check(self, cancelled):
        self.asked.append(self.path.read_text(errors="replace") if self.path.exists() else None)
        yield self.verdict

    def lock(self, seen, cancelled):
        self.locked.append(seen)
        if isinstance(self.verdict, Exception):
            self.verdict, error = FINE, self.verdict
            raise error
        self.verdict = KEPT
        return "Locked <here>."

    @property
    def w(self):
        return self.made._widgets

    @property
    def chips(self):
        return [chip.children[0].value for chip in self.w._chips.children]

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    def wait_for_status(self, word):
        until(lambda: word in self.w._status.value)

    def press(self, name):
        button = {"undo": self.w.undo, "redo": self.w.redo}.get(name) or next(
            chip.children[1] for chip in self.w._chips.children if chip.children[1].tooltip == f"Remove {name}"
        )
        button.click()


@pytest.fixture
def opened(shell, tmp_path):
    made = []

    def opening(text=None):
        path = tmp_path / "study.requirements.txt"
        if text is not None:
            path.write_text(text, encoding="utf-8")
        made.append(Opened(path))
        return made[-1]

    yield opening
    for one in made:
        one.made.close()
    editor.OPEN.clear()


def test_what_is_added_is_saved_at_once_and_checked(opened):
    one = opened()
    assert "created with the first change" in one.w._foot.value
    one.wait_for_status("Resolved")
    assert not one.path.exists()
    one.w._add.value = "alpha, beta>=1"
    assert one.text == "alpha\nbeta>=1\n"
    assert one.w._add.value == ""
    until(lambda: one.asked[-1:] == ["alpha\nbeta>=1\n"])
    until(lambda: "1.0" in one.chips[0])
    assert one.page.static[-1] == "argo edit study.requirements.txt: alpha, beta>=1"
    assert "Saved in study.requirements.txt; used by cells that list no requirements." in one.w._foot.value
    assert "%%argo --deps &quot;alpha beta&gt;=1&quot;" in one.w._copy.value


def test_the_field_is_empty_before_the_chip_is_shown(opened):
    one = opened()
    at_chips = []
    one.w._chips.observe(lambda _: at_chips.append(one.w._add.value), "children")
    one.w._add.value = "alpha"
    assert at_chips == [""]


def test_what_cannot_be_read_stays_to_be_corrected(opened):
    one = opened("alpha\n")
    one.w._add.value = "pip install beta"
    assert one.w._add.value == "pip install beta"
    assert "is a command" in one.w._foot.value
    assert one.text == "alpha\n"
    one.w._add.value = "beta"
    assert "is a command" not in one.w._foot.value
    assert one.text == "alpha\nbeta\n"


def test_remove_undo_and_redo(opened):
    one = opened("# mine\nalpha  # why\nbeta\n")
    assert one.w.undo.disabled
    one.press("alpha")
    assert one.text == "# mine\nbeta\n"
    one.press("undo")
    assert one.text == "# mine\nalpha  # why\nbeta\n"
    assert not one.w.redo.disabled
    one.press("redo")
    assert one.text == "# mine\nbeta\n"
    assert len(one.chips) == 1


def test_what_is_no_requirement_is_told_and_kept(opened):
    one = opened("-c limits.txt\nalpha\n")
    assert "Other options: -c limits.txt" in one.w._foot.value
    one.w._add.value = "beta"
    assert one.text == "-c limits.txt\nalpha\nbeta\n"
    assert "%%argo -r study.requirements.txt" in one.w._copy.value


def test_who_is_to_blame_is_seen_on_the_chip(opened):
    one = opened("alpha\nbeta\n")
    one.verdict = BAD
    one.press("beta")
    one.press("undo")
    one.wait_for_status("Problem")
    assert ["problem" in chip for chip in one.chips] == [False, True]
    assert "uv-bad" in one.w._chips.children[1]._dom_classes
    one.verdict = FINE
    one.press("alpha")
    one.wait_for_status("Resolved")
    assert "uv-bad" not in one.w._chips.children[0]._dom_classes


def test_a_text_is_saved_when_it_can_be_read(opened):
    one = opened("alpha\n")
    one.w._toggle.value = True
    assert one.w._area.value == "alpha\n"
    one.w._area.value = "alpha = 1\n"
    assert "when you pause" in one.w._foot.value
    one.wait_for_status("is not a comparison")
    assert one.text == "alpha\n"
    assert "Not saved" in one.w._foot.value
    one.w._toggle.value = False
    assert one.w._toggle.value is True  # no chips of what cannot be read
    one.w._area.value = "alpha == 1 # one\n"
    until(lambda: one.text == "alpha == 1 # one\n")
    one.wait_for_status("Resolved")
    one.w._toggle.value = False
    assert "==1" in one.chips[0]
    one.press("undo")
    assert one.w._toggle.value is True
    one.press("undo")
    assert one.text == "alpha\n"


def test_what_is_typed_is_taken_before_anything_else_is_done(opened):
    one = opened("alpha\n")
    one.w._toggle.value = True
    one.w._area.value = "alpha\nbeta\n"
    one.press("undo")
    assert one.text == "alpha\n"
    one.press("redo")
    assert one.text == "alpha\nbeta\n"


def test_a_change_by_somebody_else_is_taken_and_ours_is_an_undo_away(opened):
    one = opened("alpha\n")
    one.w._add.value = "beta"
    one.path.write_text("theirs\n", encoding="utf-8")
    until(lambda: "theirs" in "".join(one.chips))
    until(lambda: "was changed by another program" in one.w._foot.value)
    one.press("undo")
    assert one.text == "alpha\nbeta\n"


def test_a_change_is_made_to_what_the_file_says_by_then(opened):
    one = opened("alpha\n")
    one.path.write_text("# theirs\nalpha\nbeta\n", encoding="utf-8")
    one.w._add.value = "gamma"
    assert one.text == "# theirs\nalpha\nbeta\ngamma\n"


def test_a_file_that_is_broken_elsewhere_is_shown_as_text(opened):
    one = opened("alpha\n")
    one.path.write_text("alpha = 1\n", encoding="utf-8")
    until(lambda: one.w._toggle.value)
    assert one.w._area.value == "alpha = 1\n"
    assert "is not a comparison" in one.w._status.value
    again = opened()
    assert again.w._toggle.value is True
    assert again.page.static == []


def test_what_cannot_be_written_is_said(opened, tmp_path, monkeypatch):
    one = opened("alpha\n")

    def refuse(*_):
        raise SpecError("study.requirements.txt cannot be written: No space left on device", hint="Make room")

    with monkeypatch.context() as patch:
        patch.setattr(editor.edit, "write", refuse)
        one.w._add.value = "beta"
    assert "No space left" in one.w._foot.value
    assert "Not saved" in one.w._foot.value
    one.path.write_bytes(b"\xff")
    until(lambda: "not UTF-8" in one.w._foot.value)


def test_lock_keeps_what_is_shown_and_then_upgrades(opened):
    one = opened("alpha\n")
    one.wait_for_status("Resolved")
    assert (one.w.lock.description, one.w.lock.disabled) == ("Lock", False)
    one.w.lock.click()
    until(lambda: one.w.lock.description == "Upgrade" and not one.w.lock.disabled)
    assert one.locked == [LOCK]
    assert "Locked &lt;here&gt;." in one.w._foot.value
    assert "locked" in one.w._status.value
    one.verdict = ResolutionError("The index is away.", hint="Wait.")
    one.w.lock.click()
    until(lambda: "The index is away. Wait." in one.w._foot.value)
    assert one.locked == [LOCK, None]


def test_what_is_not_resolved_cannot_be_locked(opened):
    one = opened("alpha\n")
    one.verdict = BAD
    one.press("alpha")
    one.wait_for_status("Problem")
    assert one.w.lock.disabled
    one.made.lock()
    assert one.locked == []


def test_a_long_file_is_text_at_first(opened):
    one = opened("".join(f"name{number}\n" for number in range(editor.MANY_REQUIREMENTS + 1)))
    assert one.w._toggle.value is True
    assert one.chips == []
    one.w._toggle.value = False
    assert len(one.chips) == editor.MANY_REQUIREMENTS + 1


def test_what_is_typed_while_another_thread_draws_is_heard(opened):
    one = opened("alpha\n")
    one.w._toggle.value = True
    one.wait_for_status("Resolved")
    one.w._drawing = threading.get_ident() + 1
    one.w._area.value = "alpha\nbeta\n"
    until(lambda: one.text == "alpha\nbeta\n")


def test_what_is_being_typed_is_written_before_it_closes(opened):
    one = opened("alpha\n")
    one.w._toggle.value = True
    one.w._area.value = "alpha\nbeta\n"
    one.made.close()
    assert one.text == "alpha\nbeta\n"


def test_one_editor_a_file(opened):
    first = opened("alpha\n")
    second = opened()
    until(lambda: not first.made._worker._thread.is_alive())
    assert editor.OPEN[first.path] is second.made
    assert first.page.static[-1].endswith(": alpha")
    second.w._add.value = "beta"
    assert second.text == "alpha\nbeta\n"


def test_only_the_last_wish_counts():
    done, begun = [], threading.Event()
    worker = DebouncedWorker(lambda: None, every=0.01)

    def long(cancelled):
        begun.set()
        assert cancelled.wait(60)
        done.append("cancelled")
        raise Cancelled("nobody waits")

    worker.submit(long)
    assert begun.wait(60)
    worker.submit(lambda _: done.append("dropped"), after=30)
    worker.submit(lambda _: done.append("last"), after=0.01)
    until(lambda: done == ["cancelled", "last"])
    worker.submit(lambda _: done.append("never"), after=30)
    worker.close()
    worker._thread.join(60)
    assert not worker._thread.is_alive()
    assert done == ["cancelled", "last"]


def test_without_widgets_it_is_shown_once(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("uv_argo_magic.commands.edit.check", lambda path, around: FINE)
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study.ipynb"))
    (tmp_path / "study.requirements.txt").write_text("alpha\n", encoding="utf-8")
    shell.run_line_magic("argo", "edit")
    assert capsys.readouterr().out == "argo edit study.requirements.txt: alpha\n"
    shell.run_line_magic("argo", "edit other.txt")
    assert capsys.readouterr().out == "argo edit other.txt: no requirements\n"


def test_in_a_terminal_it_is_the_users_own_editor(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UV_ARGO_PANEL", "auto")
    called = []
    monkeypatch.setattr("uv_argo_magic.commands.edit_terminal.edit_file", lambda path, _: called.append(path) or "done")
    shell.run_line_magic("argo", "edit needs.txt")
    assert called == [tmp_path / "needs.txt"]
    assert capsys.readouterr().out == "done\n"
    with pytest.raises(SpecError, match="cannot determine the notebook's path"):
        shell.run_line_magic("argo", "edit")


def test_a_cell_that_asks_for_the_same(shell, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(shell, "set_next_input", lambda text, *, replace: given.append((text, replace)))
    (tmp_path / "needs.txt").write_text("alpha>=1  # why\nbeta\n", encoding="utf-8")
    shell.run_line_magic("argo", "edit needs.txt --cell")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("-r ../needs.txt\n", encoding="utf-8")
    shell.run_line_magic("argo", "edit sub/more.txt --cell")
    assert given == [('%%argo --deps "alpha>=1 beta"\n', False), ("%%argo -r sub/more.txt\n", False)]


def test_in_a_notebook_it_is_live(shell, tmp_path, monkeypatch):
    page = Page()
    measured = replace(FINE, cached=frozenset({"alpha"}))
    monkeypatch.setattr("uv_argo_magic.commands.edit.check", lambda *_: FINE)
    monkeypatch.setattr("uv_argo_magic.commands.edit.measure", lambda *_: measured)
    monkeypatch.setattr(editor, "CellSink", lambda _: page)
    monkeypatch.setattr(editor, "why_not", lambda *_: "")
    monkeypatch.setattr(editor, "mode", lambda *_: "widget")
    shell.run_line_magic("argo", "edit needs.txt")
    made = editor.OPEN.pop(tmp_path / "needs.txt")
    until(lambda: "nothing to download" in made._widgets._status.value)
    assert "cells use it with -r needs.txt" in made._widgets._foot.value
    assert [list(data) for data, _ in page.sent][:2] == [
        ["text/html", "text/plain"],
        ["application/vnd.jupyter.widget-view+json", "text/plain"],
    ]
    # What nbconvert makes of a notebook that was saved with it: the static form, once, and no complaint.
    outputs = [new_output("display_data", data) for data, _ in (page.sent[-1], page.sent[1])]
    stored = new_notebook(cells=[new_code_cell("%argo edit needs.txt", outputs=outputs)])
    html, _ = HTMLExporter().from_notebook_node(stored)
    assert html.count("Requirements</b>") == 1
    assert "Requirements</b>" in MarkdownExporter().from_notebook_node(stored)[0]
    made.close()
