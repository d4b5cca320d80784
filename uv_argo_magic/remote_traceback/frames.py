"""Create real frame objects for a remote traceback, so that any code that prints tracebacks can show them.

Rules:
- The user's code does not run: a stub of one statement, with the same function name, fails at the same position.
- Names of remote files are marked, so that a local file with the same name is not shown instead. `clean` removes the
  marks.
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

MARK = "\u2063"  # an invisible character that paths do not contain
HIDDEN_COMMENT = f"#{MARK}"
SPACE = 60  # blank lines between the shown lines of a file and a function definition for `inspect`


def clean(text: str) -> str:
    """Rendered text without the marks."""
    # The `%%argo` line was changed to a comment; colours can be between the mark and the rest of the line.
    return text.replace(HIDDEN_COMMENT, "").replace(MARK, "")


def marked(file: str) -> str:
    """The marked name of a remote file. It must not end in `.py`, because IPython would open such a file."""
    return f"{MARK}{_short(file)}{MARK}"


_LIBRARY = re.compile(r"^.*/(?:(?:site|dist)-packages|trees/\w+/site|lib/python3\.\d+t?)/")
"""The folder with an environment's packages, or with the standard library."""


def _short(file: str) -> str:
    """The path of a library's file in its package ("numpy/linalg/_linalg.py"); other paths with `~` for the home."""
    library = _LIBRARY.match(file)
    if library:
        return file[library.end() :]
    # Like IPython.utils.path.compress_user, without importing IPython in a terminal.
    home = os.path.join(os.path.expanduser("~"), "")  # noqa: PTH111, PTH118 - a remote path can be from another system
    return f"~{os.sep}{file[len(home) :]}" if file.startswith(home) else file


_SESSION_CELL = re.compile(r"[\\/]cell-(\d{8}-\d{6}-[0-9a-f]+)\.py\Z")
"""The file name of a session's cell, which contains the run's ID."""
_session_cells: dict[str, Callable[[], str]] = {}
"""Run -> function that returns the name of its cell, and makes the text available to tracebacks."""


def remember_cell(run: str, get_name: Callable[[], str]) -> None:
    """Make tracebacks of later cells in the session show frames of this run's cell under the name of that cell."""
    _session_cells[run] = get_name


def unknown_cells(remote: RemoteError) -> tuple[str, ...]:
    """The runs of earlier cells in the traceback that this kernel did not run."""
    runs = (_SESSION_CELL.search(frame.file) for frame in _all_frames(remote) if not frame.cell)
    return tuple({match[1] for match in runs if match and match[1] not in _session_cells})


def add_cell(title: str, text: str, line_offset: int) -> str:
    """Make the text of a cell outside this notebook available to tracebacks; return the cell name for `rebuild`."""
    name = marked(title)
    lines = ("\n" * line_offset + text).splitlines(keepends=True)
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    return name


@contextlib.contextmanager
def sources(remote: RemoteError) -> Iterator[None]:
    """Put the lines of remote files, as sent by the run, into `linecache` during the `with` block."""
    lines_by_file: dict[str, dict[int, str]] = {}
    for frame in _all_frames(remote):
        if frame.lines:
            lines = lines_by_file.setdefault(marked(frame.file), {})
            lines.update(enumerate(frame.lines, frame.first))
        elif frame.cell:
            lines_by_file.setdefault(marked(frame.file), {})[max(1, frame.line)] = "# source not available"
    for name, lines in lines_by_file.items():
        text = [lines.get(number, "") + "\n" for number in range(1, max(lines) + 1)]
        # `inspect` searches for a function definition; this one can be parsed, and is not shown.
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
    """The cell's name and syntax tree for its frames; `heads` has the line after the last one for each file."""

    cell_name: str
    line_offset: int
    tree: ast.Module | None
    heads: dict[str, int]


def locate(remote: RemoteError, cell_name: str, line_offset: int) -> FrameLocation:
    """The location of the frames of an exception, its chain and its members."""
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
    except (SyntaxError, ValueError):  # the syntax of another Python
        return None


class _Failing:
    """The operand of every operation in a stub; all operations on it fail."""

    def __repr__(self) -> str:
        return "<not sent>"  # shown by `%xmode Verbose` as the value of a variable

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # used by repr and inspect
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
    """The code of a stub: a function with the frame's name and arguments, or a module."""
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
    # IPython reads the qualified name from the file, and only a few lines of a library's file are available.
    return code.replace(co_name=simple if is_cell else frame.func, co_qualname=frame.func)


def _fails(code: types.CodeType, frame: Frame) -> types.TracebackType | None:
    """Run the stub, which fails; return the traceback entry of its frame."""
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
    """A statement that fails with the same operation at the same columns, or None."""
    if tree is None or frame.col is None or frame.end_col is None or frame.end_line is None:
        return None
    # The error of an `assert` has the position of its test, but the operation of the test did not fail.
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
    """The operation of the node with all operands replaced; the operands have the position of the node."""
    at = _span(node)

    def operand(ctx: ast.expr_context | None = None) -> ast.Name:
        return ast.Name(id=OPERAND, ctx=ctx or ast.Load(), **at)

    match node:
        case ast.Call() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():  # these are all calls
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
