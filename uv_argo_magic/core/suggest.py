"""Suggestions for unknown names: the nearest known name, and the error that offers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MANY = 24
"""Candidates that an error still lists in full."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate most like this word, or ""."""
    matches = _similar(word, sorted(candidates), number=1, cutoff=0.6)
    return matches[0] if matches else ""


def _similar(word: str, names: Sequence[str], *, number: int, cutoff: float) -> list[str]:
    import difflib  # noqa: PLC0415 - most commands have no unknown name

    return difflib.get_close_matches(word.lower(), names, n=number, cutoff=cutoff)


def unknown(kind: str, word: str, candidates: Iterable[str]) -> SpecError:
    """The error for an unknown word, with the nearest candidate and the list of all, or of similar ones if many."""
    names = sorted(candidates)
    suggestion = nearest(word, names)
    question = f"; did you mean {suggestion}?" if suggestion else ""
    hint = f"Choose from: {', '.join(names)}." if names else f"There are no {kind}s."
    if len(names) > MANY:
        similar = _similar(word, names, number=5, cutoff=0.4)
        hint = (f"Similar: {', '.join(similar)}. " if similar else "") + "See help run for the full list."
    return SpecError(f"unknown {kind} {word}{question}", hint=hint)
