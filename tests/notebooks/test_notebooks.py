"""The example notebooks under strict nbval, and tests that nbval detects changed outputs.

Rules:
- Kernels have a separate history and settings; only uv's cache is shared.
- As in tests/conftest.py, jsonschema runs without its check of IRIs.
- nbval takes seconds to start, so one call checks all notebooks of a group.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support.argo_server import ArgoServer

from uv_argo_magic.core.view.html import VOLATILE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
GROUPS = {"cluster": ("argo",), "local": ("dependencies", "errors", "isolation"), "versions": ("quickstart", "values")}
"""The notebooks by group: those that need a cluster, and those whose package versions may differ."""
NAMES = tuple(sorted(name for names in GROUPS.values() for name in names))
VERDICT = re.compile(r"^(PASSED|FAILED) \S*?(\w+)\.ipynb::Cell (\d+)", re.MULTILINE)

if sys.platform == "win32":
    pytest.skip("the local backend needs Linux or macOS", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The variables of a fake cluster."""
    with ArgoServer(tmp_path_factory.mktemp("cluster")) as server:
        yield server.settings


pytestmark = pytest.mark.timeout(900)  # the first test of a group runs all of it


def group_of(name):
    return next(group for group, names in GROUPS.items() if name in names)


@pytest.fixture(scope="module")
def kernel_environ(tmp_path_factory, cluster):
    """A function that returns a kernel's environment for a group, without this user's settings."""
    home = tmp_path_factory.mktemp("home")
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("UV_ARGO_", "JPY_", "PYTEST_"))
    }
    isolated = {
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "UV_ARGO_BACKEND": "local",
        "UV_ARGO_HOME": str(home / "argo"),
        "UV_ARGO_PANEL": "static",
    }
    # Only for this group, since a local cell shows a note about cluster settings.
    return lambda group: inherited | (cluster if group == "cluster" else {}) | isolated


def sanitizers(group):
    """Return nbval's patterns for a group; only in the group "versions", package versions may differ."""
    files = ["sanitize.cfg"] + (["sanitize-versions.cfg"] if group == "versions" else [])
    return "\n".join((FOLDER / file).read_text(encoding="utf-8") for file in files)


def check(folder, group, env):
    """Run strict nbval on the notebooks in a folder; returns {notebook: {cell: has passed}} and the output."""
    (folder / "sanitize.cfg").write_text(sanitizers(group), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "no_iris.py").write_text("import sys\nsys.modules['rfc3987_syntax'] = None\n", encoding="utf-8")
    command = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=240", "--nbval-sanitize-with=sanitize.cfg"]
    completed = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "no_iris", "-p", "nbval.plugin", *command, "-rA", "--tb=short",
            "-p", "no:cacheprovider", "--color=no", ".",
        ],
        cwd=folder,
        env=env | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=840,
        check=False,
    )  # fmt: skip
    results = {}
    for verdict, notebook, cell in VERDICT.findall(completed.stdout):
        results.setdefault(notebook, {})[int(cell)] = verdict == "PASSED"
    results = {notebook: dict(sorted(cells.items())) for notebook, cells in results.items()}
    assert completed.returncode in (0, 1), completed.stdout  # other codes: nothing collected, or an internal error
    assert (completed.returncode == 0) == all(all(cells.values()) for cells in results.values()), completed.stdout
    return results, completed.stdout


def load(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_groups_contain_all_notebooks():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


def test_sanitizer_matches_volatile_text_of_the_panel():
    assert f"regex: {VOLATILE}()\nreplace: \\2\n" in (FOLDER / "sanitize.cfg").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def check_group(tmp_path_factory, kernel_environ):
    """A function that runs `check` on the notebooks of a group and caches the result."""
    results = {}

    def check_group(group, notebooks):
        key = group, *notebooks
        if key not in results:
            folder = tmp_path_factory.mktemp(group)
            for name, notebook in notebooks.items():
                nbformat.write(notebook, folder / f"{name}.ipynb")
            results[key] = check(folder, group, kernel_environ(group))
        return results[key]

    return check_group


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if group_of(name) == "versions" else ()) for name in NAMES]
)
def test_notebook_reproduces_stored_outputs(name, check_group):
    group = group_of(name)
    results, report = check_group(group, {notebook: load(notebook) for notebook in GROUPS[group]})
    assert set(results) == set(GROUPS[group]), report
    assert results[name] == dict.fromkeys(range(len(code_cells(load(name)))), True), report


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebook_has_outputs_and_no_local_paths(name):
    notebook = load(name)
    for cell in code_cells(notebook):
        if cell.source.startswith("%%argo"):
            assert cell.outputs, cell.source
        assert "NBVAL_" not in cell.source
        assert not any(tag.startswith("nbval-") for tag in cell.metadata.get("tags", ()))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    text = re.sub(r'"image/png": "[^"]*"', "", (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    for place in ("/tmp", "/home/", "/root/", "/Users/", "/var/", "/usr/", "site-packages", "ipykernel_", ":\\\\"):
        assert place not in text
    assert set(re.findall(r"https?://([\w.-]*\w)", text)) <= {"index.example.com"}
    assert not re.search(VOLATILE, text.replace('\\"', '"'))


def replace_text(kind, old, new):
    """A mutation that replaces a text once in the output of a kind: "stdout", "evalue" or a MIME type."""

    def mutate(outputs):
        for output in outputs:
            data = output.get("data", output)
            key = {"stdout": "text"}.get(kind, kind)
            if isinstance(data.get(key), str) and (kind != "stdout" or output.get("name") == "stdout"):
                changed = data[key].replace(old, new, 1)
                if changed != data[key]:
                    data[key] = changed
                    return
        pytest.fail(f"no {kind} has {old!r}")

    return mutate


def drop_output(kind):
    """A mutation that removes the first output with this MIME type."""

    def mutate(outputs):
        outputs.remove(next(output for output in outputs if kind in output.get("data", {})))

    return mutate


# (notebook, text in the cell) -> mutations of its stored outputs, and whether nbval must detect each.
NUMPY_VERSION_CELL = 'numpy</td><td style="text-align:left;padding:1px 24px 1px 0;white-space:nowrap;">'
MUTATIONS = {
    ("isolation", "idna==3.7"): {
        "a version in the panel's line": (replace_text("text/plain", "idna==3.7", "idna==3.6"), True),
        "a version in the panel's table": (replace_text("text/html", ">3.7<", ">3.6<"), True),
        "the text of the badge": (replace_text("text/html", "Succeeded", "Failed"), True),
        "no panel": (drop_output("text/html"), True),
    },
    ("argo", "memory=256Mi"): {
        "the backend": (replace_text("text/plain", "argo", "local"), True),
        "stdout": (replace_text("stdout", "half a core", "a core"), True),
    },
    ("errors", "half(3)"): {
        "stdout": (replace_text("stdout", "before", "after"), True),
        "the name of an exception": (replace_text("ename", "ZeroDivision", "Floating"), True),
        "the text of an exception": (replace_text("evalue", "by zero", "by one"), True),
    },
    ("errors", "numpy 2.0"): {"the text of a refusal": (replace_text("evalue", "character 22", "character 23"), True)},
    ("dependencies", "sum(range(10))"): {"a result": (replace_text("text/plain", "45", "46"), True)},
    ("quickstart", "cumsum"): {
        "a cell of the table": (replace_text("text/html", "<td>-48.22</td>", "<td>-48.23</td>"), True),
        "the table as text": (replace_text("text/plain", "-48.22", "-48.23"), True),
        "another package": (replace_text("text/plain", "pandas==", "polars=="), True),
        "stdout": (replace_text("stdout", "1000 steps", "999 steps"), True),
        "a version in the panel's line": (replace_text("text/plain", "numpy==", "numpy==1!0.9."), False),
        "a version in the panel's table": (
            replace_text("text/html", NUMPY_VERSION_CELL, NUMPY_VERSION_CELL + "0.9."),
            False,
        ),
    },
    ("quickstart", "axes.plot"): {
        "the limits of the figure": (replace_text("stdout", "-1.5", "-1.6"), True),
        "no figure": (drop_output("image/png"), True),
    },
}


def mutate_notebook(name, text):
    """Return a notebook with the first cell, a stored one and its mutations, and whether nbval must accept each."""
    notebook = load(name)
    setup = code_cells(notebook)[0]
    (stored,) = [cell for cell in code_cells(notebook) if text in cell.source]
    cells, expected = [setup, stored], {"the first cell": True, "as stored": True}
    for title, (mutate, is_detected) in MUTATIONS[name, text].items():
        cell = copy.deepcopy(stored)
        cell.id = f"mutated-{len(cells)}"
        mutate(cell.outputs)
        cells.append(cell)
        expected[title] = not is_detected
    notebook.cells = cells
    return notebook, expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), [pytest.param(*key, id=key[0] + ": " + key[1]) for key in MUTATIONS])
def test_changed_output_is_detected(name, text, check_group):
    group = group_of(name)
    mutated = {f"mutated{i}": mutate_notebook(*key) for i, key in enumerate(MUTATIONS) if key[0] in GROUPS[group]}
    results, report = check_group(group, {stem: notebook for stem, (notebook, _) in mutated.items()})
    stem = f"mutated{list(MUTATIONS).index((name, text))}"
    _, expected = mutated[stem]
    assert dict(zip(expected, results[stem].values(), strict=True)) == expected, report
