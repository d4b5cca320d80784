"""Trees of values: tags, the functions that read them, and bytes."""

import base64
import hashlib

TAG = "@"
READERS = {}  # type: dict
"""Tag -> function(tree, inner), where `inner` reads a part of the tree."""


class Unsupported(Exception):
    """This value is not plain data."""


def reader(name):
    """Register the decorated function as the reader of trees with this tag."""

    def register(function):
        READERS[name] = function
        return function

    return register


def tag(name, /, **fields):
    """A tree with this tag."""
    fields[TAG] = name
    return fields


def raw(tree):
    """The bytes of a tree, from the text or a buffer."""
    body = tree["v"]
    return base64.b64decode(body, validate=True) if isinstance(body, str) else body


def digest_of(text):
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
