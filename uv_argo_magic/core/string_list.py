"""Lists of strings as users write them: JSON, or with single or typographic quotes."""

from __future__ import annotations

import json
import re

OPENING = "\"'\u201c\u201e\u2018\u201a"
"""The characters that open a quoted word."""
_CLOSING = {"'": "'\u2019\u2018", '"': '"\u201d\u201c'}
_ITEM = (
    r"""(?:'(?P<single>[^'\n]*)'|"(?P<double>[^"\n]*)"|[\u201c\u201e](?P<curly>[^\u201c\u201d\n]*)[\u201c\u201d]"""
    r"|[\u2018\u201a](?P<raised>[^\u2018\u2019\n]*)[\u2018\u2019])"
)
_WORD = re.compile(_ITEM)
_ITEMS = re.sub(r"\?P<\w+>", "?:", _ITEM)
_LIST = re.compile(rf"\[\s*(?:{_ITEMS}\s*,\s*)*(?:{_ITEMS}\s*)?\]")
_DECODER = json.JSONDecoder()


def closing(quote: str) -> str:
    """The quotes that can close a word that begins with this quote."""
    return _CLOSING["'" if quote in "'\u2018\u201a" else '"']


def find(text: str, at: int) -> tuple[str, int] | None:
    """The list at this position as JSON, and its end; None if there is no list."""
    try:
        _, end = _DECODER.raw_decode(text, at)
        return text[at:end], end
    except (ValueError, RecursionError):
        pass
    match = _LIST.match(text, at)
    if not match:
        return None
    words = (next(filter(None, word.groups()), "") for word in _WORD.finditer(match[0]))
    return json.dumps(list(words), ensure_ascii=False), match.end()
