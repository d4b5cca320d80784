"""`%%argo --deps "numpy pandas"` on Argo in a real JupyterLab: the panel from Pending to Succeeded or Failed.

With the simulated API server, and with a real Argo if UV_ARGO_TEST_KUBECONFIG and UV_ARGO_TEST_IMAGE are set. Each
test saves screenshots in test-artifacts/.
"""

from __future__ import annotations

import os
import sys

import pytest
from support.argo_server import ArgoServer
from support.lab import save_screenshot, unfold

BADGE = ".uv-argo .uv-badge"
STATIC = ".uv-argo-static"
HERE = ".".join(map(str, sys.version_info[:3]))

CELL = """%%argo --deps "numpy pandas"
import time
import numpy as np, pandas as pd
for step in range(4):
    print("step", step, flush=True); time.sleep(1)
pd.DataFrame({"a": np.arange(3)})
"""
FAILING_CELL = """%%argo
import os, sys
print("so far", flush=True)
open("nowhere.csv")
"""


@pytest.fixture(
    params=["server", pytest.param("cluster", marks=[pytest.mark.cluster])],
)
def backend_settings(request, tmp_path):
    """Settings of the backend."""
    if request.param == "server":
        with ArgoServer(tmp_path) as server:
            server.start_after = 1.5
            yield {"kubeconfig": str(server.kubeconfig), "images": f"{HERE}=none"}
        return
    if not {"UV_ARGO_TEST_KUBECONFIG", "UV_ARGO_TEST_IMAGE"} <= set(os.environ):
        pytest.skip("needs a real Argo Workflows: set UV_ARGO_TEST_KUBECONFIG and UV_ARGO_TEST_IMAGE")
    yield {
        "kubeconfig": os.environ["UV_ARGO_TEST_KUBECONFIG"],
        "images": os.environ["UV_ARGO_TEST_IMAGE"],
        "namespace": os.environ.get("UV_ARGO_TEST_NAMESPACE", ""),
    }


@pytest.fixture
def start_cell(backend_settings, open_notebook):
    """A function that opens a notebook and starts a cell as its third."""

    def start(cell):
        settings = {"backend": "argo", **backend_settings}
        lines = "\n".join(f"%config ArgoMagics.{key} = {value!r}" for key, value in settings.items() if value)
        notebook = open_notebook(lines, cell)
        notebook.wait_for_end(1)
        notebook.run(2)
        return notebook

    return start


def test_panel_shows_each_phase_until_succeeded(start_cell, request):
    name = f"argo-{request.node.callspec.id}"
    notebook = start_cell(CELL)
    page = notebook.page
    page.wait_for_selector(f"{BADGE}.uv-pending")
    save_screenshot(notebook, f"{name}-pending", 2)
    unfold(page, "run")
    page.wait_for_selector(f"{BADGE}.uv-installing, {BADGE}.uv-downloading")
    page.wait_for_selector(".uv-argo .uv-volatile:has-text('installing')")
    save_screenshot(notebook, f"{name}-installing", 2)
    unfold(page, "log")
    page.wait_for_selector("pre.uv-log:has-text('step 1')")
    assert "numpy==" in page.locator("pre.uv-log").inner_text()  # the log contains the output of uv
    save_screenshot(notebook, f"{name}-running-log", 2)
    unfold(page, "packages")
    page.wait_for_selector(".uv-argo :text('pandas')")
    notebook.wait_for_end(2)
    page.wait_for_selector(f"{STATIC}:has-text('Succeeded')")
    save_screenshot(notebook, f"{name}-succeeded", 2)
    panel, _, stream, result = notebook.outputs(2)
    assert set(panel["data"]) == {"text/html", "text/plain"}
    assert "".join(stream["text"]) == "".join(f"step {step}\n" for step in range(4))
    assert "<table" in "".join(result["data"]["text/html"])
    assert "namespace" in notebook.cell(2).locator(STATIC).inner_text()


def test_failure_is_shown_as_in_a_plain_cell(start_cell, request):
    notebook = start_cell(FAILING_CELL)
    page = notebook.page
    notebook.wait_for_end(2)
    page.wait_for_selector(f"{STATIC}:has-text('Failed')")
    text = notebook.cell(2).inner_text()
    assert "FileNotFoundError" in text
    assert "line 4" in text
    assert "so far" in text
    assert "runs in an empty folder" in text
    save_screenshot(notebook, f"argo-{request.node.callspec.id}-failed", 2)
