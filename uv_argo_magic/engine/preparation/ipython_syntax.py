"""IPython's syntax in a notebook's cell: its translation to Python, and checks that the guest supports it.

Rules:
- IPython's own transformers are used, so that the result is the same as in IPython. Valid Python is never changed.
- The translation has the same line numbers as the cell.
- The bodies of the magics in PYTHON_BODIES are translated as well, which IPython does when the magic runs.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic import cell_syntax
from uv_argo_magic.core import requirements as grammar
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements.model import Requirement
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.suggest import nearest
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec

PYTHON_BODIES = ("time", "timeit", "capture")
"""Cell magics whose body is Python."""

LINE_MAGICS = frozenset({
    "alias_magic", "cd", "config", "env", "ls", "matplotlib", "pinfo", "pinfo2", "pip", "precision", "psearch", "pwd",
    "set_env", "sx", "system", "time", "timeit", "uv", "who", "who_ls", "whos",
    "cat", "cp", "mkdir", "mv", "rm", "rmdir",
})  # fmt: skip
"""The line magics that the guest supports."""

CELL_MAGICS = frozenset({
    *PYTHON_BODIES, "HTML", "SVG", "bash", "file", "html", "javascript", "js", "latex", "markdown", "perl", "python",
    "python3", "ruby", "script", "sh", "svg", "sx", "system", "writefile", "!",
})  # fmt: skip
"""The cell magics that the guest supports."""

CONFIGURABLE = ("InlineBackend", "InteractiveShell")
"""The classes whose settings `%config` can change in the guest."""


@frozen
class MagicCall:
    """One use of a magic in a cell: `line` is its line in the cell, from 1, and `argument` the text after the name."""

    name: str
    argument: str
    line: int
    is_cell_magic: bool = False

    def __str__(self) -> str:
        return ("%%" if self.is_cell_magic else "%") + self.name


def translate(cell: str) -> str:
    """The cell as Python, line by line; "" if it does not use IPython's syntax."""
    if cell_syntax.parses(cell):
        return ""
    try:
        code = _translate(cell)
    except (SyntaxError, RuntimeError):  # it cannot be translated; Python reports the error
        return ""
    return "" if code == cell else code


def _translate(cell: str) -> str:
    from IPython.core import inputtransformer2  # noqa: PLC0415 - 55 ms, and a script needs none

    class LineByLine(inputtransformer2.TransformerManager):  # type: ignore[misc]
        """Adds empty lines if a transformer joins lines."""

        def do_one_token_transform(self, lines: list[str]) -> tuple[bool, list[str]]:
            changed, new = super().do_one_token_transform(lines)
            if len(new) < len(lines):
                pairs = zip(lines, new, strict=False)
                joined = next((index for index, (old, now) in enumerate(pairs) if old != now), len(new) - 1)
                new = [*new[: joined + 1], *["\n"] * (len(lines) - len(new)), *new[joined + 1 :]]
            return changed, new

    manager = LineByLine()
    text = cell if cell.endswith("\n") else cell + "\n"
    lines = text.splitlines(keepends=True)
    blank = next((index for index, line in enumerate(lines) if line.strip()), 0)
    lines, above = lines[blank:], lines[:blank]
    for transform in manager.cleanup_transforms:
        lines = transform(lines)
    above = ["\n" * line.count("\n") for line in above]
    if lines and lines[0].startswith("%%") and "?" not in lines[0].split()[0]:
        name, _, argument = lines[0][2:].rstrip().partition(" ")
        body = "".join(lines[1:])
        if name in PYTHON_BODIES and not cell_syntax.parses(body):
            body = _translate(body) if body.strip() else body
        call = f"get_ipython().run_cell_magic({name!r}, {argument!r}, {body!r})\n"
        return "".join(above) + call + "\n" * body.count("\n")
    return "".join(above) + "".join(manager.do_token_transforms(lines))


def magics(code: str) -> list[MagicCall]:
    """The magics that translated code calls, in order."""
    try:
        tree = compile(code, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr="run_line_magic"),
                args=[ast.Constant(value=str(name)), ast.Constant(value=str(argument)), *_],
            ):
                found.append(MagicCall(name=name, argument=argument, line=node.lineno))
                if name in PYTHON_BODIES:
                    found += _inner(argument, node.lineno - 1)
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr="run_cell_magic"),
                args=[ast.Constant(value=str(name)), ast.Constant(value=str(argument)), ast.Constant(value=str(body))],
            ):
                found.append(MagicCall(name=name, argument=argument, line=node.lineno, is_cell_magic=True))
                if name in PYTHON_BODIES:
                    found += _inner(body, node.lineno)
            case _:
                pass
    return sorted(found, key=lambda call: call.line)


def _inner(code: str, above: int) -> Iterator[MagicCall]:
    for call in magics(code):
        yield MagicCall(
            name=call.name, argument=call.argument, line=call.line + above, is_cell_magic=call.is_cell_magic
        )


NEEDS_IPYTHON = frozenset({"geoviews", "holoviews", "hvplot", "panel"})
"""Packages that need the real IPython but do not require it, so that it is added."""


def with_ipython(requirements: Requirements, names: Iterable[str], code: str = "") -> Requirements:
    """The requirements of a notebook's cell, with IPython if its `code` or one of the packages `names` needs it."""
    names = set(names)
    is_needed = bool(names & NEEDS_IPYTHON) or any(_only_ipython_has(call) for call in magics(code))
    if requirements.complete or "ipython" in names or not is_needed:
        return requirements
    return replace(requirements, items=(*requirements.items, Requirement(name="ipython")))


def _only_ipython_has(call: MagicCall) -> bool:
    if call.name in (CELL_MAGICS if call.is_cell_magic else LINE_MAGICS):
        return False
    from IPython.core import magics as classes  # noqa: PLC0415 - 50 ms, and few cells have such a magic

    kind = "cell" if call.is_cell_magic else "line"
    return any(call.name in getattr(getattr(classes, name), "magics", {}).get(kind, ()) for name in dir(classes))


def installs(code: str, offset: int) -> tuple[tuple[str, Requirements], ...]:
    """The `%pip install` lines: the text after `%pip`, and its requirements.

    Raises:
        SpecError: a line is computed, or has an option or a command that is not available.
    """
    found = {}
    for call in magics(code) if "run_line_magic('pip'" in code or "run_line_magic('uv'" in code else ():
        if call.name in ("pip", "uv"):
            found[call.argument] = _install(call, offset)
    return tuple(found.items())


def _install(call: MagicCall, offset: int) -> Requirements:
    at = f"line {call.line + offset}: {call} {call.argument}"
    words = call.argument.split()
    if call.name == "uv" and words[:1] == ["pip"]:
        del words[0]
    if words[:1] != ["install"]:
        raise SpecError(f"{at}: only %pip install is available in a cell", hint="Remove the line, or use !pip.")
    if re.search(r"[$]\w|{", call.argument):
        raise SpecError(
            f"{at}: the packages are computed", hint="Write their names: they are locked before the cell runs."
        )
    names = [word for word in words[1:] if word not in _IGNORED_OPTIONS]
    options = [word for word in names if word.startswith("-")]
    if options:
        raise SpecError(
            f"{at}: {options[0]} is not available", hint="Use settings of %%argo, or add the packages to --deps."
        )
    if not names:
        raise SpecError(f"{at} names no package", hint="Write %pip install NAME.")
    return grammar.parse(" ".join(name.strip("'\"") for name in names), source=f"line {call.line + offset}")


_IGNORED_OPTIONS = frozenset({"-q", "-qq", "--quiet", "-U", "--upgrade", "--user", "--no-cache-dir", "--no-input"})
"""Options that are ignored: a lock already has the newest versions, and installs belong to the run only."""


def has_ipython(resolution: Resolution) -> bool:
    """Whether IPython is one of the packages; False if they are not known yet."""
    return isinstance(resolution, Lock) and any(package.name == "ipython" for package in resolution.packages)


def refuse_unknown(spec: RunSpec, resolution: Resolution, *, is_started: bool = False) -> None:
    """Refuse a cell with a magic that its environment does not provide; `is_started` if its session has started.

    Raises:
        SpecError: a magic is not available; the error names the line and an alternative.
    """
    if not spec.code or has_ipython(resolution) or spec.settings.base:
        return
    if "ipython" in {item.name for item in spec.requirements.items}:
        return
    for call in magics(spec.code):
        _check(call, spec.line_offset, is_started)


def _check(call: MagicCall, offset: int, is_started: bool) -> None:
    at = f"line {call.line + offset}: {call}"
    if call.is_cell_magic and call.name == "argo":
        raise SpecError(f"{at} inside a cell with %%argo", hint="Use one %%argo line per cell.")
    known = CELL_MAGICS if call.is_cell_magic else LINE_MAGICS
    if call.name not in known:
        raise SpecError(f"{at} is not available in a cell with %%argo", hint=_instead(call, known, is_started))
    if call.name == "config" and (name := call.argument.partition(".")[0].strip()) not in CONFIGURABLE:
        raise SpecError(
            f"{at} {name} is not available in a cell with %%argo",
            hint=f"Remove it; %config is available for {' and '.join(CONFIGURABLE)}.",
        )


def _instead(call: MagicCall, known: Iterable[str], is_started: bool) -> str:
    if is_started and _only_ipython_has(call):
        return "Add ipython to --deps of the session's first cell, then run %argo restart and the cells again."
    mark = "%%" if call.is_cell_magic else "%"
    if best := nearest(call.name, known):
        return f"Did you mean {mark}{best}?"
    return "Move it to a cell without %%argo, or add ipython to --deps for IPython's own magics."
