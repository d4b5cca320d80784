"""The requirements editor in a real JupyterLab, with its own package index."""

from __future__ import annotations

import json

import pytest
from support import lab as jupyter
from support.index_server import IndexServer
from support.lab import contrasts, focus, save_screenshot, wait_until_fits

LIVE = ".uv-argo.uv-edit"
STATIC = ".uv-edit-static"


@pytest.fixture(scope="module")
def index(lab):
    """An index that every kernel of this module uses, set in the user's configuration file."""
    with IndexServer() as server:
        server.add("alpha", "1.0", requires=["beta<2"])
        server.add("alpha", "2.0", requires=["gamma"])
        for name, version in (("beta", "1.5"), ("beta", "2.0"), ("gamma", "1.0")):
            server.add(name, version)
        config = lab.home / "config" / "uv-argo.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f'index_url = "{server.url}"\n', encoding="utf-8")
        yield server
        config.unlink()


PARTS = (
    ".uv-badge", ".uv-sentence", ".uv-hint", ".uv-foot .uv-dim", ".uv-chip.uv-bad .uv-req", ".uv-chip .uv-req",
    ".uv-chip .uv-x", ".uv-tool:enabled", ".uv-copy button", ".uv-name",
)  # fmt: skip


class EditorPage:
    """A notebook whose cell 1 shows the editor, and its requirements file."""

    def __init__(self, open_notebook, lab, text, *, own_page):
        self.lab = lab
        self.notebook = open_notebook("%argo edit", "%%argo --dry-run\n1", run=False, own_page=own_page)
        self.page = self.notebook.page
        self.file = (lab.notebooks / self.notebook.name).with_suffix(".requirements.txt")
        if text:
            self.file.write_text(text, encoding="utf-8")
        self.open()

    def open(self):
        self.notebook.run(1)
        self.notebook.wait_for_end(1)
        self.page.wait_for_selector(LIVE)

    def wait_for_status(self, word):
        self.page.wait_for_selector(f"{LIVE} .uv-status .uv-badge:has-text('{word}')")

    def add(self, text):
        self.page.get_by_label("Add a requirement").fill(text)
        self.page.get_by_label("Add a requirement").press("Enter")

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def wait_for_chips(self, number):
        self.page.wait_for_function("n=>document.querySelectorAll('.uv-chip').length===n", arg=number)

    def wait_for_file(self, text):
        """Wait until the file has this content."""
        for _ in range(100):
            if self.file.read_text(encoding="utf-8") == text:
                return
            self.page.wait_for_timeout(50)
        assert self.file.read_text(encoding="utf-8") == text


@pytest.fixture
def open_editor(open_notebook, lab, index):
    return lambda text="", *, own_page=False: EditorPage(open_notebook, lab, text, own_page=own_page)


def test_requirements_are_added_removed_and_restored(open_editor):
    editor = open_editor("# mine\nalpha  # why\n")
    editor.wait_for_status("Resolved")
    editor.page.wait_for_selector(".uv-chip:has-text('2.0')")
    assert editor.page.locator(f"{LIVE} datalist option[value=numpy]").count() == 1  # a name from the built-in list
    editor.add("beta")
    editor.page.wait_for_selector(".uv-chip:has-text('beta')")
    editor.wait_for_file("# mine\nalpha  # why\nbeta\n")
    editor.wait_for_status("Resolved")
    editor.add("alpha==1.0 beta==2.0")
    editor.wait_for_status("Problem")
    assert editor.page.locator(".uv-chip.uv-bad").count() == 2
    assert "depends on beta<2" in editor.page.locator(f"{LIVE} .uv-status").inner_text()
    editor.wait_for_file("# mine\nalpha==1.0  # why\nbeta==2.0\n")
    save_screenshot(editor.notebook, "edit-conflict")
    editor.press("Remove beta==2.0")
    editor.wait_for_status("Resolved")
    editor.wait_for_file("# mine\nalpha==1.0  # why\n")
    editor.press("Undo")
    editor.wait_for_status("Problem")
    editor.press("Undo")
    editor.wait_for_status("Resolved")
    editor.wait_for_file("# mine\nalpha  # why\nbeta\n")
    editor.notebook.run(2)
    editor.notebook.wait_for_end(2)
    assert "alpha==2.0" in editor.notebook.cell(2).inner_text()


def test_editor_works_while_a_cell_runs(open_editor):
    editor = open_editor("alpha\n")
    editor.wait_for_status("Resolved")
    editor.page.evaluate(
        "()=>window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel"
        ".setSource('import time; time.sleep(600)')"
    )
    editor.notebook.run(2)
    editor.page.wait_for_function(
        "()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status==='busy'"
    )
    editor.add("beta")
    editor.page.wait_for_selector(".uv-chip:has-text('beta')")
    editor.press("Remove alpha")
    editor.wait_for_chips(1)
    editor.press("Undo")
    editor.wait_for_file("alpha\nbeta\n")
    editor.wait_for_status("Resolved")
    assert "[*]" in editor.notebook.cell(2).inner_text()


def test_edit_cell_inserts_a_new_cell(open_editor):
    editor = open_editor("alpha\nbeta<2\n")
    cells = "()=>window.jupyterapp.shell.currentWidget.content.widgets.map(w=>w.model.sharedModel.getSource())"
    before = editor.page.evaluate(cells)
    editor.page.evaluate(
        "()=>window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.setSource('%argo edit --cell')"
    )
    editor.notebook.run(2)
    editor.notebook.wait_for_end(2)
    editor.page.wait_for_function("()=>window.jupyterapp.shell.currentWidget.content.widgets.length===4")
    assert editor.page.evaluate(cells) == [*before[:2], "%argo edit --cell", '%%argo --deps "alpha beta<2"\n']


def test_lock_keeps_versions_until_upgrade(open_editor, index):
    editor = open_editor("gamma\n")
    editor.wait_for_status("Resolved")
    editor.press("Lock")
    editor.page.wait_for_selector("text=Locked: the cells of this notebook use these versions")
    index.add("gamma", "1.1")
    editor.notebook.run(2)
    editor.notebook.wait_for_end(2)
    assert "gamma==1.0" in editor.notebook.cell(2).inner_text()
    editor.press("Upgrade")
    editor.page.wait_for_selector("text=Upgraded: gamma 1.0 \N{RIGHTWARDS ARROW} 1.1.")
    editor.page.wait_for_selector(".uv-chip:has-text('1.1')")
    assert "locked just now" in editor.page.locator(f"{LIVE} .uv-status").inner_text()
    save_screenshot(editor.notebook, "edit-locked")


def test_text_mode_and_copying_the_cell_line(open_editor):
    editor = open_editor("alpha\n")
    editor.wait_for_status("Resolved")
    editor.press("Text")
    area = editor.page.get_by_label("Requirements file")
    area.click()  # waits until the field is visible; keys sent to a hidden field are lost
    area.press("Control+End")
    editor.page.keyboard.insert_text("beta = 2\n")  # all at once: a pause after "be" would save that
    editor.wait_for_status("Problem")
    assert "use ==" in editor.page.locator(f"{LIVE} .uv-status").inner_text()
    assert editor.file.read_text(encoding="utf-8") == "alpha\n"
    save_screenshot(editor.notebook, "edit-text")
    area.press("ArrowUp")
    area.press("End")
    for _ in range(4):
        area.press("Backspace")
    area.press_sequentially("<2  # old", delay=10)
    editor.wait_for_status("Resolved")
    assert area.input_value() == "alpha\nbeta<2  # old\n"
    editor.wait_for_file("alpha\nbeta<2  # old\n")
    editor.press("Text")
    editor.wait_for_chips(2)
    editor.press("Copy the cell's line")
    editor.page.wait_for_selector("text=Copied")
    assert editor.page.evaluate("navigator.clipboard.readText()") == '%%argo --deps "alpha beta<2"'


def test_changes_by_other_programs_are_shown(open_editor):
    editor = open_editor("alpha\n")
    editor.wait_for_status("Resolved")
    editor.file.write_text("gamma\n", encoding="utf-8")
    editor.page.wait_for_selector(".uv-chip:has-text('gamma')")
    editor.page.wait_for_selector("text=was changed by another program")
    editor.wait_for_status("Resolved")


def test_editor_is_usable_by_keyboard(open_editor):
    editor = open_editor()
    page = editor.page
    editor.wait_for_status("Resolved")
    editor.notebook.cell(1).click(position={"x": 30, "y": 5})
    page.keyboard.press("Escape")
    focus(page, ".uv-add input")
    page.keyboard.type("alpha")
    page.keyboard.press("Enter")
    page.wait_for_selector(".uv-chip:has-text('alpha')")
    page.keyboard.type("beta")  # the focus is still in the field
    page.keyboard.press("Enter")
    page.wait_for_selector(".uv-chip:has-text('beta')")
    editor.wait_for_status("Resolved")
    focus(page, ".uv-chip:first-child .uv-x", back=True)
    assert page.evaluate("document.activeElement.title") == "Remove alpha"
    page.keyboard.press("Space")
    editor.wait_for_chips(1)
    page.wait_for_function("()=>document.activeElement.matches('.uv-add input')")
    focus(page, ".uv-edit .uv-tool[title^=Undo]", back=True)
    page.keyboard.press("Enter")
    editor.wait_for_chips(2)
    editor.wait_for_file("alpha\nbeta\n")


def test_static_form_is_shown_without_a_kernel(open_editor, lab, context):
    editor = open_editor("alpha\nbeta\n", own_page=True)
    editor.wait_for_status("Resolved")
    assert editor.page.locator(STATIC).count() == 1
    assert not editor.page.locator(STATIC).is_visible()
    # A reloaded page shows the live editor.
    editor.page.wait_for_selector(f"{LIVE} .uv-status:has-text('to download')")  # the last change of the outputs
    editor.notebook.command("docmanager:save")
    editor.page.wait_for_function("()=>!window.jupyterapp.shell.currentWidget.context.model.dirty")
    editor.page.reload()
    editor.page.wait_for_selector(f"{LIVE} .uv-chip:has-text('beta')")
    editor.page.wait_for_selector(STATIC, state="hidden")
    # If the kernel restarts, the static form replaces the widgets.
    editor.page.evaluate("()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    editor.page.wait_for_selector(STATIC)
    assert not editor.page.locator(LIVE).is_visible()
    # So does a notebook that is opened later.
    editor.page.close()
    lab.close_sessions()
    stored = json.loads((lab.notebooks / editor.notebook.name).read_text(encoding="utf-8"))
    assert "alpha, beta" in "".join(stored["cells"][1]["outputs"][0]["data"]["text/plain"])
    page = context.new_page()
    try:
        reopened = jupyter.Notebook(lab, page, editor.notebook.name)
        page.wait_for_selector(f"{STATIC}:has-text('3 packages')")
        page.wait_for_timeout(500)  # JupyterLab reports a missing model late
        assert page.locator("text=model not found").locator("visible=true").count() == 0
        save_screenshot(reopened, "edit-reopened")
    finally:
        page.close()


def test_editor_fits_and_is_legible_in_both_themes(open_editor):
    editor = open_editor("alpha==1.0\nbeta==2.0\ngamma\n")
    editor.wait_for_status("Problem")
    for name in ("light", "dark"):
        editor.notebook.theme(f"JupyterLab {name.title()}")
        editor.page.set_viewport_size(jupyter.VIEWPORT)
        save_screenshot(editor.notebook, f"edit-{name}")
        contrast = contrasts(editor.page, LIVE, *PARTS)
        assert all(ratio >= 4.5 for ratio in contrast.values()), contrast
        editor.page.set_viewport_size({"width": 600, "height": 700})
        wait_until_fits(editor.page, LIVE, "button,input,.uv-chip,.uv-badge")
        save_screenshot(editor.notebook, f"edit-{name}-narrow")
    editor.notebook.theme("JupyterLab Light")
