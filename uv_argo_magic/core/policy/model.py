"""A policy as data, the subject that is checked against it, and its violations.

Rules:
- A policy is a set of statements, each from one source, and all of them apply. Merging two policies is their union:
  the order of sources does not matter, and no source can allow what another one forbids.
- Checks see only a `Subject`: plain data, collected by `policy/enforcement.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution.lock import Lock, Package, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from uv_argo_magic.core.policy.advisories import Found
    from uv_argo_magic.core.spec.run_spec import RunSpec


@frozen
class Statement:
    """A rule with its value in one source: "packages.blocked" of "/etc/uv-argo/policy.toml"."""

    rule: str
    value: Any
    """Hashable."""
    origin: str


@dataclass(frozen=True)
class Policy:
    """A set of statements that all apply; without statements everything is allowed."""

    statements: frozenset[Statement] = frozenset()

    def __or__(self, other: Policy) -> Policy:
        """The union of both policies, which forbids everything that one of them forbids."""
        return Policy(self.statements | other.statements)

    def __bool__(self) -> bool:
        return bool(self.statements)

    def of(self, rule: str) -> tuple[Statement, ...]:
        """The statements of one rule, in a fixed order."""
        found = (statement for statement in self.statements if statement.rule == rule)
        return tuple(sorted(found, key=lambda statement: (statement.origin, repr(statement.value))))

    @property
    def origins(self) -> tuple[str, ...]:
        """The sources of the statements, sorted."""
        return tuple(sorted({statement.origin for statement in self.statements}))


@frozen
class Violation:
    """A broken rule: its name, its source, one sentence on the problem, and one on what to do.

    `package` is the name of the affected package, or ""; `path` leads from a requested package to it.
    """

    rule: str
    origin: str
    sentence: str
    action: str
    package: str = ""
    path: tuple[str, ...] = ()
    is_question: bool = False
    """The user can confirm the run instead."""

    @property
    def text(self) -> str:
        """The violation in one line for people."""
        through = f" (required by {' > '.join(self.path[:-1])})" if len(self.path) > 1 else ""
        return f"{self.sentence}{through}. {self.action} [{self.rule}, {self.origin}]"


@frozen
class Subject:
    """The run that is checked, before its resolution (`resolution` is None) or after it.

    `installs` are the `%pip` lines of the cell with their locks. `indexes` are the URLs of all indexes that uv may use.
    `insecure_hosts` are the hosts whose certificates uv does not check. `uses` are the settings that the backend uses,
    `images` the images of its containers. Times are Unix seconds. `recent_installs` is None if they are not counted.
    """

    spec: RunSpec
    resolution: Resolution | None = None
    installs: tuple[tuple[str, Lock], ...] = ()
    indexes: tuple[str, ...] = ()
    insecure_hosts: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    images: tuple[str, ...] = ()
    now: float = 0.0
    recent_installs: int | None = None
    question: str = ""
    """The question that the user has to confirm, or ""."""
    advisories: tuple[Found, ...] = ()
    """Known vulnerabilities of the packages, one item for each source that a policy names."""

    @property
    def packages(self) -> tuple[Package, ...]:
        """All packages to install; before the resolution, the requested ones, with a version only if it is exact."""
        if not isinstance(self.resolution, Lock):
            return tuple(self._requested()) if self.resolution is None else ()
        locks = (self.resolution, *(lock for _, lock in self.installs))
        return tuple(package for lock in locks for package in lock.packages)

    @property
    def visible(self) -> tuple[Package, ...]:
        """All known packages that the cell can import: those installed, and those used from its image."""
        preinstalled = self.resolution.base_packages if isinstance(self.resolution, Lock) else ()
        return (*self.packages, *(Package(name=name, version=version) for name, version in preinstalled))

    def path(self, name: str) -> tuple[str, ...]:
        """The known path to this package: a `%pip` line, then the packages from a requested one on."""
        found = path_to(self.packages, name)
        lines = (f"%pip {argument}" for argument, lock in self.installs if name in {one.name for one in lock.packages})
        line = next(lines, "")
        return (line, *found) if line else found

    def _requested(self) -> Iterator[Package]:
        for item in self.spec.requirements.items:
            exact = item.specifier.removeprefix("==") if item.specifier.startswith("==") else ""
            version = exact if exact and not set(exact) & set(",*= ") else ""
            yield Package(name=item.name, version=version, url=item.url, requested=True)


def path_to(packages: Sequence[Package], name: str) -> tuple[str, ...]:
    """The shortest path from a requested package to the package with this name; only the name if none is known."""
    dependents = {package.name: package.via for package in packages}
    requested = {package.name for package in packages if package.requested}
    steps: dict[str, str] = {name: ""}
    queue = [name]
    for current in queue:
        if current in requested:
            return tuple(_walk(steps, current))
        for dependent in dependents.get(current, ()):
            if dependent not in steps:
                steps[dependent] = current
                queue.append(dependent)
    return (name,)


def _walk(steps: Mapping[str, str], start: str) -> Iterator[str]:
    current = start
    while current:
        yield current
        current = steps[current]


def merged(policies: Iterable[Policy]) -> Policy:
    """The union of all policies."""
    return Policy(frozenset(statement for policy in policies for statement in policy.statements))
