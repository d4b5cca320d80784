"""A notebook run by nbclient and exported by nbconvert: the static form of the panel, and the output of the cells."""

from __future__ import annotations

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter
from nbformat.v4 import new_code_cell, new_notebook

from uv_argo_magic.cli import main

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
    executed = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_ARGO_HOME", str(folder))
        patch.setenv("UV_ARGO_PANEL", request.param)
        client = nbclient.NotebookClient(executed, timeout=120, kernel_name="python3", allow_errors=True)
        client.execute(cwd=str(folder))
    nbformat.validate(executed)
    return executed


def of_type(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def test_saved_outputs_do_not_need_widgets(notebook):
    for cell in notebook.cells[1:]:
        panels = [out for out in of_type(cell, "display_data") if out.data["text/plain"].startswith("argo ")]
        assert len(panels) == 1
        assert set(panels[0].data) == {"text/plain", "text/html"}
        assert panels[0].metadata["uv_argo"]["schema"] == 1
    assert not any(
        "widget-view" in mime for cell in notebook.cells for out in cell.outputs for mime in out.get("data", {})
    )


def test_cell_output_is_saved_as_output(notebook):
    _, succeeded, detached, failed = notebook.cells
    assert "".join(out.text for out in of_type(succeeded, "stream")) == "printed & <b>kept</b>\n"
    (result,) = of_type(succeeded, "execute_result")
    assert result.data["text/plain"] == "42"
    assert "in its own cell\n" in "".join(out.text for out in of_type(detached, "stream"))
    (error,) = of_type(failed, "error")
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")


def test_verify_finds_the_same_output(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path))
    nbformat.write(notebook, tmp_path / "study.ipynb")
    assert main(["verify", str(tmp_path / "study.ipynb")]) == 0
    assert capsys.readouterr().out.endswith("3 same, 0 differs, 0 not run\n")


def test_exports_show_panel_and_output(notebook):
    page, _ = HTMLExporter().from_notebook_node(notebook)
    for text in ("Succeeded", "printed &amp; &lt;b&gt;kept&lt;/b&gt;", "<i>shown</i>", "ZeroDivisionError"):
        assert text in page
    assert '<script type="application/vnd.jupyter.widget-view+json">' not in page
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    for part in ("Succeeded", "printed & <b>kept</b>", "<i>shown</i>", "ZeroDivisionError"):
        assert part in text
