"""Split a log into whole lines as it arrives, so that neither a record nor a character is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def whole_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text of the chunks as whole lines; only the last line can lack its newline."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if end:
            yield data[:end].decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")
