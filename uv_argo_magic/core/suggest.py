"""Suggestions for unknown names: the nearest known name, and the error that suggests it.

Rule: only a name that differs by few typing errors, or that the word abbreviates, is suggested. A wrong suggestion is
worse than none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY = 24
"""Maximum number of candidates that an error lists."""
SHORTEST_PREFIX = 3


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate most similar to this word, or ""."""
    names = sorted(candidates)
    plain = _plain(word)
    slips = 1 if len(plain) < 6 else 2 if len(plain) < 10 else 3
    distances = [(distance(plain, _plain(name)), name) for name in names if abs(len(name) - len(word)) <= slips]
    best = min(distances, default=(slips + 1, ""))
    # A word of one or two letters is near every short name.
    if best[0] <= slips and (best[0] == 0 or len(plain) > 2):
        return best[1]
    longer = [name for name in names if _plain(name).startswith(plain)]
    return longer[0] if len(longer) == 1 and len(plain) >= SHORTEST_PREFIX else ""


def distance(left: str, right: str) -> int:
    """The number of letters inserted, removed, replaced or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, 1):
        above, before = before, row
        row = [i]
        for j, other in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and other == left[i - 2]:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


def unknown(kind: str, word: str, candidates: Iterable[str]) -> SpecError:
    """The error for an unknown word, with the nearest candidate and a list of all, or only of similar ones if many."""
    names = sorted(candidates)
    suggestion = nearest(word, names)
    question = f"; did you mean {suggestion}?" if suggestion else ""
    hint = f"Choose from: {', '.join(names)}." if names else f"There are no {kind}s."
    if len(names) > MANY:
        similar = [name for name in names if name == suggestion or _share_a_part(word, name)][:5]
        hint = (f"Similar: {', '.join(similar)}. " if similar else "") + "List all of them with --help."
    return SpecError(f"unknown {kind} {word}{question}", hint=hint)


def _plain(word: str) -> str:
    return word.lower().replace("_", "-")


def _share_a_part(left: str, right: str) -> bool:
    """Whether both have a word in common: `time_out` and `run_timeout` do not, `max_timeout` and `run_timeout` do."""
    parts = [{part for part in re.split(r"[-_.]", word.lower()) if len(part) > 2} for word in (left, right)]
    return bool(parts[0] & parts[1])
