"""Look up a name that a failed cell lacks, as a variable of the notebook or a module in its folder.

For such a module, `--deps NAME` is never suggested, because anyone can publish a package of that name on the index.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from uv_argo_magic.core.protocol.events import LocalName

if TYPE_CHECKING:
    from collections.abc import Mapping


def find(name: str, document: str, names: Mapping[str, object]) -> LocalName | None:
    """Find `name` in the notebook's `names` or its folder; `document` is the path of the notebook or script, or ""."""
    return _file(name, document) or _variable(name, names)


def _file(name: str, document: str) -> LocalName | None:
    location = ""
    folders = [Path.cwd()]
    if document:
        location = "next to the script" if document.endswith(".py") else "next to the notebook"
        folders.insert(0, Path(document).parent)
    for folder in folders:
        for path in (folder / f"{name}.py", folder / name):
            if path.is_file() or (path.is_dir() and any(path.glob("*.py"))):
                label = path.name if path.is_file() else f"{name}/"
                return LocalName(name=name, kind="file", detail=f"{label} is {location or 'in this folder'}")
    return None


def _variable(name: str, names: Mapping[str, object]) -> LocalName | None:
    if name not in names:
        return None
    value = names[name]
    if isinstance(value, ModuleType):
        return LocalName(name=name, kind="module", detail=value.__name__)
    return LocalName(name=name, kind="definition" if callable(value) else "variable")
