"""Read a pyproject.toml as ParsedRequirements: the project's dependencies, extras and groups.

Rules:
- The project itself is neither built nor installed, so dynamic dependencies are refused.
- An extra adds to the project's dependencies, like pip's `.[extra]`; a group does not include them, like pip's
  `--group`.
- Keys of [tool.uv] that affect the resolution become settings of the run, or are errors.
- A dependency with a custom source ([tool.uv.sources]) is refused: the index can have another package of that name.

The formats: PEP 621, PEP 735, uv's [tool.uv].
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from uv_argo_magic.core.requirements import parser, pep723
from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.core.requirements.parsed_file import Setting

_Table: TypeAlias = Mapping[str, object]

REFUSED = (
    "exclude-dependencies", "exclude-newer-package", "extra-index-url", "find-links", "index-strategy", "no-binary",
    "no-binary-package", "no-build-package", "no-index",
)  # fmt: skip
"""Keys of [tool.uv] that change the resolution and have no corresponding setting."""
EXPRESSED = ("exclude-newer", "index", "index-url", "no-build", "offline", "prerelease", "resolution")
"""Keys of [tool.uv] that have a corresponding setting."""


def read_pyproject(
    text: str, *, source: str, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> ParsedRequirements:
    """The dependencies of a project with these extras and groups; with groups only, just those of the groups.

    Raises:
        SpecError: the text is not TOML, an extra or group is unknown, or a dependency needs the project itself.
    """
    data = toml(text, source)
    project = _Project(data, source)
    parts = [] if groups and not extras else [project.dependencies(), *map(project.extra, extras)]
    parts += [project.group(name, ()) for name in groups]
    requirements = parser.merge(*parts)
    project.refuse_own(requirements)
    uv = _table(_table(data, "tool", source), "uv", source)
    project.refuse_sources(requirements, _table(uv, "sources", source))
    python = requires_python(_table(data, "project", source), source)
    return ParsedRequirements(
        requirements=requirements,
        constraints=_lines(uv, "constraint-dependencies", source),
        overrides=_lines(uv, "override-dependencies", source),
        requires_python=((python, source),) if python else (),
        settings=_settings(uv, _File(source)),
    )


@dataclass(frozen=True)
class _File:
    """The source of keys of [tool.uv]; see `pep723.Place`."""

    source: str

    def where(self, key: str) -> str:  # pragma: no cover - only used for requirements, which are read elsewhere
        """The key."""
        return key

    def refuse(self, key: str, problem: str, advice: str, *, hint: str = "") -> NoReturn:  # noqa: ARG002 - pep723.Place
        """Raise the SpecError for a key of [tool.uv]."""
        supported = f"Supported keys of [tool.uv]: {', '.join(sorted((*EXPRESSED, 'constraint-dependencies')))}."
        raise SpecError(f"{self.source}: {problem}; {advice}", hint=hint or supported)


def _settings(uv: _Table, file: _File) -> tuple[tuple[str, Setting], ...]:
    for key in REFUSED:
        if key in uv:
            advice = pep723.UNKNOWN.get(key, "remove it")
            file.refuse(key, f'"{key}" of [tool.uv] is not supported', advice)
    return pep723.read_settings(file, {key: uv[key] for key in EXPRESSED if key in uv})


def toml(text: str, source: str) -> _Table:
    """Parse a TOML file.

    Raises:
        SpecError: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} is not TOML: {error}", hint="Fix the file at this position.") from None


def requires_python(table: _Table, source: str) -> str:
    """The normalised `requires-python` of a table, or "".

    Raises:
        SpecError: the value is not a specifier.
    """
    specifier = table.get("requires-python", "")
    try:
        if isinstance(specifier, str) and "===" not in specifier:
            return ",".join(sorted(str(clause) for clause in SpecifierSet(specifier)))
    except InvalidSpecifier:
        pass
    raise SpecError(f"{source}: invalid requires-python {specifier!r}", hint='Write a specifier such as ">=3.11".')


class _Project:
    """The tables of one pyproject.toml; an extra may include extras, and a group other groups."""

    def __init__(self, data: _Table, source: str) -> None:
        self._source = source
        self._project = _table(data, "project", source)
        self._poetry = "poetry" in _table(data, "tool", source)
        self._extras = _by_canonical_name(_table(self._project, "optional-dependencies", source))
        self._groups = _by_canonical_name(_table(data, "dependency-groups", source))
        name = self._project.get("name", "")
        self._name = canonicalize_name(name) if isinstance(name, str) else ""

    def dependencies(self) -> Requirements:
        dynamic = self._project.get("dynamic", ())
        if isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & set(map(str, dynamic)):
            self._refuse(
                "its dependencies are dynamic, and projects are not built here",
                f"Write them to a file: uv pip compile {self._source} -o requirements.txt",
            )
        if "dependencies" not in self._project and self._poetry:
            self._refuse(
                "its dependencies are in Poetry's own format",
                "Export them: poetry export -o requirements.txt",
            )
        if not self._project:
            self._refuse("it has no [project] table", "Name one of its groups: -r pyproject.toml:GROUP.")
        return parser.parse_items(
            _list(self._project, "dependencies", self._source), source=f"{self._source}, dependencies"
        )

    def extra(self, name: str) -> Requirements:
        by_extra: dict[str, Requirements] = {}
        queue = [name]
        while queue:
            extra_name = canonicalize_name(queue.pop(0))
            if extra_name in by_extra:
                continue
            if extra_name not in self._extras:
                error = unknown("extra", extra_name, self._extras)
                raise SpecError(f"{self._source}: {error.message}", hint=error.hint)
            items = _list(self._extras, extra_name, self._source)
            parsed = parser.parse_items(items, source=f"{self._source}, optional-dependencies.{extra_name}")
            own = [item for item in parsed.items if item.name == self._name]
            queue += [extra for item in own for extra in item.extras]
            by_extra[extra_name] = Requirements(items=tuple(item for item in parsed.items if item not in own))
        return parser.merge(*by_extra.values())

    def group(self, name: str, trail: tuple[str, ...]) -> Requirements:
        group_name = canonicalize_name(name)
        if group_name in trail:
            self._refuse(f"the groups {' -> '.join((*trail, group_name))} include each other", "Remove one of them.")
        if group_name not in self._groups:
            error = unknown("group", group_name, self._groups)
            raise SpecError(f"{self._source}: {error.message}", hint=error.hint)
        parts = []
        for number, item in enumerate(_list(self._groups, group_name, self._source), start=1):
            included = item.get("include-group") if isinstance(item, dict) and len(item) == 1 else None
            if isinstance(included, str):
                parts.append(self.group(included, (*trail, group_name)))
            else:
                parts += self._with_own(
                    parser.parse_items([item], source=f"{self._source}, group {group_name}, {number}")
                )
        return parser.merge(*parts)

    def _with_own(self, requirements: Requirements) -> Iterator[Requirements]:
        """The requirements, where a reference to the project itself adds its dependencies and extras."""
        for item in requirements.items:
            if item.name == self._name and item.extras:
                yield self.dependencies()
                yield from map(self.extra, item.extras)
            else:
                yield Requirements(items=(item,))

    def refuse_own(self, requirements: Requirements) -> None:
        """Refuse the project as its own dependency."""
        if any(item.name == self._name for item in requirements.items):
            self._refuse(
                f"{self._name} is the project itself, which is not built here",
                "Build a wheel of it and give its URL: name @ https://...",
            )

    def refuse_sources(self, requirements: Requirements, sources: _Table) -> None:
        """Refuse dependencies with a custom source."""
        elsewhere = {canonicalize_name(name) for name in sources}
        for item in requirements.items:
            if item.name in elsewhere and not item.url:
                self._refuse(
                    f"{item.name} has a custom source in [tool.uv.sources]; the index may have another package",
                    f'Give its URL with --deps "{item.name} @ https://..." and remove it from the file.',
                )

    def _refuse(self, problem: str, hint: str) -> NoReturn:
        raise SpecError(f"{self._source}: {problem}", hint=hint)


def _lines(uv: _Table, key: str, source: str) -> tuple[str, ...]:
    return parser.parse_items(_list(uv, key, source), source=f"{source}, {key}").lines


def _by_canonical_name(table: _Table) -> _Table:
    return {canonicalize_name(name): value for name, value in table.items()}


def _table(table: _Table, key: str, source: str) -> _Table:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise SpecError(f"{source}: {key} is not a table", hint=f"Write [{key}] and its keys below.")
    return value


def _list(table: _Table, key: str, source: str) -> Sequence[object]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise SpecError(f"{source}: {key} is not a list", hint=f'Write {key} = ["numpy", "pandas>=2"].')
    return value
