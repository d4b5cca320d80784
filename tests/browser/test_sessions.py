"""A session in a real JupyterLab: an interrupt, an error, and a restart of the kernel."""

from __future__ import annotations

from support.lab import KERNEL_IDLE, contrasts, save_screenshot, wait_until_fits

LINE = ".uv-argo-static"
CELLS = (
    "%%argo -s\nimport time\nnumbers = list(range(10))\nsum(numbers)",
    "%%argo -s\nprint('begun', flush=True)\ntime.sleep(1000)",
    "%%argo -s\ndef divide(by):\n    return numbers[-1] / by\ndivide(0)",
    "%%argo -s\nnumbers.append(99)\nlen(numbers)",
    "%%argo -s\nnumbers[-1]",
)


def test_session_continues_after_interrupt_error_and_restart(open_notebook):
    notebook = open_notebook(*CELLS)
    page = notebook.page
    notebook.wait_for_end(1)
    assert "45" in notebook.text(1)

    notebook.run(2)
    notebook.wait_for_text(2, "begun")
    notebook.command("notebook:interrupt-kernel")
    notebook.wait_for_end(2)
    assert "KeyboardInterrupt" in notebook.text(2)

    notebook.run_through(3)
    text = notebook.text(3)
    assert "ZeroDivisionError" in text
    assert "return numbers[-1] / by" in text
    notebook.run_through(4)
    assert "11" in notebook.text(4)
    save_screenshot(notebook, "session", 3)

    page.evaluate("()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_timeout(500)
    page.wait_for_function(KERNEL_IDLE)
    notebook.run_through(0)
    notebook.run_through(5)
    text = notebook.text(5)
    assert "Rejoined session main" in text
    assert "99" in text
    save_screenshot(notebook, "session-rejoined", 5)

    # The panel is one line that is legible in both themes.
    assert all(notebook.cell(number).locator(LINE).count() == 1 for number in range(2, 6))
    for theme in ("Dark", "Light"):
        notebook.theme(f"JupyterLab {theme}")
        wait_until_fits(page, LINE, "*")
        assert min(contrasts(page, LINE, "summary").values()) >= 4.5
        save_screenshot(notebook, f"session-{theme.lower()}", 4)
    assert notebook.cell(4).locator(LINE).bounding_box()["height"] < 40
