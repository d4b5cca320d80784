"""Make the README's picture: the panel of a running cell in JupyterLab, light and dark.

pip install -e ".[browser]" && python docs/picture.py
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

import lab as jupyter  # noqa: E402 - the tests' own way to drive JupyterLab

CELL = """%%argo --deps "numpy pandas"
import time, numpy as np, pandas as pd
for epoch in range(400):
    loss = np.exp(-epoch / 8)
    print(f"\\x1b[32mepoch {epoch:3}\\x1b[0m  loss {loss:.4f}", flush=True)
    time.sleep(0.15)
pd.DataFrame({"loss": [loss]})"""
WIDTH, COLOURS = 900, 96
THEMES = ("Light", "Dark")


def main() -> int:
    """Write docs/panel-light.png and docs/panel-dark.png."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        lab = jupyter.Lab(Path(folder) / "lab")
        try:
            lab.write("picture.ipynb", "%load_ext uv_argo_magic", CELL)
            with jupyter.browser(play, viewport={"width": WIDTH, "height": 800}, device_scale_factor=2) as context:
                take(jupyter.Notebook(lab, context.new_page(), "picture.ipynb"))
        finally:
            lab.close()
    return 0


def take(notebook: jupyter.Notebook) -> None:
    """Run the cell, and keep what is seen of its panel and output in both themes."""
    page = notebook.page
    notebook.run(0)
    notebook.ended(0)
    notebook.run(1)
    page.wait_for_selector(".uv-argo")
    page.get_by_role("button", name="Log", exact=True).click()
    page.wait_for_selector("pre.uv-log:has-text('epoch  12')", timeout=120_000)
    page.get_by_role("button", name="Summary", exact=True).click()
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
        path = HERE / f"panel-{theme.lower()}.png"
        small.save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {small.width} by {small.height}")
    notebook.command("notebook:interrupt-kernel")
    notebook.ended(1)


if __name__ == "__main__":
    sys.exit(main())
