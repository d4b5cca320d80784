"""RemoteError: the cell's exception, read from the `error` record and validated.

Rules:
- This is only data; remote_traceback/rebuild.py creates and raises the exception.
- An invalid field raises ProtocolError; nothing is guessed.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol import values
from uv_argo_magic.errors import ArgoMagicError, ProtocolError

Fields: TypeAlias = dict[str, object]


@frozen
class Frame:
    """A position in the code. `line` and `end_line` count from 1; `col` and `end_col` are UTF-8 bytes, from 0.

    In a frame of the cell (`cell`), line 1 is the `%%argo` line. Any other frame contains the source `lines` around its
    position, starting at line `first`. Positions are None if the pod's Python does not provide them.
    """

    file: str
    cell: bool
    line: int
    end_line: int | None = None
    col: int | None = None
    end_col: int | None = None
    func: str
    def_line: int = 1
    args: tuple[str, ...] = ()
    varargs: str = ""
    varkw: str = ""
    first: int = 0
    lines: tuple[str, ...] = ()


@frozen
class Syntax:
    """The position of a SyntaxError; `cell`: it is in the cell."""

    filename: str | None
    lineno: int | None
    offset: int | None
    end_lineno: int | None
    end_offset: int | None
    text: str | None
    msg: str | None
    cell: bool


@frozen
class RemoteError:
    """An exception of the cell.

    `mro` are the names of its builtin base classes, nearest first. `bases` are (module, qualified name) of its other
    classes, beginning with its own. `packed_args` is the JSON text of its arguments, or "" if they could not be sent.
    `attributes` are (name, JSON text). The traceback is `order`: indexes of `frames`, outermost first, with repeats
    and without the `omitted` entries. `members` is None except for exception groups. For an ImportError that ended
    the cell, `missing` are all modules that the cell imports and that were not found.
    """

    ename: str
    module: str
    qualname: str
    evalue: str
    mro: tuple[str, ...]
    bases: tuple[tuple[str, str], ...] = ()
    packed_args: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    syntax: Syntax | None = None
    frames: tuple[Frame, ...] = ()
    order: tuple[int, ...] = ()
    omitted: int = 0
    notes: tuple[str, ...] = ()
    cause: RemoteError | None = None
    context: RemoteError | None = None
    suppress_context: bool = False
    message: str = ""
    members: tuple[RemoteError, ...] | None = None
    missing: tuple[str, ...] = ()

    def args(self) -> tuple[object, ...] | None:
        """The arguments, decoded at each call; None if they could not be sent or decoded."""
        if not self.packed_args:
            return None
        decoded = _value(self.packed_args)
        return tuple(decoded[0]) if decoded and isinstance(decoded[0], list) else None

    def attribute_values(self) -> dict[str, object]:
        """The attributes that can be decoded in the notebook."""
        attributes = ((name, _value(text)) for name, text in self.attributes)
        return {name: decoded[0] for name, decoded in attributes if decoded}


def parse(text: str) -> RemoteError:
    """Parse the text of an `error` record.

    Raises:
        ProtocolError: the text is invalid.
    """
    try:
        data = json.loads(text)
        return _error(_object(data, "error"))
    except (_Bad, ValueError, RecursionError) as problem:
        raise ProtocolError(
            f"the cell failed with an unreadable error: {problem}", hint="Please report this with the cell."
        ) from problem


class _Bad(ValueError):
    """A field is invalid."""


def _value(text: str) -> tuple[object] | None:
    try:
        return (values.decode(text),)
    except ArgoMagicError:  # invalid, or it needs a missing numpy: show the error without it
        return None


def _object(value: object, name: str) -> Fields:
    if not isinstance(value, dict):
        raise _Bad(f"{name} is not an object")
    return value


def _text(data: Fields, name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _Bad(f"{name} is not text")
    return value


def _whole(data: Fields, name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Bad(f"{name} is not an integer")
    return value


def _text_or_none(data: Fields, name: str) -> str | None:
    return None if data.get(name) is None else _text(data, name)


def _whole_or_none(data: Fields, name: str) -> int | None:
    return None if data.get(name) is None else _whole(data, name)


def _flag(data: Fields, name: str) -> bool:
    value = data.get(name)
    if not isinstance(value, bool):
        raise _Bad(f"{name} is not true or false")
    return value


def _list(data: Fields, name: str) -> list[object]:
    value = data.get(name)
    if not isinstance(value, list):
        raise _Bad(f"{name} is not a list")
    return value


def _texts(data: Fields, name: str) -> tuple[str, ...]:
    texts = tuple(item for item in _list(data, name) if isinstance(item, str))
    if len(texts) != len(_list(data, name)):
        raise _Bad(f"{name} contains an item that is not a string")
    return texts


def _pairs(data: Fields, name: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in _list(data, name):
        if not isinstance(item, list) or [type(part) for part in item] != [str, str]:
            raise _Bad(f"{name} contains an item that is not a pair of strings")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def _frame(value: object) -> Frame:
    data = _object(value, "a frame")
    return Frame(
        file=_text(data, "file"),
        cell=_flag(data, "cell"),
        line=_whole(data, "line"),
        end_line=_whole_or_none(data, "end_line"),
        col=_whole_or_none(data, "col"),
        end_col=_whole_or_none(data, "end_col"),
        func=_text(data, "func"),
        def_line=_whole(data, "def_line"),
        args=_texts(data, "args"),
        varargs=_text(data, "varargs"),
        varkw=_text(data, "varkw"),
        first=_whole(data, "first"),
        lines=_texts(data, "lines"),
    )


def _syntax(value: object) -> Syntax | None:
    if value is None:
        return None
    data = _object(value, "syntax")
    return Syntax(
        filename=_text_or_none(data, "filename"),
        lineno=_whole_or_none(data, "lineno"),
        offset=_whole_or_none(data, "offset"),
        end_lineno=_whole_or_none(data, "end_lineno"),
        end_offset=_whole_or_none(data, "end_offset"),
        text=_text_or_none(data, "text"),
        msg=_text_or_none(data, "msg"),
        cell=_flag(data, "cell"),
    )


def _order(data: Fields, frames: int) -> tuple[int, ...]:
    order = tuple(item for item in _list(data, "order") if type(item) is int and 0 <= item < frames)
    if len(order) != len(_list(data, "order")):
        raise _Bad("order refers to a missing frame")
    return order


def _other(data: Fields, name: str) -> RemoteError | None:
    return None if data.get(name) is None else _error(_object(data[name], name))


def _error(data: Fields) -> RemoteError:
    frames = tuple(_frame(item) for item in _list(data, "frames"))
    members = None if data.get("members") is None else _list(data, "members")
    attributes = _object(data.get("attributes"), "attributes")
    return RemoteError(
        ename=_text(data, "ename"),
        module=_text(data, "module"),
        qualname=_text(data, "qualname"),
        evalue=_text(data, "evalue"),
        mro=_texts(data, "mro"),
        bases=_pairs(data, "bases") if "bases" in data else (),
        packed_args="" if data.get("args") is None else json.dumps(_list(data, "args")),
        attributes=tuple(sorted((name, json.dumps(tree)) for name, tree in attributes.items())),
        syntax=_syntax(data.get("syntax")),
        frames=frames,
        order=_order(data, len(frames)),
        omitted=_whole(data, "omitted"),
        notes=_texts(data, "notes"),
        cause=_other(data, "cause"),
        context=_other(data, "context"),
        suppress_context=_flag(data, "suppress_context"),
        message=_text(data, "message"),
        missing=_texts(data, "missing") if "missing" in data else (),
        members=None if members is None else tuple(_error(_object(item, "a member")) for item in members),
    )
