"""The files that are sent with a run: the guest package, and the modules for a notebook's cell.

Rules:
- The same version of this package produces the same bytes on every machine.
- Comments and docstrings are removed. Lines keep their numbers, so that tracebacks match the source.
- Files that only some runs need are in separate folders, and are sent only with those runs.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import io
import json
import tokenize
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic import guest, guest_notebook, guest_values, values
from uv_argo_magic._os import atomic_write, paths
from uv_argo_magic.core.spec.program import GUEST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES_NAME = "uv_argo_values"
"""Import name of the guest_values package in the process that runs the cell."""


@functools.cache
def guest_archive(*parts: str) -> bytes:
    """The package uv_argo_magic.guest, under its import name in the run, without subpackages that are not in `parts`.

    `install` and `pip_command` are always included. The format is zlib of JSON (path -> text), which is a sixth smaller
    than a zip, and every Python can read it.
    """
    folder = _folder(guest.__file__)
    modules = [
        *folder.glob("*.py"),
        *(module for part in ("install", "pip_command", *parts) for module in folder.glob(f"{part}/*.py")),
    ]
    return _cached({f"{GUEST_NAME}/{module.relative_to(folder).as_posix()}": module for module in modules}, _pack)


@functools.cache
def notebook_modules() -> dict[str, str]:
    """The packages in uv_argo_magic.guest_notebook (path -> text), for cells that may look for IPython."""
    folder = _folder(guest_notebook.__file__)
    modules = {module.relative_to(folder).as_posix(): module for module in folder.glob("*/**/*.py")}
    loaded: dict[str, str] = json.loads(_cached(modules, _text))
    return loaded


@functools.cache
def values_modules() -> dict[str, str]:
    """The package guest_values under its import name in the run (path -> text), for runs that push or pull."""
    folder = _folder(guest_values.__file__)
    modules = {f"{VALUES_NAME}/{module.name}": module for module in folder.glob("*.py")}
    loaded: dict[str, str] = json.loads(_cached(modules, _text))
    return loaded


@functools.cache
def cloudpickle_modules() -> dict[str, str]:
    """Cloudpickle under its private name (path -> text), for runs whose values may have code of a notebook.

    Raises:
        SpecError: cloudpickle is not installed.
    """
    return {values.pickling.FILE: stripped(values.pickling.source())}


def _folder(file: str) -> Path:
    return Path(file).parent


def _cached(modules: dict[str, Path], pack: Callable[[dict[str, Path]], bytes]) -> bytes:
    """Pack these files (name in the archive -> path), with a cache that saves at least 20 ms."""
    stats = [(str(module), module.stat()) for module in (*sorted(modules.values()), Path(__file__))]
    stamp = json.dumps([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])
    cached = paths.cache_dir() / "guest" / f"{hashlib.sha256(stamp.encode()).hexdigest()[:32]}"
    with contextlib.suppress(OSError):
        return cached.read_bytes()
    data = pack(modules)
    with contextlib.suppress(OSError):
        atomic_write.write(cached, data)
    return data


def _pack(modules: dict[str, Path]) -> bytes:
    return zlib.compress(_text(modules), 9)


def _text(modules: dict[str, Path]) -> bytes:
    """All files as one text, which compresses better than separate texts."""
    texts = {name: stripped(module.read_text(encoding="utf-8")) for name, module in sorted(modules.items())}
    return json.dumps(texts).encode()


def stripped(source: str) -> str:
    """Python source without comments and docstrings; all lines keep their numbers."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        body: object = getattr(node, "body", None)
        statements = body if isinstance(body, list) else []
        for statement in statements:
            match statement:
                case ast.Expr(value=ast.Constant(value=str()), end_lineno=int(end)):
                    first = statement.lineno - 1
                    # A body must not be empty.
                    lines[first] = lines[first][: statement.col_offset] + ("pass\n" if len(statements) == 1 else "\n")
                    lines[first + 1 : end] = ["\n"] * (end - first - 1)
                case _:
                    pass
    text = "".join(lines)
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    return "".join(line.rstrip() + "\n" if not line.strip() else line for line in lines)
