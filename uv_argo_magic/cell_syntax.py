"""What a cell's text is, before it travels: plain Python, or IPython's own syntax, or no Python at all.

Rules:
- What Python itself accepts is never called IPython's: a `%` in a string or in a continuation line is safe.
- IPython's own transformers find its syntax, so what they take for theirs and what is refused here cannot differ.
"""

from __future__ import annotations

import ast
import re

from IPython.core.inputtransformer2 import HelpEnd, TransformerManager, make_tokens_by_line

from uv_argo_magic.errors import SpecError
from uv_argo_magic.remote_traceback import rebuild as remote


def syntax_error(cell: str, name: str, offset: int) -> SyntaxError | None:
    """Why this Python refuses the cell, numbered as below `offset` lines; None where it does not."""
    try:
        compile("\n" * offset + cell, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return None  # null bytes, or too deep for this parser: the Python that runs it says so itself
    return None


def refuse_ipython(cell: str, offset: int) -> None:
    """Refuse a cell with IPython's own syntax, which a plain Python cannot run.

    Raises:
        SpecError: the line, and what to write instead.
    """
    if not syntax_error(cell, "<cell>", 0):
        return
    found = _ipython_line(cell)
    if found is None:
        return
    text = cell.splitlines()[found].strip()
    raise SpecError(
        f"line {found + 1 + offset}: {text[:60]} is IPython syntax, and the cell runs as plain Python",
        hint=_instead(text),
    )


def _ipython_line(cell: str) -> int | None:
    """The first line (from 0) with IPython's syntax, or None."""
    if cell.lstrip().startswith("%%"):
        return len(cell[: len(cell) - len(cell.lstrip())].splitlines())
    lines = cell.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    tokens = make_tokens_by_line(lines)
    found = []
    for transformer in TransformerManager().token_transformers:
        try:
            hit = transformer.find(tokens)
        except SyntaxError:
            continue
        # A string that was left open may end in a question mark, and is no question.
        if hit is not None and not (transformer is HelpEnd and re.search("['\"]", lines[hit.start_line])):
            found.append(hit.start_line)
    return min(found, default=None)


_INSTALL = re.compile(r"(?:\w+ *= *)?[!%]{1,2}\s*(?:uv +)?pip3? +install +(?P<what>[^;&|]+)")


def _instead(text: str) -> str:
    install = _INSTALL.match(text)
    if install:
        names = " ".join(word for word in install["what"].split() if not word.startswith("-"))
        return f'Give the cell its packages on its first line: %%argo --deps "{names}"'
    if text.startswith("%%"):
        return "One cell, one cell magic: keep %%argo, or take it away."
    if "?" in (text[:1], text[-1:]):
        return f"Write help({text.strip('?')}), or ask in a cell of its own, without %%argo."
    if re.match(r"!|[^\"'#]*= *!", text):
        return "Write subprocess.run([...]), or put it into a cell of its own, without %%argo."
    return "Put it into a cell of its own, without %%argo."


def refuse_no_python(name: str, cell: str) -> None:
    """Refuse a cell that this Python cannot compile; `name` is the cell's, whose line 1 is the magic's.

    Raises:
        CellFailed: named SyntaxError, and shown as IPython shows one in a plain cell.
    """
    error = syntax_error(cell, name, 1)
    if error:
        raise remote.syntax_error(error, cell_name=name)
