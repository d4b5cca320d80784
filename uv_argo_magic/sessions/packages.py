"""The packages of a session: packages are added, but never changed.

Rule: installed packages are constraints of all later resolutions, because a cell may have imported them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from uv_argo_magic.core.resolution.lock import Lock, Package
from uv_argo_magic.errors import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.uv.resolver import Resolver


def are_met(requirements: Requirements, lock: Lock) -> bool:
    """Whether the session already has all of these requirements."""
    if not requirements:
        return True
    versions = {package.name: package for package in lock.packages}
    for item in requirements.items:
        package = versions.get(item.name)
        if package is None or item.url or item.extras or item.hashes or item.marker:
            return False
        if not SpecifierSet(item.specifier).contains(package.version, prereleases=True):
            return False
    return True


def add(session: str, present: Lock, requirements: Requirements, resolver: Resolver) -> Lock:
    """Resolve requirements, so that the packages which the session has stay as they are.

    Raises:
        ResolutionError: the requirements are not compatible with these packages.
    """
    pins = tuple(f"{package.name}=={package.version}" for package in present.packages if not package.url)
    settings = replace(resolver.settings, constraints=(*resolver.settings.constraints, *pins), locked=False)
    try:
        extended = replace(resolver, settings=settings, store=None).lock(requirements)
    except ResolutionError as problem:
        versions = {package.name: package.version for package in present.packages}
        raise conflict(session, requirements, resolver, versions, problem) from problem
    if not isinstance(extended, Lock):
        raise ResolutionError(
            f"cannot add packages to the session {session}: {extended.reason}",
            hint="Run the cell again once the package index responds.",
        )
    return extended


def join(present: Lock, extended: Lock) -> tuple[Lock, Lock]:
    """(the packages of both locks, those that are only in the second one)."""
    names = {package.name for package in present.packages}
    added = tuple(package for package in extended.packages if package.name not in names)
    together = replace(present, packages=_sorted(*present.packages, *added), warnings=extended.warnings)
    return together, replace(extended, packages=added)


def conflict(
    session: str, requirements: Requirements, resolver: Resolver, versions: Mapping[str, str], problem: ResolutionError
) -> ResolutionError:
    """The error for requirements that would change installed packages; `problem` if they have no solution at all.

    `versions` are those of the installed packages, which are not constraints of the `resolver`.
    """
    try:
        alone = replace(resolver, store=None).lock(requirements)
    except ResolutionError:
        return problem
    packages: Iterable[Package] = alone.packages if isinstance(alone, Lock) else ()
    changes = [
        f"{package.name} {versions[package.name]} is installed and {package.version} is required"
        for package in packages
        if versions.get(package.name, package.version) != package.version
    ]
    if not changes:
        return problem
    return ResolutionError(
        f"the packages conflict with those of session {session}: {'; '.join(changes[:5])}",
        hint=f"Imported packages cannot change. Relax the requirement, or: %argo restart {session} --clean",
        names=problem.names,
    )


def after(prepared: Prepared) -> Lock | None:
    """The session's packages after this cell, with those of its `%pip` lines; None if the pod resolves them."""
    lock = prepared.resolution
    if not isinstance(lock, Lock):
        return None
    more = tuple(package for _, installed in prepared.installs for package in installed.packages)
    if not more and not lock.warnings:
        return lock
    return replace(lock, packages=_sorted(*lock.packages, *more), warnings=())  # the warnings are those of this cell


def _sorted(*packages: Package) -> tuple[Package, ...]:
    return tuple(sorted(packages, key=lambda package: package.name))
