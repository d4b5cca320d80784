"""Rebuild a remote exception so that it looks as if the cell had raised it here: name, builtin type and traceback.

Rules:
- IPython renders the traceback, on the lines of the cell and only with remote frames.
- No remote code runs: each frame is created by a stub that fails at the same position in the text.
- If this process has imported the exception's class, or one of its bases, the exception is also an instance of that
  class, so that `except` catches it. The class is found by name, and none of its code runs to create the instance.
- Every exception is first of all a `CellFailed`. Builtin types that would make IPython exit or show our own frames
  (SystemExit, KeyboardInterrupt, GeneratorExit, SyntaxError) keep only their name.
- Raise the result of `rebuild` with a plain `raise error`, outside of any `except`; `from None` would drop its cause.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import sys
import traceback
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from uv_argo_magic.core.protocol.remote_error import RemoteError, Syntax
from uv_argo_magic.core.view import messages
from uv_argo_magic.errors import CellFailed
from uv_argo_magic.remote_traceback import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType

    from uv_argo_magic.core.protocol.state import RunState

BUILTINS: dict[str, type[Exception]] = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, SyntaxError)
}
"""The builtin types that a rebuilt exception can derive from. (`EnvironmentError` and `IOError` are OSError.)"""

Shell: TypeAlias = Any
"""An InteractiveShell; None if there is none."""

ROOTS = ("Exception", "BaseException")
_classes: dict[tuple[object, ...], type[Rebuilt]] = {}


class Rebuilt(CellFailed):
    """An exception of a cell; its class has the remote name, and `remote` is the guest's record."""

    remote: RemoteError
    cell_name: str = ""
    remote_traceback: TracebackType | None = None

    def __str__(self) -> str:
        return self.remote.evalue

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the state, which contains the whole run and its outputs.
        return rebuild, (self.remote,)

    def _render_traceback_(self) -> list[str]:
        with frames.sources(self.remote):
            lines = [frames.clean(part) for part in self._lines()]
        return [*lines, self.hint] if self.hint else lines

    def _lines(self) -> list[str]:
        shell = _shell()
        if self.remote.syntax is not None and shell is not None:
            return _syntax_lines(shell, self)
        if shell is None or _has_group(self):
            error = self if self.remote.syntax is None else _builtin_syntax_error(self, self.remote.syntax)
            summary = traceback.TracebackException(type(error), error, self.remote_traceback)
            return "".join(summary.format()).rstrip("\n").split("\n")
        lines: list[str] = shell.InteractiveTB.structured_traceback(
            type(self), self, self.remote_traceback, tb_offset=0
        )
        return lines


class _Grouped(Rebuilt):
    """An exception group; the members that `except*` does not handle form a new group."""

    def derive(self, members: Sequence[Exception]) -> ExceptionGroup[Exception]:
        return ExceptionGroup(self.remote.message, members)


def rebuild(
    remote: RemoteError, *, state: RunState | None = None, cell_name: str = "", line_offset: int = 0
) -> Rebuilt:
    """The exception to raise; `cell_name` is from `find_cell_name`, `line_offset` is added to its line numbers."""
    return _rebuild(remote, state, frames.locate(remote, cell_name, line_offset))


def _rebuild(remote: RemoteError, state: RunState | None, location: frames.FrameLocation) -> Rebuilt:
    error = _instance(remote, state, location)
    if not isinstance(error, BaseExceptionGroup):  # a group already has its message
        error.message = remote.evalue
    error.hint = messages.hint(state) if state else ""
    error.state = state
    error.remote = remote
    error.cell_name = location.cell_name
    for name, value in remote.attribute_values().items():
        if not hasattr(type(error), name) or name in _OWN_SLOTS:
            with contextlib.suppress(AttributeError, TypeError):
                setattr(error, name, value)
    for note in remote.notes:
        error.add_note(note)
    error.remote_traceback = frames.chain(remote, location)
    error.__traceback__ = error.remote_traceback
    if remote.context is not None:
        error.__context__ = _rebuild(remote.context, state, location)
    if remote.cause is not None:
        error.__cause__ = _rebuild(remote.cause, state, location)
    error.__suppress_context__ = remote.suppress_context
    return error


# Attributes that builtin exceptions have in their own slots, in addition to the arguments.
_OWN_SLOTS = ("errno", "strerror", "filename", "filename2", "name", "path", "value")


def _instance(remote: RemoteError, state: RunState | None, location: frames.FrameLocation) -> Rebuilt:
    """The exception without a traceback, of the nearest builtin type that accepts its arguments, or only of ours."""
    if remote.members is not None:
        members = [_rebuild(item, state, location) for item in remote.members]
        if members:
            group: Any = _class(remote, ExceptionGroup)
            rebuilt: Rebuilt = ExceptionGroup.__new__(group, remote.message, members)
            rebuilt.args = (remote.message, members)
            return rebuilt
    args = remote.args()
    if args is not None:
        for name in remote.mro:
            base = BUILTINS.get(name)
            if base is None or name in ROOTS or issubclass(base, BaseExceptionGroup):
                continue
            # Not every subclass passes on its arguments, so try the builtin type with them.
            with contextlib.suppress(Exception):
                base(*args)
                cls: Any = _class(remote, base)
                error: Rebuilt = base.__new__(cls, *args)
                base.__init__(error, *args)
                error.args = args
                return error
    cls = _class(remote, Exception)
    error = cls.__new__(cls)
    error.args = (remote.evalue,) if args is None else args
    return error


def _class(remote: RemoteError, base: type[Exception]) -> type[Rebuilt]:
    """The class with the remote name; cached, so that `type(a) is type(b)` for exceptions of one remote class."""
    local = _local_class(remote, base)
    key = (remote.module, remote.qualname, remote.ename, base.__name__, local)
    if key not in _classes:
        parent = _Grouped if base is ExceptionGroup else Rebuilt
        bases = (parent,) if base is Exception else (parent, base)
        body = {"__module__": remote.module, "__qualname__": remote.qualname, "__doc__": None}
        rebuilt: type[Rebuilt] | None = None
        if local is not None:
            with contextlib.suppress(Exception):  # a class can refuse subclasses, or have another layout
                # The local class can have properties with these names, which cannot be set.
                ours = {} if parent is _Grouped else {"message": "", "hint": "", "state": None}
                rebuilt = type(remote.ename, (parent, local), {**body, **ours})
        _classes[key] = rebuilt or type(remote.ename, bases, body)
    return _classes[key]


def _local_class(remote: RemoteError, base: type[Exception]) -> type[Exception] | None:
    """The nearest class of the remote exception that this process has imported and that derives from `base`."""
    for module, qualname in remote.bases:
        found: object = sys.modules.get(module)
        for name in qualname.split("."):
            found = vars(found).get(name) if isinstance(found, type | ModuleType) else None
        if isinstance(found, type) and issubclass(found, base) and not issubclass(found, Rebuilt):
            return found
    return None


def _has_group(error: BaseException | None) -> bool:
    """Whether the chain has an exception group, which IPython lets Python print."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _shell() -> Shell:
    """The running InteractiveShell, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def show_groups(shell: Shell) -> None:
    """Make IPython show rebuilt groups as errors of the cell, instead of text on stderr with internal frames.

    IPython has only one custom handler. If another extension uses it, Python prints groups.
    """
    if not shell.custom_exceptions:

        def handler(shell: Shell, etype: type, value: Rebuilt, _tb: object, tb_offset: int | None = None) -> None:
            del tb_offset  # for internal frames, which are not shown
            shell._showtraceback(etype, value, value._render_traceback_())  # noqa: SLF001

        shell.set_custom_exc((Rebuilt,), handler)


def find_cell_name(shell: Shell, line: str, cell: str, magic: str = "argo") -> str:
    """The file name for which tracebacks show `Cell In[n]`; call this while the magic runs."""
    return cell_namer(shell, line, cell, magic)()


def cell_namer(shell: Shell, line: str, cell: str, magic: str = "argo") -> Callable[[], str]:
    """A function that returns that name. It is lazy, because IPython hashes the whole text, and few cells need it."""
    number = shell.execution_count
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no API for the number of the running cell
    names = getattr(shell.compile, "_filename_map", {})
    while frame is not None:
        if frame.f_code.co_filename in names:
            number = names[frame.f_code.co_filename]  # the outermost one: a function can be from another cell
        frame = frame.f_back
    # The magic's line is not Python. As a comment (`clean` removes the mark), the rest can be parsed.
    return functools.cache(
        lambda: str(shell.compile.cache(f"{frames.HIDDEN_COMMENT}%%{magic} {line}".rstrip() + "\n" + cell, number))
    )


def _syntax_lines(shell: Shell, error: Rebuilt) -> list[str]:
    """IPython's output for a SyntaxError: its position, and the traceback of the code that was running."""
    assert error.remote.syntax is not None  # noqa: S101 - the caller has checked it
    error_here = _builtin_syntax_error(error, error.remote.syntax)
    lines: list[str] = shell.SyntaxTB.structured_traceback(
        type(error_here), error_here, traceback.extract_tb(error.remote_traceback)
    )
    return lines


def _builtin_syntax_error(error: Rebuilt, syntax: Syntax) -> SyntaxError:
    """The SyntaxError itself, which Python and IPython show with its line and a caret."""
    remote = error.remote
    filename = error.cell_name if syntax.cell and error.cell_name else syntax.filename
    details: Any = (filename, syntax.lineno, syntax.offset, syntax.text, syntax.end_lineno, syntax.end_offset)
    error_here = BUILTIN_SYNTAX.get(remote.mro[0] if remote.mro else "", SyntaxError)(syntax.msg or "", details)
    for note in remote.notes:
        error_here.add_note(note)
    error_here.__cause__, error_here.__context__ = error.__cause__, error.__context__
    error_here.__suppress_context__ = error.__suppress_context__
    return error_here


BUILTIN_SYNTAX = {cls.__name__: cls for cls in (SyntaxError, IndentationError, TabError)}


class Interrupted(KeyboardInterrupt):
    """An interrupt that stopped a run; its traceback has no frames of ours."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


# Front ends show the name of the class.
Interrupted.__name__ = Interrupted.__qualname__ = "KeyboardInterrupt"


def syntax_error(error: SyntaxError, *, state: RunState | None = None, cell_name: str = "") -> Rebuilt:
    """The exception to raise for a SyntaxError that was found before the run was submitted."""
    syntax = Syntax(
        filename=cell_name or error.filename, lineno=error.lineno, offset=error.offset, end_lineno=error.end_lineno,
        end_offset=error.end_offset, text=error.text, msg=error.msg, cell=True,
    )  # fmt: skip
    name = type(error).__name__
    remote = RemoteError(
        ename=name, module="builtins", qualname=name, evalue=str(error), mro=(name,), syntax=syntax,
        notes=tuple(getattr(error, "__notes__", ())),
    )  # fmt: skip
    return rebuild(remote, state=state, cell_name=cell_name)
