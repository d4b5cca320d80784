"""The difference between two sets of packages: added, removed, newer, older, or another file of the same version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from packaging.version import InvalidVersion, Version

from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uv_argo_magic.core.resolution.lock import Package

Kind: TypeAlias = Literal["added", "removed", "newer", "older", "other file"]


@frozen
class Change:
    """One package that differs; `before` and `after` are its versions, or "" if it is absent."""

    name: str
    kind: Kind
    before: str = ""
    after: str = ""


def difference(before: Sequence[Package], after: Sequence[Package]) -> tuple[Change, ...]:
    """The changes from `before` to `after`, sorted by name."""
    old, new = ({package.name: package for package in packages} for packages in (before, after))
    changes = []
    for name in sorted({*old, *new}):
        if name not in old:
            changes.append(Change(name=name, kind="added", after=new[name].version))
        elif name not in new:
            changes.append(Change(name=name, kind="removed", before=old[name].version))
        elif kind := _kind(old[name], new[name]):
            changes.append(Change(name=name, kind=kind, before=old[name].version, after=new[name].version))
    return tuple(changes)


def _kind(old: Package, new: Package) -> Kind | None:
    if old.version == new.version:
        # An unknown hash is not a difference.
        same = old.sha256 == new.sha256 or not (old.sha256 and new.sha256)
        return None if same else "other file"
    try:
        return "newer" if Version(new.version) > Version(old.version) else "older"
    except InvalidVersion:
        return "newer" if new.version > old.version else "older"
