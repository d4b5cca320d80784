"""The cell's side of pushed and pulled values: bind pushed values, and send pulled ones, plain or sealed.

Rules:
- A pulled value that is not plain data is pickled and sent with a preview; the notebook does not unpickle it.
- If a value fails, the others are still sent.
"""

import os
import sys

from . import classes, libraries, pickles
from .trees import digest_of, raw

INLINE = 64 * 1024  # maximum bytes of text in a record; longer values are sent as files, if the client supports it
LONGEST_VIEW = 256 * 1024  # maximum characters of a preview
VIEWS = ("text/plain", "text/html")


def start(codec, order):
    """Register the types of libraries with `codec` (guest/values.py), and the notebook's classes."""
    libraries.load()
    codec.extend(libraries.pack, dict(libraries.READERS, sealed=_read_sealed))
    classes.may_import[0] = True
    classes.known.clear()
    classes.known.update(order["reads"].get("classes", {}))


def bind(codec, order, module):
    """Bind the pushed values as variables of `module`."""
    for item in order["push"]:
        name = item["name"]
        if "file" in item:
            path = os.path.join(order["exchange"], item["file"])
            text, buffers = _files().read(path)
            os.unlink(path)
        else:
            text, buffers = item["text"], ()
            if digest_of(text) != item["digest"]:
                raise ValueError("the pushed value %r was changed on its way: its SHA-256 does not match" % name)
        try:
            value = codec.decode(text, buffers)
        except codec.MissingLibrary as error:
            raise _missing(name, error.library) from None
        except ValueError as error:
            cause = error.__cause__ or error
            message = "the pushed value %r cannot be read here: %s: %s" % (name, type(cause).__name__, cause)
            raise ValueError(message) from None
        setattr(module, name, value)


def _files():
    from . import files  # sent only if the client supports files

    return files


def _missing(name, library):
    problem = ModuleNotFoundError("No module named %r, which the pushed value %r needs" % (library, name))
    problem.name = library
    return problem


def _read_sealed(tree, _inner):
    # Only in the cell; the notebook has no reader for this tag.
    return pickles.loads(raw(tree))


def send(codec, order, module, displays, emit):
    """Send the pulled values."""
    room = order["value_limit"] or sys.maxsize
    for name in order["pull"]:
        if name not in module.__dict__:
            emit("value", name=name, problem="the cell does not define %s" % name)
            continue
        try:
            fields, size = _record(codec, order, name, module.__dict__[name], displays, room)
        except _Refused as problem:
            emit("value", name=name, problem=str(problem))
            continue
        except Exception as problem:  # noqa: BLE001 - the value's methods can raise anything
            emit("value", name=name, problem="%s cannot be sent: %s: %s" % (name, type(problem).__name__, problem))
            continue
        room -= size
        emit("value", name=name, **fields)


class _Refused(Exception):
    """One sentence, for the user."""


def _record(codec, order, name, value, displays, room):
    """(fields of the record, bytes) of a value."""
    kind = type(value)
    buffers = [] if order["exchange"] else None  # type: list | None
    fields = {"type": pickles.type_name(kind)}
    try:
        text = codec.encode(value, buffers)
    except codec.NotPlain as error:
        _, hint = error.locate(name)
        fields["sealed"] = True
        del (buffers or [])[:]
        text = _seal(codec, name, value, hint, buffers)
    if fields.get("sealed") or _root(kind) not in order["reads"]["libraries"]:
        fields["view"] = _view(value, displays)
    size = len(text) + sum(map(len, buffers or ()))
    if size > room:
        raise _Refused(
            "%s has %s, but at most %s can be pulled from this run" % (name, _size(size), _size(max(room, 0)))
            + "; pull less of it, or write it to a file or a bucket that both sides can read"
        )
    if buffers or (order["exchange"] and len(text) > INLINE):
        fields["file"] = "pulled-%s" % os.urandom(8).hex()
        path = os.path.join(order["exchange"], fields["file"])
        fields["digest"] = _files().write(path, text, buffers or (), fields.get("sealed", False))
    else:
        fields.update(body=text, digest=digest_of(text))
    fields["size"] = size
    return fields, size


def _seal(codec, name, value, hint, buffers):
    """The text of a pickled value."""
    try:
        data, how = pickles.dump_or_explain(name, value, _load_cloudpickle)
    except pickles.Unpicklable as problem:
        own = hint if problem.path == name else ""
        raise _Refused(" ".join(filter(None, (str(problem) + ".", own))).rstrip(".")) from None
    return codec.dump(pickles.sealed_tree(data, how), buffers)


def _load_cloudpickle():
    import uv_argo_cloudpickle

    return uv_argo_cloudpickle


def _view(value, displays):
    """The preview of a value."""
    data, _ = displays.bundle(value, include=VIEWS)
    return {
        mime: text
        for mime, text in data.items()
        if mime in VIEWS and isinstance(text, str) and len(text) < LONGEST_VIEW
    }


def _root(kind):
    root = kind.__module__.partition(".")[0]
    return root if root in ("numpy", "pandas", "polars", "pyarrow", "scipy") else "builtins"


def _size(count):
    """A size in the format of core/humanize.py."""
    value, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return "%d %s" % (count, unit) if unit == "bytes" else "%.1f %s" % (value, unit)
