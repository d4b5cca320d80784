"""The scanner of requirement text: its plain characters with their positions, and a cursor that raises errors.

Rules:
- Every error is one line: source, line and character (from 1), the text, the problem and the advice.
- An error is ASCII and never contains a password or token.
- Every pattern is matched at the cursor and cannot backtrack, so that the time is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from typing import NoReturn

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import SpecError

EXAMPLE = 'Example: numpy pandas>=2,<3 requests[socks] rich; python_version < "3.13"'
BLANKS = re.compile(r"[ \t]*")
NAME = re.compile(r"[A-Za-z0-9._-]+")
WORD = re.compile(r"[^ \t\n]+")
COMMENT = re.compile(r"(?:^|[ \t])#")
BAD = re.compile(r"[^\t\n\x20-\x7e]|[$`|&{}\\]")
BAD_IN_ITEM = re.compile(r"[^\t\x20-\x7e]|[$`|&{}\\]")
REPOSITORY_AT_REF = re.compile(
    r"[^/]*\b(?:git|hg|svn|bzr)\+\w+://[A-Za-z0-9.-]+(?::\d+)?/[^@:]*@[\w./-]+(?:#[^@:]*)?\Z"
)
"""A repository at a branch or commit, where the "@" does not end a password."""
VARIABLE = re.compile(r"\$(?:\{[A-Za-z0-9_]*\}?|[A-Za-z0-9_]*)|\{+|.", re.DOTALL)

SHELL = "is shell syntax, which a requirement does not need"
CHARACTERS = {
    "$": ("is not expanded here", "write its value"),
    "`": (SHELL, "remove it"),
    "|": (SHELL, "remove it"),
    "&": (SHELL, "remove it; a URL cannot contain it either"),
    "{": ("is a template brace, which Argo would expand", "write the text that it stands for"),
    "}": ("is a template brace, which Argo would expand", "write the text that it stands for"),
    "\\": ("continues the line, so it must be the last character", "write a path as a URL, or remove it"),
}
"""Character -> (problem, advice)."""

# Characters that keyboards, word processors and web pages insert instead of ASCII.
ASCII_FOR = {
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2010": "-",
    "\u2011": "-",
    "\u2012": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2212": "-",
    "\u2264": "<=",
    "\u2265": ">=",
    "\u2260": "!=",
    "\u00a0": " ",
    "\u2028": "\n",
    "\u2029": "\n",
    "\x85": "\n",
    "\x0b": "\n",
    "\x0c": "\n",
}
TYPED = str.maketrans({char: plain for char, plain in ASCII_FOR.items() if len(plain) == 1 and plain != "\n"})
"""Quotes, dashes and spaces that are read as the ASCII character that was meant."""
SPACE_NAMES = {" ": "a space", "\n": "a newline"}


@frozen
class Text:
    """Text as written (`raw`) and as the grammar reads it (`plain`: without comments, with continued lines joined).

    `cuts` are the offsets in `plain` where a backslash and its line end were removed. `before` is the number of
    characters in front of the text in its line, which messages count as well.
    """

    source: str
    raw: str
    plain: str
    cuts: tuple[int, ...] = ()
    before: int = 0

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """The span of `plain[start:end]` in `raw`."""
        at = start + 2 * bisect_right(self.cuts, start)
        return at, max(at, end + 2 * bisect_right(self.cuts, end - 1))

    def refuse(self, start: int, end: int, problem: str, advice: str, *, fix: str = "", hint: str = "") -> NoReturn:
        """Raise a SpecError for `plain[start:end]`; with `fix`, the hint is the line with that text replaced."""
        at, end_at = self.raw_span(start, end)
        begin = self.raw.rfind("\n", 0, at) + 1
        line_prefix = f"line {self.raw.count(chr(10), 0, at) + 1}, " if "\n" in self.raw else ""
        subject = f"{quoted(self.raw[at:end_at])} {problem}" if end_at > at else problem
        line_end = self.raw.find("\n", at)
        line = self.raw[begin : line_end if line_end >= 0 else None]
        if fix and end_at <= begin + len(line) and len(line) <= 200:
            before = self.raw[begin:at]
            # A comparison follows the name without a space.
            before = before.rstrip(" \t") if fix[0] in ",=<>~!" else before
            whole = before + fix + self.raw[end_at : begin + len(line)]
            hint = f"Write: {visible(whole.strip())}"
        column = at - begin + 1 + (0 if begin else self.before)
        of_the_line = " of the line" if self.before and not begin else ""
        message = f"{self.source}, {line_prefix}character {column}{of_the_line}: {subject}; {advice}"
        raise SpecError(message, hint=hint or EXAMPLE) from None


def visible(text: str) -> str:
    """The text without credentials, in printable ASCII."""
    masked = WORD.sub(lambda word: _masked(word.group()), text)
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in masked)


def _masked(word: str) -> str:
    """The word without the part between "//" and the last "@", because a password can contain an "@"."""
    if REPOSITORY_AT_REF.match(word):
        return word
    end = word.rfind("@")
    scheme = word.find("//") + 2
    if 2 <= scheme <= end:
        return f"{word[:scheme]}***{word[end:]}"
    return f"***{word[end:]}" if ":" in word[: max(end, 0)] else word


def quoted(text: str) -> str:
    """The text for a message: quoted, printable, without credentials, 60 characters at most."""
    text = visible(text)
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"'


def scan(text: str, source: str, before: int = 0) -> Text:
    """Scan the text of a line or a file: comments become spaces and continued lines are joined, as in pip.

    `before` is the number of characters in front of the text in its line, if messages are to count them.

    Raises:
        SpecError: a character is not allowed in a requirement.
    """
    raw = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = raw.split("\n")
    pieces: list[str] = []
    cuts: list[int] = []
    size = offset = 0
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        comment = COMMENT.search(line)
        code = line[: comment.start()] if comment else line
        backslash = offset + len(line) - 1
        if comment and line.endswith("\\") and code.strip(" \t"):
            # pip would read the next line as part of the comment, uv would not.
            Text(source=source, raw=raw, plain=raw).refuse(
                backslash, backslash + 1, "ends a comment, and pip and uv disagree on the next line", "remove it"
            )
        if comment or not line.endswith("\\"):
            piece = code.ljust(len(line)) + ("" if last else "\n")
        elif last:
            Text(source=source, raw=raw, plain=raw).refuse(
                backslash, backslash + 1, "continues the line, but there is no next line", "remove it"
            )
        else:
            piece = line[:-1]
            cuts.append(size + len(piece))
        pieces.append(piece)
        size += len(piece)
        offset += len(line) + 1
    plain = "".join(pieces).translate(TYPED)
    return _checked(Text(source=source, raw=raw, plain=plain, cuts=tuple(cuts), before=before), BAD)


def scan_item(text: str, source: str) -> Text:
    """Scan one item of a list: one requirement on one line, without comments.

    Raises:
        SpecError: a character is not allowed in a requirement.
    """
    return _checked(Text(source=source, raw=text, plain=text.translate(TYPED)), BAD_IN_ITEM)


def _checked(text: Text, bad: re.Pattern[str]) -> Text:
    bad_match = bad.search(text.plain)
    if not bad_match:
        return text
    at, char = bad_match.start(), bad_match.group()
    if char in CHARACTERS:
        match = VARIABLE.match(text.plain, at)
        text.refuse(at, match.end() if match else at + 1, *CHARACTERS[char])
    if char == "\n":
        text.refuse(at, at, "a newline within one item of the list", "write one item for each requirement")
    intended = ASCII_FOR.get(char) or unicodedata.normalize("NFKC", char)
    is_plain = intended in SPACE_NAMES or (intended.isascii() and intended.isprintable())
    name = unicodedata.name(char, "a control character")
    advice = f"write {SPACE_NAMES.get(intended, intended)}" if is_plain else "remove it"
    return text.refuse(at, at, f"U+{ord(char):04X} ({name}) is not plain ASCII", advice)


class Cursor:
    """A position in a Text; it moves forward over matches."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.at = 0

    def look(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The match at the cursor, without moving."""
        return pattern.match(self.text.plain, self.at)

    def take(self, pattern: re.Pattern[str]) -> str:
        """Move past a match, and return its text; "" if nothing matches."""
        match = self.look(pattern)
        if not match:
            return ""
        self.at = match.end()
        return match.group()

    def skip(self) -> None:
        """Move over spaces and tabs."""
        self.take(BLANKS)

    @property
    def next(self) -> str:
        """The character at the cursor; "" at the end."""
        return self.text.plain[self.at : self.at + 1]

    def word(self) -> tuple[int, int]:
        """Start and end of the word at the cursor, for an error message."""
        match = self.look(WORD)
        return self.at, match.end() if match else self.at

    def refuse(self, problem: str, advice: str, *, start: int | None = None, fix: str = "", hint: str = "") -> NoReturn:
        """Refuse the text from `start` to the cursor; without `start`, the word at the cursor."""
        begin, end = self.word() if start is None else (start, self.at)
        self.text.refuse(begin, end, problem, advice, fix=fix, hint=hint)
