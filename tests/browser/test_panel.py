"""The panel in a real JupyterLab: while a cell runs, and in the saved notebook."""

from __future__ import annotations

import json

import nbformat
import pytest
from support import lab as jupyter
from support.lab import contrasts, focus, save_screenshot, unfold, wait_until_fits
from support.waiting import until

BADGE = ".uv-argo .uv-badge"
STATIC = ".uv-argo-static"
SNAPSHOT = ".uv-argo-snapshot"

SHORT_CELL = """%%argo
for i in range(5):
    print("line", i)
"""
GATED_CELL = """%%argo
import os, time
for i in range(5):
    print(f"\\x1b[32mline {i}\\x1b[0m", flush=True); time.sleep(0.1)
while not os.path.exists(GATE):
    time.sleep(0.05)
"""
SHAPES = (("wide", 900, 800), ("narrow", 480, 800), ("zoomed", 640, 450))  # the last one is 1280 by 900 at 200 %
LONG_CELL = "%%argo\nprint('so far', flush=True)\nimport time; time.sleep(1000)\n"
FIGURE_CELL = """%%argo
png = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
display({"image/png": png}, raw=True)
"six" * 2
"""


class Gate:
    """A cell that waits before its end until the test calls `open`."""

    def __init__(self, path):
        self.path = path
        self.cell = GATED_CELL.replace("GATE", repr(str(path)))

    def open(self):
        self.path.touch()


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


def test_panel_shows_phases_log_and_output(open_notebook, gate):
    notebook = open_notebook(gate.cell)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-running")
    unfold(page, "run")
    page.locator(".uv-argo .uv-volatile", has_text="running").wait_for()  # shown after 0.05 s
    unfold(page, "log")
    page.wait_for_selector("pre.uv-log:has-text('line 1')")
    assert page.locator("pre.uv-log span").first.get_attribute("class") is not None
    page.get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_selector("text=Copied")
    assert "line 1" in page.evaluate("navigator.clipboard.readText()")
    save_screenshot(notebook, "running-log")
    assert page.locator(".uv-fold-packages summary").is_hidden()  # since the cell has no packages
    gate.open()
    notebook.wait_for_end(1)
    page.wait_for_selector(f"{STATIC}:has-text('Succeeded')")
    panel, widget, *streams = notebook.outputs(1)
    assert set(panel["data"]) == {"text/html", "text/plain"}
    assert not any(map("".join, widget["data"].values()))
    assert "".join("".join(output["text"]) for output in streams).count("line ") == 5


def test_figure_and_result_are_shown(open_notebook):
    notebook = open_notebook(FIGURE_CELL)
    notebook.wait_for_end(1)
    notebook.page.wait_for_selector(".jp-RenderedImage img")
    assert [output["output_type"] for output in notebook.outputs(1)] == ["display_data"] * 3 + ["execute_result"]
    assert notebook.outputs(1)[-1]["data"]["text/plain"] == "'sixsix'"


def test_traceback_shows_lines_of_the_cell(open_notebook):
    notebook = open_notebook("%%argo\ndef f(x):\n    return 1 / x\n\nf(0)\n")
    notebook.page.wait_for_selector(".jp-RenderedText[data-mime-type*='stderr']")
    notebook.page.wait_for_selector(f"{STATIC}:has-text('Failed')")
    text = notebook.cell(1).inner_text()
    assert "ZeroDivisionError" in text
    assert "return 1 / x" in text
    assert "Cell In[2], line 5" in text
    save_screenshot(notebook, "exception")


def test_detached_cell_shows_its_output_while_others_run(open_notebook, gate):
    notebook = open_notebook(gate.cell.replace("%%argo", "%%argo --detach -o run"), "6 * 7", "run.result(); run.status")
    page = notebook.page
    notebook.wait_for_end(1)
    notebook.run(2)
    notebook.wait_for_end(2)
    page.wait_for_selector(f"{BADGE}.uv-running")
    assert "42" in notebook.cell(2).inner_text()
    gate.open()
    notebook.run(3)
    notebook.wait_for_end(3)
    notebook.cell(1).locator(STATIC).wait_for()
    assert "Succeeded" in notebook.cell(3).inner_text()
    assert notebook.cell(1).inner_text().count("line ") >= 5
    assert "line " not in notebook.cell(2).inner_text() + notebook.cell(3).locator(".jp-OutputArea").inner_text()


def test_detached_panel_survives_a_reload(open_notebook, gate):
    notebook = open_notebook(gate.cell.replace("%%argo", "%%argo --detach"))
    page = notebook.page
    notebook.wait_for_end(1)
    page.wait_for_selector(f"{BADGE}.uv-running")
    notebook.reload()
    page.wait_for_selector(f"{BADGE}.uv-running")
    gate.open()
    page.wait_for_selector(f"{STATIC}:has-text('Succeeded')")
    assert "model not found" not in page.content()
    save_screenshot(notebook, "detached-reloaded")


def test_reloaded_page_shows_all_output_after_one_click(open_notebook, gate):
    notebook = open_notebook(gate.cell)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-running")
    notebook.reload()
    page.locator(".uv-run").wait_for()
    button = page.get_by_role("button", name="Show it here")
    button.wait_for()
    save_screenshot(notebook, "reloaded")
    button.click()
    page.wait_for_selector("text=Showing the run")
    gate.open()
    notebook.wait_for_end(1)
    assert "Succeeded" in notebook.cell(1).inner_text()
    text = "".join("".join(output.get("text", "")) for output in notebook.outputs(1))
    assert text.count("line ") == 5


NO_WIDGET_CONTROL = """import ipywidgets
manager = get_ipython().kernel.comm_manager
manager.register_target("jupyter.widget.control", lambda comm, message: None)
"""
"""The kernel does not respond to the page's request, like a slow kernel."""


def test_page_without_widget_states_requests_each_widget(open_notebook, gate):
    notebook = open_notebook(gate.cell, NO_WIDGET_CONTROL, run=False)
    notebook.run_through(2)
    notebook.run(1)
    notebook.page.wait_for_selector(f"{BADGE}.uv-running")
    notebook.reload()
    notebook.page.get_by_role("button", name="Show it here").wait_for()


WATCH_FOR_OFFER = """()=>{const kernel=window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
kernel.anyMessage.connect((_,{msg})=>{if(JSON.stringify(msg.content).includes('Show it here'))window.offered=true})}"""


def test_page_with_slow_widget_code_misses_no_update(open_notebook, gate):
    notebook = open_notebook(gate.cell)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-running")
    held_requests = []

    def hold_widget_code(route):
        text = route.fetch().text()
        held_requests.append((route, text)) if "HTMLModel" in text else route.fulfill(
            body=text, content_type="text/javascript"
        )

    page.route("**/jupyterlab-manager/static/*.js*", hold_widget_code)
    notebook.reload()
    until(lambda: page.wait_for_timeout(50) or held_requests, "the page does not load its widgets")
    page.evaluate(WATCH_FOR_OFFER)
    page.wait_for_function("window.offered")
    ((route, text),) = held_requests
    route.fulfill(body=text, content_type="text/javascript")
    page.get_by_role("button", name="Show it here").wait_for()


def test_panel_shows_how_to_continue_after_a_kernel_restart(open_notebook, gate):
    notebook = open_notebook(gate.cell)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-running")
    page.locator(SNAPSHOT, has_text="Running").wait_for(state="attached")  # it is sent after the badge
    assert page.locator(SNAPSHOT).is_hidden()
    page.evaluate("()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.locator(SNAPSHOT).wait_for()
    text = page.locator(SNAPSHOT).inner_text()
    assert "Running" in text
    assert "%argo attach" in text
    assert not [widget for widget in page.locator(".jupyter-widgets-disconnected").all() if widget.is_visible()]
    save_screenshot(notebook, "kernel-restarted")


def test_saved_panel_renders_untrusted_without_its_kernel(open_notebook, lab, context):
    notebook = open_notebook(SHORT_CELL)
    notebook.wait_for_end(1)
    notebook.page.wait_for_selector(STATIC)
    notebook.command("docmanager:save")
    notebook.page.wait_for_function("()=>!window.jupyterapp.shell.currentWidget.context.model.dirty")
    path = lab.notebooks / notebook.name
    stored = path.read_text(encoding="utf-8")
    assert "widget-view" not in stored
    assert "widgets" not in json.loads(stored)["metadata"]
    # Like another user's notebook: with an unknown kernel, and with changed outputs, which are not trusted.
    document = nbformat.from_dict(json.loads(stored))
    document.metadata["kernelspec"] = {"name": "gone", "display_name": "gone", "language": "python"}
    document.cells[1].outputs[0].data["text/plain"] += " (a copy)"
    nbformat.write(document, lab.notebooks / "copy.ipynb")
    page = context.new_page()
    try:
        copy = jupyter.Notebook(lab, page, "copy.ipynb", kernel=False)
        page.wait_for_selector(STATIC.replace(".uv-argo-static", "text=Succeeded"))
        line = copy.cell(1).locator("summary").first
        assert line.bounding_box()["height"] < 30
        assert "local-2" not in copy.cell(1).inner_text()  # the beginning of the run's name
        while "local-2" not in copy.cell(1).inner_text():  # JupyterLab may render the output again after a click
            line.click()
            page.wait_for_timeout(1000)  # a second click on a slow page would fold the panel again
        assert "model not found" not in page.content()
        assert "Loading widget" not in page.content()
        save_screenshot(copy, "reopened-untrusted")
    finally:
        page.close()


FLOOD_CELL = """%%argo
import os, time
for i in range(100):
    while i and not os.path.exists(GATE):
        time.sleep(0.05)
    print("\\n".join(f"\\x1b[3{i % 7}mline {i * 1000 + k} {'x' * 20}\\x1b[0m" for k in range(1000)), flush=True)
    time.sleep(0.03)
"""
MEASURE_FRAMES = """()=>{window.gaps=[];let last=performance.now();
const step=t=>{window.gaps.push(t-last);last=t;requestAnimationFrame(step)};requestAnimationFrame(step)}"""


def test_log_with_100_000_lines_is_truncated(open_notebook, gate):
    notebook = open_notebook(FLOOD_CELL.replace("GATE", repr(str(gate.path))), run=False)
    page = notebook.page
    page.evaluate(MEASURE_FRAMES)
    notebook.run(1)
    page.wait_for_selector(BADGE)
    unfold(page, "run")
    unfold(page, "log")
    page.wait_for_selector("pre.uv-log:has-text('line ')")
    gate.open()
    assert page.locator("pre.uv-log").inner_text().count("\n") <= 501
    notebook.wait_for_end(1)
    gaps = sorted(page.evaluate("()=>window.gaps"))
    (jupyter.ROOT / "test-artifacts" / "frames.json").write_text(
        json.dumps({
            "frames a second": round(1000 * len(gaps) / sum(gaps), 1),
            "gap p50 ms": round(gaps[len(gaps) // 2], 1),
            "gap p99 ms": round(gaps[len(gaps) * 99 // 100], 1),
            "gap max ms": round(gaps[-1], 1),
        }), encoding="utf-8",
    )  # fmt: skip
    text = "".join("".join(one.get("text", "")) for one in notebook.outputs(1))
    assert text.count("\n") <= 2002  # the limit is 500 lines, plus one for those that are omitted
    assert "line 99999 " in text
    assert "98,000 lines omitted" in text


HOSTILE_TEXT = "</pre></script><script>window.XSS=1</script><img src=x onerror='window.XSS=1'>\"'&lt;"


def test_hostile_text_stays_text(open_notebook, gate):
    printing = f"import sys\nevil = {HOSTILE_TEXT!r}\nprint(evil, flush=True)\nprint(evil, file=sys.stderr)\n"
    notebook = open_notebook(
        gate.cell.replace("import os", printing + "import os") + "raise type(evil, (Exception,), {})(evil)\n"
    )
    page = notebook.page
    page.wait_for_selector(BADGE)
    unfold(page, "run")
    unfold(page, "log")
    page.wait_for_selector("pre.uv-log:has-text('window.XSS')")
    gate.open()
    page.wait_for_selector(f"{STATIC}:has-text('Failed')")
    page.locator(f"{STATIC} summary").first.click()
    assert "<script>" in notebook.cell(1).inner_text()
    assert page.evaluate("window.XSS") is None
    assert page.locator(f"{STATIC} img, {STATIC} script").count() == 0


def focus_and_press(page, key, selector, *, back=False):
    """Press Tab until the element has the focus, then the key."""
    focus(page, selector, back=back)
    page.keyboard.press(key)


def test_panel_is_usable_by_keyboard(open_notebook):
    notebook = open_notebook(LONG_CELL)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-running")
    notebook.cell(1).click(position={"x": 30, "y": 5})
    page.keyboard.press("Escape")
    focus_and_press(page, "Enter", ".uv-fold-run summary")
    focus_and_press(page, "Space", ".uv-fold-log summary")
    page.wait_for_selector("pre.uv-log:has-text('so far')")
    save_screenshot(notebook, "keyboard-focus")
    focus_and_press(page, "Enter", ".uv-argo .uv-stop", back=True)
    page.wait_for_selector(f"{STATIC}:has-text('Stopped')")
    assert "so far" in notebook.cell(1).inner_text()


def test_panel_fits_and_is_legible_in_both_themes(open_notebook):
    notebook = open_notebook(LONG_CELL)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-running")
    unfold(page, "run")
    for name in ("light", "dark"):
        notebook.theme(f"JupyterLab {name.title()}")
        for shape, width, height in SHAPES:
            page.set_viewport_size({"width": width, "height": height})
            wait_until_fits(page, ".uv-argo", "button,.uv-badge,.uv-time")
            if shape == "wide":
                badge, stop = (page.locator(f".uv-argo {part}").bounding_box() for part in (".uv-badge", ".uv-stop"))
                assert abs(badge["y"] - stop["y"]) < 10, "Stop is not on the first line"
            save_screenshot(notebook, f"{name}-{shape}")
        contrast = contrasts(page, ".uv-argo", ".uv-badge", ".uv-time", ".uv-name", ".uv-stop")
        assert all(ratio >= 4.5 for ratio in contrast.values()), contrast
    notebook.theme("JupyterLab Light")
