"""How the cell's exception is told: everything a notebook needs to raise and show it as its own.

Rules:
- `describe` never raises, whatever the exception's own methods do, and its size is bounded.
- Frames of ours are left out; a frame of the cell is told by its lines only, the notebook has the text.
- Shape: docs/protocol.md, `error`.
"""

import itertools
import json
import linecache

from . import values

MOST_EXCEPTIONS = 100  # in one chain or group
MOST_FRAMES = 200  # different ones in one traceback; repeats cost a number each
MOST_ORDER = 4000  # entries of one traceback
MOST_TEXT = 20000  # characters of a message, a note, a representation
MOST_ARGS = 65536  # characters of the packed arguments
AROUND = 3  # lines before and after, for frames of libraries
UNPRINTABLE = "<exception str() failed>"

# Attributes that builtin exceptions keep beside their arguments.
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
    """The exception as JSON can hold it; frames of files that begin with one of `hidden` are left out."""
    try:
        return _Teller(cell_file, tuple(hidden)).tell(exc)
    except BaseException:  # noqa: BLE001 - the exception may do anything, and this is the last that is said of it
        return dict(_EMPTY, ename=_safe(lambda: type(exc).__name__, "Exception"), evalue=UNPRINTABLE)


_EMPTY = {
    "ename": "Exception",
    "module": "builtins",
    "qualname": "Exception",
    "evalue": "",
    "mro": ["Exception", "BaseException"],
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


def _safe(ask, default):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    try:
        return ask()
    except BaseException:  # noqa: BLE001 - the user's code answers
        return default


def _text(value):
    # type: (object) -> str
    if not isinstance(value, str):
        return UNPRINTABLE
    value = str(value)
    return value if len(value) <= MOST_TEXT else value[:MOST_TEXT] + "... (%d characters)" % len(value)


def _said(exc):
    # type: (BaseException) -> str
    return _text(_safe(lambda: str(exc), UNPRINTABLE))


def _packed(value, most=MOST_ARGS):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The tree of a value; None where there is none, or a long one."""
    try:
        tree = values.pack(value)
        return [tree] if len(json.dumps(tree, allow_nan=False)) <= most else None
    except Exception:  # noqa: BLE001 - what cannot be packed does not travel
        return None


class _Teller:
    def __init__(self, cell_file, hidden):  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.cell_file = cell_file
        self.hidden = hidden
        self.seen = []  # type: list[int]

    def tell(self, exc):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        self.seen.append(id(exc))
        cls = type(exc)
        told = dict(
            _EMPTY,
            ename=str(cls.__name__),
            module=str(_safe(lambda: cls.__module__, "")),
            qualname=str(cls.__qualname__),
            evalue=_said(exc),
            mro=[base.__name__ for base in cls.__mro__ if _is_builtin(base)],
            args=_safe(lambda: self._args(exc), None),
            attributes=_safe(lambda: self._attributes(exc), {}),
            notes=_safe(lambda: self._notes(exc), []),
            suppress_context=bool(exc.__suppress_context__),
        )
        if isinstance(exc, SyntaxError):
            told["syntax"] = _safe(lambda: self._syntax(exc), None)
        told["frames"], told["order"], told["omitted"] = _safe(lambda: self._frames(exc.__traceback__), ([], [], 0))
        told["cause"] = self._other(exc.__cause__)
        if exc.__cause__ is None or exc.__cause__ is not exc.__context__:
            told["context"] = self._other(exc.__context__)
        if "BaseExceptionGroup" in told["mro"]:
            told["message"] = _text(_safe(lambda: exc.message, ""))
            members = _safe(lambda: tuple(exc.exceptions), ())
            told["members"] = [other for other in map(self._other, members) if other]
        return told

    def _other(self, exc):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Another exception of the chain or group, unless it was told or there were too many."""
        if exc is None or id(exc) in self.seen or len(self.seen) >= MOST_EXCEPTIONS:
            return None
        return _safe(lambda: self.tell(exc), None)

    def _args(self, exc):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if isinstance(exc, SyntaxError) or "BaseExceptionGroup" in [base.__name__ for base in type(exc).__mro__]:
            return None  # told by `syntax` and by `message` and `members`
        packed = _packed(list(exc.args))
        return packed[0] if packed else None

    def _attributes(self, exc):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        names = [name for cls, names in _ATTRIBUTES if isinstance(exc, cls) for name in names]
        names += [name for name in _safe(lambda: list(vars(exc)), []) if name != "__notes__"]
        told = {}
        for name in names:
            value = _safe(lambda name=name: getattr(exc, name), None)
            packed = _packed(value, 4096)
            if value is not None and packed and isinstance(name, str):
                told[name] = packed[0]
        return told

    def _notes(self, exc):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        notes = getattr(exc, "__notes__", None)
        if notes is None:
            return []
        if not isinstance(notes, (list, tuple)):
            return [_text(_safe(lambda: repr(notes), "<__notes__ repr() failed>"))]
        return [_text(_safe(lambda note=note: str(note), "<note str() failed>")) for note in notes[:50]]

    def _syntax(self, exc):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        told = {}
        for name in _SYNTAX:
            value = getattr(exc, name, None)
            whole = name in ("lineno", "offset", "end_lineno", "end_offset")
            told[name] = value if isinstance(value, int if whole else str) else None
        told["cell"] = told["filename"] == self.cell_file
        return told

    def _frames(self, trace):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """(different frames, the order in which they stand as numbers, how many were left out of the middle)."""
        frames = []  # type: list[dict]
        known = {}  # type: dict[tuple, int]
        order = []  # type: list[int]
        omitted = 0
        while trace is not None:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith(self.hidden or ("\0",)):
                key = (code, trace.tb_lasti, trace.tb_lineno)
                if key not in known and len(frames) < MOST_FRAMES:
                    known[key] = len(frames)
                    frames.append(self._frame(trace, code))
                if key in known:
                    order.append(known[key])
                else:
                    omitted += 1
            trace = trace.tb_next
        if len(order) > MOST_ORDER:
            omitted += len(order) - MOST_ORDER
            order[MOST_ORDER // 2 : -MOST_ORDER // 2] = []
        return frames, order, omitted

    def _frame(self, trace, code):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        line = trace.tb_lineno or 0
        end_line = col = end_col = None
        if hasattr(code, "co_positions") and trace.tb_lasti >= 0:
            where = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None), (None,) * 4)
            if where[0] == line:
                _, end_line, col, end_col = where
        count = code.co_argcount + code.co_kwonlyargcount
        names = list(code.co_varnames)
        starred = names[count : count + 1] if code.co_flags & 4 else []
        cell = code.co_filename == self.cell_file
        first, lines = (0, []) if cell else self._around(code.co_filename, line, trace.tb_frame.f_globals)
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

    def _around(self, file, line, names):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """(number of the first line, the lines around)."""
        lines = _safe(lambda: linecache.getlines(file, names), [])
        first = max(1, line - AROUND)
        return first, [str(text).rstrip("\r\n")[:1000] for text in lines[first - 1 : line + AROUND]]


def _is_builtin(cls):
    # type: (type) -> bool
    return cls.__module__ == "builtins" and issubclass(cls, BaseException)
