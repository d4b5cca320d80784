"""The text of a `pylock.toml` -> a Lock for one Python on one platform: one file for each package.

Rules:
- A wheel is taken where one fits, the one whose tag stands first in the target's list; the sdist only where builds are
  allowed. Where the user gave hashes, only files with one of these count.
- No index host and no URL gets into the lock, but that of a `name @ https://...` requirement.
- What has no hash of its own (git, other version control, directories) is refused: it could change under the lock.

The format: the PyPA's specification of pylock.toml, lock version 1.0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from uv_argo_magic.core.resolution.lock import Lock, Package, Target
from uv_argo_magic.errors import ResolutionError

if TYPE_CHECKING:
    from packaging.tags import Tag

_Table: TypeAlias = Mapping[str, object]


def read_pylock(
    text: str,
    *,
    target: Target,
    tags: Sequence[Tag],
    only_binary: bool,
    hashes: Mapping[str, Collection[str]] | None = None,
    base_names: Collection[str] = (),
) -> Lock:
    """The lock for `target`, whose `tags` come best first; `hashes` are those the user allows ("sha256:HEX"), by name.

    `own` are the packages that the place has already: they are named in the lock, and not installed.

    Raises:
        ResolutionError: the text is no lock file of version 1, a package has no file that fits, no hash, or none of
            the allowed ones, or it comes from a place that cannot be locked.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ResolutionError(f"The lock file is not TOML: {error}.", hint="Make it again with `uv export`.") from error
    version = data.get("lock-version")
    if not isinstance(version, str) or not version.startswith("1."):
        raise ResolutionError(
            f"This is no lock file of version 1.x: lock-version is {version!r}.",
            hint="Update uv-argo-magic and uv together: pip install --upgrade uv-argo-magic uv.",
        )
    ranks = {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
    allowed = {canonicalize_name(name): _hex(allowed_hashes) for name, allowed_hashes in (hashes or {}).items()}
    packages: dict[str, Package] = {}
    base_packages: dict[str, str] = {}
    for table in _tables(data, "packages"):
        name = canonicalize_name(_text(table, "name"))
        if name in base_names:
            base_packages[name] = _text(table, "version", "")
            continue
        if name in packages:
            raise ResolutionError(
                f"The lock file has {name} twice: it was made for more than one platform.",
                hint="Resolve for one Python on one platform.",
            )
        packages[name] = _package(name, table, ranks, only_binary=only_binary, allowed=allowed.get(name))
    return Lock(
        packages=tuple(packages[name] for name in sorted(packages)),
        target=target,
        base_packages=tuple(sorted(base_packages.items())),
    )


def _package(
    name: str, table: _Table, ranks: Mapping[Tag, int], *, only_binary: bool, allowed: frozenset[str] | None
) -> Package:
    """The one file of this package that will be installed."""
    version = _text(table, "version", "")
    for kind in ("vcs", "directory"):
        if kind in table:
            origin = "a version control system" if kind == "vcs" else "a folder"
            raise ResolutionError(
                f"{name} comes from {origin}, so there is no hash that says what gets installed.",
                hint=f'Build a wheel of it, put it on a web server, and write "{name} @ https://...".',
            )
    if "archive" in table:
        return _archive(name, version, _table(table, "archive"), only_binary=only_binary, allowed=allowed)
    files = [
        (rank, wheel)
        for wheel in _tables(table, "wheels")
        if (rank := _rank(name, _file(name, wheel), ranks)) is not None
    ]
    if not only_binary and "sdist" in table:
        files.append((len(ranks), _table(table, "sdist")))
    if not files:
        raise ResolutionError(
            f"{name} {version} has no wheel for this Python and platform.",
            hint="Choose another version or Python"
            + (", or allow builds, which run the package's code: --set only_binary=false." if only_binary else "."),
        )
    fitting = [(rank, file) for rank, file in files if allowed is None or _sha256(name, file) in allowed]
    if not fitting:
        raise _not_allowed(f"{name} {version}")
    _, file = min(fitting, key=lambda pair: pair[0])
    return Package(name=name, version=version, sha256=_sha256(name, file), size=_size(file), file=_file(name, file))


def _archive(name: str, version: str, table: _Table, *, only_binary: bool, allowed: frozenset[str] | None) -> Package:
    """The file of a `name @ https://...` requirement; its version may be unknown."""
    url = _text(table, "url", "")
    file = _file(name, table)
    if not url.startswith(("https://", "http://")):
        raise ResolutionError(
            f"{name} comes from a file on this machine, which is not there where the cell runs.",
            hint=f'Put the wheel on a web server, and write "{name} @ https://...".',
        )
    if only_binary and not file.endswith(".whl"):
        raise ResolutionError(
            f"{name} comes from {file}, which is source, and building from source is switched off.",
            hint="Give the URL of a wheel, or allow builds, which run the package's code: --set only_binary=false.",
        )
    sha256 = _sha256(name, table)
    if allowed is not None and sha256 not in allowed:
        raise _not_allowed(name)
    folder = _text(table, "subdirectory", "")
    url = url.partition("#")[0] + (f"#subdirectory={folder}" if folder else "")
    return Package(name=name, version=version, sha256=sha256, size=_size(table), file=file, url=url)


def _rank(name: str, file: str, ranks: Mapping[Tag, int]) -> int | None:
    """How good a wheel's best tag is, 0 the best; None where none fits."""
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename as error:
        raise ResolutionError(
            f"The index has a wheel of {name} with a name that nobody can read: {file}.",
            hint="Tell who keeps that index, or choose another version.",
        ) from error
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)


def _file(name: str, table: _Table) -> str:
    """The file's name: `name`, else the end of its URL or path; never with a folder."""
    file_name = _text(table, "name", "") or _text(table, "path", "")
    # The last piece of the path: percent signs stand for ASCII there, as file names of wheels and sdists are.
    piece = file_name or re.split(r"[?#]", _text(table, "url", ""))[0]
    file = re.sub(r"%([0-7][0-9A-Fa-f])", lambda code: chr(int(code[1], 16)), re.split(r"[/\\]", piece)[-1])
    if not file:
        raise ResolutionError(f"The lock file does not name the file of {name}.", hint="Resolve again with a newer uv.")
    return file


def _sha256(name: str, table: _Table) -> str:
    digest = _text(_table(table, "hashes"), "sha256", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ResolutionError(
            f"The index gives no SHA-256 for {name}, so nobody could tell whether the right file arrives.",
            hint="Use an index that serves hashes: --set index_url=https://...",
        )
    return digest


def _size(table: _Table) -> int:
    size = table.get("size")
    return size if isinstance(size, int) else 0


def _hex(hashes: Collection[str]) -> frozenset[str]:
    return frozenset(digest.partition(":")[2].lower() for digest in hashes if digest.startswith("sha256:"))


def _not_allowed(package: str) -> ResolutionError:
    return ResolutionError(
        f"No file of {package} that fits here has one of the hashes given with the requirement.",
        hint="Compare the --hash values with those of the release you mean; do not drop them before you know why.",
    )


def _tables(table: _Table, key: str) -> list[_Table]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _misshapen(key)
    return value


def _table(table: _Table, key: str) -> _Table:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise _misshapen(key)
    return value


def _text(table: _Table, key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise _misshapen(key)
    return value


def _misshapen(key: str) -> ResolutionError:
    return ResolutionError(f"The lock file is misshapen at `{key}`.", hint="Make it again with `uv export`.")
