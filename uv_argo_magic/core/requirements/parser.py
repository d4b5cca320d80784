"""The parser of requirements: one grammar for `--deps`, the editor, requirements files and JSON lists.

    list         = [sep] [ requirement { sep requirement } ] [","] [sep]     or a JSON list of requirements
    sep          = spaces, tabs and newlines, with at most one comma among them
    requirement  = NAME ["[" NAME { "," NAME } "]"] ( [specifier] | "@" URL ) [";" marker] { "--hash=sha256:HEX" }

Rules:
- Spaces before an operator belong to the requirement; a newline ends it, except after the comma of a specifier.
- Hashes are allowed in files only. Every other option is refused; the error names our option for it.
- Parsing the result, joined by spaces, ", ", newlines or a mix of them, gives the same requirements.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from uv_argo_magic.core import string_list
from uv_argo_magic.core.requirements import grammar
from uv_argo_magic.core.requirements.import_names import import_name_warning
from uv_argo_magic.core.requirements.model import LocatedRequirement, Requirement, Requirements
from uv_argo_magic.core.requirements.scanner import NAME, Cursor, Text, scan, scan_item
from uv_argo_magic.core.requirements.typo_hints import refuse_lookalike
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_REQUIREMENTS = 500
MAX_LENGTH = 64 * 1024
MAX_FILE_LENGTH = 1024 * 1024
"""Maximum characters of a line, and of a file: 184 packages with the hashes of every platform take 206 KB."""

SEPARATOR = re.compile(r"[ \t\n]*(?:,[ \t\n]*)?")
BRACKET = re.compile(r"[ \t]*\[")
EXTRA_END = re.compile(r"[ \t]*[,\]]")
AT = re.compile(r"[ \t]*@")
SEMICOLON = re.compile(r"[ \t]*;")
HASH_SIGN = re.compile(r"[ \t]+(?=--hash)")
HASH = re.compile(r"--hash=sha256:[0-9A-Fa-f]{64}(?![^ \t\n,])")


def parse(text: str, *, source: str = "--deps", file: bool = False, before: int = 0) -> Requirements:
    """Parse a list of requirements; `source` names it in messages, `file` allows hashes.

    `before` is the number of characters in front of the text in its line, if messages are to count them.

    Raises:
        SpecError: the list is invalid. The message is one line with the position, the problem and the advice.
    """
    limit = MAX_FILE_LENGTH if file else MAX_LENGTH
    if len(text) > limit:
        raise SpecError(
            f"{source}: {len(text)} characters, but a list has at most {limit}; remove some requirements",
            hint="Put a long list in a requirements file: -r/--requirements FILE." if not file else SHORTER,
        )
    if text.removeprefix("\ufeff").lstrip(" \t\r\n").startswith("["):
        return parse_items(_json(text, source), source=source, file=file)
    return _deduplicate(located.requirement for located in _requirements(scan(text, source, before), hashes=file))


def locate(text: str, *, source: str = "--deps", file: bool = False) -> tuple[LocatedRequirement, ...]:
    """Each requirement of a list (not JSON) with its position, in order, including duplicates.

    Raises:
        SpecError: as `parse` does.
    """
    scanned = scan(text, source)
    return tuple(_requirements(scanned, hashes=file))


SHORTER = "List only the packages that the cell imports; their dependencies are installed automatically."


def parse_items(items: Sequence[object], *, source: str, file: bool = False) -> Requirements:
    """Parse a list with one requirement per item, such as `dependencies` of a script block.

    Raises:
        SpecError: an item is invalid; the message has its number, counted from 1.
    """
    requirements: list[Requirement] = []
    for number, value in enumerate(items, start=1):
        where = f"{source}, item {number}"
        if number > MAX_REQUIREMENTS:
            raise SpecError(f"{where}: a list has at most {MAX_REQUIREMENTS} requirements; remove some", hint=SHORTER)
        if not isinstance(value, str):
            raise SpecError(
                f"{where}: a value of type {type(value).__name__} is not a string; write one requirement in quotes",
                hint='Example: ["numpy", "pandas>=2"]',
            )
        text = scan_item(value, where)
        parsed = [located.requirement for located in _requirements(text, hashes=file)]
        if len(parsed) != 1:
            problem = f"contains {len(parsed)} requirements" if parsed else "is empty"
            text.refuse(0, len(value), problem, "write one requirement in each item")
        requirements += parsed
    return _deduplicate(requirements)


def merge(*lists: Requirements) -> Requirements:
    """All requirements of these lists, in order, without duplicates; complete if each list is."""
    merged = _deduplicate(item for requirements in lists for item in requirements.items)
    return replace(
        merged, complete=bool(merged) and all(requirements.complete for requirements in lists if requirements)
    )


def _json(text: str, source: str) -> Sequence[object]:
    plain = text.removeprefix("\ufeff").strip()
    found = string_list.find(plain, 0)
    if found and found[1] == len(plain):
        plain = found[0]
    hint = 'Example of a JSON list: ["numpy", "pandas>=2"]'
    advice = "write strings in double quotes, separated by commas"
    try:
        value = json.loads(plain)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise SpecError(f"{source}, {where}character {error.colno}: invalid JSON list; {advice}", hint=hint) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets thousands deep
        raise SpecError(f"{source}: this JSON contains more than strings; {advice}", hint=hint) from None
    return value if isinstance(value, list) else [value]


def _requirements(text: Text, *, hashes: bool) -> Iterator[LocatedRequirement]:
    cursor = Cursor(text)
    previous_name = ""
    count = 0
    while True:
        start = cursor.at
        gap = cursor.take(SEPARATOR)
        if cursor.next == ",":
            cursor.at += 1
            cursor.refuse("has nothing before it", "write one comma, or spaces", start=cursor.at - 1)
        if not cursor.next:
            return
        if not gap and start:
            cursor.refuse("has no space or comma before it", "write a space before it")
        count += 1
        if count > MAX_REQUIREMENTS:
            cursor.refuse(f"is requirement number {count} of at most {MAX_REQUIREMENTS}", "remove some", hint=SHORTER)
        line_start = not start or "\n" in gap
        refuse_lookalike(cursor, line_start=line_start, previous_name="" if line_start else previous_name)
        requirement_start = cursor.at
        requirement = _requirement(cursor, hashes=hashes)
        previous_name = requirement.name if cursor.at - requirement_start == len(requirement.name) else ""
        start, end = text.raw_span(requirement_start, cursor.at)
        yield LocatedRequirement(requirement=requirement, start=start, end=end)


def _requirement(cursor: Cursor, *, hashes: bool) -> Requirement:
    start = cursor.at
    raw_name = cursor.take(NAME)
    refusal = ("is not a package name", "write letters, digits and . _ - between them", "")
    name = grammar.checked(cursor, start, lambda: canonicalize_name(raw_name, validate=True), refusal)
    extras = _extras(cursor)
    url = specifier = ""
    if cursor.take(AT):
        url = grammar.url(cursor, name)
    else:
        specifier = grammar.specifier(cursor)
    marker = grammar.marker(cursor) if cursor.take(SEMICOLON) else ""
    if cursor.look(BRACKET):
        cursor.skip()
        cursor.refuse("follows the version", f"write extras after the name: {name}[extra]")
    if cursor.look(AT):
        cursor.skip()
        cursor.refuse("adds a URL to a requirement with a version, a marker or a URL", "write name @ URL ; marker")
    if cursor.look(SEMICOLON):
        cursor.skip()
        cursor.refuse("is a second marker", 'join the two by "and"')
    return Requirement(
        name=name,
        extras=extras,
        specifier=specifier,
        url=url,
        marker=marker,
        hashes=_hashes(cursor) if hashes else (),
    )


def _extras(cursor: Cursor) -> tuple[str, ...]:
    opening = cursor.at
    if not cursor.take(BRACKET):
        return ()
    opening = cursor.at - 1
    extras = set()
    while True:
        cursor.skip()
        start = cursor.at
        extra = cursor.take(NAME)
        refusal = ("is not the name of an extra", "write letters, digits and . _ - between them", "")
        if not extra:
            problem = (
                "has an empty extra"
                if cursor.next and cursor.next in "],\n"
                else "is not closed, or has an empty extra"
            )
            cursor.at = max(cursor.at, opening + 1)
            cursor.refuse(problem, "write extras in brackets, as in requests[socks]", start=opening)
        extras.add(grammar.checked(cursor, start, lambda: canonicalize_name(extra, validate=True), refusal))  # noqa: B023
        end = cursor.take(EXTRA_END)
        if not end:
            cursor.refuse("is not closed", 'write "]" after the last extra', start=opening)
        if end[-1] == "]":
            return tuple(sorted(extras))


def _hashes(cursor: Cursor) -> tuple[str, ...]:
    hashes = set()
    while cursor.take(HASH_SIGN):
        digest = cursor.take(HASH)
        if not digest:
            cursor.refuse("is not a SHA-256 hash", "write --hash=sha256: and 64 hexadecimal digits")
        hashes.add(digest.removeprefix("--hash=").lower())
    return tuple(sorted(hashes))


def _deduplicate(items: Iterable[Requirement]) -> Requirements:
    """Drop duplicates, joining their hashes, and add warnings."""
    by_text: dict[str, Requirement] = {}
    for item in items:
        key = str(item)
        hashes = {*by_text[key].hashes, *item.hashes} if key in by_text else item.hashes
        by_text[key] = replace(item, hashes=tuple(sorted(hashes)))
    return Requirements(items=tuple(by_text.values()), warnings=tuple(_warnings(tuple(by_text.values()))))


def _warnings(items: tuple[Requirement, ...]) -> Iterator[str]:
    by_name: dict[str, list[Requirement]] = {}
    for item in items:
        by_name.setdefault(item.name, []).append(item)
    for name, group in by_name.items():
        warning = import_name_warning(name)
        if warning:
            yield warning
        # A universal lock has a line for each Python or platform, with a marker. These do not contradict each other.
        markers = {item.marker for item in group}
        if len(group) > 1 and ("" in markers or len(markers) < len(group)):
            yield f"{name} is listed {len(group)} times ({', '.join(map(str, group))}); all of them must hold."
        for item in group:
            if EXTRA_MARKER.search(item.marker):
                yield f'The marker of "{item}" tests for an extra, which is never set here.'


EXTRA_MARKER = re.compile(r"(?:^|[ (])extra [!=]= |= extra(?:$|[ )])")
