"""A requirements file -> the `%%argo` line that asks for the same."""

from __future__ import annotations

import re

from uv_argo_magic.core.commands.parser import find, is_option
from uv_argo_magic.core.commands.parser import words as words_of
from uv_argo_magic.core.commands.table import CELL
from uv_argo_magic.core.requirements import edits


def cell_line(text: str, name: str) -> str:
    """The cell magic's line that asks for what the file `name` with this text asks for.

    Raises:
        SpecError: the text is no list of requirements.
    """
    listed = edits.items(text, name)
    if edits.options(text) or any(one.hashes for one in listed):
        return f"%%argo -r {name}" if re.fullmatch(r"[A-Za-z0-9._/-]+", name) else f'%%argo -r "{name}"'
    said = " ".join(str(one) for one in listed)
    return f"%%argo --deps '{said}'" if '"' in said else f'%%argo --deps "{said}"'


def written_into(line: str, text: str, name: str) -> str:
    """The first line of a cell that asks for what the file `name` with this text does, and not for what `line` did.

    `line` is the magic's; its other options stay as they were written, and `--write-deps` goes.

    Raises:
        SpecError: the text is no list of requirements, or the line cannot be read.
    """
    kept, staying = [cell_line(text, name)], True
    for word in words_of(line):
        if is_option(word):
            found = find(CELL.options, word.text)
            staying = found is None or found[0].dest not in {"deps", "requirements", "write_deps"}
        if staying:
            kept.append(line[word.start : word.end])
    return " ".join(kept)
