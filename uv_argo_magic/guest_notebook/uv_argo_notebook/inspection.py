"""The output of `name?`: signature, documentation, file and type of an object."""

import fnmatch
import inspect


def describe(text, names, source=False):
    """The description of the object with this name."""
    text = text.strip()
    if text.startswith("%"):
        return "%s is a magic" % text
    try:
        value = eval(text, names)
    except Exception:  # noqa: BLE001 - evaluating a name can run code
        return "Object `%s` not found." % text
    fields = []
    if callable(value):
        try:
            fields.append(("Signature", text.rpartition(".")[2] + str(inspect.signature(value))))
        except (TypeError, ValueError):
            pass
    code = _quiet(inspect.getsource, value) if source else None
    if code:
        fields.append(("Source", "\n" + code.rstrip("\n")))
    else:
        fields.append(("Docstring", inspect.getdoc(value) or "<no docstring>"))
    if not callable(value):
        fields.insert(0, ("String form", short(value)))
    path = _quiet(inspect.getsourcefile, value)
    if path:
        fields.append(("File", path))
    fields.append(("Type", type(value).__name__))
    return "\n".join("%s%s" % ((name + ":").ljust(0 if "\n" in body else 11), _block(body)) for name, body in fields)


def _block(text):
    return "\n" + text if "\n" in text and not text.startswith("\n") else text


def _quiet(function, value):
    try:
        return function(value)
    except (OSError, TypeError):
        return None


def short(value, most=60):
    """A value as one short line."""
    try:
        text = " ".join(str(value).split())
    except Exception:  # noqa: BLE001 - the user's method
        text = "<str() failed>"
    return text if len(text) <= most else text[: most - 3] + "..."


def search(pattern, names):
    """The names that match a pattern such as `*int*` or `os.path.e*`."""
    import builtins

    owner, _, pattern = pattern.strip().rpartition(".")
    if owner:
        try:
            found = dir(eval(owner, names))
        except Exception:  # noqa: BLE001 - the same
            return []
        return [owner + "." + name for name in fnmatch.filter(found, pattern)]
    return sorted({*fnmatch.filter(names, pattern), *fnmatch.filter(dir(builtins), pattern)})
