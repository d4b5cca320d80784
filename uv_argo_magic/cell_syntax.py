"""Checks of a cell's or script's text before it is submitted: whether this Python can compile it."""

from __future__ import annotations

import ast
import sys


def is_this_version(python: str) -> bool:
    """Whether this process can check code for that Python: only its own minor version has the same syntax."""
    return ".".join(python.split(".")[:2]) == ".".join(map(str, sys.version_info[:2]))


def syntax_error(cell: str, name: str, offset: int) -> SyntaxError | None:
    """The cell's syntax error, its lines counted from `offset`; None if it compiles."""
    try:
        compile("\n" * offset + cell, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return None  # null bytes, or too deep for this parser: the Python that runs the cell reports it
    return None


def refuse_invalid_python(name: str, cell: str, code: str = "", offset: int = 1) -> None:
    """Refuse a cell that this Python cannot compile; `name` is that of its text, `offset` the lines above it.

    `code` is the translation of a cell with IPython's syntax (engine/ipython_syntax.py), "" for plain Python.

    Raises:
        CellFailed: named SyntaxError, and shown as IPython shows one in a plain cell.
    """
    error = syntax_error(code or cell, name, offset)
    if error is None:
        return
    from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415 - 20 ms, and most cells are Python

    lines, number = ("\n" * offset + cell).split("\n"), error.lineno or 0
    if code and 0 < number <= len(lines) and error.text is not None:
        own, translated = lines[number - 1], error.text.rstrip("\n")
        if own != translated:
            shift = len(own) - len(translated) if own.endswith(translated) else None
            error.text = own + "\n"
            error.offset = 1 if shift is None else (error.offset or 1) + shift
            error.end_offset = len(own) + 1 if shift is None else (error.end_offset or 0) + shift
    raise rebuild.syntax_error(error, cell_name=name)
