"""Run example notebooks: print their results, or store them (`--write`) as the outputs that the tests compare.

python notebooks/run.py notebooks/quickstart.ipynb
python notebooks/run.py --write

argo.ipynb runs on the cluster that UV_ARGO_KUBECONFIG or the usual kubeconfig names; to be stored, or with
`--test-server`, on the tests' small API server instead, so that what is stored is what the tests compare.

Rule: what is stored says nothing of the machine, the day or the run; what differs between two runs is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from uv_argo_magic.core.view.html import VOLATILE

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

ANSI = re.compile(r"\x1b\[[0-9;]*m")
PLACE = re.compile(r"(?<![\w.<:/])(?:/|~/|[A-Za-z]:\\)\w")
"""The beginning of an absolute path, on any system."""


def run(notebook: NotebookNode, folder: Path) -> None:
    """Execute a notebook in this folder with the Python that runs this, its panel as one final text.

    Raises CellExecutionError where a cell fails that should not.
    """
    os.environ["UV_ARGO_PANEL"] = "static"
    os.environ["UV_ARGO_BACKEND"] = "local"
    # A kernel that a user installed under the same name may be another Python's.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    NotebookClient(
        notebook,
        timeout=600,
        resources={"metadata": {"path": str(folder)}},
        kernel_name="python3",
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own warnings are not about the notebook
    ).execute()


@contextlib.contextmanager
def small_cluster() -> Iterator[None]:
    """A cluster of the tests' own for what asks for `argo`: its pods are processes of this machine."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from support.argo_server import ArgoServer  # noqa: PLC0415 - beside the tests, and only for this

    with tempfile.TemporaryDirectory() as folder, ArgoServer(Path(folder)) as server:
        before = dict(os.environ)
        os.environ |= server.settings
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before


def text(output: NotebookNode) -> str:
    """One output as a terminal shows it."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}\n"
    kinds = ", ".join(sorted(mime for mime in output.data if mime.startswith("image/")))
    return str(output.data.get("text/plain", "")) + (f"  [{kinds}]" if kinds else "") + "\n"


def show(notebook: NotebookNode) -> None:
    """Print each code cell and what came of it."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            print("\n".join(f"> {line}" for line in cell.source.split("\n")))
            print("".join(text(output) for output in cell.outputs))


def storable(notebook: NotebookNode) -> None:
    """Take out of a notebook that has run what differs between two machines or two runs, and is compared by nobody."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).pop("uv_argo", None)
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = re.sub(VOLATILE, "", output.data["text/html"])
            if output.output_type == "error" and PLACE.search(ANSI.sub("", "\n".join(output.traceback))):
                output.traceback = [f"{output.ename}: {output.evalue}"]


def main() -> int:
    """Run the notebooks that are named, or all; 1 if a cell failed that should not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(HERE.glob("*.ipynb")))
    parser.add_argument("--write", action="store_true", help="store the outputs in the notebooks")
    parser.add_argument("--test-server", action="store_true", help="have argo cells run on the tests' API server")
    wanted = parser.parse_args()
    return run_all(wanted.notebooks, write=wanted.write, test_server=wanted.write or wanted.test_server)


def run_all(paths: list[Path], *, write: bool, test_server: bool) -> int:
    """Run these, argo.ipynb on the tests' API server if wanted; 1 if a cell failed that should not."""
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        # Settings of a cluster would be noted in the cells of every other notebook.
        cluster = small_cluster() if test_server and path.stem == "argo" else contextlib.nullcontext()
        try:
            with cluster:
                run(notebook, path.parent)
        except CellExecutionError as error:
            show(notebook)
            print(f"{path.name} stopped at {error.ename}: {error.evalue}", file=sys.stderr)
            return 1
        if write:
            storable(notebook)
            nbformat.write(notebook, path)
            print(f"stored {path.name}")
        else:
            show(notebook)
    return 0


if __name__ == "__main__":
    sys.exit(main())
