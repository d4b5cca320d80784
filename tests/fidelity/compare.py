"""Runs cells plainly and under `%%argo` in real kernels, and says what was seen of each.

Rules:
- Compared: what each stream holds in a terminal's eyes, the result, the displays, the order of stdout and displays, the
  error, and the traceback's lines that belong to the cell.
- Made equal before: colours, addresses, process ids, execution numbers, and the name of the cell's own file.
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
# Stands for the line with %%argo, so that the lines below have the same numbers (a cell magic must be the first line).
PLAIN_LINE = "# a plain cell"
# Without `__spec__`, which the reset takes away too, child processes cannot be started.
RESET = "%reset -f\n__spec__ = None"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of a cell, as plain data: texts, and tuples of texts."""

    stdout: str = ""
    stderr: str = ""
    result: tuple[str, ...] = ()
    displays: tuple[tuple[str, ...], ...] = ()
    order: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()


ASPECTS = tuple(field.name for field in fields(Seen))


def differences(plain: Seen, argo: Seen) -> dict[str, tuple[Any, Any]]:
    """What differs, by aspect: (plain, argo)."""
    pairs = {name: (getattr(plain, name), getattr(argo, name)) for name in ASPECTS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def pinned(names: Sequence[str]) -> str:
    """The packages in the versions that this Python has."""
    return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in names)


def run(cells: Sequence[Cell], folder: Path, *, environ: Mapping[str, str] | None = None) -> list[tuple[Seen, Seen]]:
    """(plain, argo) of each cell."""
    plain = run_plain(cells, folder / "plain", environ=environ)
    return list(zip(plain, run_argo(cells, folder / "argo", environ=environ), strict=True))


def run_plain(cells: Sequence[Cell], folder: Path, *, environ: Mapping[str, str] | None = None) -> list[Seen]:
    """The cells without `%%argo`, in one kernel, each with a namespace of its own."""
    made = nbformat.v4.new_code_cell
    plain = [made(f"{'' if cell.source.startswith('%%') else PLAIN_LINE}\n{cell.source}") for cell in cells]
    _execute([one for cell in plain for one in (made(RESET), cell)], folder, environ)
    return [seen(one.outputs) for one in plain]


def run_argo(
    cells: Sequence[Cell], folder: Path, *, environ: Mapping[str, str] | None = None, in_sessions: bool = False
) -> list[Seen]:
    """The cells under `%%argo`, from one kernel; with `in_sessions`, each is the first one of a session."""
    made = nbformat.v4.new_code_cell
    session = " --session one" if in_sessions else ""
    argo = [
        made(f"%%argo{session}{f' --deps {pinned(cell.deps)}' if cell.deps else ''}\n{cell.source}") for cell in cells
    ]
    end = "%argo stop one" if in_sessions else ""
    _execute([made("%load_ext uv_argo_magic"), *(one for cell in argo for one in (cell, made(end)))], folder, environ)
    return [seen(one.outputs) for one in argo]


def _execute(cells: Sequence[Any], folder: Path, environ: Mapping[str, str] | None) -> None:
    """Execute the cells in a new kernel that has its files below this folder."""
    # A kernel that finds itself in a test of pytest's does not read what child processes write.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env = {**inherited, "PYTHONPATH": str(ROOT), "UV_ARGO_PANEL": "none", "UV_ARGO_BACKEND": "local"}
    env |= {"UV_ARGO_HOME": str(folder / "home")}  # nobody's own runs and environments
    env |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "IPYTHONDIR": str(folder / "ipython"), **(environ or {})}
    work = folder / "work"
    work.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", allow_errors=True)
    client.execute(cwd=str(work), env=env)


def seen(outputs: Sequence[Any]) -> Seen:
    """The outputs of a cell, made comparable."""
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
            error = (output.ename, _same(output.evalue))
            lines = tuple(_own_frames("\n".join(output.traceback).split("\n")))
        elif kind == "execute_result":
            result = _bundle(output)
        elif "uv_argo" in output.metadata:  # a note on the run, not output of the cell
            continue
        else:
            displays.append(_bundle(output))
        if kind in {"stdout", "display_data", "execute_result"} and order[-1:] != [kind]:
            order.append(kind)
    return Seen(
        stdout=_drawn(_same(texts["stdout"])),
        stderr="\n".join(_own_frames(_drawn(texts["stderr"]).split("\n"))),
        result=result,
        displays=tuple(displays),
        order=tuple(order),
        error=error,
        traceback=lines,
    )


def _same(text: str) -> str:
    text = _COLOUR.sub("", text)
    text = re.sub(r"(Ran \d+ tests? in )\d+\.\d+s", r"\1(time)", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = re.sub(r"File (\S*/ipykernel_\d+/\d+\.py|\S*/cell(?:-[\w-]+)?\.py):(\d+)", r"Cell line \2", text)
    text = re.sub(r"\((?:\d+|cell(?:-[\w-]+)?)\.py, line", "(<cell>, line", text)
    text = re.sub(r'"?[^\s"\'(]*(?:/ipykernel_\d+/\d+\.py|/cell(?:-[\w-]+)?\.py)"?', "<cell>", text)
    text = re.sub(r"/[^\s\"']*/([\w.-]+\.py):\d+", r"\1", text)
    return re.sub(r"(?:Cell )?In ?\[\d+\]", "Cell", text)


def _drawn(text: str) -> str:
    """What a terminal shows in the end: a carriage return begins the line anew."""
    return "\n".join(_overwritten(line) for line in text.split("\n"))


def _overwritten(line: str) -> str:
    shown = ""
    for drawing in line.split("\r"):
        shown = drawing + shown[len(drawing) :]
    return shown.rstrip(" ") if "\r" in line else shown


def _bundle(output: Any) -> tuple[str, ...]:
    """Each mime type with its text; a picture by its size, metadata only where there is some."""
    lines = []
    for mime, value in sorted(output.data.items()):
        picture = mime == "image/png"
        text = _size(value) if picture else _same(_text(value))
        lines.append(f"{mime}: {text}")
    if output.metadata:
        lines.append(f"metadata: {_text(output.metadata)}")
    return tuple(lines)


def _size(png: str) -> str:
    width, height = struct.unpack(">II", base64.b64decode(png)[16:24])
    return f"{width}x{height}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else nbformat.v4.nbjson.json.dumps(value, sort_keys=True)


def _own_frames(lines: Sequence[str]) -> list[str]:
    """Without empty lines and the frames of libraries, which differ between versions; what is no frame stays."""
    kept, inside = [], True
    for line in map(_same, lines):
        place = re.match(r"[ |]*(?:File |Cell\b)", line)
        if place:
            inside = bool(re.match(r"[ |]*(?:File <cell>|Cell\b)", line))
        elif line.strip() and not re.match(r"[ |]*\d|[ |]*-+> ?\d| *\(\.\.\.\)|    | *\| {5}", line):
            inside = True
        if inside and line.strip() and not re.match(r"-+$", line):
            kept.append(re.sub(r"^( *1 |-+> ?\d+ )(%%argo.*|# a plain cell)$", r"\1(first line)", line.rstrip()))
            # One place again and again: how often depends on how deep the kernel itself is.
            if kept[-2:] == kept[-4:-2]:
                del kept[-2:]
    return kept
