"""The `# /// script` block of a cell (PEP 723): requirements, requires-python and settings.

Rules:
- The block is read as in PEP 723, but an unclosed or misspelled block is an error instead of being ignored.
- Of [tool.uv] only the keys of KEYS are supported; every other key is an error. Tables of other tools are ignored.
- An error names the line of the cell, counted from 1.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, NoReturn, Protocol

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements.parser import MAX_LENGTH, parse_items
from uv_argo_magic.core.requirements.scanner import quoted, visible
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.requirements.parsed_file import Setting

OPENED = "# /// script"
CLOSED = "# ///"
MISSPELLED = re.compile(r"#[ \t]*///[ \t]*script[ \t]*")
TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")
HTTPS = re.compile(r"https://[A-Za-z0-9.\[\]:_-]+(?:/[A-Za-z0-9._~:/@!()*+,;=%-]*)?")
PLAIN = re.compile(r"[A-Za-z0-9][ -~]{0,99}")

PRERELEASES = ("disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit")
RESOLUTIONS = ("highest", "lowest", "lowest-direct")


@frozen
class Script:
    """The content of a script block; `line` is its first line in the cell.

    `requirements` is None if the block has no `dependencies`; `requires_python` is a normalised specifier or "";
    `settings` are (key of Settings, value of its type).
    """

    requirements: Requirements | None = None
    requires_python: str = ""
    settings: tuple[tuple[str, Setting], ...] = ()
    line: int = 1


def parse_script(cell: str) -> Script | None:
    """The script block of this cell, or None.

    Raises:
        SpecError: there are two blocks, or the block is unclosed, invalid or has an unsupported key.
    """
    lines = cell.replace("\r\n", "\n").split("\n")
    block = _block(lines)
    if block is None:
        return None
    table = block.toml()
    for key in table:
        if key not in {"dependencies", "requires-python", "tool"}:
            advice = UNKNOWN_TOP.get(key, "remove it; a script block has dependencies, requires-python and [tool.uv]")
            block.refuse(key, f'"{visible(key)}" is not supported in a script block', advice)
    dependencies = table.get("dependencies")
    if not isinstance(dependencies, list | None):
        block.refuse("dependencies", '"dependencies" is not a list', 'write dependencies = ["numpy", "pandas>=2"]')
    tool = table.get("tool", {})
    uv = tool.get("uv", {}) if isinstance(tool, dict) else None
    if not isinstance(uv, dict):
        block.refuse("tool", '"tool" is not a table', "write [tool.uv] and its keys below")
    return Script(
        requirements=None
        if dependencies is None
        else parse_items(dependencies, source=f"script block, {block.where('dependencies')}, dependencies"),
        requires_python=_requires_python(block, table.get("requires-python", "")),
        settings=read_settings(block, uv),
        line=block.first,
    )


def without_block(cell: str) -> str:
    """The cell's text without the lines of its script block.

    Raises:
        SpecError: there are two blocks, or the block is unclosed.
    """
    lines = cell.replace("\r\n", "\n").split("\n")
    block = _block(lines)
    if block is None:
        return cell
    del lines[block.first - 1 : block.first + len(block.lines) + 1]
    return "\n".join(lines)


def satisfies(requires_python: str, version: str) -> bool:
    """Whether a Python of this version ("3.12.1") satisfies the specifier; every version satisfies an empty one.

    A trailing "+" (a development build) is ignored.

    Raises:
        ValueError: the specifier or the version is invalid.
    """
    return SpecifierSet(requires_python).contains(Version(version.removesuffix("+")), prereleases=True)


@frozen
class Block:
    """The lines between the delimiters of a block; `first` is the line number of the opening one in the cell."""

    first: int
    lines: tuple[str, ...]

    def toml(self) -> Mapping[str, object]:
        """The block as a TOML table.

        Raises:
            SpecError: it is not TOML; the message has the line number in the cell.
        """
        text = "\n".join(line[2:] for line in self.lines)
        if len(text) > MAX_LENGTH:
            problem = f"{len(text)} characters, but a script block has at most {MAX_LENGTH}"
            _refuse_mark(self.first, problem, "shorten it")
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            # Before Python 3.14, tomllib has the position only in its message.
            position = TOML_PLACE.search(str(error))
            line_number, column = (position.group(1), position.group(2)) if position else (None, None)
            line = self.first + int(line_number) if line_number else self.first + len(self.lines)
            character = f", character {int(column) + 2}" if column else ""
            reason = visible(TOML_PLACE.sub("", str(error)))[:100]
        raise SpecError(
            f"script block, line {line}{character}: this is not TOML ({reason}); "
            "write key = value, and strings in quotes",
            hint='Example: # dependencies = ["numpy", "pandas>=2"]',
        )

    def where(self, key: str) -> str:
        """The line with this key, or else the first line of the block, as "line N"."""
        begins = re.compile(rf"#\s*(?:\[+\s*)?(?:[\w.-]+\.)?[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
        number = next((index for index, line in enumerate(self.lines, start=1) if begins.match(line)), 0)
        return f"line {self.first + number}"

    def refuse(self, key: str, problem: str, advice: str, *, hint: str = "") -> NoReturn:
        """Raise the SpecError for a key of this block."""
        raise SpecError(f"script block, {self.where(key)}: {problem}; {advice}", hint=hint or MEANINGFUL)


def _block(lines: list[str]) -> Block | None:
    block: Block | None = None
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if line != OPENED:
            if MISSPELLED.fullmatch(line):
                _refuse_mark(index, f"{quoted(line)} does not open a block", f'write exactly "{OPENED}"')
            continue
        if block:
            _refuse_mark(index, f"a second script block (the first is on line {block.first})", "join the two")
        body: list[str] = []
        while index < len(lines) and (lines[index] == "#" or lines[index].startswith("# ")) and lines[index] != OPENED:
            body.append(lines[index])
            index += 1
        if CLOSED not in body:
            _refuse_mark(index - len(body), "the script block is not closed", f'write "{CLOSED}" in the line below it')
        # The last delimiter of an unbroken comment closes the block, as in PEP 723.
        end = len(body) - 1 - body[::-1].index(CLOSED)
        block = Block(first=index - len(body), lines=tuple(body[:end]))
    return block


def _refuse_mark(line: int, problem: str, advice: str) -> NoReturn:
    raise SpecError(
        f"script block, line {line}: {problem}; {advice}",
        hint='A block has three parts, each on its own line: # /// script, # dependencies = ["numpy"], # ///',
    )


def _requires_python(block: Block, value: object) -> str:
    if value == "":
        return ""
    advice = 'write it as in requires-python = ">=3.11"'
    if not isinstance(value, str):
        block.refuse("requires-python", '"requires-python" is not a string', advice)
    try:
        if "===" in value:
            raise ValueError(value)  # noqa: TRY301 - handled like all invalid specifiers
        return ",".join(sorted(str(specifier) for specifier in SpecifierSet(value)))
    except ValueError:
        block.refuse("requires-python", f"{quoted(value)} is not a version specifier", advice)


class Place(Protocol):
    """The source of keys of [tool.uv]: a script block or a file."""

    def where(self, key: str) -> str:
        """The line of a key, as named in messages."""

    def refuse(self, key: str, problem: str, advice: str, *, hint: str = "") -> NoReturn:
        """Raise the SpecError for a key."""


def read_settings(block: Place, uv: Mapping[str, object]) -> tuple[tuple[str, Setting], ...]:
    """The keys of [tool.uv] as settings.

    Raises:
        SpecError: a key is not supported, or has an invalid value.
    """
    settings: dict[str, Setting] = {}
    for key, value in uv.items():
        if key == "index":
            continue
        if key not in KEYS:
            advice = UNKNOWN.get(key, "remove it, or use a setting: --set KEY=VALUE")
            block.refuse(key, f'"{visible(key)}" of [tool.uv] is not supported', advice)
        name, read = KEYS[key]
        settings[name] = read(block, key, value)
    if "index" in uv:
        settings |= _read_indexes(block, uv["index"])
    return tuple(sorted(settings.items()))


def _read_indexes(block: Place, tables: object) -> dict[str, Setting]:
    """The tables of [[tool.uv.index]]: each adds an index, and one with `default` replaces the default, as in uv."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        block.refuse("index", "[[tool.uv.index]] is not a list of tables", "write each index as a table")
    settings: dict[str, Setting] = {}
    added = []
    for number, table in enumerate(tables, start=1):
        for key in table:
            if key not in INDEX_KEYS:
                block.refuse(key, f'"{visible(key)}" of an index is not supported', "remove it")
        if "url" not in table:
            block.refuse(
                "index", "[[tool.uv.index]] has no url", 'write url = "https://index.example.com/simple" below it'
            )
        url = https_url(block, "url", table["url"])
        if not table.get("default"):
            if not table.get("explicit"):  # only [tool.uv.sources] uses such an index
                added.append((str(table.get("name", f"index{number}")), url))
        elif "index_url" in settings:
            block.refuse("default", "two indexes are the default one", "remove default = true from one of them")
        else:
            settings["index_url"] = url
    return settings | ({"indexes": tuple(added)} if added else {})


def _flag(block: Place, key: str, value: object) -> bool:
    if not isinstance(value, bool):
        block.refuse(key, f'"{key}" is neither true nor false', f"write {key} = true")
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[Place, str, object], str]:
    def read(block: Place, key: str, value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            block.refuse(key, f'"{key}" has an unknown value', f"use one of {', '.join(choices)}, in quotes")
        return value

    return read


def _date(block: Place, key: str, value: object) -> str:
    if not isinstance(value, str) or not PLAIN.fullmatch(value):
        block.refuse(key, f'"{key}" is not a quoted date or span', f'write {key} = "2026-06-01" or "30 days"')
    return value


def https_url(block: Place, key: str, value: object) -> str:
    if isinstance(value, str) and "@" in value.removeprefix("https://").partition("/")[0]:
        block.refuse(
            key,
            f'"{key}" contains a user name or token, which does not belong in a notebook',
            "remove it",
            hint="Set UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD in uv's environment.",
        )
    if not isinstance(value, str) or not HTTPS.fullmatch(value):
        block.refuse(key, f'"{key}" is not an https URL', f'write {key} = "https://index.example.com/simple"')
    return value


def _requirements(block: Place, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        block.refuse(key, f'"{key}" is not a list', f'write {key} = ["numpy<2"]')
    return parse_items(value, source=f"script block, {block.where(key)}, {key}").lines


KEYS: dict[str, tuple[str, Callable[[Place, str, object], Setting]]] = {
    "exclude-newer": ("exclude_newer", _date),
    "index-url": ("index_url", https_url),
    "prerelease": ("prerelease", _one_of(PRERELEASES)),
    "resolution": ("resolution", _one_of(RESOLUTIONS)),
    "constraint-dependencies": ("constraints", _requirements),
    "override-dependencies": ("overrides", _requirements),
    "no-build": ("only_binary", _flag),
    "offline": ("offline", _flag),
}
"""Key of [tool.uv] -> (key of Settings, reader of its value); `index` is read with its tables."""

INDEX_KEYS = frozenset({"name", "url", "default", "explicit", "publish-url", "cache-control", "authenticate"})
"""Keys of a table of [[tool.uv.index]]."""

MEANINGFUL = f"Supported keys of [tool.uv]: {', '.join((*KEYS, 'index'))}."

ONE_INDEX = "write a table [[tool.uv.index]] for each index"
SOURCES = 'write "name @ https://..." in dependencies'
UNKNOWN = {
    "extra-index-url": ONE_INDEX,
    "no-index": ONE_INDEX,
    "find-links": "use --set find_links=FOLDER",
    "index-strategy": ONE_INDEX,
    "keyring-provider": "remove it: credentials come from uv's environment",
    "sources": SOURCES,
    "no-sources": "remove it: sources are not supported",
    "dev-dependencies": "write them in dependencies",
    "no-build-package": "use no-build = true",
    "no-binary": "use no-build = false",
    "no-binary-package": "use no-build = false",
    "pip": "write its keys in [tool.uv] itself",
    "python-preference": "use -p/--python VERSION on the line of the magic",
    "python-downloads": "use -p/--python VERSION on the line of the magic",
    "required-version": "remove it: the uv installed with uv-argo-magic is used",
    "cache-dir": "remove it: set UV_CACHE_DIR instead",
    "exclude-newer-package": "use exclude-newer for all packages",
}
UNKNOWN_TOP = {
    "requires_python": "write requires-python",
    "python": 'write requires-python = ">=3.11"',
    "requirements": "write dependencies",
    "deps": "write dependencies",
    "project": "write dependencies and requires-python without a table",
    "uv": "write [tool.uv]",
}
