"""The lines of a requirements file that include other files: `-r base.txt`, `-c constraints.txt`."""

from __future__ import annotations

import re

from uv_argo_magic.core.frozen import frozen

INCLUDE = re.compile(
    r"^[ \t]*(-r|-c|--requirements?|--constraints?)(?:[ \t]*=[ \t]*|[ \t]+|(?<=-[rc])(?=[^ \t-]))(\S[^\r\n]*)\r?$",
    re.MULTILINE,
)
COMMENT = re.compile(r"[ \t]+#.*")


@frozen
class Include:
    """A file included with `-r`, or with `-c` (`constraint`)."""

    line: int
    name: str
    constraint: bool


def split_includes(text: str) -> tuple[str, tuple[Include, ...]]:
    """The text with its include lines emptied, and the includes."""
    includes = []

    def take(match: re.Match[str]) -> str:
        name = COMMENT.sub("", match[2]).strip().strip("\"'")
        line = text.count("\n", 0, match.start()) + 1
        includes.append(Include(line=line, name=name, constraint=match[1].startswith(("-c", "--c"))))
        return ""

    return INCLUDE.sub(take, text), tuple(includes)
