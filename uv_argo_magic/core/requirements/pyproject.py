"""The text of a pyproject.toml -> ParsedRequirements: the project's dependencies, those of extras, and groups.

Rules:
- The project itself is neither built nor installed: what only a build could tell (dynamic dependencies) is refused.
- `[extra]` adds to the project's dependencies, as pip's `.[extra]` does; a group stands alone, as by pip's `--group`.
- A dependency that the project takes from elsewhere ([tool.uv.sources]) is refused by name: the index has another one.

The formats: PEP 621, PEP 735, uv's [tool.uv].
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from uv_argo_magic.core.requirements import model as req
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

_Table: TypeAlias = Mapping[str, object]

UNREAD = (
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "exclude-newer",
    "prerelease",
    "resolution",
)
"""Keys of [tool.uv] that change what a resolution gives, and that are settings here."""


def read_pyproject(
    text: str, *, source: str, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> ParsedRequirements:
    """What a project asks for, with these extras; with groups and no extras, what the groups ask for alone.

    Raises:
        SpecError: this is no TOML, an extra or group is not there, or a dependency cannot be had without the project.
    """
    data = toml(text, source)
    project = _Project(data, source)
    parts = [] if groups and not extras else [project.dependencies(), *map(project.extra, extras)]
    parts += [project.group(name, ()) for name in groups]
    requirements = req.merge(*parts)
    project.refuse_own(requirements)
    uv = _table(_table(data, "tool", source), "uv", source)
    project.refuse_sources(requirements, _table(uv, "sources", source))
    python = requires_python(_table(data, "project", source), source)
    ignored = [key for key in UNREAD if key in uv]
    note = f"{source}: {', '.join(ignored)} of [tool.uv] count only as settings of the cell: --set KEY=VALUE."
    return ParsedRequirements(
        requirements=requirements,
        constraints=_lines(uv, "constraint-dependencies", source),
        overrides=_lines(uv, "override-dependencies", source),
        requires_python=((python, source),) if python else (),
        notes=(note,) if ignored else (),
    )


def toml(text: str, source: str) -> _Table:
    """The table that a file holds.

    Raises:
        SpecError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} is not TOML: {error}", hint="Mend the file where it says so.") from None


def requires_python(table: _Table, source: str) -> str:
    """The normalised `requires-python` of a table, "" where it has none.

    Raises:
        SpecError: it is no specifier.
    """
    specifier = table.get("requires-python", "")
    try:
        if isinstance(specifier, str) and "===" not in specifier:
            return ",".join(sorted(str(clause) for clause in SpecifierSet(specifier)))
    except InvalidSpecifier:
        pass
    raise SpecError(f"{source}: requires-python = {specifier!r} is no specifier", hint='Write ">=3.11".')


class _Project:
    """The tables of one pyproject.toml, and who is being asked for: an extra may name extras, a group groups."""

    def __init__(self, data: _Table, source: str) -> None:
        self._source = source
        self._project = _table(data, "project", source)
        self._poetry = "poetry" in _table(data, "tool", source)
        self._extras = _by_canonical_name(_table(self._project, "optional-dependencies", source))
        self._groups = _by_canonical_name(_table(data, "dependency-groups", source))
        name = self._project.get("name", "")
        self._name = canonicalize_name(name) if isinstance(name, str) else ""

    def dependencies(self) -> req.Requirements:
        dynamic = self._project.get("dynamic", ())
        if isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & set(map(str, dynamic)):
            self._refuse(
                "its dependencies are dynamic: only a build tells them, and nothing is built here",
                f"Write them into a file: uv pip compile {self._source} -o requirements.txt",
            )
        if "dependencies" not in self._project and self._poetry:
            self._refuse(
                "its dependencies are written as Poetry writes them, which no other tool reads",
                "Export them: poetry export -o requirements.txt",
            )
        if not self._project:
            self._refuse("there is no [project] in it", "Name a group of it: -r pyproject.toml:GROUP.")
        return req.parse_items(
            _list(self._project, "dependencies", self._source), source=f"{self._source}, dependencies"
        )

    def extra(self, name: str) -> req.Requirements:
        by_extra: dict[str, req.Requirements] = {}
        queue = [name]
        while queue:
            extra_name = canonicalize_name(queue.pop(0))
            if extra_name in by_extra:
                continue
            if extra_name not in self._extras:
                error = unknown("extra", extra_name, self._extras)
                raise SpecError(f"{self._source}: {error.message}", hint=error.hint)
            items = _list(self._extras, extra_name, self._source)
            parsed = req.parse_items(items, source=f"{self._source}, optional-dependencies.{extra_name}")
            own = [item for item in parsed.items if item.name == self._name]
            queue += [extra for item in own for extra in item.extras]
            by_extra[extra_name] = req.Requirements(items=tuple(item for item in parsed.items if item not in own))
        return req.merge(*by_extra.values())

    def group(self, name: str, trail: tuple[str, ...]) -> req.Requirements:
        group_name = canonicalize_name(name)
        if group_name in trail:
            self._refuse(f"the groups {' -> '.join((*trail, group_name))} include each other", "Take one of them out.")
        if group_name not in self._groups:
            error = unknown("group", group_name, self._groups)
            raise SpecError(f"{self._source}: {error.message}", hint=error.hint)
        parts = []
        for number, item in enumerate(_list(self._groups, group_name, self._source), start=1):
            included = item.get("include-group") if isinstance(item, dict) and len(item) == 1 else None
            if isinstance(included, str):
                parts.append(self.group(included, (*trail, group_name)))
            else:
                parts.append(req.parse_items([item], source=f"{self._source}, group {group_name}, {number}"))
        return req.merge(*parts)

    def refuse_own(self, requirements: req.Requirements) -> None:
        """Refuse the project as its own dependency, where that is not only a way to name extras."""
        if any(item.name == self._name for item in requirements.items):
            self._refuse(
                f"{self._name} is the project itself, which is not built here",
                "Build a wheel of it, and give its URL: name @ https://...",
            )

    def refuse_sources(self, requirements: req.Requirements, sources: _Table) -> None:
        """Refuse what the project does not take from the index."""
        elsewhere = {canonicalize_name(name) for name in sources}
        for item in requirements.items:
            if item.name in elsewhere and not item.url:
                self._refuse(
                    f"{item.name} has a source of its own in [tool.uv.sources], and another may be on the index",
                    f'Name it on the line as well, as it should be: --deps "{item.name} @ https://..." and a file '
                    "without it.",
                )

    def _refuse(self, problem: str, hint: str) -> NoReturn:
        raise SpecError(f"{self._source}: {problem}", hint=hint)


def _lines(uv: _Table, key: str, source: str) -> tuple[str, ...]:
    return req.parse_items(_list(uv, key, source), source=f"{source}, {key}").lines


def _by_canonical_name(table: _Table) -> _Table:
    return {canonicalize_name(name): value for name, value in table.items()}


def _table(table: _Table, key: str, source: str) -> _Table:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise SpecError(f"{source}: {key} is no table", hint=f"Write [{key}] and its keys below.")
    return value


def _list(table: _Table, key: str, source: str) -> Sequence[object]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise SpecError(f"{source}: {key} is no list", hint=f'Write {key} = ["numpy", "pandas>=2"].')
    return value
