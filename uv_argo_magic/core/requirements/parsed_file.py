"""The content of a requirements file of any format: requirements, constraints, overrides and a Python."""

from __future__ import annotations

from dataclasses import dataclass, field

from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.requirements.model import Requirements


@dataclass(frozen=True, kw_only=True)
class ParsedRequirements:
    """The content of one or several files; `constraints` and `overrides` are requirements as lines.

    `requires_python` are (specifier, name of its file); `notes` are sentences for the user.
    """

    requirements: Requirements = field(default_factory=Requirements)
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    requires_python: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def merge(*files: ParsedRequirements) -> ParsedRequirements:
    """The content of all files together, in order and without duplicates."""
    return ParsedRequirements(
        requirements=parser.merge(*(file.requirements for file in files)),
        constraints=tuple(dict.fromkeys(line for file in files for line in file.constraints)),
        overrides=tuple(dict.fromkeys(line for file in files for line in file.overrides)),
        requires_python=tuple(dict.fromkeys(pair for file in files for pair in file.requires_python)),
        notes=tuple(dict.fromkeys(note for file in files for note in file.notes)),
    )
