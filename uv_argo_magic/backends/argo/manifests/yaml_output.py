"""Write manifests as YAML, for `kubectl create -f`, for `argo submit`, and for people.

Rule: use PyYAML's safe dumper, not Hera's, which corrupts strings with braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = re.compile(r"(?=\S)(?:[ -~]*\n)+[ -~]*")
"""A string that is readable as a YAML block of lines."""
_PACKED = re.compile(r"[A-Za-z0-9+/=]{300,}")
"""A program in base64."""


def dump(*documents: Mapping[str, Any]) -> str:
    """These objects as YAML, one document each; fields keep their order."""

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """A separate class, because the representers of a class apply to the whole process."""

        def ignore_aliases(self, _data: object) -> bool:
            """Write equal parts twice, because anchors are hard to read."""
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if _BLOCK.fullmatch(value) else None)

    Dumper.add_representer(str, text)
    written: str = yaml.dump_all(
        documents, Dumper=Dumper, sort_keys=False, width=10**6, explicit_start=len(documents) > 1
    )
    return written


def abbreviate(text: str) -> str:
    """The same text with programs replaced by their length."""
    return _PACKED.sub(lambda match: f"<{len(match[0]):,} characters of base64>", text)
