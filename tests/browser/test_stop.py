"""Stopping a cell in a real JupyterLab, with several releases of ipykernel."""

from __future__ import annotations

import pytest
from support.lab import KERNELS
from support.waiting import until

from uv_argo_magic._os import process_id

BADGE = ".uv-argo .uv-badge.uv-running"
STATIC = ".uv-argo-static"
LONG_CELL = """%%argo
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print("pids", os.getpid(), child.pid, flush=True)
time.sleep(300)
"""


def printed_pids(notebook):
    """The process IDs that the cell printed."""
    notebook.page.wait_for_function(
        "()=>/pids \\d+ \\d+/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[1]"
        ".querySelector('.jp-OutputArea').textContent)"
    )
    text = "".join("".join(output.get("text", "")) for output in notebook.outputs(1))
    return [int(word) for word in text.split("pids ")[1].split("\n")[0].split()]


@pytest.mark.parametrize("release", KERNELS)
def test_stop_terminates_all_processes_of_the_cell(open_notebook, kernel, release):
    notebook = open_notebook(LONG_CELL, kernel=kernel(release), own_page=True, run=False)
    page = notebook.page
    for how in ("button", "interrupt", "button after a reload"):
        notebook.run(1)
        page.wait_for_selector(BADGE)
        running = printed_pids(notebook)
        if how == "button after a reload":
            notebook.reload()
        if how.startswith("button"):
            page.get_by_role("button", name="Stop").click()
        else:
            notebook.command("notebook:interrupt-kernel")
        page.wait_for_selector(f"{STATIC}:has-text('Stopped')")
        if how != "button after a reload":  # a reloaded page does not show that the cell has ended
            notebook.wait_for_end(1)
        text = notebook.cell(1).inner_text()
        assert "pids" in text
        assert ("KeyboardInterrupt" if how == "interrupt" else "Stopped") in text
        until(lambda pids=running: not any(map(process_id.mark, pids)))
