"""Suggestions for unknown names: the nearest known name, and the error that offers it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY = 24
"""Candidates that an error still lists in full."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate most like this word, or ""."""
    matches = difflib.get_close_matches(word.lower(), sorted(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else ""


def unknown(kind: str, word: str, candidates: Iterable[str]) -> SpecError:
    """The error for an unknown word, with the nearest candidate and the list of all, or of similar ones if many."""
    names = sorted(candidates)
    suggestion = nearest(word, names)
    question = f"; did you mean {suggestion}?" if suggestion else ""
    hint = f"Choose from: {', '.join(names)}." if names else f"There are no {kind}s."
    if len(names) > MANY:
        similar = difflib.get_close_matches(word.lower(), names, n=5, cutoff=0.4)
        hint = (f"Similar: {', '.join(similar)}. " if similar else "") + "See help run for the full list."
    return SpecError(f"unknown {kind} {word}{question}", hint=hint)
