"""The content of a requirements file of any format: requirements, constraints, overrides and Python versions."""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.errors import SpecError

Setting: TypeAlias = str | bool | tuple[str, ...] | tuple[tuple[str, str], ...]


@frozen
class ParsedRequirements:
    """The content of one or several files; `constraints` and `overrides` are requirements as lines.

    `requires_python` are (specifier, name of its file); `notes` are sentences for the user.
    """

    requirements: Requirements = field(default_factory=Requirements)
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    requires_python: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, Setting], ...] = ()
    """(key of Settings, value) of the resolution settings in the files."""
    notes: tuple[str, ...] = ()


def merge(*files: ParsedRequirements) -> ParsedRequirements:
    """The content of all files together, in order and without duplicates.

    Raises:
        SpecError: two files have different values for a setting.
    """
    settings: dict[str, Setting] = {}
    for key, value in (pair for file in files for pair in file.settings):
        if settings.setdefault(key, value) != value:
            raise SpecError(f"the files have different values for {key}", hint=f"Choose one: --set {key}=VALUE.")
    return ParsedRequirements(
        requirements=parser.merge(*(file.requirements for file in files)),
        constraints=tuple(dict.fromkeys(line for file in files for line in file.constraints)),
        overrides=tuple(dict.fromkeys(line for file in files for line in file.overrides)),
        requires_python=tuple(dict.fromkeys(pair for file in files for pair in file.requires_python)),
        settings=tuple(settings.items()),
        notes=tuple(dict.fromkeys(note for file in files for note in file.notes)),
    )
