"""Requirements as data. They are separate from parser.py, which imports `packaging`."""

from __future__ import annotations

from uv_argo_magic.core.frozen import frozen


@frozen
class Requirement:
    """One requirement: canonical name, sorted extras, sorted specifiers or a URL, normalised marker, hashes.

    `hashes` are the allowed ones, "sha256:HEX", sorted.
    """

    name: str
    extras: tuple[str, ...] = ()
    specifier: str = ""
    url: str = ""
    marker: str = ""
    hashes: tuple[str, ...] = ()

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        constraint = f" @ {self.url}" if self.url else self.specifier
        marker = (" ; " if self.url else "; ") + self.marker if self.marker else ""
        return f"{self.name}{extras}{constraint}{marker}"

    @property
    def line(self) -> str:
        """This requirement as one line of a requirements file, with its hashes."""
        return " ".join((str(self), *(f"--hash={value}" for value in self.hashes)))


@frozen
class LocatedRequirement:
    """A requirement and its position `text[start:end]`, in a text with LF line ends and no byte order mark."""

    requirement: Requirement
    start: int
    end: int


@frozen
class Requirements:
    """The requirements of a cell, in order, without exact duplicates; `warnings` are sentences.

    `complete` requirements include all dependencies, as a lock does, so that the resolution adds none.
    """

    items: tuple[Requirement, ...] = ()
    warnings: tuple[str, ...] = ()
    complete: bool = False

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def lines(self) -> tuple[str, ...]:
        """One requirements-file line each, without hashes."""
        return tuple(str(item) for item in self.items)

    @property
    def text(self) -> str:
        """A requirements file with hashes: `parse(text, file=True)` returns the same items."""
        return "".join(f"{item.line}\n" for item in self.items)
