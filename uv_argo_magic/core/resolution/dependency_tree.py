"""The dependency tree of a lock, from uv's annotations of the resolution.

Rules:
- The dependencies are those in the annotations; this module does not evaluate markers and extras.
- Each package is in the tree once, under the dependent nearest to a requested package; `via` has all dependents.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from uv_argo_magic.core.resolution.lock import Lock, Package

REQUIREMENTS_FILE = "requirements.in"
"""The file with the requirements: packages from it are the requested ones."""

# `numpy==2.4.6   # via pandas, scipy` and, on the next line, `    # from https://index.example.com/simple`.
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? ?(?:==|@)[^#]*(?:#(?!\s*via).*?)?#\s*via (.+)$")
_FROM = re.compile(r"^\s+# from (\S+)$")


def annotate(lock: Lock, annotations: str, indexes: str = "") -> Lock:
    """The lock with the dependents of each package, and with its index if that is one of `indexes`.

    `annotations` is the output of `uv pip compile --annotation-style line --emit-index-annotation` for the same pins,
    `indexes` the value of UV_INDEX: "NAME=URL NAME=URL".
    """
    names = {package.name for package in lock.packages}
    by_url = {
        _plain(url): name for name, equals, url in (source.partition("=") for source in indexes.split()) if equals
    }
    dependents: dict[str, list[str]] = {}
    index: dict[str, str] = {}
    package_name = ""
    for row in annotations.splitlines():
        if pin := _PIN.match(row):
            package_name = canonicalize_name(pin[1])
            dependents[package_name] = [source.strip() for source in pin[2].split(",")]
        elif (index_line := _FROM.match(row)) and package_name:
            index[package_name] = by_url.get(_plain(index_line[1]), "")
    return replace(
        lock,
        packages=tuple(
            replace(
                package,
                requested=f"-r {REQUIREMENTS_FILE}" in dependents.get(package.name, ()),
                via=tuple(sorted({canonicalize_name(source) for source in dependents.get(package.name, ())} & names)),
                index=index.get(package.name, ""),
            )
            for package in lock.packages
        ),
    )


def _plain(url: str) -> str:
    """A URL for comparison: without credentials and without a slash at the end."""
    return re.sub(r"://[^/@]*@", "://", url).rstrip("/")


def tree(packages: Sequence[Package]) -> tuple[tuple[int, Package], ...]:
    """(depth, package) in the order of a tree: requested packages at depth 0, their dependencies below."""
    by_name = {package.name: package for package in packages}
    dependencies: dict[str, list[str]] = {}
    for package in packages:
        for parent in package.via:
            dependencies.setdefault(parent, []).append(package.name)
    roots = [package.name for package in packages if package.requested or not set(package.via) & set(by_name)]
    # Breadth first: each package gets the parent that is nearest to a requested package.
    parents: dict[str, str] = dict.fromkeys(roots, "")
    queue = list(roots)
    while queue:
        parent = queue.pop(0)
        for name in dependencies.get(parent, ()):
            if name not in parents:
                parents[name] = parent
                queue.append(name)
    children: dict[str, list[str]] = {}
    for name, parent in parents.items():
        children.setdefault(parent, []).append(name)
    # A cycle without a requested package has no root; its members come last.
    cycle = [(0, package) for package in packages if package.name not in parents]
    return (*((depth, by_name[name]) for depth, name in _walk(children, "", 0)), *cycle)


def _walk(children: Mapping[str, Sequence[str]], parent: str, depth: int) -> Iterator[tuple[int, str]]:
    for name in children.get(parent, ()):
        yield depth, name
        yield from _walk(children, name, depth + 1)
