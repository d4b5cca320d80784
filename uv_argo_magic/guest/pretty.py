"""The text of a value as a notebook shows it: what IPython's pretty printer would print, without IPython.

Rules:
- 79 columns, dicts in their own order, sets sorted where they can be, one element a line where they do not fit.
- A class's `__repr__` is asked before anything is guessed; `_repr_pretty_(p, cycle)` is given a `Printer`.
- Which group breaks first is part of the text, so the order in `_next_to_break` follows IPython's, oddities included.
"""

import collections
import contextlib
import datetime as dt
import os
import re
import sys
import types

WIDTH = 79
MOST = 1000  # elements of one container
_OURS = ("__builtin__", "builtins", "exceptions")  # modules whose names are not spelled out


def pretty(obj):
    # type: (object) -> str
    """The text of `obj`; raises what its own `__repr__` raises."""
    printer = Printer()
    printer.pretty(obj)
    printer.flush()
    return "".join(printer.out)


class _Group:
    """What breaks together: either all of its breaks become newlines from now on, or none."""

    __slots__ = ("broken", "depth", "waiting")

    def __init__(self, depth):
        # type: (int) -> None
        self.depth = depth
        self.broken = False
        self.waiting = 0  # breaks of this group that are not written yet


class Printer:
    """Takes text, breaks and groups, and writes lines; what is not decided waits in `queue`."""

    verbose = False
    newline = "\n"
    max_width = WIDTH
    max_seq_length = MOST

    def __init__(self):
        # type: () -> None
        self.out = []  # type: list[str]
        self.column = 0  # where the written text ends
        self.queue = collections.deque()  # type: collections.deque  # (text, None, 0) or (separator, group, indent)
        self.queued = 0  # columns the queue would take on one line
        self.indentation = 0
        self.groups = [_Group(0)]
        self.levels = [[self.groups[0]]]  # type: list[list[_Group]]  # by depth: the groups that may still break
        self.stack = []  # type: list[int]

    @property
    def output(self):
        # type: () -> Printer
        return self

    def write(self, text):
        # type: (str) -> None
        self.out.append(text)

    # What `_repr_pretty_` methods call.

    def text(self, text):
        # type: (str) -> None
        """Add text that is never broken."""
        if not self.queue:
            self.write(text)
            self.column += len(text)
            return
        self.queue.append((text, None, 0))
        self.queued += len(text)
        self._make_room()

    def breakable(self, sep=" "):
        # type: (str) -> None
        """Add a separator that becomes a newline where its group does not fit."""
        group = self.groups[-1]
        if group.broken:
            self._new_line()
            return
        self.queue.append((sep, group, self.indentation))
        group.waiting += 1
        self.queued += len(sep)
        self._make_room()

    def break_(self):
        # type: () -> None
        """Begin a new line; the outermost group that still can breaks with it."""
        group = self._next_to_break()
        if group:
            self._break(group)
        self._new_line()

    def begin_group(self, indent=0, open=""):  # noqa: A002 - the name is the protocol's
        # type: (int, str) -> None
        """Begin a group whose further lines are indented by `indent`."""
        if open:
            self.text(open)
        group = _Group(self.groups[-1].depth + 1)
        self.groups.append(group)
        while len(self.levels) <= group.depth:
            self.levels.append([])
        self.levels[group.depth].append(group)
        self.indentation += indent

    def end_group(self, dedent=0, close=""):
        # type: (int, str) -> None
        """End the group begun last."""
        self.indentation -= dedent
        group = self.groups.pop()
        if not group.waiting:
            self._settled(group)
        if close:
            self.text(close)

    @contextlib.contextmanager
    def group(self, indent=0, open="", close=""):  # noqa: A002
        """A group for a `with` statement."""
        self.begin_group(indent, open)
        try:
            yield
        finally:
            self.end_group(indent, close)

    @contextlib.contextmanager
    def indent(self, indent):
        """More indentation for a `with` statement."""
        self.indentation += indent
        try:
            yield
        finally:
            self.indentation -= indent

    def flush(self):
        # type: () -> None
        """Write all that waits."""
        while self.queue:
            self._write_first()

    def pretty(self, obj):
        # type: (object) -> None
        """Add the text of a value."""
        cycle = id(obj) in self.stack
        self.stack.append(id(obj))
        self.begin_group()
        try:
            _writer(obj)(obj, self, cycle)
        finally:
            self.end_group()
            self.stack.pop()

    def _enumerate(self, items):
        """Number the items; at the limit an ellipsis stands for the rest."""
        for index, item in enumerate(items):
            if self.max_seq_length and index >= self.max_seq_length:
                self.text(",")
                self.breakable()
                self.text("...")
                return
            yield index, item

    # How lines come about.

    def _make_room(self):
        # type: () -> None
        while self.column + self.queued > self.max_width:
            group = self._next_to_break()
            if group is None:
                return
            self._break(group)

    def _next_to_break(self):
        # type: () -> _Group | None
        """The outermost group with breaks that wait; groups above it, which have none yet, break from now on."""
        for level in self.levels:
            for place, group in enumerate(reversed(level)):
                if group.waiting:
                    # Counted from the end, taken away from the front: as IPython does, and its texts show it.
                    del level[place]
                    group.broken = True
                    return group
            for group in level:
                group.broken = True
            del level[:]
        return None

    def _break(self, group):
        # type: (_Group) -> None
        while group.waiting:
            self._write_first()
        while self.queue and self.queue[0][1] is None:
            self._write_first()

    def _write_first(self):
        # type: () -> None
        text, group, indent = self.queue.popleft()
        self.queued -= len(text)
        if group is not None:
            group.waiting -= 1
            if group.broken:
                self.write("\n" + " " * indent)
                self.column = indent
                return
            if not group.waiting:
                self._settled(group)
        self.write(text)
        self.column += len(text)

    def _settled(self, group):
        # type: (_Group) -> None
        level = self.levels[group.depth]
        if group in level:
            level.remove(group)

    def _new_line(self):
        # type: () -> None
        self.flush()
        self.write("\n" + " " * self.indentation)
        self.column = self.indentation

    # Shapes that many values share.

    def call(self, name, args, named=()):
        """Add `name(args, key=value)`; an argument is a function that adds it."""
        with self.group(), self.group(len(name) + 1, name + "(", ")"):
            first = True
            for arg in args:
                if not first:
                    self.text(",")
                    self.breakable()
                first = False
                arg()
            for key, value in named:
                if not first:
                    self.text(",")
                    self.breakable()
                first = False
                with self.group(len(key) + 1, key + "="):
                    self.pretty(value)


def _get(obj, name, default=None):
    try:
        return getattr(obj, name, default)
    except Exception:  # noqa: BLE001 - a value may do anything
        return default


def _writer(obj):
    """Who writes this value: the nearest class of its ancestry that knows."""
    if obj is None or obj is True or obj is False or obj is Ellipsis or obj is NotImplemented:
        return _own_repr
    cls = _get(obj, "__class__") or type(obj)
    for base in cls.__mro__:
        known = _BY_TYPE.get(base) or _BY_NAME.get((_get(base, "__module__"), _get(base, "__name__")))
        if known:
            return known
        if "_repr_pretty_" in base.__dict__ and callable(_get(base, "_repr_pretty_")):
            return _get(base, "_repr_pretty_")
        if base is not object and "__repr__" in base.__dict__ and callable(_get(base, "__repr__")):
            return _own_repr
    return _plain


# The writers below take (value, printer, whether the value is inside itself).


def _own_repr(obj, p, _cycle):
    with p.group():
        for number, line in enumerate(repr(obj).splitlines()):
            if number:
                p.break_()
            p.text(line)


def _plain(obj, p, cycle):
    cls = _get(obj, "__class__") or type(obj)
    if _get(cls, "__repr__") is not object.__repr__:
        _own_repr(obj, p, cycle)
        return
    p.begin_group(1, "<")
    p.pretty(cls)
    p.text(" at 0x%x" % id(obj))
    if cycle:
        p.text(" ...")
    p.end_group(1, ">")


def _items(p, items):
    for index, item in p._enumerate(items):  # noqa: SLF001
        if index:
            p.text(",")
            p.breakable()
        p.pretty(item)


def _sequence(opening, closing):
    def write(obj, p, cycle):
        if cycle:
            p.text(opening + "..." + closing)
            return
        with p.group(1, opening, closing):
            _items(p, obj)
            if len(obj) == 1 and isinstance(obj, tuple):
                p.text(",")

    return write


def _sorted(obj):
    for key in (None, str):
        try:
            return sorted(obj, key=key)
        except Exception:  # noqa: BLE001, S112 - what cannot be sorted stays as it is
            continue
    return list(obj)


def _set(opening, closing):
    def write(obj, p, cycle):
        if cycle:
            p.text(opening + "..." + closing)
        elif not obj:
            p.text(type(obj).__name__ + "()")
        else:
            with p.group(len(opening), opening, closing):
                _items(p, obj if len(obj) >= MOST else _sorted(obj))

    return write


def _mapping(opening, closing):
    def write(obj, p, cycle):
        if cycle:
            p.text("{...}")
            return
        with p.group(len(opening), opening, closing):
            for index, key in p._enumerate(obj.keys()):  # noqa: SLF001
                if index:
                    p.text(",")
                    p.breakable()
                p.pretty(key)
                p.text(": ")
                p.pretty(obj[key])

    return write


def _super(obj, p, _cycle):
    with p.group(8, "<super: ", ">"):
        p.pretty(obj.__thisclass__)
        p.text(",")
        p.breakable()
        p.pretty(obj.__self__)


_FLAGS = ("IGNORECASE", "LOCALE", "MULTILINE", "DOTALL", "UNICODE", "VERBOSE", "DEBUG")


def _pattern(obj, p, _cycle):
    def inside(text):
        return lambda: _grouped(p, text)

    args = [inside("r" + repr(obj.pattern).replace("\\\\", "\\"))]
    if obj.flags:
        args.append(inside("|".join("re." + flag for flag in _FLAGS if obj.flags & getattr(re, flag))))
    with p.group():
        p.call("re.compile", args)


def _grouped(p, text):
    with p.group():
        p.text(text)


def _namespace(obj, p, cycle):
    if cycle:
        p.call("namespace", [lambda: _grouped(p, "...")])
    else:
        p.call("namespace", [], obj.__dict__.items())


def _class(obj, p, cycle):
    if [base for base in type(obj).__mro__ if "__repr__" in vars(base)][:1] != [type]:
        _own_repr(obj, p, cycle)
        return
    name = _get(obj, "__qualname__")
    if not isinstance(name, str):
        name = obj.__name__ if isinstance(obj.__name__, str) else "<unknown type>"
    module = _get(obj, "__module__")
    p.text(name if module is None or module in _OURS else module + "." + name)


def _function(obj, p, _cycle):
    import inspect  # it takes longer to import than all of this module

    name = _get(obj, "__qualname__", obj.__name__)
    if obj.__module__ and obj.__module__ not in _OURS:
        name = obj.__module__ + "." + name
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            shape = inspect.signature(obj, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            shape = inspect.signature(obj)
        name += str(shape)
    except ValueError:  # a builtin that does not tell its arguments
        pass
    p.text("<function %s>" % name)


def _exception(obj, p, _cycle):
    cls = obj.__class__
    name = getattr(cls, "__qualname__", cls.__name__)
    if cls.__module__ not in ("exceptions", "builtins"):
        name = "%s.%s" % (cls.__module__, name)
    p.call(name, [lambda arg=arg: p.pretty(arg) for arg in getattr(obj, "args", ())])


def _constructed(parts):
    """`Name(...)` around what `parts(value)` gives: arguments, and arguments by name."""

    def write(obj, p, cycle):
        name = obj.__class__.__name__
        if cycle:
            p.call(name, [lambda: _grouped(p, "...")])
            return
        args, named = parts(obj)
        p.call(name, [lambda arg=arg: p.pretty(arg) for arg in args], named)

    return write


_BY_TYPE = {
    int: _own_repr,
    float: _own_repr,
    str: _own_repr,
    bytes: _own_repr,
    range: _own_repr,
    slice: _own_repr,
    types.MethodType: _own_repr,
    dt.datetime: _own_repr,
    dt.timedelta: _own_repr,
    tuple: _sequence("(", ")"),
    list: _sequence("[", "]"),
    dict: _mapping("{", "}"),
    type(os.environ): _mapping("environ{", "}"),
    types.MappingProxyType: _mapping("mappingproxy({", "})"),
    set: _set("{", "}"),
    frozenset: _set("frozenset({", "})"),
    super: _super,
    type(re.compile("")): _pattern,
    type: _class,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _function,
    types.SimpleNamespace: _namespace,
    BaseException: _exception,
}

_BY_NAME = {
    ("collections", "defaultdict"): _constructed(lambda obj: ([obj.default_factory, dict(obj)], ())),
    ("collections", "OrderedDict"): _constructed(lambda obj: ([list(obj.items())] if obj else [], ())),
    ("collections", "deque"): _constructed(
        lambda obj: ([list(obj)], () if obj.maxlen is None else (("maxlen", obj.maxlen),))
    ),
    ("collections", "Counter"): _constructed(lambda obj: ([dict(obj.most_common())] if obj else [], ())),
    ("collections", "UserList"): _constructed(lambda obj: ([obj.data], ())),
}
