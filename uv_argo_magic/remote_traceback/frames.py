"""Frames of a remote traceback as real frame objects, so that any code that prints tracebacks can show them.

Rules:
- The user's code does not run: a stub of one statement fails at the same line and columns, under the same name.
- Files of the remote side have marked names, so that a file of the same name here is not shown instead; `clean`
  takes the marks away.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import os
import re
import types
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.core.protocol.remote_error import Frame, RemoteError

MARK = "\u2063"  # an invisible sign that no path has
HIDDEN_COMMENT = f"#{MARK}"
SPACE = 60  # blank lines between the shown part of a file and the line where, to IPython, its functions begin


def clean(text: str) -> str:
    """Rendered text without the marks."""
    # The magic's line was made a comment; colours may stand between the sign and the rest.
    return text.replace(HIDDEN_COMMENT, "").replace(MARK, "")


def marked(file: str) -> str:
    """The name of a remote file here; it must not end in `.py`, since IPython would open such a file."""
    return f"{MARK}{_short(file)}{MARK}"


_LIBRARY = re.compile(r"^.*/(?:(?:site|dist)-packages|trees/\w+/site|lib/python3\.\d+t?)/")
"""The folder of an environment's packages, or of the standard library."""


def _short(file: str) -> str:
    """The path within its package for a library's file ("numpy/linalg/_linalg.py"), else with `~` for the home."""
    library = _LIBRARY.match(file)
    if library:
        return file[library.end() :]
    # As IPython.utils.path.compress_user, which would be all of IPython that a terminal imports.
    home = os.path.join(os.path.expanduser("~"), "")  # noqa: PTH111, PTH118 - a remote path may not be one of this system
    return f"~{os.sep}{file[len(home) :]}" if file.startswith(home) else file


_SESSION_CELL = re.compile(r"[\\/]cell-(\d{8}-\d{6}-[0-9a-f]+)\.py\Z")
"""The file of a session's cell, and the run that it is."""
_session_cells: dict[str, Callable[[], str]] = {}
"""Run -> the name of its cell, which makes the text available to tracebacks."""


def remember_cell(run: str, get_name: Callable[[], str]) -> None:
    """Let frames of this run's cell, called by later cells of its session, be shown in the cell of this name."""
    _session_cells[run] = get_name


def unknown_cells(remote: RemoteError) -> tuple[str, ...]:
    """The runs of earlier cells in the traceback that are not those of this kernel."""
    runs = (_SESSION_CELL.search(frame.file) for frame in _all_frames(remote) if not frame.cell)
    return tuple({match[1] for match in runs if match and match[1] not in _session_cells})


def add_cell(title: str, text: str, line_offset: int) -> str:
    """Make the text of a cell that is not in this notebook available to tracebacks; the name to give to `rebuild`."""
    name = marked(title)
    lines = ("\n" * line_offset + text).splitlines(keepends=True)
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    return name


@contextlib.contextmanager
def sources(remote: RemoteError) -> Iterator[None]:
    """Put the lines of remote files that the run sent into `linecache`, within the `with` block."""
    lines_by_file: dict[str, dict[int, str]] = {}
    for frame in _all_frames(remote):
        if frame.lines:
            lines = lines_by_file.setdefault(marked(frame.file), {})
            lines.update(enumerate(frame.lines, frame.first))
        elif frame.cell:
            lines_by_file.setdefault(marked(frame.file), {})[max(1, frame.line)] = "# source not available"
    for name, lines in lines_by_file.items():
        text = [lines.get(number, "") + "\n" for number in range(1, max(lines) + 1)]
        # Where `inspect` looks for the head of a function it finds one that can be parsed, out of sight.
        text += ["\n"] * SPACE + ["def _(): ...\n"]
        linecache.cache[name] = (sum(map(len, text)), None, text, name)
    try:
        yield
    finally:
        for name in lines_by_file:
            linecache.cache.pop(name, None)


def _all_frames(remote: RemoteError | None) -> Iterator[Frame]:
    if remote is None:
        return
    yield from remote.frames
    for other in (remote.cause, remote.context, *(remote.members or ())):
        yield from _all_frames(other)


@frozen
class FrameLocation:
    """Where the cell's frames are shown: the cell's name and tree here; `heads` is each file's line after the last."""

    cell_name: str
    line_offset: int
    tree: ast.Module | None
    heads: dict[str, int]


def locate(remote: RemoteError, cell_name: str, line_offset: int) -> FrameLocation:
    """The location of the frames of an exception and of its chain and members."""
    heads: dict[str, int] = {}
    for frame in _all_frames(remote):
        heads[frame.file] = max(heads.get(frame.file, 0), frame.first + len(frame.lines))
    return FrameLocation(cell_name=cell_name, line_offset=line_offset, tree=_tree(cell_name), heads=heads)


def chain(remote: RemoteError, location: FrameLocation) -> types.TracebackType | None:
    """The traceback of one exception, outermost frame first; None if it has no frames."""
    entries = [_frame(frame, location) for frame in remote.frames]
    trace: types.TracebackType | None = None
    for number in reversed(remote.order):
        entry = entries[number]
        if entry is not None:
            trace = types.TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trace


def _tree(cell_name: str) -> ast.Module | None:
    if not cell_name:
        return None
    try:
        return ast.parse("".join(linecache.getlines(cell_name)))
    except (SyntaxError, ValueError):  # of a Python that is not ours
        return None


class _Failing:
    """Stands for every operand in a stub: every operation on it fails."""

    def __repr__(self) -> str:
        return "<not sent>"  # what `%xmode Verbose` shows as the value of a variable

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # repr and inspect ask for these
            raise AttributeError(name)
        raise _StubError


class _StubError(Exception):
    pass


def _fail(*_args: object, **_kwargs: object) -> object:
    raise _StubError


_OPERATIONS = """
    call getitem setitem delitem contains iter bool neg pos invert lt le gt ge eq ne
    add sub mul truediv floordiv mod pow matmul lshift rshift and or xor
    iadd isub imul itruediv ifloordiv imod ipow imatmul ilshift irshift iand ior ixor
"""
for _name in _OPERATIONS.split():
    setattr(_Failing, f"__{_name}__", _fail)

OPERAND = "__operand__"


def _frame(frame: Frame, location: FrameLocation) -> types.TracebackType | None:
    """A traceback entry whose frame has the name, the position and the arguments of `frame`."""
    match = None if frame.cell else _SESSION_CELL.search(frame.file)
    get_name = _session_cells.get(match[1]) if match else None
    earlier_cell = get_name() if get_name else ""
    ours = frame.cell and bool(location.cell_name)
    shift = location.line_offset if ours else 0
    line = max(1, frame.line + shift)
    name = location.cell_name if ours else earlier_cell or marked(frame.file)
    tree = location.tree if ours else _tree(earlier_cell)
    ours = ours or bool(earlier_cell)
    statement = _statement(frame, tree, shift) if ours else None
    head = line
    if ours:
        head = max(1, frame.def_line + shift)
    elif frame.lines:
        head = location.heads[frame.file] + SPACE
    for body in (statement, _raise(line)):
        if body is None:
            continue
        with contextlib.suppress(Exception):
            return _fails(_code(frame, body, name, head, is_cell=frame.cell or ours), frame)
    return None


def _raise(line: int) -> ast.stmt:
    return ast.Raise(exc=ast.Name(id=OPERAND, ctx=ast.Load(), **_whole_line(line)), cause=None, **_whole_line(line))


def _whole_line(line: int) -> dict[str, Any]:
    return {"lineno": line, "col_offset": 0, "end_lineno": line, "end_col_offset": 0}


def _code(frame: Frame, body: ast.stmt, filename: str, head: int, *, is_cell: bool) -> types.CodeType:
    """The stub's code: a function of that name and those arguments, or a module."""
    simple = frame.func.rpartition(".")[2] or frame.func
    if simple == "<module>":
        module = compile(ast.Module(body=[body], type_ignores=[]), filename, "exec", dont_inherit=True)
        return module.replace(co_name="<module>")
    at = _whole_line(head)
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(arg=name, **at) for name in frame.args],
        vararg=ast.arg(arg=frame.varargs, **at) if frame.varargs else None,
        kwonlyargs=[],
        kw_defaults=[],
        kwarg=ast.arg(arg=frame.varkw, **at) if frame.varkw else None,
        defaults=[],
    )
    function = ast.FunctionDef(name="stub", args=arguments, body=[body], decorator_list=[], **at)
    if "type_params" in ast.FunctionDef._fields:  # from Python 3.12
        function.type_params = []  # type: ignore[attr-defined,unused-ignore]
    module = compile(ast.Module(body=[function], type_ignores=[]), filename, "exec", dont_inherit=True)
    code = next(const for const in module.co_consts if isinstance(const, types.CodeType))
    # IPython reads the qualified name from the file's text, and a library's file has only a few lines here.
    return code.replace(co_name=simple if is_cell else frame.func, co_qualname=frame.func)


def _fails(code: types.CodeType, frame: Frame) -> types.TracebackType | None:
    """Run the stub, which fails; the traceback entry of its frame."""
    operand = _Failing()
    names = {OPERAND: operand, "__builtins__": {}}
    module = code.co_name == "<module>"
    try:
        types.FunctionType(code, names)(*() if module else (operand,) * len(frame.args))
    except Exception as error:  # noqa: BLE001 - only the location matters
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None and trace.tb_next.tb_frame.f_code is code:
            entry = trace.tb_next
            return types.TracebackType(None, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return None


def _statement(frame: Frame, tree: ast.Module | None, shift: int) -> ast.stmt | None:
    """A statement that fails in the same operation at the same columns; None if there is none."""
    if tree is None or frame.col is None or frame.end_col is None or frame.end_line is None:
        return None
    # The error of an `assert` has the position of its test, whose operation did not fail.
    tests = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    span = (frame.line + shift, frame.col, frame.end_line + shift, frame.end_col)
    for node in ast.walk(tree):
        if tuple(_span(node).values()) == span and node not in tests:
            stub = _operation(node)
            if stub is not None:
                return stub
    return None


def _span(node: ast.AST) -> dict[str, Any]:
    return {name: getattr(node, name, None) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}


def _operation(node: ast.AST) -> ast.stmt | None:
    """The node's own operation with every operand replaced; each of them lies where the node does."""
    at = _span(node)

    def operand(ctx: ast.expr_context | None = None) -> ast.Name:
        return ast.Name(id=OPERAND, ctx=ctx or ast.Load(), **at)

    match node:
        case ast.Call() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():  # these call, too
            expression: ast.expr = ast.Call(func=operand(), args=[], keywords=[], **at)
        case ast.BinOp(op=op):
            expression = ast.BinOp(left=operand(), op=op, right=operand(), **at)
        case ast.UnaryOp(op=op):
            expression = ast.UnaryOp(op=op, operand=operand(), **at)
        case ast.Compare(ops=[op, *_]):
            expression = ast.Compare(left=operand(), ops=[op], comparators=[operand()], **at)
        case ast.Subscript(ctx=ast.Load()):
            expression = ast.Subscript(value=operand(), slice=operand(), ctx=ast.Load(), **at)
        case ast.Subscript(ctx=ast.Store()):
            target = ast.Subscript(value=operand(), slice=operand(), ctx=ast.Store(), **at)
            return ast.Assign(targets=[target], value=operand(), **at)
        case ast.Attribute(ctx=ast.Load(), attr=attr):
            expression = ast.Attribute(value=operand(), attr=attr, ctx=ast.Load(), **at)
        case ast.Name(ctx=ast.Load(), id=name):
            expression = ast.Name(id=name, ctx=ast.Load(), **at)
        case ast.Raise():
            return ast.Raise(exc=operand(), cause=None, **at)
        case ast.Import(names=[alias, *_]):
            return ast.Import(names=[ast.alias(name=alias.name, asname=None, **at)], **at)
        case ast.ImportFrom(module=module, names=names):
            return ast.ImportFrom(module=module, names=names, level=0, **at)
        case _:
            return None
    return ast.Expr(value=expression, **at)
