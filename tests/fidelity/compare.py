"""Run cells as plain cells and under `%%argo` in real kernels, and compare their outputs.

Rules:
- Compared: the streams as a terminal shows them, the result, the displays, the order of stdout and displays, the
  error, and the lines of the traceback that belong to the cell.
- Normalized first: colours, addresses, process ids, execution numbers, and the name of the cell's file.
"""

from __future__ import annotations

import base64
import importlib.metadata
import os
import re
import struct
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cells import Cell

ROOT = Path(__file__).parents[2]
SECONDS = 300
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Replaces the line with %%argo, so that line numbers are the same; a cell magic must be the first line.
PLAIN_LINE = "# a plain cell"
# Like `%reset -f`, but its garbage collections find nothing, since they take most of the time. The reset also removes
# `__spec__`, without which child processes cannot start. A cell may have changed the limit.
RESET = """\
import gc, sys
gc.freeze()
get_ipython().reset(new_session=False)
__import__("gc").unfreeze()
__spec__ = None
__import__("sys").setrecursionlimit(1000)
"""

SESSION_RESET = """\
import sys
sys.last_type = sys.last_value = sys.last_traceback = None
sys.setrecursionlimit(1000)
for _name in [name for name in globals() if not name.startswith("_")]:
    del globals()[_name]
"""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of a cell, as texts and tuples of texts."""

    stdout: str = ""
    stderr: str = ""
    result: tuple[str, ...] = ()
    displays: tuple[tuple[str, ...], ...] = ()
    order: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()


ASPECTS = tuple(field.name for field in fields(Outputs))


def differences(plain: Outputs, argo: Outputs) -> dict[str, tuple[Any, Any]]:
    """Return the aspects that differ, each with its pair (plain, argo)."""
    pairs = {name: (getattr(plain, name), getattr(argo, name)) for name in ASPECTS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def pinned(names: Sequence[str]) -> str:
    """Return requirements for these packages in the installed versions."""
    return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in names)


def run(
    cells: Sequence[Cell], folder: Path, *, environ: Mapping[str, str] | None = None
) -> list[tuple[Outputs, Outputs]]:
    """Run each cell both ways; returns the pairs (plain, argo)."""
    plain = run_plain(cells, folder / "plain", environ=environ)
    return list(zip(plain, run_argo(cells, folder / "argo", environ=environ), strict=True))


def run_plain(cells: Sequence[Cell], folder: Path, *, environ: Mapping[str, str] | None = None) -> list[Outputs]:
    """Run the cells without `%%argo`, in one kernel, each with an empty namespace."""
    new_code_cell = nbformat.v4.new_code_cell
    plain = [new_code_cell(f"{'' if cell.source.startswith('%%') else PLAIN_LINE}\n{cell.source}") for cell in cells]
    _execute([item for cell in plain for item in (new_code_cell(RESET), cell)], folder, environ)
    return [normalize(cell.outputs) for cell in plain]


def run_argo(
    cells: Sequence[Cell], folder: Path, *, environ: Mapping[str, str] | None = None, in_session: bool = False
) -> list[Outputs]:
    """Run the cells under `%%argo`, from one kernel; with `in_session`, in one session, each with no variables."""
    magic = "%%argo --session one" if in_session else "%%argo"
    new_code_cell = nbformat.v4.new_code_cell
    notebook = [new_code_cell("%load_ext uv_argo_magic")]
    argo = []
    for cell in cells:
        if in_session:
            notebook.append(new_code_cell(f"{magic}\n{SESSION_RESET}"))
        argo.append(new_code_cell(f"{magic}{f' --deps {pinned(cell.deps)}' if cell.deps else ''}\n{cell.source}"))
        notebook.append(argo[-1])
    _execute(notebook, folder, environ)
    return [normalize(cell.outputs) for cell in argo]


def _execute(cells: Sequence[Any], folder: Path, environ: Mapping[str, str] | None) -> None:
    """Execute the cells in a new kernel whose files are in this folder."""
    # A kernel that detects pytest does not capture the output of child processes.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env = {**inherited, "PYTHONPATH": str(ROOT), "UV_ARGO_PANEL": "none", "UV_ARGO_BACKEND": "local"}
    env |= {"UV_ARGO_HOME": str(folder / "home")}  # without this user's runs and environments
    env |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "IPYTHONDIR": str(folder / "ipython"), **(environ or {})}
    work = folder / "work"
    work.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", allow_errors=True)
    client.execute(cwd=str(work), env=env)


def normalize(outputs: Sequence[Any]) -> Outputs:
    """Make the outputs of a cell comparable."""
    texts = {"stdout": "", "stderr": ""}
    result: tuple[str, ...] = ()
    displays, order = [], []
    error: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    for output in outputs:
        kind = output.output_type
        if kind == "stream":
            texts[output.name] += output.text
            kind = output.name
        elif kind == "error":
            error = (output.ename, _normalize_text(output.evalue))
            lines = tuple(_cell_lines("\n".join(output.traceback).split("\n")))
        elif kind == "execute_result":
            result = _bundle(output)
        elif "uv_argo" in output.metadata:  # a note on the run, not output of the cell
            continue
        else:
            displays.append(_bundle(output))
        if kind in {"stdout", "display_data", "execute_result"} and order[-1:] != [kind]:
            order.append(kind)
    return Outputs(
        stdout=_as_in_terminal(_normalize_text(texts["stdout"])),
        stderr="\n".join(_cell_lines(_as_in_terminal(texts["stderr"]).split("\n"))),
        result=result,
        displays=tuple(displays),
        order=tuple(order),
        error=error,
        traceback=lines,
    )


def _normalize_text(text: str) -> str:
    text = _COLOUR.sub("", text)
    text = re.sub(r"(Ran \d+ tests? in )\d+\.\d+s", r"\1(time)", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = re.sub(r"File (\S*/ipykernel_\d+/\d+\.py|\S*/cell(?:-[\w-]+)?\.py):(\d+)", r"Cell line \2", text)
    text = re.sub(r"\((?:\d+|cell(?:-[\w-]+)?)\.py, line", "(<cell>, line", text)
    text = re.sub(r'"?[^\s"\'(]*(?:/ipykernel_\d+/\d+\.py|/cell(?:-[\w-]+)?\.py)"?', "<cell>", text)
    text = re.sub(r"/[^\s\"']*/([\w.-]+\.py):\d+", r"\1", text)
    return re.sub(r"(?:Cell )?In ?\[\d+\]", "Cell", text)


def _as_in_terminal(text: str) -> str:
    """Apply carriage returns, which start to overwrite the line."""
    return "\n".join(_overwrite(line) for line in text.split("\n"))


def _overwrite(line: str) -> str:
    shown = ""
    for drawing in line.split("\r"):
        shown = drawing + shown[len(drawing) :]
    return shown.rstrip(" ") if "\r" in line else shown


def _bundle(output: Any) -> tuple[str, ...]:
    """Return each MIME type with its text, or with the size of a picture, and the metadata, if any."""
    lines = []
    for mime, value in sorted(output.data.items()):
        picture = mime == "image/png"
        text = _size(value) if picture else _normalize_text(_text(value))
        lines.append(f"{mime}: {text}")
    if output.metadata:
        lines.append(f"metadata: {_text(output.metadata)}")
    return tuple(lines)


def _size(png: str) -> str:
    width, height = struct.unpack(">II", base64.b64decode(png)[16:24])
    return f"{width}x{height}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else nbformat.v4.nbjson.json.dumps(value, sort_keys=True)


def _cell_lines(lines: Sequence[str]) -> list[str]:
    """Remove empty lines and the frames of libraries, which differ between versions."""
    result, inside = [], True
    for line in map(_normalize_text, lines):
        frame = re.match(r"[ |]*(?:File |Cell\b)", line)
        if frame:
            inside = bool(re.match(r"[ |]*(?:File <cell>|Cell\b)", line))
        elif line.strip() and not re.match(r"[ |]*\d|[ |]*-+> ?\d| *\(\.\.\.\)|    | *\| {5}", line):
            inside = True
        if inside and line.strip() and not re.match(r"-+$", line):
            result.append(re.sub(r"^( *1 |-+> ?\d+ )(%%argo.*|# a plain cell)$", r"\1(first line)", line.rstrip()))
            # Repeated frames of a recursion: their number depends on the depth of the kernel's stack.
            if result[-2:] == result[-4:-2]:
                del result[-2:]
    return result
