"""Read an existing pylock.toml as ParsedRequirements: every package pinned, with its hashes and marker.

Rules:
- Markers are kept for the resolution. Only `extras` and `dependency_groups`, which a requirement cannot express, are
  evaluated here, for the selected extras and groups (by default, the file's default groups).
- The list is complete: the resolution adds no dependencies.
- Hosts and URLs are dropped, except direct URLs; sources without a hash (repositories, folders) are refused.

The format: the PyPA's specification of pylock.toml, lock version 1.0.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements
from uv_argo_magic.core.requirements.pyproject import requires_python, toml
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

_Table: TypeAlias = Mapping[str, object]

CHOSEN = re.compile(r"""(["'])([A-Za-z0-9._-]+)\1\s+(not\s+)?in\s+(extras|dependency_groups)\b""")
ALWAYS, NEVER = 'python_version >= "0"', 'python_version < "0"'
"""Markers (PEP 508) that are true for every Python and false for every Python."""


def read_pins(
    text: str,
    *,
    source: str,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    systems: Sequence[str] = ("linux",),
) -> ParsedRequirements:
    """The pins of a lock file, for any target, with these extras and groups; cells run on these `systems`.

    Raises:
        SpecError: the text is not a lock file of version 1, is for other systems, or lacks an extra or group; or a
            package has no hash.
    """
    data = toml(text, source)
    if not str(data.get("lock-version", "")).startswith("1."):
        raise SpecError(
            f"{source}: unsupported lock-version {data.get('lock-version')!r}; expected 1.x",
            hint="Create it again: uv export --format pylock.toml -o pylock.toml",
        )
    _check_environments(data.get("environments", []), source, systems)
    selected = {
        "extras": _select("extra", extras, data.get("extras"), source),
        "dependency_groups": _select("group", groups, data.get("dependency-groups"), source),
    }
    if not groups:
        default = data.get("default-groups")
        selected["dependency_groups"] = (
            frozenset(canonicalize_name(str(name)) for name in default) if isinstance(default, list) else frozenset()
        )
    packages = data.get("packages", [])
    if not isinstance(packages, list) or not all(isinstance(package, dict) for package in packages):
        raise _misshapen(source, "packages")
    lines = [line for package in packages if (line := _line(package, selected, source))]
    python = requires_python(data, source)
    return ParsedRequirements(
        requirements=replace(parser.parse_items(lines, source=source, file=True), complete=True),
        requires_python=((python, source),) if python else (),
    )


def _check_environments(markers: object, source: str, systems: Sequence[str]) -> None:
    """Refuse a lock whose `environments` exclude every Python on these systems."""
    if not isinstance(markers, list):
        raise _misshapen(source, "environments")
    try:
        parsed = [Marker(str(marker)) for marker in markers]
    except InvalidMarker as error:
        raise _misshapen(source, "environments") from error
    environments = itertools.starmap(_environment, itertools.product(systems, MACHINES, MINORS))
    if parsed and not any(marker.evaluate(environment) for environment in environments for marker in parsed):
        raise SpecError(
            f"{source} is locked for other systems: {'; '.join(map(str, parsed))}",
            hint=f"Lock it for {' and '.join(systems)} as well, or use --deps.",
        )


MACHINES = ("x86_64", "aarch64", "arm64")
MINORS = range(8, 20)


def _environment(system: str, machine: str, minor: int) -> dict[str, str]:
    """The marker environment (PEP 508) of CPython 3 with this minor version."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"3.{minor}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system.capitalize(),
        "platform_version": "",
        "python_full_version": f"3.{minor}.0",
        "python_version": f"3.{minor}",
        "sys_platform": system,
    }


def _select(kind: str, names: Sequence[str], available: object, source: str) -> frozenset[str]:
    names_available = {canonicalize_name(str(name)) for name in available} if isinstance(available, list) else set()
    for name in names:
        if canonicalize_name(name) not in names_available:
            error = unknown(kind, name, names_available)
            raise SpecError(f"{source}: {error.message}", hint=error.hint)
    return frozenset(canonicalize_name(name) for name in names)


def _line(package: _Table, selected: Mapping[str, frozenset[str]], source: str) -> str:
    """The package as a line of a requirements file; "" if its marker excludes it."""
    name = package.get("name")
    if not isinstance(name, str):
        raise _misshapen(source, "name")
    marker = package.get("marker", "")
    if not isinstance(marker, str):
        raise _misshapen(source, "marker")
    marker = CHOSEN.sub(lambda match: _decided(match, selected), marker)
    if marker == NEVER:
        return ""
    archive = package.get("archive")
    pin, files = (
        (f"{name} @ {_url(name, archive, source)} ", (archive,))
        if isinstance(archive, dict)
        else (f"{name}=={_version(name, package, source)}", _files(name, package, source))
    )
    hashes = sorted({digest for file in files if (digest := _sha256(file))})
    if not hashes:
        raise SpecError(
            f"{source}: {name} has no SHA-256, so its file cannot be verified",
            hint="Create the lock from an index that provides hashes.",
        )
    condition = f"; {marker}" if marker and marker != ALWAYS else ""
    return pin + condition + "".join(f" --hash=sha256:{digest}" for digest in hashes)


def _decided(match: re.Match[str], selected: Mapping[str, frozenset[str]]) -> str:
    _, name, negated, variable = match.groups()
    return ALWAYS if (canonicalize_name(name) in selected[variable]) != bool(negated) else NEVER


def _version(name: str, package: _Table, source: str) -> str:
    for kind, source_kind in (("vcs", "a repository"), ("directory", "a folder")):
        if kind in package:
            raise SpecError(
                f"{source}: {name} comes from {source_kind}, so it cannot be locked by a hash",
                hint="Build a wheel of it, put it on a web server, and lock its URL.",
            )
    version = package.get("version")
    if not isinstance(version, str):
        raise _misshapen(source, f"version of {name}")
    return version


def _url(name: str, archive: _Table, source: str) -> str:
    url = archive.get("url")
    if not isinstance(url, str):
        raise SpecError(
            f"{source}: {name} comes from a local file, which is not available where the cell runs",
            hint="Put the wheel on a web server, and lock its URL.",
        )
    folder = archive.get("subdirectory")
    return f"{url}#subdirectory={folder}" if isinstance(folder, str) and folder else url


def _files(name: str, package: _Table, source: str) -> tuple[_Table, ...]:
    wheels, sdist = package.get("wheels", []), package.get("sdist", {})
    if (
        not isinstance(wheels, list)
        or not isinstance(sdist, dict)
        or not all(isinstance(wheel, dict) for wheel in wheels)
    ):
        raise _misshapen(source, f"files of {name}")
    return (*wheels, sdist)


def _sha256(file: _Table) -> str:
    hashes = file.get("hashes")
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    return digest.lower() if isinstance(digest, str) else ""


def _misshapen(source: str, key: str) -> SpecError:
    return SpecError(
        f"{source}: invalid or missing `{key}`", hint="Create it again: uv export --format pylock.toml -o pylock.toml"
    )
