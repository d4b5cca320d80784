"""`--push auto`: the variables that a cell reads but does not define, if they are plain data in the notebook."""

from __future__ import annotations

import ast
import symtable
import sys
from typing import TYPE_CHECKING

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import values
from uv_argo_magic.values import pushing
from uv_argo_magic.values.sealed import Sealed

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from uv_argo_magic.core.spec.run_spec import Pushed

AUTO = "auto"
"""The name in `--push` that means all of these variables."""
OF_IPYTHON = frozenset({"In", "Out", "exit", "quit", "get_ipython", "display"})


def encode(
    source: str, variables: Mapping[str, object], present: Container[str], limit: int
) -> tuple[tuple[Pushed, ...], tuple[str, ...]]:
    """(the variables, notes) for a cell, without those in `present`, and each with at most `limit` bytes."""
    found, notes = [], []
    for name in reads(source):
        if name not in variables or name in present or name in OF_IPYTHON or name.startswith("_"):
            continue
        value = variables[name]
        if isinstance(value, Sealed) or not values.can_encode(value):
            continue
        item = None if _at_least(value) > limit else pushing.encode_one(name, value)
        if item is None or item.size > limit:
            size = humanize.size(item.size if item else _at_least(value))
            notes.append(f"{name} is not pushed: its size ({size}) exceeds auto_push_limit; add --push {name}")
        else:
            found.append(item)
    return tuple(found), tuple(notes)


def _at_least(value: object) -> int:
    """A lower bound of a value's size, without looking at its items."""
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    try:
        return len(value)  # type: ignore[arg-type]  # not all values have a length
    except TypeError:  # sparse matrices have the method, but no length
        return sys.getsizeof(value) // 4


def reads(source: str) -> tuple[str, ...]:
    """The names that a cell reads before it defines them, in order; () if the cell has a syntax error."""
    try:
        tree = ast.parse(source)
        table = symtable.symtable(source, "<cell>", "exec")
    except (SyntaxError, ValueError):
        return ()
    visitor = _TopLevel()
    visitor.visit(tree)
    assigned = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    later = [name for name in _of_inner_scopes(table) if name not in assigned]
    return tuple(dict.fromkeys([*visitor.found, *later]))


def _of_inner_scopes(table: symtable.SymbolTable) -> list[str]:
    """The global names that functions, classes and comprehensions read."""
    found = []
    for child in table.get_children():
        found += [symbol.get_name() for symbol in child.get_symbols() if symbol.is_global() and symbol.is_referenced()]
        found += _of_inner_scopes(child)
    return found


class _TopLevel(ast.NodeVisitor):
    """The names that the cell's top-level statements read before they bind them."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.found: list[str] = []

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
        elif node.id not in self.bound:
            self.found.append(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name) and node.target.id not in self.bound:
            self.found.append(node.target.id)
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value:
            self.visit(node.value)
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.bound |= {node.name} if node.name else set()
        self.generic_visit(node)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        for statement in [*node.body, *node.orelse]:
            self.visit(statement)

    visit_AsyncFor = visit_For  # noqa: N815 - of ast

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}

    visit_ImportFrom = visit_Import  # noqa: N815 - of ast

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(part)
        self.bound.add(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - of ast

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]:
            self.visit(part)
        self.bound.add(node.name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(part)

    def _visit_comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)  # the rest is a separate scope

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension  # noqa: N815 - of ast
