"""Check the text of a cell or script before it is submitted: its encoding and its syntax."""

from __future__ import annotations

import ast
import functools
import io
import re
import shlex
import sys
import tokenize
from pathlib import PurePath
from typing import TYPE_CHECKING

from uv_argo_magic import remote_traceback
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

_ENCODING = re.compile(r"^([ \t\f]*#.*?coding[:=][ \t]*)[-\w.]+", re.MULTILINE)
"""A line that declares an encoding (PEP 263); the group is the text before the name."""


def is_this_version(python: str) -> bool:
    """Whether this version is the minor version of this process, which can then check the syntax of code for it."""
    return ".".join(python.split(".")[:2]) == ".".join(map(str, sys.version_info[:2]))


def read_script(data: bytes, name: str) -> str:
    """The text of a Python file; a declaration of another encoding is replaced with UTF-8.

    Raises:
        SpecError: the file is not text in its encoding, or it is a notebook.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        problem = f"declares an {error}" if str(error).startswith("unknown encoding") else "is not UTF-8 text"
        raise SpecError(f"{name} {problem}", hint="Save the file as UTF-8, or declare its encoding.") from error
    if PurePath(name).suffix == ".ipynb" or (text.lstrip().startswith("{") and '"nbformat"' in text):
        raise SpecError(
            f"{name} is a notebook, not a Python file",
            hint=f"Open it in Jupyter, or convert it: jupyter nbconvert --to script {shlex.quote(name)}",
        )
    if not encoding.startswith("utf-8"):
        first, *following = text.split("\n", 2)
        heads = [_ENCODING.sub(r"\1utf-8", line) for line in (first, *following[:1])]
        text = "\n".join([*heads, *following[1:]])
    return text


@functools.lru_cache(maxsize=4)
def parses(text: str) -> bool:
    """Whether this Python finds no syntax error in the cell; cached, because it is called three times for each cell."""
    return syntax_error(text, "<cell>", 0) is None


def syntax_error(cell: str, name: str, offset: int) -> SyntaxError | None:
    """The cell's syntax error, with `offset` added to its line numbers; None if the cell compiles."""
    try:
        compile("\n" * offset + cell, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return None  # null bytes, or nested too deeply for this parser; the Python that runs the cell reports it
    return None


def refuse_invalid_python(get_name: Callable[[], str], cell: str, code: str = "", offset: int = 1) -> None:
    """Refuse a cell that this Python cannot compile. `get_name` returns its file name; `offset` lines are above it.

    `code` is the translation of a cell with IPython's syntax (ipython_syntax.py); "" for plain Python.

    Raises:
        CellFailed: the cell has a syntax error; IPython shows it like that of a plain cell.
    """
    if parses(code or cell):
        return
    name = get_name()
    error = syntax_error(code or cell, name, offset)
    if error is None:
        return
    lines, number = ("\n" * offset + cell).split("\n"), error.lineno or 0
    if code and 0 < number <= len(lines) and error.text is not None:
        original, translated = lines[number - 1], error.text.rstrip("\n")
        if original != translated:
            shift = len(original) - len(translated) if original.endswith(translated) else None
            error.text = original + "\n"
            error.offset = 1 if shift is None else (error.offset or 1) + shift
            error.end_offset = len(original) + 1 if shift is None else (error.end_offset or 0) + shift
    raise remote_traceback.rebuild.syntax_error(error, cell_name=name)
