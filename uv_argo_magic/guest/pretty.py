"""The text of a value as in a notebook: the output of IPython's pretty printer, without IPython.

Rules:
- The width is 79 columns. Dicts keep their order, sets are sorted if possible, and containers that are too wide have
  one element per line.
- A class's own `__repr__` takes precedence; `_repr_pretty_(p, cycle)` receives a `Printer`.
- The order in which groups break affects the text, so `_next_to_break` follows IPython exactly, including its quirks.
"""

import collections
import contextlib

from . import printers

WIDTH = 79


def pretty(obj, formatter=None):
    """The text of `obj`; exceptions of its `__repr__` are raised. `formatter` has functions (value, printer, cycle)."""
    printer = Printer()
    if formatter and (formatter.type_printers or formatter.deferred_printers):
        printer.formatter = formatter
    printer.pretty(obj)
    printer.flush()
    return "".join(printer.out)


class _Group:
    """A group of breaks: either all of them become newlines from now on, or none."""

    __slots__ = ("broken", "depth", "waiting")

    def __init__(self, depth):
        # type: (int) -> None
        self.depth = depth
        self.broken = False
        self.waiting = 0  # number of breaks of this group that are not written yet


class Printer:
    """Converts text, breaks and groups to lines; undecided parts are in `queue`."""

    verbose = False
    newline = "\n"
    max_width = WIDTH
    max_seq_length = printers.MOST
    formatter = None

    def __init__(self):
        # type: () -> None
        self.out = []  # type: list[str]
        self.column = 0  # column after the written text
        self.queue = collections.deque()  # type: collections.deque  # (text, None, 0) or (separator, group, indent)
        self.queued = 0  # width of the queue on one line
        self.indentation = 0
        self.groups = [_Group(0)]
        self.levels = [[self.groups[0]]]  # type: list[list[_Group]]  # by depth: the groups that can still break
        self.stack = []  # type: list[int]

    @property
    def output(self):
        # type: () -> Printer
        return self

    def write(self, text):
        # type: (str) -> None
        self.out.append(text)

    # The methods for `_repr_pretty_`.

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
        """Add a separator that becomes a newline if its group does not fit."""
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
        """Begin a new line, which also breaks the outermost group that can still break."""
        group = self._next_to_break()
        if group:
            self._break(group)
        self._new_line()

    def begin_group(self, indent=0, open=""):  # noqa: A002 - the name is the protocol's
        # type: (int, str) -> None
        """Begin a group whose lines after the first are indented by `indent`."""
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
        """End the innermost group."""
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
        """Write the whole queue."""
        while self.queue:
            self._write_first()

    def pretty(self, obj):
        # type: (object) -> None
        """Add the text of a value."""
        cycle = id(obj) in self.stack
        self.stack.append(id(obj))
        self.begin_group()
        try:
            (self._registered(obj) or printers.writer(obj))(obj, self, cycle)
        finally:
            self.end_group()
            self.stack.pop()

    def _registered(self, obj):
        lookup = getattr(self.formatter, "lookup", None)
        try:
            return lookup(obj) if lookup else None
        except KeyError:
            return None

    def _enumerate(self, items):
        """Number the items; at the limit, write an ellipsis for the rest."""
        for index, item in enumerate(items):
            if self.max_seq_length and index >= self.max_seq_length:
                self.text(",")
                self.breakable()
                self.text("...")
                return
            yield index, item

    # Line breaking.

    def _make_room(self):
        # type: () -> None
        while self.column + self.queued > self.max_width:
            group = self._next_to_break()
            if group is None:
                return
            self._break(group)

    def _next_to_break(self):
        # type: () -> _Group | None
        """The outermost group with queued breaks; groups outside it, which have none yet, break from now on."""
        for level in self.levels:
            for index, group in enumerate(reversed(level)):
                if group.waiting:
                    # The index counts from the end but is used from the start, as in IPython; the text depends on it.
                    del level[index]
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

    # Common forms of values.

    def call(self, name, args, kwargs=()):
        """Add `name(args, key=value)`; each argument is a function that adds it."""
        with self.group(), self.group(len(name) + 1, name + "(", ")"):
            first = True
            for arg in args:
                if not first:
                    self.text(",")
                    self.breakable()
                first = False
                arg()
            for key, value in kwargs:
                if not first:
                    self.text(",")
                    self.breakable()
                first = False
                with self.group(len(key) + 1, key + "="):
                    self.pretty(value)
