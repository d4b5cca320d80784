"""Known vulnerabilities and malware of packages, from records in the OSV format (https://ossf.github.io/osv-schema/).

Records are untrusted input: a part that does not follow the schema matches nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from uv_argo_magic.core import humanize
from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ECOSYSTEM = "PyPI"
MALWARE = "MAL-"
"""The prefix of the ids of malware."""


@frozen
class Advisory:
    """A known problem of one version of a package: its id, aliases, and the later versions that fix it."""

    id: str
    package: str
    summary: str = ""
    aliases: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def is_malware(self) -> bool:
        """Whether the package is malware."""
        return self.id.startswith(MALWARE)


@frozen
class Source:
    """A source of records: the URL of an OSV server or the path of an offline copy, and the ids to ignore."""

    address: str
    ignored: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.address} (except {', '.join(sorted(self.ignored))})" if self.ignored else self.address

    @property
    def is_server(self) -> bool:
        """Whether the records come from a server."""
        return self.address.startswith(("https://", "http://"))


@frozen
class Found:
    """The advisories of a source, or the `problem` that prevented the look-up."""

    source: str
    advisories: tuple[Advisory, ...] = ()
    problem: str = ""


def read_source(value: object) -> Source:
    """A source from TOML: an address, or a table with `source` and `ignore`.

    Raises:
        ValueError: the value is not a source.
    """
    data = {"source": value} if isinstance(value, str) else value
    if not isinstance(data, dict) or set(data) - {"source", "ignore"}:
        raise ValueError(value)
    address, ignored = data.get("source"), data.get("ignore", [])
    if not isinstance(address, str) or not address or not isinstance(ignored, list):
        raise ValueError(value)
    return Source(address=address.rstrip("/"), ignored=frozenset(map(str, ignored)))


def find(record: Mapping[str, Any], packages: Mapping[str, str]) -> Iterable[Advisory]:
    """The advisories of a record about these packages (canonical name -> version)."""
    if record.get("withdrawn"):
        return
    affected = record.get("affected")
    for part in affected if isinstance(affected, list) else ():
        about = part.get("package") if isinstance(part, dict) else None
        if not isinstance(about, dict) or about.get("ecosystem") != ECOSYSTEM:
            continue
        name = canonicalize_name(str(about.get("name", "")))
        if name in packages and _affects(part, packages[name]):
            yield describe(record, name, _fixes(part, packages[name]))


def describe(record: Mapping[str, Any], name: str, fixed: tuple[str, ...] = ()) -> Advisory:
    """The advisory of a record about a package; `fixed` are the versions that fix it."""
    aliases = record.get("aliases")
    summary = record.get("summary") or record.get("details") or ""
    return Advisory(
        id=str(record.get("id", "")),
        package=name,
        summary=humanize.one_line(str(summary), 120),
        aliases=tuple(map(str, aliases)) if isinstance(aliases, list) else (),
        fixed=fixed,
    )


def distinct(advisories: Iterable[Advisory]) -> tuple[Advisory, ...]:
    """Merge advisories of different databases about the same problem; their records name each other."""
    merged: list[Advisory] = []
    for advisory in sorted(advisories, key=lambda advisory: (advisory.package, not advisory.is_malware, advisory.id)):
        ids = {advisory.id, *advisory.aliases}
        same = [other for other in merged if other.package == advisory.package and ids & {other.id, *other.aliases}]
        for other in same:
            ids |= {other.id, *other.aliases}
            merged.remove(other)
        first = same[0] if same else advisory
        merged.append(replace(first, aliases=tuple(sorted(ids - {first.id}))))
    return tuple(merged)


def _fixes(part: Mapping[str, Any], version: str) -> tuple[str, ...]:
    """The later versions that fix the problem, in ascending order."""
    installed = _version(version) or Version("0")
    fixes = {
        at: event["fixed"]
        for events in _ranges(part)
        for event in events
        if "fixed" in event and (at := _position(event)[0]) > installed
    }
    return tuple(fixes[at] for at in sorted(fixes))


def _affects(part: Mapping[str, Any], version: str) -> bool:
    installed = _version(version)
    if installed is None:
        return True  # the version of a direct URL can be unknown, and then may be affected
    versions = part.get("versions")
    if isinstance(versions, list) and installed in map(_version, versions):
        return True
    return any(_contains(events, installed) for events in _ranges(part))


def _contains(events: list[dict[str, str]], installed: Version) -> bool:
    inside = False
    for event in sorted(events, key=_position):
        if (at := _position(event)[0]) > installed or (at == installed and "last_affected" in event):
            break
        inside = "introduced" in event
    return inside


def _ranges(part: Mapping[str, Any]) -> Iterator[list[dict[str, str]]]:
    """The events of each version range of a part; each event has a single valid version."""
    ranges = part.get("ranges")
    for item in ranges if isinstance(ranges, list) else ():
        events = item.get("events") if isinstance(item, dict) and item.get("type") == "ECOSYSTEM" else None
        yield [
            {key: value}
            for event in (events if isinstance(events, list) else ())
            if isinstance(event, dict)
            for key, value in event.items()
            if key in ("introduced", "fixed", "last_affected") and isinstance(value, str) and _version(value)
        ]


def _position(event: Mapping[str, str]) -> tuple[Version, bool]:
    ((key, value),) = event.items()
    version = _version(value)
    assert version is not None  # noqa: S101 - `_events` yields only valid versions
    return version, key == "introduced"


def _version(text: object) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None
