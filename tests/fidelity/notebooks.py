"""Notebooks of other projects, run with plain cells and with all cells in one session.

    python tests/fidelity/notebooks.py [PART OF A NAME]...

downloads the source distributions and the packages that their notebooks need, runs all notebooks in a venv with these
packages, and writes the record and the table in docs/fidelity.md. With parts of names, it runs the notebooks whose
names contain one, and writes nothing. Two variables save the downloads when it runs again: UV_ARGO_TEST_NOTEBOOKS is
the folder of the source distributions, and UV_ARGO_TEST_PYTHON a Python with the packages. The distributions are read,
and never installed.

Rules:
- The notebooks need no network, and only the files in their folder.
- Not all notebooks seed random numbers. A cell that differs between two plain runs is compared by the kinds of its
  outputs.
- The path of the packages and hints below errors are not compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import compare
import nbclient
import nbformat
import table
from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = "UV_ARGO_TEST_NOTEBOOKS"
PYTHON = "UV_ARGO_TEST_PYTHON"
VERSIONS = {"mesa": "3.3.1", "hdbscan": "0.8.44", "sktime": "1.2.0", "xarray": "2026.9.0"}
SECONDS = 180
RECORD = Path(__file__).parent / "expected_in_notebooks.json"
# archive -> (packages, notebooks below the top folder)
NOTEBOOKS = {
    "mesa": ("mesa solara altair matplotlib networkx numpy pandas seaborn", """
        docs/tutorials/0_first_model.ipynb
        docs/tutorials/1_adding_space.ipynb
        docs/tutorials/2_collecting_data.ipynb
        docs/tutorials/3_agentset.ipynb
        docs/tutorials/4_visualization_basic.ipynb
        docs/tutorials/5_visualization_dynamic_agents.ipynb
        docs/tutorials/6_visualization_rendering_with_space_renderer.ipynb
        docs/tutorials/7_visualization_propertylayer_visualization.ipynb
        docs/tutorials/8_visualization_custom.ipynb
        docs/tutorials/9_batch_run.ipynb
        docs/tutorials/10_comparing_scenarios.ipynb
    """),
    "hdbscan": ("hdbscan matplotlib numpy pandas scikit-learn scipy seaborn", """
        notebooks/Comparing Clustering Algorithms.ipynb
        notebooks/Flat clustering.ipynb
        notebooks/How HDBSCAN Works.ipynb
        notebooks/How Soft Clustering for HDBSCAN Works.ipynb
        notebooks/How to detect branches.ipynb
        notebooks/Looking at cluster consistency.ipynb
    """),
    "sktime": ("sktime numba statsmodels matplotlib numpy pandas scikit-learn scipy seaborn", """
        examples/00_sktime_intro.ipynb
        examples/01a_forecasting_sklearn.ipynb
        examples/07_detection_anomaly_changepoints.ipynb
        examples/annotation/segmentation_with_clasp.ipynb
        examples/data/loading_data.ipynb
        examples/forecasting/window_splitters.ipynb
        examples/other/distances.ipynb
        examples/transformation/interpolation.ipynb
        examples/transformation/plateau_finder.ipynb
        examples/transformation/theta_transform.ipynb
    """),
    "xarray": ("xarray matplotlib numpy pandas scipy seaborn", """
        doc/examples/weather-data.ipynb
    """),
}  # fmt: skip
_WIDGETS = "A widget is HTML and text instead of a view in the front end."
_INTERACTIVE = "`%matplotlib notebook` is not available; figures are pictures."
REASONS = {
    **{
        ("hdbscan-0.8.44/notebooks/Looking at cluster consistency.ipynb", number): _INTERACTIVE for number in (0, 3, 14)
    },
    ("mesa-3.3.1/docs/tutorials/4_visualization_basic.ipynb", 5): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/5_visualization_dynamic_agents.ipynb", 5): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/6_visualization_rendering_with_space_renderer.ipynb", 6): (
        "The traceback below `%%capture` has the cell's own lines. IPython counts from the line below the magic."
    ),
    ("mesa-3.3.1/docs/tutorials/6_visualization_rendering_with_space_renderer.ipynb", 10): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/7_visualization_propertylayer_visualization.ipynb", 8): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/8_visualization_custom.ipynb", 6): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/8_visualization_custom.ipynb", 7): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/9_batch_run.ipynb", 3): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/10_comparing_scenarios.ipynb", 2): _WIDGETS,
    ("mesa-3.3.1/docs/tutorials/10_comparing_scenarios.ipynb", 4): _WIDGETS,
    ("sktime-1.2.0/examples/transformation/interpolation.ipynb", 2): (
        "The traceback shows the line that raised the exception. IPython shows the line that the frame reached later."
    ),
}
"""The reasons for differences: (notebook, number of the cell) -> reason."""
SEED = "import random, numpy\nrandom.seed(1); numpy.random.seed(1)"


@dataclass(frozen=True, kw_only=True)
class ArchivedNotebook:
    """A notebook in an archive, and the packages that it needs."""

    name: str
    archive: Path
    deps: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name in the table."""
        return f"{self.archive.name.removesuffix('.tar.gz')}/{self.name}"

    def unpack(self, folder: Path) -> Path:
        """Write the notebook and the files of its folder below a folder; returns the notebook's path."""
        top = self.archive.name.removesuffix(".tar.gz")
        parent = PurePosixPath(top, self.name).parent
        with tarfile.open(self.archive) as tar:
            members = [
                item for item in tar.getmembers() if item.isfile() and parent in PurePosixPath(item.name).parents
            ]
            for member in members:  # `extractall(filter=...)` needs Python 3.11.4
                file = tar.extractfile(member)
                target = folder / member.name
                if file is None or not target.resolve().is_relative_to(folder.resolve()):
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
        return folder / top / self.name


def folder() -> Path | None:
    """Return the folder of the archives, if it is set."""
    path = os.environ.get(FOLDER)
    return Path(path) if path else None


def archived_notebooks(archives: Path) -> Iterator[ArchivedNotebook]:
    """Yield the notebooks in the existing archives."""
    for package, (deps, names) in NOTEBOOKS.items():
        for archive in sorted(archives.glob(f"{package}-*.tar.gz")):
            for name in names.strip().splitlines():
                yield ArchivedNotebook(name=name.strip(), archive=archive, deps=tuple(deps.split()))


def sources(path: Path) -> list[str]:
    """Return the text of each code cell."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code" and cell.source.strip()]


@dataclass(frozen=True, kw_only=True)
class CellOutput:
    """The outputs of a cell; `pictures` distinguishes pictures of the same size."""

    outputs: compare.Outputs
    pictures: tuple[str, ...]


def run(cells: Sequence[str], cwd: Path, home: Path, *, deps: Sequence[str] = (), in_session: bool) -> list[CellOutput]:
    """Run the cells in one kernel, each with a first line in place of `%%argo`; returns their outputs."""
    new_code_cell = nbformat.v4.new_code_cell
    line = "%%argo -s" if in_session else compare.PLAIN_LINE
    codes = [new_code_cell(f"{line}\n{cell}" if in_session or not cell.startswith("%%") else cell) for cell in cells]
    first = [new_code_cell("%load_ext uv_argo_magic")] if in_session else []
    start = f"import os\nos.chdir({str(cwd)!r})\n{SEED}"
    first.append(new_code_cell(f"%%argo -s --deps {compare.pinned(deps)}\n{start}" if in_session else start))
    notebook = nbformat.v4.new_notebook(cells=[*first, *codes])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "UV_ARGO"))}
    env = inherited | {
        "PYTHONPATH": str(compare.ROOT), "PYTHONHASHSEED": "0", "UV_ARGO_PANEL": "none", "UV_ARGO_BACKEND": "local",
        "UV_ARGO_HOME": str(home), "PYDEVD_DISABLE_FILE_VALIDATION": "1", "IPYTHONDIR": str(home / "ipython"),
        "MPLCONFIGDIR": str(home / "matplotlib"), "UV_ARGO_VARIABLES": "PYTHONHASHSEED=0",
    }  # fmt: skip
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", allow_errors=True)
    client.execute(cwd=str(cwd), env=env)
    for cell in first:
        assert not [output for output in cell.outputs if output.output_type == "error"], cell.outputs
    return [
        CellOutput(outputs=_without_folder(compare.normalize(cell.outputs)), pictures=_pictures(cell.outputs))
        for cell in codes
    ]


def _pictures(outputs: Sequence[Any]) -> tuple[str, ...]:
    return tuple(output.data.get("image/png", "") for output in outputs if "data" in output)


def compare_notebook(notebook: ArchivedNotebook, home: Path) -> list[dict[str, Any]]:
    """Return the differences of each cell; random cells are compared by the kinds of their outputs."""
    with tempfile.TemporaryDirectory() as folder:
        path = notebook.unpack(Path(folder))
        cells = sources(path)
        runs = []
        for in_session in (False, False, True):
            copy = Path(folder) / f"run-{len(runs)}" / "work"
            shutil.copytree(path.parent, copy)
            runs.append(run(cells, copy, home, deps=notebook.deps, in_session=in_session))
    return [
        compare.differences(first.outputs, without_hint(third.outputs, first.outputs))
        if first == second
        else compare.differences(kinds(first.outputs), kinds(third.outputs))
        for first, second, third in zip(*runs, strict=True)
    ]


def _without_folder(outputs: compare.Outputs) -> compare.Outputs:
    """Replace the names of the run's folder and of the packages' folder."""
    text = json.dumps(vars(outputs))
    for number in range(3):
        text = text.replace(f"run-{number}/work", "run/work")
    text = re.sub(r"[^\s\"'(]*/(?:site-packages|trees/\w+/site)/", "packages/", text)
    return compare.Outputs(**{name: _tuples(value) for name, value in json.loads(text).items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def without_hint(outputs: compare.Outputs, plain: compare.Outputs) -> compare.Outputs:
    """Remove the hint below an error that the plain cell has, too."""
    lines = outputs.traceback[: len(plain.traceback)]
    return replace(outputs, traceback=lines) if plain.error == outputs.error and lines == plain.traceback else outputs


def kinds(outputs: compare.Outputs) -> compare.Outputs:
    """Return the kinds of a cell's outputs."""
    return compare.Outputs(
        result=tuple(part.partition(":")[0] for part in outputs.result),
        displays=tuple(tuple(part.partition(":")[0] for part in display) for display in outputs.displays),
        order=outputs.order,
        error=outputs.error[:1],
    )


def different_aspects(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, list[str]]]:
    """Return the format of the record: notebook -> number of the cell -> aspects that differ."""
    by_name = {
        name: {str(number): list(aspects) for number, aspects in enumerate(cells) if aspects}
        for name, cells in found.items()
    }
    return {name: cells for name, cells in by_name.items() if cells}


def recorded() -> dict[str, dict[str, list[str]]]:
    """Return the recorded differences."""
    return json.loads(RECORD.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def rows(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table: how many cells each notebook has, and how many of them are the same."""
    lines = ["| notebook | cells | the same |", "|---|--:|--:|"]
    for name, cells in found.items():
        lines.append(f"| {name} | {len(cells)} | {sum(not differences for differences in cells)} |")
    total = [differences for cells in found.values() for differences in cells]
    same = sum(not differences for differences in total)
    lines.append(f"| **all {len(found)}** | {len(total)} | {same} ({100 * same / max(1, len(total)):.1f} %) |")
    return "\n".join(lines)


def download(archives: Path, python: str) -> None:
    """Download the source distributions, with the pip of this Python."""
    archives.mkdir()
    requirements = [f"{package}=={version}" for package, version in VERSIONS.items()]
    names = ",".join(VERSIONS)  # not `:all:`, since pip would then build its build dependencies, too
    command = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", names, "-d", str(archives)]
    subprocess.run([*command, *requirements], check=True)


def install(venv: Path) -> str:
    """Create a venv with all packages of the notebooks and a kernel; returns its Python."""
    names = sorted({name for deps, _ in NOTEBOOKS.values() for name in deps.split()})
    python = str(venv / "bin" / "python")
    subprocess.run([find_uv_bin(), "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    command = [
        find_uv_bin(),
        "pip",
        "install",
        "-q",
        "--python",
        python,
        "-e",
        f"{compare.ROOT}[notebook]",
        "nbclient",
        "pip",
    ]
    requirements = [f"{name}=={VERSIONS[name]}" if name in VERSIONS else name for name in names]
    subprocess.run([*command, *requirements], check=True)
    return python


def main() -> None:
    """Download the archives and packages if necessary, then run this file again in the venv."""
    archives, python = folder(), os.environ.get(PYTHON)
    if archives is not None and python:
        write(archives)
        return
    with tempfile.TemporaryDirectory() as temporary:
        python = python or install(Path(temporary, "venv"))
        if archives is None:
            archives = Path(temporary, "archives")
            download(archives, python)
        env = {**os.environ, FOLDER: str(archives), PYTHON: python}
        sys.exit(subprocess.run([python, __file__, *sys.argv[1:]], env=env, check=False).returncode)


def write(archives: Path) -> None:
    """Run the notebooks whose names contain an argument; without arguments, run all and write the table."""
    found = {}
    with tempfile.TemporaryDirectory() as home:
        for notebook in archived_notebooks(archives):
            name = notebook.title
            if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
                continue
            found[name] = compare_notebook(notebook, Path(home))
            for number, differences in enumerate(found[name]):
                for aspect, (plain, session) in differences.items():
                    print(f"{name}: {number}: {aspect}:\n  {plain!r:.1500}\n  {session!r:.1500}")  # noqa: T201
            print(f"{name}: {len(found[name])} cells", flush=True)  # noqa: T201
    print(rows(found))  # noqa: T201
    if not sys.argv[1:]:
        RECORD.write_text(json.dumps(different_aspects(found), indent=1) + "\n", encoding="utf-8")
        page = table.DOCS.read_text(encoding="utf-8")
        table.DOCS.write_text(table.replace_marked(page, {"notebooks": rows(found)}), encoding="utf-8")


if __name__ == "__main__":
    main()
