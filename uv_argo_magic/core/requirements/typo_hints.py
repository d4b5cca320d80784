"""Hints for other text that is pasted as requirements: commands, options, paths, import names.

Rule: `refuse_lookalike` refuses only text that cannot be a requirement, or is one by accident: `pip install numpy` is
three package names. Other doubtful names get a warning.
"""

from __future__ import annotations

import re
from typing import NoReturn

from uv_argo_magic.core.requirements.grammar import ARCHIVES, OPERATOR, REPOSITORY, REPOSITORY_REFUSED
from uv_argo_magic.core.requirements.scanner import NAME, Cursor

COMMAND = re.compile(
    r"[!%]?[ \t]*(?:python[0-9.]*[ \t]+-m[ \t]+)?(?:uv[ \t]+)?(?:pip[0-9.]*|uv|uvx|conda|mamba|poetry|pdm|pixi)"
    r"[ \t]+(?:install|add)(?![A-Za-z0-9._-])"
)
BEGINNING = re.compile(r"[^ \t\n]{1,256}")
OPTION = re.compile(r"--[A-Za-z][A-Za-z0-9-]*|-[A-Za-z]|-+")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|file:", re.IGNORECASE)
PATH = re.compile(r"\.?\.?/|\.+(?![A-Za-z0-9])|~/|[A-Za-z]:/")
VERSION_LIKE = re.compile(
    r"v?[0-9]+(?:[._-]+[0-9]+)*(?:[._-]*(?:a|b|c|rc|alpha|beta|post|dev)[._-]*[0-9]+)*(?:\.\*)?", re.IGNORECASE
)
VERSION_WORD = re.compile(r"[A-Za-z0-9.*+!_-]+")
FILES = frozenset(
    (
        "pyproject.toml",
        "pylock.toml",
        "uv.lock",
        "poetry.lock",
        "environment.yml",
        "environment.yaml",
        "setup.py",
        "setup.cfg",
        "requirements.in",
    )
)
KEYWORDS = frozenset(("and", "or", "not", "in", "import", "from"))
"""Words of a marker or of an import statement: `numpy and pandas` is not three packages."""

BINARY = "use --set only_binary=true or --set only_binary=false"
INDEX = "use --set index_url=URL"
ONE_INDEX = "use --set indexes=NAME=URL, or --set index_url=URL for a single index"
FRESH = "remove it: each list gets its own environment"
LOCKED = "remove it: every run installs from a lock with hashes"
PYTHON = "use -p/--python VERSION on the magic's line"
WHEEL = "name @ https://index.example.com/name-1.0-py3-none-any.whl"
ELSEWHERE = "upload a wheel and write name @ https://..."

OPTIONS = {
    "-i": INDEX,
    "--index-url": INDEX,
    "--default-index": INDEX,
    "--index": ONE_INDEX,
    "--extra-index-url": ONE_INDEX,
    "--no-index": ONE_INDEX,
    "-f": ONE_INDEX,
    "--find-links": ONE_INDEX,
    "--trusted-host": "use an index with https: --set index_url=URL",
    "--allow-insecure-host": "use an index with https: --set index_url=URL",
    "--pre": "use --set prerelease=allow",
    "--prerelease": "use --set prerelease=allow",
    "--resolution": "use --set resolution=highest, lowest or lowest-direct",
    "--exclude-newer": "use --set exclude_newer=DATE",
    "-c": 'use --set constraints="name<2"',
    "--constraint": 'use --set constraints="name<2"',
    "--constraints": 'use --set constraints="name<2"',
    "--override": 'use --set overrides="name==2.0"',
    "--overrides": 'use --set overrides="name==2.0"',
    "--offline": "use --set offline=true",
    "--only-binary": BINARY,
    "--no-binary": BINARY,
    "--prefer-binary": BINARY,
    "--no-build": BINARY,
    "-r": "use -r/--requirements FILE on the magic's line",
    "--requirement": "use -r/--requirements FILE on the magic's line",
    "--requirements": "use -r/--requirements FILE on the magic's line",
    "-e": ELSEWHERE,
    "--editable": ELSEWHERE,
    "-d": "write only the requirements here",
    "--deps": "write only the requirements here",
    "-p": PYTHON,
    "--python": PYTHON,
    "--python-version": PYTHON,
    "--require-hashes": LOCKED,
    "--verify-hashes": LOCKED,
    "--hash": "put it after its requirement, in a requirements file: -r/--requirements FILE",
    "-U": FRESH,
    "--upgrade": FRESH,
    "--force-reinstall": FRESH,
    "--reinstall": FRESH,
    "--user": FRESH,
    "-t": FRESH,
    "--target": FRESH,
    "--no-cache": FRESH,
    "--no-cache-dir": FRESH,
    "-q": "remove it",
    "--quiet": "remove it",
    "-v": "remove it",
    "--verbose": "remove it",
}
"""Option of pip or uv -> the advice."""


def refuse_lookalike(cursor: Cursor, *, line_start: bool, previous_name: str) -> None:
    """Raise a SpecError if the text at the cursor is not a requirement.

    `line_start` is true if only spaces precede it on its line. `previous_name` is the requirement before it on its line
    if that is just a name, else "".
    """
    start = cursor.at
    beginning = cursor.look(BEGINNING)
    word = beginning.group() if beginning else ""
    command = cursor.look(COMMAND) if line_start else None
    if command:
        cursor.at = command.end()
        cursor.refuse("is a command", "paste only the package names", start=start)
    if word.startswith("-"):
        _option(cursor, word)
    if REPOSITORY.match(word):
        cursor.refuse(*REPOSITORY_REFUSED)
    if SCHEME.match(word):
        cursor.refuse(
            "is a URL without a name",
            "write name @ URL",
            hint=f"Example: {WHEEL}",
        )
    if PATH.match(word):
        cursor.refuse("is a path, which may not exist where the cell runs", ELSEWHERE)
    if OPERATOR.match(word):
        cursor.refuse("is a version without a package name", f"write name{word[:40]}")
    _name_like(cursor, word, previous_name)


def _option(cursor: Cursor, word: str) -> None:
    match = OPTION.match(word)
    option = match.group() if match else word
    start = cursor.at
    cursor.at += len(option)
    advice = OPTIONS.get(option, "write only requirements here")
    cursor.refuse("is an option, not a requirement", advice, start=start)


def _name_like(cursor: Cursor, word: str, previous_name: str) -> None:
    """Refuse text that is not a package name, or only looks like one: versions, file names, keywords."""
    match = cursor.look(VERSION_WORD)
    version = match.group() if match else ""
    if VERSION_LIKE.fullmatch(version) and (version[0] not in "vV" or "." in version):
        _version(cursor, version, previous_name)
    match = cursor.look(NAME)
    name = match.group() if match else ""
    if not name:
        if word[0] in "\"'":
            cursor.refuse("is quoted", "write names without quotes, or a JSON list of strings")
        cursor.refuse("does not begin with a package name", "write a name such as numpy")
    following = word[len(name) : len(name) + 1]
    if following == "/":
        cursor.refuse("is a path, which may not exist where the cell runs", ELSEWHERE)
    if following == ":":
        cursor.refuse("is not a requirement", f"write {name[:40]}, or name==version")
    start = cursor.at
    cursor.at += len(name)
    if name.lower().endswith(ARCHIVES):
        cursor.refuse("is the name of a file", "give its URL: name @ https://...", start=start)
    if name.lower() in FILES or name.lower().endswith(".txt"):
        cursor.refuse("is the name of a file", "use -r/--requirements FILE on the magic's line", start=start)
    if name.lower() == "python":
        cursor.refuse("is not a package", PYTHON, start=start)
    if name.lower() in KEYWORDS:
        cursor.refuse("is not a package", "write only names, separated by spaces or commas", start=start)
    if not (name[0].isalnum() and name[-1].isalnum()):
        cursor.refuse("is not a package name", "begin and end it with a letter or a digit", start=start)
    cursor.at = start


def _version(cursor: Cursor, version: str, previous_name: str) -> NoReturn:
    start = cursor.at
    cursor.at += len(version)
    written = f"{previous_name or 'name'}=={version[:40]}"
    problem = "is a version without a comparison" if previous_name else "is a version without a package name"
    cursor.refuse(problem, f"write {written}", start=start, fix=f"=={version}" if previous_name else "")
