"""Stopping in a real JupyterLab, with three releases of ipykernel: nothing keeps running."""

from __future__ import annotations

import pytest
from support.lab import KERNELS
from support.waiting import until

from uv_argo_magic._os import process_id

BADGE = ".uv-argo .uv-badge.uv-running"
STATIC = ".uv-argo-static"
LONG = """%%argo
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print("pids", os.getpid(), child.pid, flush=True)
time.sleep(300)
"""


def pids(notebook):
    """The process ids that the cell printed."""
    notebook.page.wait_for_function(
        "()=>/pids \\d+ \\d+/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[1]"
        ".querySelector('.jp-OutputArea').textContent)"
    )
    text = "".join("".join(one.get("text", "")) for one in notebook.outputs(1))
    return [int(word) for word in text.split("pids ")[1].split("\n")[0].split()]


@pytest.mark.parametrize("release", KERNELS)
@pytest.mark.parametrize("how", ["button", "interrupt", "button after a reload"])
def test_stop(open_notebook, kernel, release, how):
    notebook = open_notebook(LONG, kernel=kernel(release))
    page = notebook.page
    page.wait_for_selector(BADGE)
    running = pids(notebook)
    if how == "button after a reload":
        notebook.reload()
    if how.startswith("button"):
        page.get_by_role("button", name="Stop").click()
    else:
        notebook.command("notebook:interrupt-kernel")
    page.wait_for_selector(f"{STATIC}:has-text('Stopped')")
    if how != "button after a reload":  # that page does not know that the cell ran
        notebook.ended(1)
    shown = notebook.cell(1).inner_text()
    assert "pids" in shown
    assert ("KeyboardInterrupt" if how == "interrupt" else "Stopped") in shown
    until(lambda: not any(map(process_id.mark, running)))
