"""The requirements editor in a real JupyterLab, with an index of its own: what a person does, and what is left."""

from __future__ import annotations

import json

import pytest
from support import lab as jupyter
from support.index_server import IndexServer
from support.lab import contrasts, fits, focus, keep

LIVE = ".uv-argo.uv-edit"
STATIC = ".uv-edit-static"


@pytest.fixture(scope="module")
def index(lab):
    """An index that uv asks in every kernel of this module: by the configuration of the user whom the Lab has."""
    with IndexServer() as serving:
        serving.add("alpha", "1.0", requires=["beta<2"])
        serving.add("alpha", "2.0", requires=["gamma"])
        for name, version in (("beta", "1.5"), ("beta", "2.0"), ("gamma", "1.0")):
            serving.add(name, version)
        config = lab.folder / "home" / "config" / "uv-argo.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f'index_url = "{serving.url}"\n', encoding="utf-8")
        yield serving
        config.unlink()


PARTS = (
    ".uv-badge", ".uv-sentence", ".uv-hint", ".uv-foot .uv-dim", ".uv-chip.uv-bad .uv-req", ".uv-chip .uv-req",
    ".uv-chip .uv-x", ".uv-tool:enabled", ".uv-copy button", ".uv-name",
)  # fmt: skip


class Edited:
    """A notebook whose cell 1 is the editor, and its file."""

    def __init__(self, open_notebook, lab, text):
        self.lab = lab
        self.notebook = open_notebook("%argo edit", "%%argo --dry-run\n1", run=False)
        self.page = self.notebook.page
        self.file = (lab.notebooks / self.notebook.name).with_suffix(".requirements.txt")
        if text:
            self.file.write_text(text, encoding="utf-8")
        self.open()

    def open(self):
        self.notebook.run(1)
        self.notebook.ended(1)
        self.page.wait_for_selector(LIVE)

    def wait_for_status(self, word):
        self.page.wait_for_selector(f"{LIVE} .uv-status .uv-badge:has-text('{word}')")

    def add(self, text):
        self.page.get_by_label("Add a requirement").fill(text)
        self.page.get_by_label("Add a requirement").press("Enter")

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def chips(self, number):
        self.page.wait_for_function("n=>document.querySelectorAll('.uv-chip').length===n", arg=number)

    def wrote(self, text):
        """The file says so, at once or as soon as the machine comes to it."""
        for _ in range(100):
            if self.file.read_text(encoding="utf-8") == text:
                return
            self.page.wait_for_timeout(50)
        assert self.file.read_text(encoding="utf-8") == text


@pytest.fixture
def edited(open_notebook, lab, index):
    return lambda text="": Edited(open_notebook, lab, text)


def test_add_remove_conflict_and_undo(edited):
    one = edited("# mine\nalpha  # why\n")
    one.wait_for_status("Resolved")
    one.page.wait_for_selector(".uv-chip:has-text('2.0')")
    assert one.page.locator(f"{LIVE} datalist option[value=numpy]").count() == 1  # a name that is known without asking
    one.add("beta")
    one.page.wait_for_selector(".uv-chip:has-text('beta')")
    one.wrote("# mine\nalpha  # why\nbeta\n")
    one.wait_for_status("Resolved")
    one.add("alpha==1.0 beta==2.0")
    one.wait_for_status("Problem")
    assert one.page.locator(".uv-chip.uv-bad").count() == 2
    assert "depends on beta<2" in one.page.locator(f"{LIVE} .uv-status").inner_text()
    one.wrote("# mine\nalpha==1.0  # why\nbeta==2.0\n")
    keep(one.notebook, "edit-conflict")
    one.press("Remove beta==2.0")
    one.wait_for_status("Resolved")
    one.wrote("# mine\nalpha==1.0  # why\n")
    one.press("Undo")
    one.wait_for_status("Problem")
    one.press("Undo")
    one.wait_for_status("Resolved")
    one.wrote("# mine\nalpha  # why\nbeta\n")
    one.notebook.run(2)
    one.notebook.ended(2)
    assert "alpha==2.0" in one.notebook.cell(2).inner_text()


def test_while_a_cell_runs(edited):
    one = edited("alpha\n")
    one.wait_for_status("Resolved")
    one.page.evaluate(
        "()=>window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel"
        ".setSource('import time; time.sleep(600)')"
    )
    one.notebook.run(2)
    one.page.wait_for_function(
        "()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status==='busy'"
    )
    one.add("beta")
    one.page.wait_for_selector(".uv-chip:has-text('beta')")
    one.press("Remove alpha")
    one.chips(1)
    one.press("Undo")
    one.wrote("alpha\nbeta\n")
    one.wait_for_status("Resolved")
    assert "[*]" in one.notebook.cell(2).inner_text()


def test_a_cell_of_its_own_overwrites_none(edited):
    one = edited("alpha\nbeta<2\n")
    cells = "()=>window.jupyterapp.shell.currentWidget.content.widgets.map(w=>w.model.sharedModel.getSource())"
    before = one.page.evaluate(cells)
    one.page.evaluate(
        "()=>window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.setSource('%argo edit --cell')"
    )
    one.notebook.run(2)
    one.notebook.ended(2)
    one.page.wait_for_function("()=>window.jupyterapp.shell.currentWidget.content.widgets.length===4")
    assert one.page.evaluate(cells) == [*before[:2], "%argo edit --cell", '%%argo --deps "alpha beta<2"\n']


def test_lock_and_upgrade(edited, index):
    one = edited("gamma\n")
    one.wait_for_status("Resolved")
    one.press("Lock")
    one.page.wait_for_selector("text=Locked: this notebook's cells get these versions")
    index.add("gamma", "1.1")
    one.notebook.run(2)
    one.notebook.ended(2)
    assert "gamma==1.0" in one.notebook.cell(2).inner_text()
    one.press("Upgrade")
    one.page.wait_for_selector("text=Upgraded: gamma 1.0 \N{RIGHTWARDS ARROW} 1.1.")
    one.page.wait_for_selector(".uv-chip:has-text('1.1')")
    assert "locked just now" in one.page.locator(f"{LIVE} .uv-status").inner_text()
    keep(one.notebook, "edit-locked")


def test_as_text_and_the_line_to_copy(edited):
    one = edited("alpha\n")
    one.wait_for_status("Resolved")
    one.press("Text")
    area = one.page.get_by_label("Requirements file")
    area.click()  # waits until it is shown; a key for a hidden field is lost
    area.press("Control+End")
    one.page.keyboard.insert_text("beta = 2\n")  # at once: a pause after "be" would have that saved
    one.wait_for_status("Problem")
    assert "use ==" in one.page.locator(f"{LIVE} .uv-status").inner_text()
    assert one.file.read_text(encoding="utf-8") == "alpha\n"
    keep(one.notebook, "edit-text")
    area.press("ArrowUp")
    area.press("End")
    for _ in range(4):
        area.press("Backspace")
    area.press_sequentially("<2  # old", delay=10)
    one.wait_for_status("Resolved")
    assert area.input_value() == "alpha\nbeta<2  # old\n"
    one.wrote("alpha\nbeta<2  # old\n")
    one.press("Text")
    one.chips(2)
    one.press("Copy the cell's line")
    one.page.wait_for_selector("text=Copied")
    assert one.page.evaluate("navigator.clipboard.readText()") == '%%argo --deps "alpha beta<2"'


def test_what_another_program_writes_is_seen(edited):
    one = edited("alpha\n")
    one.wait_for_status("Resolved")
    one.file.write_text("gamma\n", encoding="utf-8")
    one.page.wait_for_selector(".uv-chip:has-text('gamma')")
    one.page.wait_for_selector("text=was changed by another program")
    one.wait_for_status("Resolved")


def test_by_the_keyboard_alone(edited):
    one = edited()
    page = one.page
    one.wait_for_status("Resolved")
    one.notebook.cell(1).click(position={"x": 30, "y": 5})
    page.keyboard.press("Escape")
    focus(page, ".uv-add input")
    page.keyboard.type("alpha")
    page.keyboard.press("Enter")
    page.wait_for_selector(".uv-chip:has-text('alpha')")
    page.keyboard.type("beta")  # the focus stays where the next one is typed
    page.keyboard.press("Enter")
    page.wait_for_selector(".uv-chip:has-text('beta')")
    one.wait_for_status("Resolved")
    focus(page, ".uv-chip:first-child .uv-x", back=True)
    assert page.evaluate("document.activeElement.title") == "Remove alpha"
    page.keyboard.press("Space")
    one.chips(1)
    page.wait_for_function("()=>document.activeElement.matches('.uv-add input')")
    focus(page, ".uv-edit .uv-tool[title^=Undo]", back=True)
    page.keyboard.press("Enter")
    one.chips(2)
    one.wrote("alpha\nbeta\n")


def test_what_is_left_without_its_kernel_is_the_static_form(edited, lab, context):
    one = edited("alpha\nbeta\n")
    one.wait_for_status("Resolved")
    assert one.page.locator(STATIC).count() == 1
    assert not one.page.locator(STATIC).is_visible()
    # A page loaded again finds the editor in its kernel.
    one.page.wait_for_selector(f"{LIVE} .uv-status:has-text('to download')")  # the last that comes, and changes outputs
    one.notebook.command("docmanager:save")
    one.page.wait_for_function("()=>!window.jupyterapp.shell.currentWidget.context.model.dirty")
    one.page.reload()
    one.page.wait_for_selector(f"{LIVE} .uv-chip:has-text('beta')")
    one.page.wait_for_selector(STATIC, state="hidden")
    # The kernel restarts under an open page: the dead widgets give way.
    one.page.evaluate("()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    one.page.wait_for_selector(STATIC)
    assert not one.page.locator(LIVE).is_visible()
    # And in a notebook that is opened again later.
    one.page.close()
    lab.close_sessions()
    stored = json.loads((lab.notebooks / one.notebook.name).read_text(encoding="utf-8"))
    assert "alpha, beta" in "".join(stored["cells"][1]["outputs"][0]["data"]["text/plain"])
    page = context.new_page()
    try:
        again = jupyter.Notebook(lab, page, one.notebook.name)
        page.wait_for_selector(f"{STATIC}:has-text('3 packages')")
        page.wait_for_timeout(500)  # what JupyterLab says of a missing model comes late
        assert page.locator("text=model not found").locator("visible=true").count() == 0
        keep(again, "edit-reopened")
    finally:
        page.close()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_both_themes_and_narrow(edited, theme):
    one = edited("alpha==1.0\nbeta==2.0\ngamma\n")
    one.notebook.theme(theme)
    one.wait_for_status("Problem")
    name = theme.split()[1].lower()
    keep(one.notebook, f"edit-{name}")
    contrast = contrasts(one.page, LIVE, *PARTS)
    assert all(ratio >= 4.5 for ratio in contrast.values()), contrast
    one.page.set_viewport_size({"width": 600, "height": 700})
    fits(one.page, LIVE, "button,input,.uv-chip,.uv-badge")
    keep(one.notebook, f"edit-{name}-narrow")
    one.notebook.theme("JupyterLab Light")
