"""Displays of a cell: mimebundles of values, created as in a notebook's kernel, and sent as records.

Rules:
- If a representation fails, a `traceback` record is sent and the others are tried. NotImplementedError is silent.
- For a class, only class methods are called, not the methods for its instances.
- Only JSON is sent: bytes become base64. The size of a display is limited.
"""

import base64
import binascii
import datetime as dt
import json
import os
import traceback
import types
import warnings

from . import exceptions, import_hooks, pretty

MAX_BYTES = 20 * 1024 * 1024
PLAIN = "text/plain"
HERE = os.path.dirname(__file__)

# MIME type -> (method, allowed types of its result), in the order in which they are called.
METHODS = {
    "text/html": ("_repr_html_", (str,)),
    "text/markdown": ("_repr_markdown_", (str,)),
    "image/svg+xml": ("_repr_svg_", (str,)),
    "image/png": ("_repr_png_", (bytes, str)),
    "application/pdf": ("_repr_pdf_", (bytes, str)),
    "image/jpeg": ("_repr_jpeg_", (bytes, str)),
    "text/latex": ("_repr_latex_", (str,)),
    "application/json": ("_repr_json_", (list, dict)),
    "application/javascript": ("_repr_javascript_", (str,)),
}


class FormatterWarning(UserWarning):
    """A representation returned a value of the wrong type, which is left out."""


# The functions below have no annotations, because each would be `object`.


def _method(obj, name):
    """The method of this name, or None; excludes methods for a class's instances, and proxies with every attribute."""
    try:
        if getattr(obj, "_ipython_canary_method_should_not_exist_", None) is not None:
            return None
        method = getattr(obj, name, None)
    except Exception:  # noqa: BLE001 - a value can raise anything
        return None
    if isinstance(obj, type) and not isinstance(method, types.MethodType):
        return None
    return method if callable(method) else None


_FAILED = object()


def _traceback(problem, limit=None):
    """The traceback as Python prints it, without the frames of this folder."""
    summary = traceback.TracebackException.from_exception(problem, limit=limit)
    chain = [summary]
    while chain:
        entry = chain.pop()
        entry.stack[:] = [frame for frame in entry.stack if os.path.dirname(frame.filename) != HERE]
        chain.extend(other for other in (entry.__cause__, entry.__context__) if other is not None)
    return "".join(summary.format())


def _checked(value, mime, kinds, obj):
    """The value and its metadata, or (None, None) with a warning if it has the wrong type."""
    metadata = None
    original = value
    if isinstance(value, tuple) and value and isinstance(value[0], kinds):
        if len(value) == 2:
            value, metadata = value
    elif value is not None and not isinstance(value, kinds):
        warnings.warn(
            "%s formatter returned invalid type %s (expected %s) for object: %s"
            % (mime, type(original), kinds[0] if len(kinds) == 1 else kinds, _repr(obj)),
            FormatterWarning,
            stacklevel=2,
        )
        return None, None
    return value, metadata


def _repr(obj):
    try:
        return repr(obj)
    except Exception:  # noqa: BLE001 - the user's code
        return "?"


def _merge(into, more):
    if not isinstance(into, dict) or not isinstance(more, dict):
        return more
    for key, value in more.items():
        into[key] = _merge(into.get(key), value)
    return into


def jsonable(value):
    """The value converted to JSON types; raises TypeError if this is not possible."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        # JSON has no NaN and no infinities, so they become strings.
        return float(value) if value - value == 0 else repr(float(value))
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    number = getattr(value, "item", None)  # a numpy scalar, in metadata or in _repr_json_
    if callable(number):
        return jsonable(number())
    raise TypeError("%s cannot be displayed as JSON: %r" % (type(value).__name__, value))


class DisplayHandle:
    """A display that can be shown again or updated: `.display(obj)`, `.update(obj)`."""

    def __init__(self, display_id=None, displays=None):
        self.display_id = display_id or _new_id()
        self._displays = displays

    def __repr__(self):
        # type: () -> str
        return "<%s display_id=%s>" % (type(self).__name__, self.display_id)

    def display(self, obj, **kwargs):
        """Show another display with this id, and update the earlier ones."""
        self._displays.display(obj, display_id=self.display_id, **kwargs)

    def update(self, obj, **kwargs):
        """Update the displays with this id."""
        self._displays.update_display(obj, display_id=self.display_id, **kwargs)


class Formatter:
    """The functions that libraries register, as in IPython, to convert values of a class to one MIME type."""

    enabled = True
    print_method = ""

    def __init__(self, format_type="", **_kwargs):
        self.format_type = format_type or getattr(self, "format_type", "")
        self.type_printers = {}
        self.deferred_printers = {}

    def for_type(self, typ, func=None):
        """Register `func` for a class, or for its name "module.name"; return the previous function."""
        if isinstance(typ, str):
            module, _, name = typ.rpartition(".")
            return self.for_type_by_name(module, name, func)
        return _registered(self.type_printers, typ, func)

    def for_type_by_name(self, type_module, type_name, func=None):
        """Register `func` for a class that may not be imported yet; return the previous function."""
        return _registered(self.deferred_printers, (type_module, type_name), func)

    def pop(self, typ, default=None):
        """Remove and return the function of a class."""
        key = tuple(typ.rpartition(".")[::2]) if isinstance(typ, str) else (typ.__module__, typ.__name__)
        named = self.deferred_printers.pop(key, default)
        return named if isinstance(typ, str) else self.type_printers.pop(typ, named)

    def lookup_by_type(self, typ):
        """The function for a class; KeyError if there is none."""
        for cls in typ.__mro__ if self.type_printers or self.deferred_printers else ():
            function = self.type_printers.get(cls) or self.deferred_printers.get(
                (getattr(cls, "__module__", ""), getattr(cls, "__name__", ""))
            )
            if function is not None:
                return function
        raise KeyError(typ)

    def lookup(self, obj):
        """The function for a value; KeyError if there is none."""
        return self.lookup_by_type(type(obj))


def _registered(functions, key, func):
    before = functions.get(key)
    if func is not None:
        functions[key] = func
    return before


def _new_id():
    # type: () -> str
    return binascii.b2a_hex(os.urandom(16)).decode("ascii")


class Displays:
    """Shows values: the methods send records with `emit(kind, **fields)`."""

    def __init__(self, emit, max_bytes=MAX_BYTES):
        self.emit = emit
        self.max_bytes = max_bytes
        self.formatters = {mime: Formatter(mime) for mime in (PLAIN, *METHODS)}
        self.format = None
        """The function used instead of `bundle`: IPython's formatter, if IPython is installed."""
        self.describe = lambda problem: exceptions.describe(problem, "")
        """Describes the exception of a representation, for the notebook."""
        self.is_result = False
        """Whether the value that is being shown is that of the last expression."""
        self.filters = []  # type: list
        """Functions that change a display before it is sent: (data, metadata, display id) -> the same.

        The id is None for a result, which cannot be updated.
        """

    def bundle(self, obj, include=None, exclude=None):
        """(data, metadata) of a value, by MIME type; both are empty if the value has displayed itself."""
        if self.format is not None:
            return self.format(obj, include, exclude)
        own = _method(obj, "_ipython_display_")
        if own is not None and self._call(own) is not _FAILED:
            return {}, {}
        data, metadata = {}, {}
        own = _method(obj, "_repr_mimebundle_")
        if own is not None:
            value = self._call(own, include=include, exclude=exclude)
            if value is not _FAILED:
                value, more = _checked(value, "mimebundle", (dict,), obj)
                data, metadata = dict(value or {}), dict(more or {})
        for mime in list(self.formatters):
            registered = self._registered(obj, mime)
            if mime in data and registered is None:
                continue
            if (include and mime not in include) or (exclude and mime in exclude):
                continue
            value, more = self._representation(obj, mime, registered)
            if value is not None:
                data[mime] = value
            if more is not None:
                metadata[mime] = more
        return (
            {k: v for k, v in data.items() if _selected(k, include, exclude)},
            {k: v for k, v in metadata.items() if _selected(k, include, exclude)},
        )

    def _registered(self, obj, mime):
        try:
            return self.formatters[mime].lookup(obj)
        except KeyError:
            return None

    def _representation(self, obj, mime, registered):
        """One representation: (value or None, metadata or None)."""
        if callable(self.formatters[mime]):  # a library has replaced the formatter
            value = self._call(self.formatters[mime], obj)
            return (None, None) if value is _FAILED else (value, None)
        if mime == PLAIN:
            value = self._call(pretty.pretty, obj, self.formatters[PLAIN])
            return (None, None) if value is _FAILED else (value, None)
        name, kinds = METHODS.get(mime, (self.formatters[mime].print_method, (str, bytes, dict, list)))
        if registered is not None:
            value = self._call(registered, obj)
        else:
            own = _method(obj, name) if name else None
            value = _FAILED if own is None else self._call(own)
        return (None, None) if value is _FAILED else _checked(value, mime, kinds, obj)

    def _call(self, function, *args, **kwargs):
        """The return value of the user's method; if it raises, send the exception and return `_FAILED`."""
        try:
            return function(*args, **kwargs)
        except NotImplementedError:
            return _FAILED
        except RecursionError as problem:
            # With a context for each level, there would be a thousand tracebacks.
            problem.__context__ = None
            self._report(problem, limit=-8)
        except Exception as problem:  # noqa: BLE001 - the user's code
            self._report(problem)
        return _FAILED

    def _report(self, problem, limit=None):
        self.emit("traceback", error=self.describe(problem), text=_traceback(problem, limit), result=self.is_result)

    def display(  # noqa: PLR0913 - the signature is IPython's
        self,
        *objs,
        include=None,
        exclude=None,
        metadata=None,
        transient=None,
        display_id=None,
        raw=False,
        clear=False,
        **kwargs,
    ):
        """Show values; with `display_id` (True: a new one), return a handle for updates."""
        transient = dict(transient or {})
        if display_id:
            transient["display_id"] = display_id = _new_id() if display_id is True else display_id
        if kwargs.get("update") and "display_id" not in transient:
            raise TypeError("display_id required for update_display")
        if not objs and display_id:
            objs, raw = ({},), True
        if clear:
            self.clear_output(wait=True)
        for obj in objs:
            data, own = (obj, {}) if raw else self.bundle(obj, include, exclude)
            if raw or data:
                self.publish(data, _merge(own, metadata or {}), transient=transient, **kwargs)
        return DisplayHandle(display_id, self) if display_id else None

    def update_display(self, obj, *, display_id, **kwargs):
        """Update the displays with this `display_id`."""
        kwargs["update"] = True
        self.display(obj, display_id=display_id, **kwargs)

    def publish(self, data, metadata=None, *, transient=None, update=False, **_kwargs):
        """Send a mimebundle."""
        if not isinstance(data, dict):
            raise TypeError("data must be a dict, got: %r" % (data,))
        display_id = str((transient or {}).get("display_id") or "")
        data, metadata, display_id = self._filtered(data, metadata, display_id)
        data, metadata = self._sendable(data, metadata)
        self.emit("display", data=data, metadata=metadata, display_id=display_id, update=bool(update))

    def result(self, value):
        """Send the value of the cell's last expression, unless it is None."""
        if value is None:
            return
        self.is_result = True
        try:
            data, metadata = self.bundle(value)
        finally:
            self.is_result = False
        if data:
            data, metadata, _ = self._filtered(data, metadata, None)
            data, metadata = self._sendable(data, metadata)
            self.emit("result", data=data, metadata=metadata)

    def _filtered(self, data, metadata, display_id):
        for function in self.filters:
            data, metadata, display_id = function(data, metadata, display_id)
        return data, metadata, display_id

    def clear_output(self, wait=False):
        """Clear the output of the cell; with `wait`, as soon as there is new output."""
        self.emit("clear", wait=bool(wait))

    def _sendable(self, data, metadata):
        data, metadata = jsonable(data), jsonable(metadata or {})
        size = len(json.dumps(data)) + len(json.dumps(metadata))
        if size <= self.max_bytes:
            return data, metadata
        sentence = "[display of %s omitted: the limit is %s; save it to a file, or show a smaller one]"
        return {PLAIN: sentence % (_size(size), _size(self.max_bytes))}, {}

    def hook_ipython(self):
        # type: () -> None
        """If the user's environment has IPython, replace its display functions with ours once they are imported."""
        # Before IPython 7.23, the functions were in IPython.core.display. IPython.display has copies of the names.
        names = ("IPython.core.display_functions", "IPython.core.display", "IPython.display")
        import_hooks.AfterImport(dict.fromkeys(names, self._take_over)).install()

    def _take_over(self, module):
        displays = self

        class Handle(DisplayHandle):
            def __init__(self, display_id=None):
                DisplayHandle.__init__(self, display_id, displays)

        Handle.__name__ = Handle.__qualname__ = "DisplayHandle"
        ours = {
            "display": self.display,
            "update_display": self.update_display,
            "clear_output": self.clear_output,
            "publish_display_data": self.publish,
            "DisplayHandle": Handle,
        }
        for name, function in ours.items():
            if hasattr(module, name):
                setattr(module, name, function)


def _selected(mime, include, exclude):
    return not (include and mime not in include) and not (exclude and mime in exclude)


def _size(count):
    # type: (int) -> str
    if count < 10000:
        return "%d bytes" % count
    return "%.1f MB" % (count / 1e6) if count >= 1e6 else "%d kB" % (count // 1000)
