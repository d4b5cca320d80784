"""Patterns of a policy: names of packages, addresses, images and other names, with `*` and `?` as wildcards.

Rules:
- Names of packages are compared in canonical form: `Foo_Bar` and `foo.bar` are `foo-bar`.
- A wildcard in a URL matches only within its part: `https://*.example.com/simple` does not match another host whose
  path contains `.example.com`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from uv_argo_magic.core.frozen import frozen

_NAME = re.compile(r"[A-Za-z0-9*?](?:[A-Za-z0-9._*?-]*[A-Za-z0-9*?])?")
_PORTS = {"http": 80, "https": 443}


@frozen
class NamePattern:
    """A pattern for packages: a canonical name with wildcards, and a version specifier ("": every version)."""

    name: str
    versions: str = ""
    reason: str = ""

    def matches(self, name: str, version: str) -> bool:
        """Whether a package matches; an unknown version ("") matches every specifier."""
        return glob(self.name, name) and self.has(version)

    def has(self, version: str) -> bool:
        """Whether a version, or an unknown one (""), matches the specifier."""
        if not self.versions or not version:
            return True
        try:
            return SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return True

    def __str__(self) -> str:
        return f"{self.name}{self.versions}"


def parse_name(value: object) -> NamePattern:
    """A pattern from TOML: "numpy", "corp-*", "numpy>=2", or a table with `name`, `versions` and `reason`.

    Raises:
        ValueError: the value is not a pattern.
    """
    if isinstance(value, str):
        match = re.match(r"[^<>=!~\s\[]+", value)
        name = match.group() if match else ""
        return _name_pattern(name, value[len(name) :], "")
    if not isinstance(value, dict) or set(value) - {"name", "versions", "reason"}:
        raise ValueError(value)
    return _name_pattern(*(_text(value.get(key, "")) for key in ("name", "versions", "reason")))


def _name_pattern(name: str, versions: str, reason: str) -> NamePattern:
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    try:
        specifiers = SpecifierSet(versions.strip())
    except InvalidSpecifier:
        raise ValueError(versions) from None
    canonical = re.sub(r"[-_.]+", "-", name).lower()
    return NamePattern(name=canonical, versions=str(specifiers), reason=reason.strip())


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - one error for all invalid patterns
    return value


def glob(pattern: str, text: str) -> bool:
    """Whether the text matches; only `*` and `?` are wildcards."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return bool(re.fullmatch(expression, text, re.DOTALL))


def url_matches(pattern: str, url: str) -> bool:
    """Whether scheme, host, port and path of a URL match a pattern; credentials are ignored."""
    try:
        allowed, given = _parts(pattern), _parts(url)
    except ValueError:  # an invalid port
        return False
    return given is not None and allowed is not None and all(map(glob, allowed, given))


def _parts(url: str) -> tuple[str, str, str, str] | None:
    """Scheme, host, port and path; None if the path is ambiguous."""
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    path = unquote(parts.path)
    if ".." in path.split("/") or "\\" in path:
        return None
    return scheme, (parts.hostname or ""), str(parts.port or _PORTS.get(scheme, 0)), path.rstrip("/")
