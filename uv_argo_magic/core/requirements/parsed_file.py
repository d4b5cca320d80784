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


def merge(*found: ParsedRequirements) -> ParsedRequirements:
    """All of it, in order."""
    return ParsedRequirements(
        requirements=req.merge(*(one.requirements for one in found)),
        constraints=tuple(dict.fromkeys(line for one in found for line in one.constraints)),
        overrides=tuple(dict.fromkeys(line for one in found for line in one.overrides)),
        requires_python=tuple(dict.fromkeys(pair for one in found for pair in one.requires_python)),
        notes=tuple(dict.fromkeys(note for one in found for note in one.notes)),
    )
