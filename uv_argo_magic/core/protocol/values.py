"""Encode Python values as text and decode them, using the codec of the guest (guest/values.py) with our exceptions.

docs/protocol.md, `value`, has the table of tags; guest_values/ has the types of other libraries.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic.errors import ArgoMagicError, ProtocolError, SpecError
from uv_argo_magic.guest import values as codec
from uv_argo_magic.guest_values import libraries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap

libraries.load()
codec.extend(libraries.pack, libraries.READERS)

Raw: TypeAlias = "bytes | bytearray | memoryview | mmap"
"""Bytes; the items of a memoryview are single bytes."""
LARGE = 1000
"""From this number of items on, `can_encode` does not look into a value."""


class NotPlain(SpecError):
    """The value, or a part of it, is not plain data."""


class MissingLibrary(ArgoMagicError):
    """The value needs a library that is not installed here; `library` is its name."""

    def __init__(self, library: str) -> None:
        super().__init__(f"the value needs {library}, which is not installed here", hint=f"Install {library}.")
        self.library = library


def encode(name: str, value: object, limit: int, buffers: list[Raw] | None = None) -> str:
    """Encode a value as text; long bytes are added to `buffers`, if given. The total is at most `limit` bytes.

    Raises:
        NotPlain: the value, or a part of it, is not plain data.
        SpecError: the value is too large.
    """
    try:
        text: str = codec.encode(value, buffers)
    except codec.NotPlain as error:
        path, hint = error.locate(name)
        raise NotPlain(f"{path} {error.reason}, which is not plain data", hint=hint) from None
    size = len(text) + sum(map(len, buffers or ()))
    if size > limit:
        raise SpecError(
            f"{name!r} takes {size:,} bytes, but the limit is {limit:,}",
            hint="Send less of it, raise --set value_limit, or use a file or bucket that both sides can read.",
        )
    return text


def can_encode(value: object) -> bool:
    """Whether a value is plain data; the items of large values are not checked."""
    if isinstance(value, Sized) and type(value) in (list, dict, tuple, set, frozenset, str) and len(value) > LARGE:
        return True
    if type(value).__module__ == "numpy" and getattr(value, "size", 0) > LARGE:
        return getattr(getattr(value, "dtype", None), "kind", "O") != "O"
    try:
        codec.pack(value)
    except codec.NotPlain:
        return False
    return True


def decode(text: str, buffers: Sequence[Raw] = ()) -> object:
    """Decode the text of a value and its buffers, which the value then shares.

    Raises:
        ProtocolError: the text is invalid.
        MissingLibrary: the value needs a library that is not installed here.
    """
    try:
        return codec.decode(text, buffers)
    except codec.MissingLibrary as error:
        raise MissingLibrary(error.library) from None
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"unreadable value: {error}", hint="Please report this with the cell.") from error
