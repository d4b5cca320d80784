"""Suggestions for unknown names: the nearest of the known ones, and the error that offers it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY = 24
"""Words that somebody still reads as a list in an error."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like this one, or ""."""
    found = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def unknown(what: str, word: str, known: Iterable[str]) -> SpecError:
    """The error for a word that is not known, with the nearest that is and all that there are, or some if many."""
    names = sorted(known)
    best = nearest(word, names)
    guess = f"; did you mean {best}?" if best else ""
    hint = f"Known: {', '.join(names)}." if names else "There are none."
    if len(names) > MANY:
        near = difflib.get_close_matches(word.lower(), names, n=5, cutoff=0.4)
        hint = (f"Near it: {', '.join(near)}. " if near else "") + "The help verb lists them: help run."
    return SpecError(f"unknown {what} {word}{guess}", hint=hint)
