"""Describe the cell's exception as a record, so that the notebook can raise it and show its traceback.

Rules:
- `describe` never raises, whatever the exception's methods do, and the size of its result is limited.
- Our own frames are left out. Frames of the cell have only line numbers, because the notebook has the text.
- The format is in docs/protocol.md, `error`.
"""

import ast
import importlib.util
import itertools
import json
import linecache

from . import values

MAX_EXCEPTIONS = 100  # in one chain or group
MAX_FRAMES = 200  # different frames in one traceback; a repeated one is only a number
MAX_ORDER = 4000  # entries of one traceback
MAX_TEXT = 20000  # characters of a message, a note, a representation
MAX_ARGS = 65536  # characters of the packed arguments
CONTEXT_LINES = 3  # lines before and after, for frames of libraries
UNPRINTABLE = "<exception str() failed>"

# Attributes that builtin exceptions have in addition to their arguments.
_ATTRIBUTES = (
    (OSError, ("errno", "strerror", "filename", "filename2")),
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
    (StopIteration, ("value",)),
    (SystemExit, ("code",)),
)
_SYNTAX = ("filename", "lineno", "offset", "end_lineno", "end_offset", "text", "msg")


def describe(exc, cell_file, hidden=()):
    # type: (BaseException, str, tuple[str, ...]) -> dict
    """The exception as a JSON object; frames in files whose paths begin with one of `hidden` are left out."""
    try:
        record = _Describer(cell_file, tuple(hidden)).describe(exc)  # type: dict
        if isinstance(exc, ImportError):
            record["missing"] = _safe(lambda: _missing(cell_file), [])
    except BaseException:  # noqa: BLE001 - the exception's methods can raise anything, and it must be reported
        return dict(_EMPTY, ename=_safe(lambda: type(exc).__name__, "Exception"), evalue=UNPRINTABLE)
    return record


_EMPTY = {
    "ename": "Exception",
    "module": "builtins",
    "qualname": "Exception",
    "evalue": "",
    "mro": ["Exception", "BaseException"],
    "bases": [],
    "args": None,
    "attributes": {},
    "syntax": None,
    "frames": [],
    "order": [],
    "omitted": 0,
    "notes": [],
    "cause": None,
    "context": None,
    "suppress_context": False,
    "message": "",
    "members": None,
}  # type: dict


def _safe(function, default):
    try:
        return function()
    except BaseException:  # noqa: BLE001 - this calls the user's code
        return default


def _text(value):
    # type: (object) -> str
    if not isinstance(value, str):
        return UNPRINTABLE
    value = str(value)
    return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "... (%d characters)" % len(value)


def _message(exc):
    # type: (BaseException) -> str
    return _text(_safe(lambda: str(exc), UNPRINTABLE))


def _packed(value, most=MAX_ARGS):
    """A value as JSON; None if it is not plain data, or too long."""
    try:
        text = values.encode(value)
        return [json.loads(text)] if len(text) <= most else None
    except Exception:  # noqa: BLE001 - a value that cannot be packed is not sent
        return None


class _Describer:
    def __init__(self, cell_file, hidden):
        self.cell_file = cell_file
        self.hidden = hidden
        self.described = []  # type: list[int]

    def describe(self, exc):
        self.described.append(id(exc))
        cls = type(exc)
        record = dict(
            _EMPTY,
            ename=str(cls.__name__),
            module=str(_safe(lambda: cls.__module__, "")),
            qualname=str(cls.__qualname__),
            evalue=_message(exc),
            mro=[base.__name__ for base in cls.__mro__ if _is_builtin(base)],
            bases=[[str(base.__module__), base.__qualname__] for base in cls.__mro__ if base.__module__ != "builtins"],
            args=_safe(lambda: self._args(exc), None),
            attributes=_safe(lambda: self._attributes(exc), {}),
            notes=_safe(lambda: self._notes(exc), []),
            suppress_context=bool(exc.__suppress_context__),
        )
        if isinstance(exc, SyntaxError):
            record["syntax"] = _safe(lambda: self._syntax(exc), None)
        record["frames"], record["order"], record["omitted"] = _safe(
            lambda: self._frames(exc.__traceback__), ([], [], 0)
        )
        record["cause"] = self._other(exc.__cause__)
        if exc.__cause__ is None or exc.__cause__ is not exc.__context__:
            record["context"] = self._other(exc.__context__)
        if "BaseExceptionGroup" in record["mro"]:
            record["message"] = _text(_safe(lambda: exc.message, ""))
            members = _safe(lambda: tuple(exc.exceptions), ())
            record["members"] = [other for other in map(self._other, members) if other]
        return record

    def _other(self, exc):
        """Another exception of the chain or group, unless it is already in the record, or there are too many."""
        if exc is None or id(exc) in self.described or len(self.described) >= MAX_EXCEPTIONS:
            return None
        return _safe(lambda: self.describe(exc), None)

    def _args(self, exc):
        if isinstance(exc, SyntaxError) or "BaseExceptionGroup" in [base.__name__ for base in type(exc).__mro__]:
            return None  # these are in `syntax`, or in `message` and `members`
        packed = _packed(list(exc.args))
        return packed[0] if packed else None

    def _attributes(self, exc):
        names = [name for cls, names in _ATTRIBUTES if isinstance(exc, cls) for name in names]
        names += [name for name in _safe(lambda: list(vars(exc)), []) if name != "__notes__"]
        packed_by_name = {}
        for name in names:
            value = _safe(lambda name=name: getattr(exc, name), None)
            packed = _packed(value, 4096)
            if value is not None and packed and isinstance(name, str):
                packed_by_name[name] = packed[0]
        return packed_by_name

    def _notes(self, exc):
        notes = getattr(exc, "__notes__", None)
        if notes is None:
            return []
        if not isinstance(notes, (list, tuple)):
            return [_text(_safe(lambda: repr(notes), "<__notes__ repr() failed>"))]
        return [_text(_safe(lambda note=note: str(note), "<note str() failed>")) for note in notes[:50]]

    def _syntax(self, exc):
        fields = {}
        for name in _SYNTAX:
            value = getattr(exc, name, None)
            whole = name in ("lineno", "offset", "end_lineno", "end_offset")
            fields[name] = value if isinstance(value, int if whole else str) else None
        fields["cell"] = fields["filename"] == self.cell_file
        return fields

    def _frames(self, trace):
        """(different frames, their order as indexes, number of frames omitted in the middle)."""
        frames = []  # type: list[dict]
        indices = {}  # type: dict[tuple, int]
        order = []  # type: list[int]
        omitted = 0
        while trace is not None:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith(self.hidden or ("\0",)):
                key = (code, trace.tb_lasti, trace.tb_lineno)
                if key not in indices and len(frames) < MAX_FRAMES:
                    indices[key] = len(frames)
                    frames.append(self._frame(trace, code))
                if key in indices:
                    order.append(indices[key])
                else:
                    omitted += 1
            trace = trace.tb_next
        if len(order) > MAX_ORDER:
            omitted += len(order) - MAX_ORDER
            order[MAX_ORDER // 2 : -MAX_ORDER // 2] = []
        return frames, order, omitted

    def _frame(self, trace, code):
        line = trace.tb_lineno or 0
        end_line = col = end_col = None
        if hasattr(code, "co_positions") and trace.tb_lasti >= 0:
            position = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None), (None,) * 4)
            if position[0] == line:
                _, end_line, col, end_col = position
        count = code.co_argcount + code.co_kwonlyargcount
        names = list(code.co_varnames)
        starred = names[count : count + 1] if code.co_flags & 4 else []
        cell = code.co_filename == self.cell_file
        first, lines = (0, []) if cell else self._context(code.co_filename, line, trace.tb_frame.f_globals)
        return {
            "file": code.co_filename,
            "cell": cell,
            "line": line,
            "end_line": end_line,
            "col": col,
            "end_col": end_col,
            "func": getattr(code, "co_qualname", code.co_name),
            "def_line": code.co_firstlineno,
            "args": names[:count],
            "varargs": starred[0] if starred else "",
            "varkw": names[count + len(starred)] if code.co_flags & 8 else "",
            "first": first,
            "lines": lines,
        }

    def _context(self, file, line, names):
        """(number of the first line, the lines around `line`)."""
        lines = _safe(lambda: linecache.getlines(file, names), [])
        first = max(1, line - CONTEXT_LINES)
        return first, [str(text).rstrip("\r\n")[:1000] for text in lines[first - 1 : line + CONTEXT_LINES]]


def _missing(cell_file):
    # type: (str) -> list
    """The modules that the cell imports outside of `try` and that cannot be found; a name of one counts as a module."""
    nodes = [ast.parse("".join(linecache.getlines(cell_file)))]  # type: list
    modules = []  # type: list
    for node in nodes:
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [] if node.level else ["%s.%s" % (node.module, alias.name) for alias in node.names]
        elif not isinstance(node, ast.Try):
            nodes += ast.iter_child_nodes(node)
    return [name for name in modules if _is_missing(name.split("."))]


def _is_missing(parts):
    # type: (list) -> bool
    for number in range(len(parts)):
        spec = importlib.util.find_spec(".".join(parts[: number + 1]))
        if spec is None or spec.origin:  # only a namespace, such as google, has no origin; other packages can share it
            return spec is None
    return False


def _is_builtin(cls):
    # type: (type) -> bool
    return cls.__module__ == "builtins" and issubclass(cls, BaseException)
