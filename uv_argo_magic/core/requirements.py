"""Text <-> Requirements: one grammar for the cell's line, the editor, requirements files and JSON lists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One requirement: canonical name, sorted extras, sorted specifiers or a URL, normalised marker, hashes."""

    name: str
    extras: tuple[str, ...] = ()
    specifier: str = ""
    url: str = ""
    marker: str = ""
    hashes: tuple[str, ...] = ()

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        where = f" @ {self.url}" if self.url else self.specifier
        marker = (" ; " if self.url else "; ") + self.marker if self.marker else ""
        return f"{self.name}{extras}{where}{marker}"


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a cell needs, in the order given, exact duplicates dropped; `warnings` are whole sentences."""

    items: tuple[Requirement, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def lines(self) -> tuple[str, ...]:
        """One requirements-file line each, without hashes."""
        return tuple(str(item) for item in self.items)


def parse(text: str, *, source: str = "--deps", file: bool = False) -> Requirements:
    """Placeholder grammar until the real one lands: one requirement per blank- or comma-separated word."""
    from packaging.requirements import Requirement as Parsed  # noqa: PLC0415

    words = text.replace(",", " ").split()
    parsed = [Parsed(word) for word in words]
    return Requirements(items=tuple(Requirement(name=p.name, specifier=str(p.specifier)) for p in parsed))
