"""The `%%argo` line for a requirements file."""

from __future__ import annotations

import re

from uv_argo_magic.core.commands.parser import find, is_option, tokenize
from uv_argo_magic.core.commands.table import CELL
from uv_argo_magic.core.requirements import edits


def cell_line(text: str, name: str) -> str:
    """The `%%argo` line with the requirements in `text`, the content of the file `name`.

    Raises:
        SpecError: the text is not a list of requirements.
    """
    requirements = edits.items(text, name)
    if edits.option_lines(text) or any(item.hashes for item in requirements):
        return f"%%argo -r {name}" if re.fullmatch(r"[A-Za-z0-9._/-]+", name) else f'%%argo -r "{name}"'
    deps = " ".join(str(item) for item in requirements)
    return f"%%argo --deps '{deps}'" if '"' in deps else f'%%argo --deps "{deps}"'


def replace_cell_line(line: str, text: str, name: str) -> str:
    """The `%%argo` line with the requirements of the file `name` instead of those of `line`.

    Its other options stay as they are written; `--write-deps` is dropped.

    Raises:
        SpecError: the text is not a list of requirements, or the line is invalid.
    """
    pieces, is_kept = [cell_line(text, name)], True
    for token in tokenize(line):
        if is_option(token):
            match = find(CELL.options, token.text)
            is_kept = match is None or match[0].dest not in {"deps", "requirements", "write_deps"}
        if is_kept:
            pieces.append(line[token.start : token.end])
    return " ".join(pieces)
