"""A cell and what was resolved for it -> the text of a script that plain `uv run FILE.py` runs, by its PEP 723 block.

Rules:
- The cell is the script: its text is not touched, but for a script block of its own, whose place ours takes.
- Every package is pinned. An index keeps its address, and never a name and password in it.
- What a plain script is not is said: nobody shows its last expression, and nobody sets what a notebook or we do.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uv_argo_magic.core.requirements import pep723 as scripts
from uv_argo_magic.core.spec import indexes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uv_argo_magic.core.resolution.lock import Lock
    from uv_argo_magic.core.spec.run_spec import Settings

AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


@dataclass(frozen=True, kw_only=True)
class Standalone:
    """The script's text, and sentences on what is not the same as in the run."""

    text: str
    notes: tuple[str, ...] = ()


def standalone(
    cell: str, *, lines: Sequence[str], minor: str, settings: Settings, comment: str, pinned: bool = True
) -> Standalone:
    """The script of a cell: `lines` are its requirements (`pinned`: a whole lock), `minor` is its Python's "X.Y".

    `about` is one line for the reader of the file.
    """
    block = [
        f"requires-python = {_toml(f'=={minor}.*')}",
        "dependencies = [",
        *(f"  {_toml(line)}," for line in lines),
        "]",
    ]
    block += _uv(settings, pinned=pinned)
    header = [scripts.OPENED, *(f"# {line}" for line in block), scripts.CLOSED, f"# {comment}"]
    text = "\n".join(header) + "\n\n" + scripts.without_block(cell).lstrip("\n")
    return Standalone(text=text if text.endswith("\n") else text + "\n", notes=tuple(_notes(cell, settings)))


def pins(lock: Lock) -> tuple[str, ...]:
    """The requirements that ask for exactly what this lock holds; a hash can only stand in a URL.

    What the Python of the run had of its own is asked for as well: another Python has it not.
    """
    base_pins = tuple(f"{name}=={version}" for name, version in lock.base_packages)
    return base_pins + tuple(
        f"{package.name} @ {package.url}{'&' if '#' in package.url else '#'}sha256={package.sha256}"
        if package.url
        else f"{package.name}=={package.version}"
        for package in lock.packages
    )


def _uv(settings: Settings, *, pinned: bool) -> Iterator[str]:
    """What of the settings `uv run` has to know; versions that are pinned need no rules about choosing them."""
    table = []
    if settings.only_binary:
        table.append("no-build = true")
    if not pinned:
        rules = {"exclude-newer": settings.exclude_newer, "prerelease": settings.prerelease}
        rules |= {"resolution": settings.resolution}
        table += [f"{key} = {_toml(value)}" for key, value in rules.items() if value]
        lists = {"constraint-dependencies": settings.constraints, "override-dependencies": settings.overrides}
        table += [f"{key} = [{', '.join(map(_toml, value))}]" for key, value in lists.items() if value]
    if table:
        yield from ("[tool.uv]", *table)
    for name, url in indexes.by_name(settings).items():
        key = "default = true" if name == indexes.DEFAULT else f"name = {_toml(name)}"
        yield from ("[[tool.uv.index]]", f"url = {_toml(indexes.without_credentials(url))}", key)


def _toml(text: str) -> str:
    """A basic string of TOML, which JSON's escapes fit."""
    return json.dumps(text, ensure_ascii=False)


def _notes(cell: str, settings: Settings) -> Iterator[str]:
    if indexes.credentials(settings):
        yield "Credentials of an index are left out: give them to uv as it takes them, by its environment or netrc."
    if settings.env:
        yield f"It had these variables, which you have to set: {', '.join(name for name, _ in settings.env)}."
    try:
        tree = compile(cell, "<cell>", "exec", AWAIT | ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError):  # another Python's syntax than this one's
        return
    try:
        compile(cell, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        yield "It awaits at its top, which only notebooks can: put that into a function, and call asyncio.run."
    if tree.body and isinstance(last := tree.body[-1], ast.Expr) and "print" not in ast.unparse(last)[:5]:
        yield "A script does not show its last expression: print it."
    used: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
    if "display" in used - bound:
        yield "It calls display(), which a script does not have: print, or import it from IPython.display."
