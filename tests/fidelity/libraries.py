"""Cells of libraries that detect notebooks, each run as a plain cell and under `%%argo`.

`python tests/fidelity/libraries.py` downloads the libraries, runs the cells, and writes the table in docs/fidelity.md.

Rules:
- The plain kernel has the libraries of all cells; a cell under `%%argo` requires only its own, in the same versions.
- Compared: kinds of output with their MIME types, in order, and the last line of each stream.
"""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
from uv import find_uv_bin

sys.path.insert(0, str(Path(__file__).parent))

from compare import PLAIN_LINE, RESET, ROOT, SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBER = re.compile(r"\d[\d.]*")


@dataclass(frozen=True, kw_only=True)
class LibraryCell:
    """A cell that uses a library; `deps` are its requirements, and `reason` says why it differs under `%%argo`."""

    library: str
    what: str
    source: str
    deps: str = ""
    reason: str = ""


def _cells() -> tuple[LibraryCell, ...]:
    text = (Path(__file__).parent / "libraries.txt").read_text(encoding="utf-8")
    found = []
    for part in re.split(r"^# %% ", text, flags=re.MULTILINE)[1:]:
        title, _, source = part.partition("\n")
        library, what, deps, reason = (item.strip() for item in (title + "|||").split("|")[:4])
        cell = LibraryCell(library=library, what=what, source=source.strip(), deps=deps or library, reason=reason)
        found.append(cell)
    return tuple(found)


CELLS = _cells()


def run(cells: Sequence[LibraryCell], python: str, folder: Path) -> list[tuple[list[str], list[str]]]:
    """Run each cell both ways; returns the pairs (plain, argo). The plain cells of each library have one kernel."""
    new_code_cell = nbformat.v4.new_code_cell
    (folder / "work").mkdir(parents=True)
    plain = [new_code_cell(f"{PLAIN_LINE}\n{cell.source}") for cell in cells]
    for _, group in itertools.groupby(zip(cells, plain, strict=True), lambda pair: pair[0].library):
        # Some libraries change others: itables displays every DataFrame as its own table.
        _execute([item for _, cell in group for item in (new_code_cell(RESET), cell)], python, folder)
    versions = installed(python)
    argo = [new_code_cell(f"%%argo --deps {_pinned(cell.deps, versions)!r}\n{cell.source}") for cell in cells]
    _execute([new_code_cell("%load_ext uv_argo_magic"), *argo], python, folder)
    return [(outline(first.outputs), outline(second.outputs)) for first, second in zip(plain, argo, strict=True)]


def _execute(cells: list[Any], python: str, folder: Path) -> None:
    """Run cells in a new kernel, which adds their outputs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env |= {"PYTHONPATH": str(ROOT), "UV_ARGO_PANEL": "none", "UV_ARGO_BACKEND": "local"}
    env |= {"UV_ARGO_HOME": str(folder / "home"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env |= {"IPYTHONDIR": str(folder / "ipython"), "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"}
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, allow_errors=True, interrupt_on_timeout=True)
    client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = python
    client.execute(cwd=str(folder / "work"), env=env)


def installed(python: str) -> dict[str, str]:
    """Return the versions of the packages of a Python."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found = json.loads(subprocess.run([python, "-c", code], capture_output=True, check=True, text=True).stdout)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found.items()}


def _pinned(deps: str, versions: dict[str, str]) -> str:
    return " ".join(f"{name}=={versions[name.lower().replace('_', '-')]}" for name in deps.split())


def outline(outputs: Sequence[Any]) -> list[str]:
    """Return a line for each output: its kind and MIME types, or the last line of a stream."""
    lines: list[str] = []
    texts: dict[str, str] = {}
    for output in outputs:
        match output.output_type:
            case "stream":
                texts[output.name] = texts.get(output.name, "") + output.text
            case "error":
                lines.append(f"error {output.ename}")
            case kind:
                mimes = ", ".join(map(_short, sorted(output.data))) or "without content"
                lines.append(f"{'result' if kind == 'execute_result' else 'display'} {mimes}")
    for name, text in sorted(texts.items()):
        plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "\n")
        last = [line.strip() for line in plain.split("\n") if line.strip()][-1:]
        lines += [f"{name} {NUMBER.sub('0', line)[:50]}" for line in last]
    return lines


def _short(mime: str) -> str:
    return mime.removeprefix("application/vnd.").removeprefix("application/")


def verdict(plain: list[str], argo: list[str], reason: str = "") -> str:
    """Return the verdict of the table on a pair."""
    if plain == argo:
        return "the same"
    if reason:
        return reason
    if [line for line in plain if "widget-view" in line] and not [line for line in argo if "widget-view" in line]:
        return "text or HTML instead of the live widget"
    return "differs"


def table(cells: Sequence[LibraryCell], pairs: Sequence[tuple[list[str], list[str]]]) -> str:
    """Return the table of docs/fidelity.md."""
    rows = ["| library | tried | plain cell | under `%%argo` |", "|---|---|---|---|"]
    for cell, (plain, argo) in zip(cells, pairs, strict=True):
        result = verdict(plain, argo, cell.reason)
        shown = result if result == "the same" else f"{result}: {_format(argo)}"
        rows.append(f"| {cell.library} | {cell.what} | {_format(plain)} | {shown} |")
    return "\n".join(rows)


def _format(lines: list[str]) -> str:
    return "; ".join(html.escape(line, quote=False).replace("|", "&#124;") for line in lines) or "nothing"


def make_venv(folder: Path) -> str:
    """Create a venv with a kernel and the libraries of all cells; returns its Python."""
    names = sorted({name for cell in CELLS for name in cell.deps.split()} | {"ipykernel", "nbformat", "packaging"})
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([find_uv_bin(), "venv", "-q", str(folder / "venv"), "--python", sys.executable], check=True)
    requirements = [*names, "platformdirs", "uv", "ipywidgets"]
    subprocess.run([find_uv_bin(), "pip", "install", "-q", "--python", python, *requirements], check=True)
    return python


def main() -> None:
    """Run the cells of the libraries in the arguments; without arguments, run all cells and write the table."""
    chosen = [cell for cell in CELLS if not sys.argv[1:] or cell.library in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get("UV_ARGO_TEST_LIBRARIES_PYTHON") or make_venv(Path(folder))
        pairs = run(chosen, python, Path(folder))
    if sys.argv[1:]:
        for cell, (plain, argo) in zip(chosen, pairs, strict=True):
            print(f"{cell.library}: {cell.what}: {verdict(plain, argo)}\n    plain {plain}\n    argo  {argo}")  # noqa: T201
        return
    from table import DOCS, replace_marked

    page = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(replace_marked(page, {"libraries": table(chosen, pairs)}), encoding="utf-8")
    print(sum(plain == argo for plain, argo in pairs), "of", len(pairs), "the same")  # noqa: T201


if __name__ == "__main__":
    main()
