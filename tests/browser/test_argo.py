"""The product's own sentence in a real JupyterLab: `%%argo --deps "numpy pandas"`, and its pod's life in the panel.

Over the tests' API server, and, where UV_ARGO_TEST_KUBECONFIG and UV_ARGO_TEST_IMAGE name one, over a real Argo. Each
test leaves pictures in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import os
import sys

import pytest
from support.argo_server import ArgoServer
from support.lab import keep, unfold

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
FAILS = """%%argo
import os, sys
print("so far", flush=True)
open("nowhere.csv")
"""


@pytest.fixture(
    params=["server", pytest.param("cluster", marks=[pytest.mark.cluster])],
)
def place(request, tmp_path):
    """What the notebook is told of the place: a cell of %config lines."""
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
def notebook(place, open_notebook):
    """begin(cell) -> the notebook, with the cell running as its third."""

    def begin(cell):
        settings = {"backend": "argo", **place}
        lines = "\n".join(f"%config ArgoMagics.{key} = {value!r}" for key, value in settings.items() if value)
        made = open_notebook(lines, cell)
        made.ended(1)
        made.run(2)
        return made

    return begin


def test_pending_installing_running_succeeded(notebook, request):
    name = f"argo-{request.node.callspec.id}"
    opened = notebook(CELL)
    page = opened.page
    page.wait_for_selector(f"{BADGE}.uv-pending")
    keep(opened, f"{name}-pending", 2)
    unfold(page, "run")
    page.wait_for_selector(f"{BADGE}.uv-installing, {BADGE}.uv-downloading")
    page.wait_for_selector(".uv-argo .uv-volatile:has-text('installing')")
    keep(opened, f"{name}-installing", 2)
    unfold(page, "log")
    page.wait_for_selector("pre.uv-log:has-text('step 1')")
    assert "numpy==" in page.locator("pre.uv-log").inner_text()  # the pod's log has uv's words too
    keep(opened, f"{name}-running-log", 2)
    unfold(page, "packages")
    page.wait_for_selector(".uv-argo :text('pandas')")
    opened.ended(2)
    page.wait_for_selector(f"{STATIC}:has-text('Succeeded')")
    keep(opened, f"{name}-succeeded", 2)
    panel, _, stream, result = opened.outputs(2)
    assert set(panel["data"]) == {"text/html", "text/plain"}
    assert "".join(stream["text"]) == "".join(f"step {step}\n" for step in range(4))
    assert "<table" in "".join(result["data"]["text/html"])
    assert "namespace" in opened.cell(2).locator(STATIC).inner_text()


def test_a_failure_is_shown_as_in_a_plain_cell(notebook, request):
    opened = notebook(FAILS)
    page = opened.page
    opened.ended(2)
    page.wait_for_selector(f"{STATIC}:has-text('Failed')")
    shown = opened.cell(2).inner_text()
    assert "FileNotFoundError" in shown
    assert "line 4" in shown
    assert "so far" in shown
    assert "runs in an empty folder" in shown
    keep(opened, f"argo-{request.node.callspec.id}-failed", 2)
