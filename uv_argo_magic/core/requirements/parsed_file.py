"""What a file asks for besides requirements: constraints, overrides, a Python; several files ask for all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from uv_argo_magic.core.requirements import model as req


@dataclass(frozen=True, kw_only=True)
class ParsedRequirements:
    """What a file asks for; `constraints` and `overrides` are requirements as lines.

    `pythons` are (specifier, the file that gives it); `notes` are whole sentences for people.
    """

    requirements: req.Requirements = field(default_factory=req.Requirements)
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    requires_python: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def merge(*files: ParsedRequirements) -> ParsedRequirements:
    """All of it, in order."""
    return ParsedRequirements(
        requirements=req.merge(*(file.requirements for file in files)),
        constraints=tuple(dict.fromkeys(line for file in files for line in file.constraints)),
        overrides=tuple(dict.fromkeys(line for file in files for line in file.overrides)),
        requires_python=tuple(dict.fromkeys(pair for file in files for pair in file.requires_python)),
        notes=tuple(dict.fromkeys(note for file in files for note in file.notes)),
    )
