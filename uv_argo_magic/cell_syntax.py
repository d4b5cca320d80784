"""Checks of a cell's text before it is submitted: plain Python, IPython syntax, or a syntax error.

Rules:
- Valid Python is never IPython syntax: a `%` in a string or in a continuation line is safe.
- IPython's own transformers find its syntax, so that both always agree.
"""

from __future__ import annotations

import ast
import re
import sys

from uv_argo_magic.errors import SpecError


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


def refuse_ipython(cell: str, offset: int) -> None:
    """Refuse a cell with IPython syntax, which plain Python cannot run.

    Raises:
        SpecError: names the line and what to write instead.
    """
    if not syntax_error(cell, "<cell>", 0):
        return
    number = _ipython_line(cell)
    if number is None:
        return
    text = cell.splitlines()[number].strip()
    raise SpecError(
        f"line {number + 1 + offset}: {text[:60]} is IPython syntax, and the cell runs as plain Python",
        hint=_instead(text),
    )


def _ipython_line(cell: str) -> int | None:
    """The first line (from 0) with IPython's syntax, or None."""
    # A terminal asks only for `syntax_error`; IPython takes 200 ms to import.
    from IPython.core.inputtransformer2 import HelpEnd, TransformerManager, make_tokens_by_line  # noqa: PLC0415

    if cell.lstrip().startswith("%%"):
        return len(cell[: len(cell) - len(cell.lstrip())].splitlines())
    lines = cell.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    tokens = make_tokens_by_line(lines)
    line_numbers = []
    for transformer in TransformerManager().token_transformers:
        try:
            match = transformer.find(tokens)
        except SyntaxError:
            continue
        # A line with an open string may end in a question mark too.
        if match is not None and not (transformer is HelpEnd and re.search("['\"]", lines[match.start_line])):
            line_numbers.append(match.start_line)
    return min(line_numbers, default=None)


_INSTALL = re.compile(r"(?:\w+ *= *)?[!%]{1,2}\s*(?:uv +)?pip3? +install +(?P<requirements>[^;&|]+)")


def _instead(text: str) -> str:
    install = _INSTALL.match(text)
    if install:
        names = " ".join(item for item in install["requirements"].split() if not item.startswith("-"))
        return f'Add the packages to the first line: %%argo --deps "{names}"'
    if text.startswith("%%"):
        return "Use one cell magic per cell."
    if "?" in (text[:1], text[-1:]):
        return f"Use help({text.strip('?')}), or move it to a cell without %%argo."
    if re.match(r"!|[^\"'#]*= *!", text):
        return "Use subprocess.run([...]), or move it to a cell without %%argo."
    return "Move it to a cell without %%argo."


def refuse_invalid_python(name: str, cell: str, offset: int = 1) -> None:
    """Refuse a cell that this Python cannot compile; `name` is that of its text, `offset` the lines above it.

    Raises:
        CellFailed: named SyntaxError, and shown as IPython shows one in a plain cell.
    """
    error = syntax_error(cell, name, offset)
    if error:
        from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415 - 20 ms, and most cells are Python

        raise rebuild.syntax_error(error, cell_name=name)
