"""A notebook run by nbclient, and what nbconvert makes of it: the panel's static form and the cell's real output."""

from __future__ import annotations

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter
from nbformat.v4 import new_code_cell, new_notebook

CELLS = [
    "%load_ext uv_argo_magic",
    (
        "%%argo\nprint('printed & <b>kept</b>')\n"
        "display({'text/html': '<i>shown</i>', 'text/plain': 'shown'}, raw=True)\n6 * 7"
    ),
    "%%argo --detach\nprint('in its own cell')",
    "%%argo\n1 / 0",
]


@pytest.fixture(scope="module", params=["widget", "html", "static"])
def notebook(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    made = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_ARGO_HOME", str(folder))
        patch.setenv("UV_ARGO_PANEL", request.param)
        client = nbclient.NotebookClient(made, timeout=120, kernel_name="python3", allow_errors=True)
        client.execute(cwd=str(folder))
    nbformat.validate(made)
    return made


def of_type(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def test_what_is_stored_needs_no_widget(notebook):
    for cell in notebook.cells[1:]:
        panels = [out for out in of_type(cell, "display_data") if out.data["text/plain"].startswith("argo ")]
        assert len(panels) == 1
        assert set(panels[0].data) == {"text/plain", "text/html"}
        assert panels[0].metadata["uv_argo"]["schema"] == 1
    assert not any(
        "widget-view" in mime for cell in notebook.cells for out in cell.outputs for mime in out.get("data", {})
    )


def test_the_cells_own_output_is_real_output(notebook):
    _, good, detached, bad = notebook.cells
    assert "".join(out.text for out in of_type(good, "stream")) == "printed & <b>kept</b>\n"
    (result,) = of_type(good, "execute_result")
    assert result.data["text/plain"] == "42"
    assert "in its own cell\n" in "".join(out.text for out in of_type(detached, "stream"))
    (error,) = of_type(bad, "error")
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")


def test_html_and_markdown_show_both(notebook):
    page, _ = HTMLExporter().from_notebook_node(notebook)
    for text in ("Succeeded", "printed &amp; &lt;b&gt;kept&lt;/b&gt;", "<i>shown</i>", "ZeroDivisionError"):
        assert text in page
    assert '<script type="application/vnd.jupyter.widget-view+json">' not in page
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    for part in ("Succeeded", "printed & <b>kept</b>", "<i>shown</i>", "ZeroDivisionError"):
        assert part in text
