"""Files that people already have -> Requirements: a requirements file named by `-r`, and the notebook's own.

Rules:
- A message names the file as it was written, or by its name alone, and the line in it.
- The notebook's requirements file lies beside the notebook, and is called as it is: analysis.ipynb has
  analysis.requirements.txt. This module alone says where that is.
"""

from __future__ import annotations

from pathlib import Path

from uv_argo_magic.core import requirements as req
from uv_argo_magic.core.options import nearest
from uv_argo_magic.errors import SpecError

SUFFIX = ".requirements.txt"


def read(name: str, folder: Path) -> req.Requirements:
    """What the file `name` (relative to `folder`) asks for.

    Raises:
        SpecError: it cannot be read, or what is wrong in which line.
    """
    return req.parse(_text(folder / Path(name).expanduser(), name), source=name, file=True)


def notebook_file(notebook: str, folder: Path) -> Path | None:
    """Where a notebook's requirements file is, or would be; None where nobody knows the notebook's path.

    `notebook` is its path, absolute or relative to `folder`, as the front end tells it.
    """
    path = folder / notebook
    # A session without a notebook has a name of its own, which has no suffix.
    return path.with_suffix(SUFFIX) if notebook and path.suffix else None


def read_notebook(notebook: str, folder: Path) -> req.Requirements | None:
    """What a notebook's requirements file asks for; None where there is no such file.

    Raises:
        SpecError: it cannot be read, or what is wrong in which line.
    """
    path = notebook_file(notebook, folder)
    return read(path.name, path.parent) if path and path.exists() else None


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 text", hint="Save the requirements file as UTF-8.") from error
    except OSError as error:
        near = [one.name for one in path.parent.glob("*.txt")] if path.parent.is_dir() else []
        best = nearest(path.name, near)
        raise SpecError(
            f"{name} cannot be read: {error.strerror}" + (f"; did you mean {best}?" if best else ""),
            hint="A relative name begins where the notebook works.",
        ) from error
