"""Export a cell as a script with a PEP 723 block, for `uv run FILE.py`.

Rules:
- The cell stays unchanged, except that the exported script block replaces an existing one.
- Every package is pinned. The URLs of indexes are included without user name and password.
- Notes list the differences from the run, for example that a script does not show its last expression.
"""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements import pep723 as scripts
from uv_argo_magic.core.spec import indexes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uv_argo_magic.core.resolution.lock import Lock
    from uv_argo_magic.core.spec.run_spec import Settings

AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


@frozen
class Standalone:
    """The text of the script, and notes on the differences from the run."""

    text: str
    notes: tuple[str, ...] = ()


def standalone(
    cell: str, *, lines: Sequence[str], minor: str, settings: Settings, comment: str, pinned: bool = True
) -> Standalone:
    """The script of a cell: `lines` are its requirements (with `pinned`, a whole lock), `minor` is its Python's "X.Y".

    `comment` is one line for the reader of the file.
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
    """The exact requirements of this lock. PEP 723 allows hashes only in URLs.

    The base packages of the run are included, since another Python does not have them.
    """
    base_pins = tuple(f"{name}=={version}" for name, version in lock.base_packages)
    return base_pins + tuple(
        f"{package.name} @ {package.url}{'&' if '#' in package.url else '#'}sha256={package.sha256}"
        if package.url
        else f"{package.name}=={package.version}"
        for package in lock.packages
    )


def _uv(settings: Settings, *, pinned: bool) -> Iterator[str]:
    """The settings that `uv run` needs; pinned versions need no resolution settings."""
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
    """A basic string of TOML; the escapes of JSON are valid in it."""
    return json.dumps(text, ensure_ascii=False)


def _notes(cell: str, settings: Settings) -> Iterator[str]:
    if indexes.credentials(settings):
        yield "Index credentials are not included: set them in uv's environment or in a .netrc file."
    if settings.variables:
        yield f"Set the environment variables of the cell: {', '.join(name for name, _ in settings.variables)}."
    try:
        tree = compile(cell, "<cell>", "exec", AWAIT | ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError):  # the syntax of another Python
        return
    try:
        compile(cell, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        yield "Top-level await works only in notebooks: move it into a function, and call asyncio.run."
    if tree.body and isinstance(last := tree.body[-1], ast.Expr) and "print" not in ast.unparse(last)[:5]:
        yield "A script does not display its last expression: print it."
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
        yield "A script has no display(): use print, or import it from IPython.display."
