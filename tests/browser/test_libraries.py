"""Output of libraries in `%%argo` cells, in a real JupyterLab."""

from __future__ import annotations

import pytest
from support.lab import save_screenshot

IPYTHON = """%%argo
from IPython.display import HTML, SVG, Markdown, ProgressBar
display(HTML("<table class='ours'><tr><th>a</th></tr><tr><td>1</td></tr></table>"), Markdown("# A heading"))
for _ in ProgressBar(4):
    pass
SVG("<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><circle class='ours' cx='20' cy='20' r='9'/></svg>")
"""
PLOTLY = """%%argo --deps plotly
import plotly.graph_objects as go
from IPython.display import HTML
figure = go.Figure(go.Scatter(x=[1, 2, 3], y=[2, 1, 3]))
HTML(figure.to_html(include_mathjax=False, full_html=False, default_height="250px"))  # this browser has no network
"""
BOKEH = """%%argo --deps bokeh
from bokeh.io import output_notebook
from bokeh.plotting import figure, show
from bokeh.resources import INLINE
output_notebook(INLINE)  # 8 MB, which the log holds compressed
plot = figure(width=300, height=200)
plot.line([1, 2, 3], [2, 1, 3])
show(plot)
"""
RICH = """%%argo --deps "rich ipywidgets"
from rich.console import Console
from rich.progress import track
from rich.table import Table
table = Table("name", "value")
table.add_row("one", "[red]1[/]")
Console().print(table)
for _ in track(range(3)):
    pass
"""
BAR = """%%argo --deps "tqdm ipywidgets"
import time
from tqdm.auto import tqdm
for _ in tqdm(range(30), desc="work"):
    time.sleep(0.02)
"""


def test_ipython_displays_render(open_notebook):
    notebook = open_notebook(IPYTHON)
    notebook.wait_for_end(1)
    page = notebook.page
    page.wait_for_selector("table.ours td:has-text('1')")
    page.wait_for_selector("h1:has-text('A heading')")
    assert page.locator("progress").count() == 1
    assert page.locator("progress").get_attribute("value") == "4"
    page.wait_for_selector("svg circle.ours, img[src^='data:image/svg']")
    save_screenshot(notebook, "libraries-ipython")


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "cell", "selector"),
    [
        ("plotly", PLOTLY, ".js-plotly-plot svg.main-svg"),
        ("bokeh", BOKEH, ".bk-Figure, .bk-root, [data-root-id]"),
        ("rich", RICH, "pre:has-text('one')"),
        ("bar", BAR, "progress"),
    ],
)
def test_library_output_renders(open_notebook, name, cell, selector):
    notebook = open_notebook(cell)
    notebook.wait_for_end(1)
    page = notebook.page
    page.wait_for_selector(selector)
    assert page.locator("text=Error displaying widget").count() == 0
    match name:
        case "plotly":
            assert page.locator(selector).first.bounding_box()["height"] == 250
        case "rich":
            assert page.locator("pre:has-text('Working')").count() == 1
        case "bar":
            assert page.locator("progress").get_attribute("value") == "30.0"
    page.wait_for_timeout(500)  # a plot is drawn after its element is added
    save_screenshot(notebook, f"libraries-{name}")
