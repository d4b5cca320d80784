"""Make the pictures of these pages, each light and dark: the panel on this machine and on a cluster, and the editor.

pip install -e . --group browser && python docs/picture.py
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from support import lab as jupyter  # noqa: E402 - the tests' own way to drive JupyterLab
from support.argo_server import ArgoServer  # noqa: E402 - a small cluster that runs pods as processes

FINISHED = """%%argo --deps pandas
import pandas as pd
pd.DataFrame({"train": [0.31], "test": [0.42]}, index=["loss"])"""
TRAINING = """import time, numpy as np
for epoch in range(400):
    loss = np.exp(-epoch / 8)
    print(f"\\x1b[32mepoch {epoch:3}\\x1b[0m  loss {loss:.4f}", flush=True)
    time.sleep(0.15)"""
RUNNING = f'%%argo --deps "numpy scikit-learn"\n{TRAINING}'
ON_CLUSTER = f'%%argo -b argo --deps "numpy pandas" --cpu 4 --memory 16Gi\n{TRAINING}'
REQUIREMENTS = "numpy>=2.2\npandas\nscikit-learn==1.4.0  # as in the paper\n"
EPOCHS = 12
WIDTH, COLOURS = 960, 96
THEMES = ("Light", "Dark")


def main() -> int:
    """Write panel-*.png, panel-cluster-*.png and editor-*.png beside this file, each for light and dark pages."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play, ArgoServer(Path(folder)) as server:
        server.start_after = 1.5
        lab = jupyter.Lab(Path(folder) / "lab")
        try:
            lab.write("picture.ipynb", "%load_ext uv_argo_magic", FINISHED, RUNNING)
            lab.write("cluster.ipynb", f"%load_ext uv_argo_magic\n{cluster_settings(server)}", ON_CLUSTER)
            lab.write("study.ipynb", "%load_ext uv_argo_magic", "%argo edit")
            (lab.notebooks / "study.requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
            view = {"viewport": {"width": WIDTH, "height": 1600}, "device_scale_factor": 2, "reduced_motion": "reduce"}
            with jupyter.browser(play, **view) as context:
                context.set_default_timeout(120_000)
                take_panel(jupyter.Notebook(lab, context.new_page(), "picture.ipynb"))
                take_cluster(jupyter.Notebook(lab, context.new_page(), "cluster.ipynb"))
                take_editor(jupyter.Notebook(lab, context.new_page(), "study.ipynb"))
        finally:
            lab.close()
    return 0


def cluster_settings(server: ArgoServer) -> str:
    """The lines of a cell that make the server the notebook's cluster, under the name that the panel shows."""
    kubeconfig = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
    kubeconfig["contexts"][0]["name"] = kubeconfig["current-context"] = "cluster"
    server.kubeconfig.write_text(json.dumps(kubeconfig), encoding="utf-8")
    settings = {"kubeconfig": str(server.kubeconfig), "images": server.settings["UV_ARGO_IMAGES"]}
    return "\n".join(f"%config ArgoMagics.{name} = {value!r}" for name, value in settings.items())


def take_panel(notebook: jupyter.Notebook) -> None:
    """Run both cells; take the line of the finished one, and the panel and output of the other."""
    for cell in (0, 1):
        notebook.run(cell)
        notebook.wait_for_end(cell)
    take_running(notebook, 2, "panel", first=1)


def take_cluster(notebook: jupyter.Notebook) -> None:
    """Run the cell on the cluster, and take its panel and output."""
    notebook.run(0)
    notebook.wait_for_end(0)
    take_running(notebook, 1, "panel-cluster", first=1)


def take_running(notebook: jupyter.Notebook, cell: int, name: str, *, first: int) -> None:
    """Run a cell, take the cells from `first` to it after some output, and stop it."""
    page = notebook.page
    notebook.run(cell)
    page.wait_for_selector(".uv-argo")
    output = notebook.cell(cell).locator(".jp-OutputArea-output[data-mime-type*=stdout]")
    output.get_by_text(f"epoch  {EPOCHS}").wait_for(timeout=120_000)
    page.locator(".uv-fold-run summary").click()
    take(notebook, name, first=first, last=cell)
    notebook.command("notebook:interrupt-kernel")
    notebook.wait_for_end(cell)


def take_editor(notebook: jupyter.Notebook) -> None:
    """Open the editor, and take it when the index has responded."""
    for cell in (0, 1):
        notebook.run(cell)
        notebook.wait_for_end(cell)
    notebook.page.wait_for_selector(".uv-edit .uv-problem", timeout=60_000)
    take(notebook, "editor", first=1, last=1)


def take(notebook: jupyter.Notebook, name: str, *, first: int, last: int, extra: int = 392) -> None:
    """Take these cells and their outputs in both themes; of the last at most `extra` pixels."""
    page = notebook.page
    page.mouse.move(0, 0)
    for theme in THEMES:
        notebook.theme(f"JupyterLab {theme}")
        notebook.cell(first).scroll_into_view_if_needed()
        page.wait_for_timeout(800)  # the theme fades in
        top, bottom = notebook.cell(first).bounding_box(), notebook.cell(last).bounding_box()
        if top is None or bottom is None:
            raise RuntimeError("the cells are not visible")
        height = bottom["y"] - top["y"] + min(bottom["height"], extra) + 4
        clip = {"x": top["x"], "y": top["y"] - 4, "width": top["width"], "height": height}
        picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
        # There are few colours; a palette makes the file three times smaller.
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        path = HERE / f"{name}-{theme.lower()}.png"
        small.save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {small.width} by {small.height}")


if __name__ == "__main__":
    sys.exit(main())
