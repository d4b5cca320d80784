"""Read a `pylock.toml` as a Lock for one Python on one platform, with one file for each package.

Rules:
- The compatible wheel with the target's best tag is used, or the sdist if builds are allowed. If the user gave hashes,
  only files with one of them are used.
- The lock contains no index host and no URL, except that of a `name @ https://...` requirement.
- Sources without a hash (version control, folders) are refused, because their content could change.

The format: the PyPA's specification of pylock.toml, lock version 1.0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
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
    """The lock for `target`; `tags` are its wheel tags, best first.

    `hashes` are the allowed ones ("sha256:HEX") by package name. `base_names` are the packages of the base environment:
    the lock records them, and they are not installed.

    Raises:
        ResolutionError: the text is not a lock file of version 1, or a package has no compatible file, no hash, no
            allowed hash, or a source that cannot be locked.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ResolutionError(
            f"The lock file is not valid TOML: {error}.", hint="Create it again with `uv export`."
        ) from error
    version = data.get("lock-version")
    if not isinstance(version, str) or not version.startswith("1."):
        raise ResolutionError(
            f"Unsupported lock-version {version!r}; expected 1.x.",
            hint="Upgrade uv-argo-magic and uv together: pip install --upgrade uv-argo-magic uv.",
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
                f"The lock file lists {name} twice, for more than one platform.",
                hint="Resolve for one Python on one platform.",
            )
        packages[name] = _package(name, table, ranks, only_binary=only_binary, allowed=allowed.get(name))
    return Lock(
        packages=tuple(packages[name] for name in sorted(packages)),
        target=target,
        base_packages=tuple(sorted(base_packages.items())),
    )


def files(text: str) -> dict[str, tuple[int, str]]:
    """(size, upload time) of each wheel and sdist in the text of a `pylock.toml`, by SHA-256; 0 and "" are unknown.

    Raises:
        ResolutionError: the text is not a lock file, or a file has no hash.
    """
    found = {}
    for table in _tables(tomllib.loads(text), "packages"):
        name = _text(table, "name")
        for file in (*_tables(table, "wheels"), *([_table(table, "sdist")] if "sdist" in table else [])):
            found[_sha256(name, file)] = (_size(file), _uploaded(file))
    return found


def _package(
    name: str, table: _Table, ranks: Mapping[Tag, int], *, only_binary: bool, allowed: frozenset[str] | None
) -> Package:
    """This package with the file to install."""
    version = _text(table, "version", "")
    for kind in ("vcs", "directory"):
        if kind in table:
            origin = "a version control system" if kind == "vcs" else "a folder"
            raise ResolutionError(
                f"{name} comes from {origin}, so it cannot be locked by a hash.",
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
            hint="Use another version or Python"
            + (", or allow builds (they run the package's code): --set only_binary=false." if only_binary else "."),
        )
    fitting = [(rank, file) for rank, file in files if allowed is None or _sha256(name, file) in allowed]
    if not fitting:
        raise _not_allowed(f"{name} {version}")
    _, file = min(fitting, key=lambda pair: pair[0])
    return Package(
        name=name,
        version=version,
        sha256=_sha256(name, file),
        size=_size(file),
        file=_file(name, file),
        uploaded=_uploaded(file),
    )


def _archive(name: str, version: str, table: _Table, *, only_binary: bool, allowed: frozenset[str] | None) -> Package:
    """The package of a `name @ https://...` requirement; its version can be unknown."""
    url = _text(table, "url", "")
    file = _file(name, table)
    if not url.startswith(("https://", "http://")):
        raise ResolutionError(
            f"{name} comes from a local file, which is not available where the cell runs.",
            hint=f'Put the wheel on a web server, and write "{name} @ https://...".',
        )
    if only_binary and not file.endswith(".whl"):
        raise ResolutionError(
            f"{name} comes from a source archive ({file}), and building from source is disabled.",
            hint="Give the URL of a wheel, or allow builds (they run the package's code): --set only_binary=false.",
        )
    sha256 = _sha256(name, table)
    if allowed is not None and sha256 not in allowed:
        raise _not_allowed(name)
    folder = _text(table, "subdirectory", "")
    url = url.partition("#")[0] + (f"#subdirectory={folder}" if folder else "")
    return Package(name=name, version=version, sha256=sha256, size=_size(table), file=file, url=url)


def _rank(name: str, file: str, ranks: Mapping[Tag, int]) -> int | None:
    """The rank of a wheel's best tag, 0 the best; None if the wheel is not compatible."""
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename as error:
        raise ResolutionError(
            f"Invalid file name of a wheel of {name}: {file}.",
            hint="Report it to the maintainer of the index, or use another version.",
        ) from error
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)


def _file(name: str, table: _Table) -> str:
    """The name of the file, without a folder: from its `name`, or else from its URL or path."""
    file_name = _text(table, "name", "") or _text(table, "path", "")
    # The last part of the path; percent-encoding is ASCII, like the file names of wheels and sdists.
    piece = file_name or re.split(r"[?#]", _text(table, "url", ""))[0]
    file = re.sub(r"%([0-7][0-9A-Fa-f])", lambda code: chr(int(code[1], 16)), re.split(r"[/\\]", piece)[-1])
    if not file:
        raise ResolutionError(f"The lock file has no file name for {name}.", hint="Resolve again with a newer uv.")
    return file


def _sha256(name: str, table: _Table) -> str:
    digest = _text(_table(table, "hashes"), "sha256", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ResolutionError(
            f"The index provides no SHA-256 for {name}, so its file cannot be verified.",
            hint="Use an index that provides hashes: --set index_url=https://...",
        )
    return digest


def _size(table: _Table) -> int:
    size = table.get("size")
    return size if isinstance(size, int) else 0


def _uploaded(table: _Table) -> str:
    """The upload time of the file; in a pylock.toml, a time without a time zone is in UTC."""
    time = table.get("upload-time")
    if not isinstance(time, datetime):
        return ""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def _hex(hashes: Collection[str]) -> frozenset[str]:
    return frozenset(digest.partition(":")[2].lower() for digest in hashes if digest.startswith("sha256:"))


def _not_allowed(package: str) -> ResolutionError:
    return ResolutionError(
        f"No compatible file of {package} has one of the hashes of the requirement.",
        hint="Compare the --hash values with those of the release; do not drop them before you know why they differ.",
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
    return ResolutionError(f"Invalid lock file: unexpected `{key}`.", hint="Create it again with `uv export`.")
