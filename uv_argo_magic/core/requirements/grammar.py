"""The grammar of version specifiers, markers and URLs: each function reads one at the cursor and normalises it.

Rules:
- This module finds where a part begins and ends; `packaging` validates it (PEP 440, PEP 508).
- A comma followed by an operator continues the specifier; any other comma separates requirements.
- A marker ends at the first token that cannot continue it; parentheses nest at most MAX_DEPTH deep.
- A URL ends at the next space. One comma at its end is a separator; a comma inside it is part of the URL.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NoReturn

from packaging.markers import Marker
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from uv_argo_magic.core.requirements.scanner import Cursor, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 20
MAX_FILE_NAME = 255
"""Maximum characters of a wheel's file name: every combination of its tags is parsed, which can take minutes."""

OPERATOR = re.compile(r"[<>=!~^]+")
OPERATORS = frozenset(("==", "~=", "!=", "<=", ">=", "<", ">"))
MISSPELLED = {
    "=": "==",
    "===": "==",
    "=>": ">=",
    "=<": "<=",
    "<>": "!=",
    "!": "!=",
    "!==": "!=",
    "=!": "!=",
    "=~": "~=",
}
VERSION = re.compile(r"(?:[0-9]+!)?[A-Za-z0-9.*+_-]+")
NUMBERS = re.compile(r"[ \t]*(\d{1,9}(?:\.\d{1,9}){0,9})(?![A-Za-z0-9.*+_-])")
LONG_NUMBER = re.compile(r"[0-9]{19}")
"""More digits than always fit the 64 bits in which uv stores each number of a version."""
NEXT_CLAUSE = re.compile(r"[ \t]*,[ \t\n]*(?=[<>=!~^])")
OPEN_PAREN = re.compile(r"[ \t]*\([ \t]*")
CLOSE_PAREN = re.compile(r"[ \t]*\)")
OPERATOR_AHEAD = re.compile(r"[ \t]*(?=[<>=!~^])")

JOINED = re.compile(r"[ \t]*(?:and|or)(?![A-Za-z0-9._-])")
QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
OPERAND = re.compile(r"[A-Za-z0-9._*+-]+")
COMPARED = re.compile(r"[<>=!~^]+|(?:not[ \t]+)?in(?![A-Za-z0-9._-])")
VERSIONS = ("python_version", "python_full_version", "implementation_version")
VARIABLES = (
    *VERSIONS,
    "sys_platform",
    "platform_machine",
    "platform_system",
    "platform_release",
    "platform_version",
    "platform_python_implementation",
    "implementation_name",
    "os_name",
    "extra",
)
# Spellings from before PEP 508, which `packaging` converts.
FORMER = (
    "os.name",
    "sys.platform",
    "platform.version",
    "platform.machine",
    "platform.python_implementation",
    "python_implementation",
)
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}

URL = re.compile(r"[^ \t\n]+")
URL_PARTS = re.compile(r"https://([^/?#]*)([^?#]*)")
URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!()*+,=%-]*")
AUTHORITY = re.compile(r"(?:([A-Za-z0-9._-]{1,253})|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
IPV4_LIKE = re.compile(r"(?:.*\.)?[0-9]+\.?")
REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)\+|(?:git|ssh)://|git@", re.IGNORECASE)
ARCHIVES = (
    ".whl",
    ".tar.gz",
    ".zip",
    ".tar.bz2",
    ".tar.lz",
    ".tar.lzma",
    ".tar.xz",
    ".tar.zst",
    ".tar",
    ".tbz",
    ".tgz",
    ".tlz",
    ".txz",
)
"""The endings of archives that uv accepts in URLs."""


def specifier(cursor: Cursor) -> str:
    """The clauses at the cursor, with or without parentheses, sorted and joined by commas; "" if there are none."""
    opening = cursor.at
    in_parentheses = bool(cursor.take(OPEN_PAREN))
    if not in_parentheses and not cursor.look(OPERATOR_AHEAD):
        return ""
    clauses = [_clause(cursor)]
    while cursor.take(NEXT_CLAUSE):
        clauses.append(_clause(cursor))
    if in_parentheses and not cursor.take(CLOSE_PAREN):
        cursor.text.refuse(opening, cursor.at, "is not closed", 'write ")" after the last version')
    if cursor.look(OPERATOR_AHEAD):
        cursor.skip()
        start = cursor.at
        operator = cursor.take(OPERATOR)
        cursor.refuse("follows without a comma", f"write a comma before {operator}", start=start, fix=f",{operator}")
    # packaging keeps only one of ==1.0 and ==1.0.0; with sorted clauses it is always the same one.
    return str(SpecifierSet(",".join(sorted(clauses))))


def _clause(cursor: Cursor) -> str:
    cursor.skip()
    start = cursor.at
    operator = cursor.take(OPERATOR)
    if operator not in OPERATORS:
        _misspelled(cursor, start, operator)
    cursor.skip()
    at = cursor.at
    version = cursor.take(VERSION)
    if not version:
        if cursor.next and cursor.next in "\"'":
            cursor.refuse("is quoted", "write the version without quotes")
        cursor.refuse("has no version after it", f"write a version, as in {operator or '=='}2.0", start=start)
    return operator + checked(cursor, at, lambda: _version(operator, version), _version_problem(operator, version))


def _version(operator: str, version: str) -> str:
    if LONG_NUMBER.search(version):
        raise ValueError(version)
    Specifier(operator + version)
    plain = version.removesuffix(".*")
    return f"{Version(plain)}{version[len(plain) :]}"


def _version_problem(operator: str, version: str) -> tuple[str, str, str]:
    """(problem, advice, fix) for a version that `packaging` rejects after this operator."""
    if LONG_NUMBER.search(version):
        return "has a number of more than 18 digits", "write a shorter one", ""
    plain = version.removesuffix(".*")
    numbers = NUMBERS.fullmatch(plain)
    if plain != version and numbers and operator not in {"==", "!="}:
        return f"has a wildcard, which only == and != allow; {operator} does not", f"write {operator}{plain}", plain
    if operator == "~=" and numbers and "." not in version:
        return "is too short for ~=, which needs two numbers", f"write ~={version}.0", f"{version}.0"
    if "+" in version and operator not in {"==", "!="}:
        plain = version.partition("+")[0]
        return f"has a local part, which {operator} does not allow", f"write {operator}{plain}", plain
    return "is not a version (PEP 440)", f"write numbers and dots, as in {operator}2.0", ""


def checked(cursor: Cursor, start: int, decide: Callable[[], str], refusal: tuple[str, str, str]) -> str:
    """Return the result of `decide`; on a ValueError, refuse the text from `start` to the cursor.

    All classes of `packaging` raise ValueError, and so does `int` for thousands of digits.
    """
    try:
        return decide()
    except ValueError:
        problem, advice, fix = refusal
        cursor.refuse(problem, advice, start=start, fix=fix)


def _misspelled(cursor: Cursor, start: int, operator: str) -> NoReturn:
    numbers = cursor.look(NUMBERS)
    if operator in {"^", "~"}:
        fix = (caret if operator == "^" else tilde)(numbers.group(1)) if numbers else ""
        if numbers:
            cursor.at = numbers.end()
        advice = f"write {fix}" if fix else "write ~= and a version"
        cursor.refuse("is the syntax of another tool", advice, start=start, fix=fix)
    fix = MISSPELLED.get(operator, "")
    problem = "compares text, not versions" if operator == "===" else "is not a comparison"
    cursor.refuse(problem, f"use {fix}" if fix else "use one of == ~= != <= >= < >", start=start, fix=fix)


def caret(version: str) -> str:
    """`^version` of other tools as a PEP 440 specifier: compatible up to the first number that is not 0."""
    numbers = [int(number) for number in version.split(".")]
    if len(numbers) == 2 and numbers[0]:
        return f"~={version}"
    first = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
    upper = ".".join(map(str, (*numbers[:first], numbers[first] + 1)))
    return f">={version},<{upper}"


def tilde(version: str) -> str:
    """`~version` of other tools as a PEP 440 specifier: compatible up to the second number, or the only one."""
    return f"~={version}" if version.count(".") >= 2 else f"~={version}.0"


def marker(cursor: Cursor) -> str:
    """The marker at the cursor, after the semicolon, as normalised by `packaging`."""
    cursor.skip()
    start = cursor.at
    _expression(cursor, 0)
    text = cursor.text.plain[start : cursor.at]
    refusal = ("is not a marker", 'write one as in python_version < "3.13"', "")
    return checked(cursor, start, lambda: str(Marker(text)), refusal)


def _expression(cursor: Cursor, depth: int) -> None:
    while True:
        cursor.skip()
        opened = cursor.at
        if cursor.next == "(":
            cursor.at += 1
            if depth == MAX_DEPTH:
                cursor.refuse(f"is nested deeper than {MAX_DEPTH}", "remove parentheses", start=opened)
            _expression(cursor, depth + 1)
            if not cursor.take(CLOSE_PAREN):
                cursor.text.refuse(opened, opened + 1, "is not closed", 'write ")" where the condition ends')
        else:
            _comparison(cursor)
        if not cursor.take(JOINED):
            return


def _comparison(cursor: Cursor) -> None:
    start = cursor.at
    left, left_text = _operand(cursor, "")
    cursor.skip()
    at = cursor.at
    operator = cursor.take(COMPARED)
    if not operator:
        cursor.text.refuse(start, at, "is not compared with anything", 'write a comparison, as in os_name == "posix"')
    if operator[-1] != "n" and operator not in OPERATORS:
        fix = MISSPELLED.get(operator, "")
        cursor.refuse("is not a comparison", f"use {fix or 'one of == ~= != <= >= < > in'}", start=at, fix=fix)
    right, right_text = _operand(cursor, left)
    if bool(left) == bool(right):
        problem = "compares two variables" if left else "compares two strings"
        cursor.refuse(problem, 'compare a variable with a string, as in os_name == "posix"', start=start)
    variable, text = (left, right_text) if left else (right, left_text)
    operator = operator if left else FLIPPED.get(operator, operator)
    if operator[-1] == "n":
        return
    refusal = (f"is not a version that {variable} can be compared with", 'write it as in python_version < "3.13"', "")
    if variable in VERSIONS:
        checked(cursor, start, lambda: _version(operator, text), refusal)
    elif operator == "~=" or (variable == "extra" and operator not in {"==", "!="}):
        cursor.refuse(f"compares {variable}, which is not a version", "use == or !=", start=start)


def _operand(cursor: Cursor, variable: str) -> tuple[str, str]:
    """(variable, "") or ("", text between quotes)."""
    cursor.skip()
    start = cursor.at
    quoted = cursor.take(QUOTED)
    if quoted:
        text = quoted[1:-1]
        if "'" in text or '"' in text or " #" in text or "\t" in text:
            cursor.refuse("has a quote, a tab or a comment sign inside", "write a plain string", start=start)
        return "", text
    if cursor.next and cursor.next in "\"'":
        cursor.refuse("has no closing quote", f"write {cursor.next} at its end")
    word = cursor.take(OPERAND)
    if word in VARIABLES or word in FORMER:
        return word, ""
    if not word:
        cursor.refuse("the marker is incomplete", 'write one as in python_version < "3.13"', start=start)
    if variable or word[0].isdigit():
        cursor.refuse("is not quoted", f'write "{word[:40]}"', start=start, fix=f'"{word}"')
    names = ", ".join(VARIABLES)
    return cursor.refuse(
        "is not a marker variable",
        "use python_version, sys_platform or another variable",
        start=start,
        hint=f"Variables: {names}.",
    )


def url(cursor: Cursor, name: str) -> str:
    """The https URL at the cursor, after the "@", of a distribution of `name`."""
    cursor.skip()
    start = cursor.at
    value = cursor.take(URL)
    if value.endswith(","):
        value = value[:-1]
        cursor.at -= 1
    if not value or value == ";":
        cursor.at = start
        cursor.refuse('"@" has no URL after it', f"write {name} @ https://...", start=start)
    _not_https(cursor, start, value, name)
    parts = URL_PARTS.match(value)
    authority, path = parts.groups() if parts else ("", "")
    if "@" in authority:
        cursor.refuse(
            "contains a user name or token, which would be stored with the run",
            "remove it, up to the @",
            start=start,
            hint="Set the credentials in uv's environment, or in a Kubernetes Secret.",
        )
    valid = URL_CHARACTERS.match(value)
    if valid and valid.end() < len(value):
        at = start + valid.end()
        advice = "write a space before it" if value[valid.end()] == ";" else "percent-encode it"
        cursor.text.refuse(at, at + 1, "is not allowed in a URL", advice)
    if not _host(authority):
        cursor.refuse("has no valid host", f"write {name} @ https://index.example.com/...", start=start)
    file = path.rpartition("/")[2]
    if not file.endswith(ARCHIVES) or value.endswith(","):
        cursor.refuse("does not name a distribution file", "give the URL of a .whl file", start=start)
    if file.endswith(".whl"):
        _wheel(cursor, start, file, name)
    return value


def _not_https(cursor: Cursor, start: int, value: str, name: str) -> None:
    if value.startswith("https://"):
        return
    if REPOSITORY.match(value):
        cursor.refuse(*REPOSITORY_REFUSED, start=start)
    if value[0] in "\"'":
        cursor.refuse("is quoted", "write the URL without quotes", start=start)
    if value[0].isdigit():
        at = cursor.text.plain.rfind("@", 0, start)
        cursor.refuse(
            "is a version, but @ must be followed by a URL", f"write {name}=={value[:40]}", start=at, fix=f"=={value}"
        )
    if value.startswith("http://"):
        fix = "https" + value[4:]
        cursor.refuse("is not encrypted", "write https:// instead of http://", start=start, fix=fix)
    if value == "latest":
        cursor.refuse("is not a version", f"write {name} alone for the latest version", start=start)
    cursor.refuse(
        "is not an https URL, and the cell may run on another machine",
        "upload a wheel and give its https URL",
        start=start,
    )


REPOSITORY_REFUSED = (
    "is a repository, which has no hash",
    "build a wheel and give its URL: name @ https://...",
)


def _host(authority: str) -> bool:
    """Whether uv accepts this as host and port."""
    match = AUTHORITY.fullmatch(authority)
    if not match:
        return False
    host, ipv6, port = match.groups()
    try:
        if ipv6:
            ipaddress.IPv6Address(ipv6)
        elif IPV4_LIKE.fullmatch(host):
            ipaddress.IPv4Address(host)
        else:
            host.encode().decode("idna")
    except ValueError:
        return False
    return int(port or 0) < 65536


def _wheel(cursor: Cursor, start: int, file: str, name: str) -> None:
    try:
        if len(file) > MAX_FILE_NAME:
            raise ValueError(file)  # noqa: TRY301 - handled like all invalid names
        wheel_name, *_ = parse_wheel_filename(file.replace("%2B", "+").replace("%2b", "+").replace("%21", "!"))
    except ValueError:
        cursor.refuse(
            f"ends in {quoted(file)}, which is not a wheel file name", "give the wheel's full file name", start=start
        )
    if wheel_name != canonicalize_name(name):
        fix = f"{wheel_name} @ {cursor.text.plain[start : cursor.at]}"
        cursor.refuse(
            f"is a wheel of {wheel_name}, not of {name}",
            f"write {wheel_name} @ and this URL",
            start=start,
            hint=f"Write: {fix}",
        )
