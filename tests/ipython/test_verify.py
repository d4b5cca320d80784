"""`%argo verify` and `uv-argo verify`: run the cells of a saved notebook again, with an empty cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from IPython.utils.capture import capture_output

from uv_argo_magic.commands import verify
from uv_argo_magic.errors import SpecError, VerifyFailed


@pytest.fixture(autouse=True)
def panel(shell, monkeypatch):
    monkeypatch.setenv("UV_ARGO_PANEL", "static")


@pytest.fixture
def save_notebook(shell, index, tmp_path):
    """`save_notebook((line, cell), ...)`: run cells, save them with their outputs like Jupyter, and return the path."""

    def save(*cells):
        path = tmp_path / "study.ipynb"
        shell.user_ns["__session__"] = str(path)
        saved = [{"cell_type": "markdown", "source": "text", "metadata": {}}]
        for line, cell in cells:
            source = f"%%argo {line}\n{cell}"
            with capture_output() as captured:
                execution = shell.run_cell(source)
            outputs = [
                {"output_type": "display_data", "data": output.data, "metadata": output.metadata or {}}
                for output in captured.outputs
            ]
            # The shell prints the result and shows the traceback; a kernel sends them.
            stdout, _, result = captured.stdout.partition("Out[")
            outputs.append({"output_type": "stream", "name": "stdout", "text": stdout.splitlines(keepends=True)})
            if execution.error_in_exec:
                error = execution.error_in_exec
                outputs[-1]["text"] = [cell.partition("print('")[2].partition("'")[0] + "\n"]
                outputs.append({"output_type": "error", "ename": type(error).__name__, "evalue": str(error)})
            elif result:
                text = result.partition(": ")[2].rstrip("\n")
                outputs.append({"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}})
            saved.append({"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": outputs})
        path.write_text(json.dumps({"cells": saved, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return path

    return save


def edit_cells(path, edit):
    data = json.loads(path.read_text())
    edit([cell for cell in data["cells"] if cell["cell_type"] == "code"])
    path.write_text(json.dumps(data))


CELLS = (
    ("--deps alpha", "import alpha, beta\nprint(alpha.__version__, object())\nalpha.__version__"),
    ("", "print('before'); 1 / 0"),
)


def test_verify_installs_the_same_packages_elsewhere(save_notebook, index, tmp_path):
    path = save_notebook(*CELLS)
    index.add("alpha", "2.0")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "study.ipynb").write_bytes(path.read_bytes())
    environ = os.environ | {"UV_ARGO_HOME": str(fresh / "home"), "UV_CACHE_DIR": str(fresh / "uv")}
    code = "import sys; from uv_argo_magic.cli import main; sys.exit(main(['verify', 'study.ipynb']))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=fresh, env=environ, capture_output=True, text=True, check=False, timeout=120)
    lines = [line.split("  ") for line in result.stdout.splitlines()]
    rows = [[cell.strip() for cell in line if cell] for line in lines[2:4]]
    assert result.returncode == 0, result.stdout + result.stderr
    assert rows == [
        ["1", "same", "2, same hashes", "same", "import alpha, beta"],
        ["2", "same", "0, same hashes", "same", "print('before'); 1 / 0"],
    ]
    assert lines[4] == ["2 same, 0 differs, 0 not run"]
    assert not list((fresh / "home").rglob("spec.json")), "the history must not contain the run"


def run_verify(shell, line="verify"):
    with capture_output() as captured, pytest.raises(VerifyFailed, match="some cells differ"):
        shell.run_line_magic("argo", line)
    return captured.outputs[0].data["text/plain"]


def test_verify_reports_differences(shell, save_notebook, index):
    path = save_notebook(*CELLS, ("", "x = 1"), ("--deps alpha", "import alpha; print('a\\nb')"))

    def modify(cells):
        cells[0]["outputs"][-1]["data"]["text/plain"] = "'9.0'"
        cells[1]["outputs"][-1]["evalue"] = "by zero"
        cells[2]["source"] = ["%%argo\n", "x = 2"]
        cells[3]["outputs"][-1]["text"] = ["a\n", "c\n"]

    edit_cells(path, modify)
    output = run_verify(shell)
    assert "display 1: \"'9.0'\" became \"'1.0'\"" in output
    assert "ended with ZeroDivisionError: by zero, now with ZeroDivisionError: division by zero" in output
    assert "the cell was changed after it ran" in output
    assert "standard output: 'c' became 'b'" in output
    assert output.endswith("0 same, 4 differs, 0 not run")


def test_verify_reports_a_replaced_file(shell, save_notebook, index):
    path = save_notebook(CELLS[0])
    index.remove("beta")
    index.add("beta", "1.0", files={"beta.py": "changed = True"})
    shell.user_ns["x"] = 1
    os.environ["UV_CACHE_DIR"] += "-empty"
    os.environ["UV_ARGO_HOME"] += "-empty"
    output = run_verify(shell, f"verify {path.name}")
    assert "not installed" in output
    assert "InstallFailed" in output


def test_verify_reports_why_cells_cannot_run(shell, save_notebook, index):
    shell.user_ns["x"] = 1
    path = save_notebook(("--push x", "print(x)"), ("", "1"), ("", "2"))

    def modify(cells):
        del cells[1]["outputs"][0]["metadata"]["uv_argo"]
        cells[2]["outputs"][0]["metadata"]["uv_argo"]["python"] = "9.9.9"

    edit_cells(path, modify)
    output = run_verify(shell)
    assert "needs x from the notebook" in output
    assert "no run is recorded in its output" in output
    assert "SpecError: the recorded packages" in output
    assert output.endswith("0 same, 1 differs, 2 not run")


def test_verify_pushes_no_variables_of_the_notebook(shell, save_notebook, monkeypatch):
    monkeypatch.setenv("UV_ARGO_PUSH", "auto")
    shell.user_ns["x"] = 1
    save_notebook(("", "print('1') if x == 1 else None"))
    assert "ended with no exception, now with NameError" in run_verify(shell)


@pytest.mark.parametrize("text", ["", "{}", '{"cells": 3}', '{"cells": [{}]}', "[]"])
def test_verify_rejects_other_files(shell, tmp_path, text):
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(SpecError, match=r"x\.ipynb is not a notebook in format 4"):
        shell.run_line_magic("argo", "verify x.ipynb")


def test_verify_requires_a_notebook_with_output(shell, tmp_path):
    with pytest.raises(SpecError, match="cannot determine the notebook's path"):
        shell.run_line_magic("argo", "verify")
    with pytest.raises(SpecError, match=r"cannot read no\.ipynb"):
        shell.run_line_magic("argo", "verify no.ipynb")
    (tmp_path / "x.ipynb").write_text('{"cells": []}')
    with pytest.raises(SpecError, match="has no %%argo cell with output"):
        shell.run_line_magic("argo", "verify x.ipynb")


def test_recorder_updates_and_clears_displays():
    recorder = verify._Recorder()
    recorder.publish({"text/plain": "one"}, {}, transient={"display_id": "d"}, update=False)
    recorder.publish({"text/plain": "two"}, {}, transient={"display_id": "d"}, update=True)
    recorder.write("stdout", "x")
    recorder.write("stderr", "warn")
    recorder.clear(wait=True)
    assert recorder.output("") == verify.VisibleOutput(stdout="x", texts=("two",), error="")
    recorder.write("stdout", "y")
    assert recorder.output("E") == verify.VisibleOutput(stdout="y", texts=(), error="E")
    recorder.clear(wait=False)
    assert recorder.output("").stdout == ""


def test_compare_output_describes_differences():
    def outputs(*texts):
        return verify.VisibleOutput(stdout="", texts=texts, error="")

    assert verify.compare_output(outputs("a"), outputs("a", "b")) == "display 2: '(none)' became 'b'"
    assert verify.compare_output(outputs("<x at 0x7f00aa11>"), outputs("<x at 0x7f99bb22>")) == ""
    difference = verify.compare_output(outputs("a\nb"), outputs("a\nb\nc"))
    assert difference == "display 1: 2 lines became 3"


def test_verify_runs_session_cells_in_a_new_session(shell, save_notebook, index):
    path = save_notebook(
        ("-s --deps alpha", "import alpha\nx = [alpha.__version__]"),
        ("-s --deps beta", "import beta\nx.append(beta.__version__); x"),
        ("-s", "print(len(x))"),
    )
    shell.run_line_magic("argo", "stop main")
    with capture_output() as captured:
        shell.run_line_magic("argo", "verify")
    table = captured.outputs[0].data["text/plain"]
    assert table.endswith("3 same, 0 differs, 0 not run"), table
    with capture_output() as captured:
        shell.run_line_magic("argo", "sessions")
    assert "No sessions." in captured.stdout
    with pytest.raises(SpecError, match="depends on earlier cells"):
        shell.run_line_magic("argo", "export --to cell.py")
    assert path.exists()
