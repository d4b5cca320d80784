"""A manifest as text: YAML that plain `kubectl create -f` and `argo submit` read, and YAML for people.

Rule: written by PyYAML's own safe dumper, never by Hera's, which breaks texts that hold braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = re.compile(r"(?=\S)(?:[ -~]*\n)+[ -~]*")
"""A text that reads well as a block of lines; any other one is quoted where it has to be."""
_PACKED = re.compile(r"[A-Za-z0-9+/=]{300,}")
"""What no person reads: a program in base64."""


def yaml(*documents: Mapping[str, Any]) -> str:
    """YAML of these objects, one document each, their fields in the order that they have."""
    import yaml as vendor  # noqa: PLC0415 - comes with hera and kubernetes, and only a manifest needs it

    class Dumper(vendor.SafeDumper):  # type: ignore[misc]
        """Its own class: representers of a class hold for the whole process."""

        def ignore_aliases(self, _data: object) -> bool:
            """Equal parts are written out: an anchor is no help to a reader."""
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if _BLOCK.fullmatch(value) else None)

    Dumper.add_representer(str, text)
    written: str = vendor.dump_all(
        documents, Dumper=Dumper, sort_keys=False, width=10**6, explicit_start=len(documents) > 1
    )
    return written


def shortened(text: str) -> str:
    """The same text with programs left out, and how long they are."""
    return _PACKED.sub(lambda found: f"<{len(found[0]):,} characters of base64>", text)
