"""The example notebooks under strict nbval, and proof that a changed output would be seen.

Rules:
- Kernels get a history and settings of their own; only uv's cache of downloads is shared.
- As in tests/conftest.py, jsonschema does without its check of IRIs.
- nbval takes seconds to start: it checks all notebooks of a group, the stored ones and those with a changed output.
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
"""What the notebooks of a group share: the cluster that they ask for, and whether versions may differ."""
NAMES = tuple(sorted(name for names in GROUPS.values() for name in names))
VERDICT = re.compile(r"^(PASSED|FAILED) \S*?(\w+)\.ipynb::Cell (\d+)", re.MULTILINE)

if sys.platform == "win32":
    pytest.skip("the local backend needs Linux or macOS", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Variables that name a small cluster of ours, for the notebook that asks for one."""
    with ArgoServer(tmp_path_factory.mktemp("cluster")) as server:
        yield server.settings


pytestmark = pytest.mark.timeout(900)  # the first test of a group runs all of it


def group_of(name):
    return next(group for group, names in GROUPS.items() if name in names)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory, cluster):
    """surroundings(group) -> the environment of a kernel that knows nothing of this user."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_ARGO_", "JPY_", "PYTEST_"))}
    own = {
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "UV_ARGO_BACKEND": "local",
        "UV_ARGO_HOME": str(home / "argo"),
        "UV_ARGO_PANEL": "static",
    }
    # A local cell notes settings that only a cluster uses.
    return lambda group: kept | (cluster if group == "cluster" else {}) | own


def sanitizers(group):
    """The patterns for a group: versions may differ in one of them only."""
    files = ["sanitize.cfg"] + (["sanitize-versions.cfg"] if group == "versions" else [])
    return "\n".join((FOLDER / file).read_text(encoding="utf-8") for file in files)


def check(folder, group, env):
    """Run all notebooks in a folder as strict nbval; {notebook: {number of a cell: passed}} and the output."""
    (folder / "sanitize.cfg").write_text(sanitizers(group), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "no_iris.py").write_text("import sys\nsys.modules['rfc3987_syntax'] = None\n", encoding="utf-8")
    command = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=240", "--nbval-sanitize-with=sanitize.cfg"]
    done = subprocess.run(
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
    found = {}
    for verdict, notebook, cell in VERDICT.findall(done.stdout):
        found.setdefault(notebook, {})[int(cell)] = verdict == "PASSED"
    found = {notebook: dict(sorted(cells.items())) for notebook, cells in found.items()}
    assert done.returncode in (0, 1), done.stdout  # everything else is no verdict: nothing collected, an internal error
    assert (done.returncode == 0) == all(all(cells.values()) for cells in found.values()), done.stdout
    return found, done.stdout


def load(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_these_are_all_notebooks():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


def test_times_and_generated_names_are_what_the_panel_marks_as_such():
    assert f"regex: {VOLATILE}()\nreplace: \\2\n" in (FOLDER / "sanitize.cfg").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checked(tmp_path_factory, surroundings):
    """checked(group, notebooks) -> what `check` says of these; once for each group and kind of notebooks."""
    known = {}

    def made(group, notebooks):
        key = group, *notebooks
        if key not in known:
            folder = tmp_path_factory.mktemp(group)
            for name, notebook in notebooks.items():
                nbformat.write(notebook, folder / f"{name}.ipynb")
            known[key] = check(folder, group, surroundings(group))
        return known[key]

    return made


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if group_of(name) == "versions" else ()) for name in NAMES]
)
def test_a_notebook_gives_what_is_stored(name, checked):
    group = group_of(name)
    found, report = checked(group, {one: load(one) for one in GROUPS[group]})
    assert set(found) == set(GROUPS[group]), report
    assert found[name] == dict.fromkeys(range(len(code_cells(load(name)))), True), report


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_notebook_has_outputs_and_nothing_of_a_machine(name):
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


def replaced(kind, old, new):
    """A mutation: in the output of this kind ("stdout", "evalue" or a mime type) `old` becomes `new`, once."""

    def mutate(outputs):
        for output in outputs:
            where = output.get("data", output)
            key = {"stdout": "text"}.get(kind, kind)
            if isinstance(where.get(key), str) and (kind != "stdout" or output.get("name") == "stdout"):
                changed = where[key].replace(old, new, 1)
                if changed != where[key]:
                    where[key] = changed
                    return
        pytest.fail(f"no {kind} has {old!r}")

    return mutate


def dropped(kind):
    """A mutation: the first output that has this mime type is missing."""

    def mutate(outputs):
        outputs.remove(next(output for output in outputs if kind in output.get("data", {})))

    return mutate


# A notebook and words by which its cell is found -> what is done to its stored outputs, and whether nbval must see it.
NUMPYS_VERSION = 'numpy</td><td style="text-align:left;padding:1px 24px 1px 0;white-space:nowrap;">'
MUTATIONS = {
    ("isolation", "idna==3.7"): {
        "a version in the panel's line": (replaced("text/plain", "idna==3.7", "idna==3.6"), True),
        "a version in the panel's table": (replaced("text/html", ">3.7<", ">3.6<"), True),
        "the word on the badge": (replaced("text/html", "Succeeded", "Failed"), True),
        "no panel": (dropped("text/html"), True),
    },
    ("argo", "memory=256Mi"): {
        "the place where it ran": (replaced("text/plain", "argo", "local"), True),
        "stdout": (replaced("stdout", "half a core", "a core"), True),
    },
    ("errors", "half(3)"): {
        "stdout": (replaced("stdout", "before", "after"), True),
        "the name of an exception": (replaced("ename", "ZeroDivision", "Floating"), True),
        "the text of an exception": (replaced("evalue", "by zero", "by one"), True),
    },
    ("errors", "numpy 2.0"): {"the text of a refusal": (replaced("evalue", "character 22", "character 23"), True)},
    ("dependencies", "sum(range(10))"): {"a result": (replaced("text/plain", "45", "46"), True)},
    ("quickstart", "cumsum"): {
        "a cell of the table": (replaced("text/html", "<td>-48.22</td>", "<td>-48.23</td>"), True),
        "the table as text": (replaced("text/plain", "-48.22", "-48.23"), True),
        "another package": (replaced("text/plain", "pandas==", "polars=="), True),
        "stdout": (replaced("stdout", "1000 steps", "999 steps"), True),
        "a version in the panel's line": (replaced("text/plain", "numpy==", "numpy==1!0.9."), False),
        "a version in the panel's table": (replaced("text/html", NUMPYS_VERSION, NUMPYS_VERSION + "0.9."), False),
    },
    ("quickstart", "axes.plot"): {
        "the limits of the figure": (replaced("stdout", "-1.5", "-1.6"), True),
        "no figure": (dropped("image/png"), True),
    },
}


def mutated(name, words):
    """A notebook of a first cell, a stored one and its mutations, and whether nbval must accept each."""
    notebook = load(name)
    setup = code_cells(notebook)[0]
    (stored,) = [cell for cell in code_cells(notebook) if words in cell.source]
    cells, expected = [setup, stored], {"the first cell": True, "as stored": True}
    for what, (mutate, seen) in MUTATIONS[name, words].items():
        cell = copy.deepcopy(stored)
        cell.id = f"mutated-{len(cells)}"
        mutate(cell.outputs)
        cells.append(cell)
        expected[what] = not seen
    notebook.cells = cells
    return notebook, expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [pytest.param(*key, id=key[0] + ": " + key[1]) for key in MUTATIONS])
def test_a_changed_output_is_seen(name, words, checked):
    group = group_of(name)
    made = {f"mutated{at}": mutated(*key) for at, key in enumerate(MUTATIONS) if key[0] in GROUPS[group]}
    found, report = checked(group, {one: notebook for one, (notebook, _) in made.items()})
    at = f"mutated{list(MUTATIONS).index((name, words))}"
    expected = made[at][1]
    assert dict(zip(expected, found[at].values(), strict=True)) == expected, report
