"""Run example notebooks: print their results, or store them (`--write`) as the outputs that the tests compare.

python notebooks/run.py notebooks/quickstart.ipynb
python notebooks/run.py --write
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
IGNORED_METADATA = ("kernelspec", "language_info")


def run(path: Path) -> NotebookNode:
    """Execute a notebook with the Python that runs this, in the notebook's own folder, its panel as one final text."""
    os.environ["UV_ARGO_PANEL"] = "static"
    os.environ["UV_ARGO_BACKEND"] = "local"
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}, kernel_name="python3"
    )
    client.execute()
    return notebook


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


def store(path: Path, notebook: NotebookNode) -> None:
    """Write the outputs, without what differs between two machines and is compared by nobody."""
    notebook.metadata = {key: notebook.metadata[key] for key in IGNORED_METADATA if key in notebook.metadata}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).pop("uv_argo", None)
            if output.output_type == "error":
                output.traceback = []
    nbformat.write(notebook, path)


def main() -> int:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(HERE.glob("*.ipynb")))
    parser.add_argument("--write", action="store_true", help="store the outputs in the notebooks")
    wanted = parser.parse_args()
    for path in wanted.notebooks:
        done = run(path)
        if wanted.write:
            store(path, done)
            print(f"stored {path.name}")
        else:
            show(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
