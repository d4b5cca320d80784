"""A session in a pod, in a real JupyterLab with the simulated API server: from its first cell to its end."""

from __future__ import annotations

import sys

from support.argo_server import ArgoServer
from support.lab import KERNEL_IDLE, contrasts, save_screenshot, wait_until_fits

LINE = ".uv-argo-static"
HERE = ".".join(map(str, sys.version_info[:3]))
CELLS = (
    "%%argo -s\nnumbers = list(range(10))\nsum(numbers)",
    "%%argo -s\nimport time\nprint('begun', flush=True)\ntime.sleep(1000)",
    "%%argo -s\ndef divide(by):\n    return numbers[-1] / by\ndivide(0)",
    "%%argo -s\nnumbers.append(99)\nlen(numbers)",
    "%%argo -s\nnumbers[-1]",
    "%%argo -s --set keep=10\n'the last'",
    "%%argo -s\nnumbers",
)


def test_pod_session_continues_and_announces_its_end(open_notebook, tmp_path):
    with ArgoServer(tmp_path) as server:
        check_pod_session(open_notebook, server)


def check_pod_session(open_notebook, server):
    settings = {"backend": "argo", "kubeconfig": str(server.kubeconfig), "images": f"{HERE}=none"}
    lines = "\n".join(f"%config ArgoMagics.{key} = {value!r}" for key, value in settings.items())
    notebook = open_notebook(lines, *CELLS)
    page = notebook.page
    notebook.wait_for_end(1)
    notebook.run_through(2)
    assert "45" in notebook.text(2)

    notebook.run(3)
    notebook.wait_for_text(3, "begun")
    notebook.command("notebook:interrupt-kernel")
    notebook.wait_for_end(3)
    assert "KeyboardInterrupt" in notebook.text(3)

    notebook.run_through(4)
    assert "ZeroDivisionError" in notebook.text(4)
    assert "return numbers[-1] / by" in notebook.text(4)
    notebook.run_through(5)
    assert "11" in notebook.text(5)
    save_screenshot(notebook, "pod-session", 4)

    page.evaluate("()=>window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_timeout(500)
    page.wait_for_function(KERNEL_IDLE)
    notebook.run_through(0)
    notebook.run_through(1)
    notebook.run_through(6)
    assert "Rejoined session main" in notebook.text(6)
    assert "99" in notebook.text(6)
    assert len(server.workflows) == 1
    save_screenshot(notebook, "pod-session-rejoined", 6)

    notebook.run_through(7)
    output = notebook.cell(7).locator(".jp-OutputArea")
    end_note = output.locator(":text('Session main ends at')").last
    end_note.wait_for()
    assert "'the last'" in notebook.text(7)
    save_screenshot(notebook, "pod-session-ending", 7)
    output.locator(":text('Session main ended at')").last.wait_for()
    assert end_note.count() == 0
    save_screenshot(notebook, "pod-session-ended", 7)
    notebook.run_through(8)
    assert "the session main has ended: idle for 10 s. Lost: " in notebook.text(8)
    assert "%argo restart main starts it again" in notebook.text(8)
    save_screenshot(notebook, "pod-session-lost", 8)

    # The panel is one line that is legible in both themes.
    assert all(notebook.cell(number).locator(LINE).count() == 1 for number in range(3, 7))
    for theme in ("Dark", "Light"):
        notebook.theme(f"JupyterLab {theme}")
        wait_until_fits(page, LINE, "*")
        assert min(contrasts(page, LINE, "summary").values()) >= 4.5
        save_screenshot(notebook, f"pod-session-{theme.lower()}", 4)
