"""Make the pictures of these pages: the panel of a running cell, and the requirements editor, each light and dark.

pip install -e . --group browser && python docs/picture.py
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from support import lab as jupyter  # noqa: E402 - the tests' own way to drive JupyterLab

CELL = """%%argo --deps "numpy pandas"
import time, numpy as np, pandas as pd
for epoch in range(400):
    loss = np.exp(-epoch / 8)
    print(f"\\x1b[32mepoch {epoch:3}\\x1b[0m  loss {loss:.4f}", flush=True)
    time.sleep(0.15)
pd.DataFrame({"loss": [loss]})"""
NEEDS = "numpy>=2.2\npandas\nscikit-learn==1.4.0  # as in the paper\n"
WIDTH, COLOURS = 900, 96
THEMES = ("Light", "Dark")


def main() -> int:
    """Write docs/panel-light.png, panel-dark.png, editor-light.png and editor-dark.png."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        lab = jupyter.Lab(Path(folder) / "lab")
        try:
            lab.write("picture.ipynb", "%load_ext uv_argo_magic", CELL)
            lab.write("study.ipynb", "%load_ext uv_argo_magic", "%argo edit")
            (lab.notebooks / "study.requirements.txt").write_text(NEEDS, encoding="utf-8")
            with jupyter.browser(play, viewport={"width": WIDTH, "height": 800}, device_scale_factor=2) as context:
                take_panel(jupyter.Notebook(lab, context.new_page(), "picture.ipynb"))
                take_editor(jupyter.Notebook(lab, context.new_page(), "study.ipynb"))
        finally:
            lab.close()
    return 0


def take_panel(notebook: jupyter.Notebook) -> None:
    """Run the cell, and keep what is seen of its panel and output."""
    page = notebook.page
    notebook.run(0)
    notebook.ended(0)
    notebook.run(1)
    page.wait_for_selector(".uv-argo")
    page.get_by_role("button", name="Log", exact=True).click()
    page.wait_for_selector("pre.uv-log:has-text('epoch  12')", timeout=120_000)
    page.get_by_role("button", name="Summary", exact=True).click()
    take(notebook, "panel")
    notebook.command("notebook:interrupt-kernel")
    notebook.ended(1)


def take_editor(notebook: jupyter.Notebook) -> None:
    """Open the editor, and keep what is seen of it when the index has answered."""
    for cell in (0, 1):
        notebook.run(cell)
        notebook.ended(cell)
    notebook.page.wait_for_selector(".uv-edit .uv-problem", timeout=60_000)
    take(notebook, "editor")


def take(notebook: jupyter.Notebook, name: str) -> None:
    """Keep what is seen of cell 1 and its output in both themes."""
    page = notebook.page
    page.mouse.move(0, 0)
    for theme in THEMES:
        notebook.theme(f"JupyterLab {theme}")
        page.wait_for_timeout(800)  # the theme fades in
        box = notebook.cell(1).bounding_box()
        if box is None:
            raise RuntimeError("the cell is out of sight")
        clip = {"x": box["x"], "y": box["y"] - 4, "width": box["width"], "height": min(box["height"], 420)}
        picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
        # Few colours are in it; a palette makes a third of the file.
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        path = HERE / f"{name}-{theme.lower()}.png"
        small.save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {small.width} by {small.height}")


if __name__ == "__main__":
    sys.exit(main())
