"""Suggestions for unknown names: the nearest of the known ones, and the error that offers it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY = 24
"""Words that somebody still reads as a list in an error."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The known word most like this one, or ""."""
    matches = difflib.get_close_matches(word.lower(), sorted(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else ""


def unknown(kind: str, word: str, candidates: Iterable[str]) -> SpecError:
    """The error for a word that is not known, with the nearest that is and all that there are, or some if many."""
    names = sorted(candidates)
    suggestion = nearest(word, names)
    question = f"; did you mean {suggestion}?" if suggestion else ""
    hint = f"Known: {', '.join(names)}." if names else "There are none."
    if len(names) > MANY:
        similar = difflib.get_close_matches(word.lower(), names, n=5, cutoff=0.4)
        hint = (f"Near it: {', '.join(similar)}. " if similar else "") + "The help verb lists them: help run."
    return SpecError(f"unknown {kind} {word}{question}", hint=hint)
