"""Export a Lock as requirements with hashes, or as pylock.toml with one file for each package.

A pylock.toml (the PyPA's specification, lock version 1.0) requires URLs, which a Lock does not have. They are taken
from uv's pylock.toml of the same versions.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING

from uv_argo_magic.errors import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.core.resolution.lock import Lock, Package


def is_pylock(name: str) -> bool:
    """Whether a file of this name is in pylock.toml format."""
    return bool(re.fullmatch(r"pylock\.(?:[^.]+\.)?toml", name))


def requirements(lock: Lock) -> str:
    """A requirements file with hashes, for uv and pip."""
    lines = [f"# Locked for {_target_name(lock)}; one file for each package."]
    for package in lock.packages:
        pin, _, digest = package.line().partition(" --hash=")
        lines.append(f"{pin} \\\n    --hash={digest}" if digest else pin)
        if package.via:
            lines.append(f"    # via {', '.join(package.via)}")
    return "\n".join(lines) + "\n"


def pylock(lock: Lock, uv_pylock: str) -> str:
    """A pylock.toml with the locked file of each package; `uv_pylock` is uv's pylock.toml of the same versions.

    Raises:
        ResolutionError: a locked file is no longer on the index.
    """
    addresses = _addresses(tomllib.loads(uv_pylock))
    lines = [
        f"# Locked for {_target_name(lock)}.",
        'lock-version = "1.0"',
        'created-by = "uv-argo-magic"',
        f"requires-python = {_text(f'=={lock.target.minor}.*')}",
    ]
    for package in lock.packages:
        lines += ["", "[[packages]]", f"name = {_text(package.name)}"]
        if package.version:
            lines.append(f"version = {_text(package.version)}")
        lines += _files(package, addresses)
    return "\n".join(lines) + "\n"


def _files(package: Package, addresses: Mapping[str, str]) -> Iterator[str]:
    url = package.url or addresses.get(package.sha256, "")
    if not url:
        raise ResolutionError(
            f"{package.file} of {package.name} {package.version} is no longer on the index.",
            hint="Lock again with --upgrade, or write requirements with hashes: --to requirements.txt.",
        )
    size = f", size = {package.size}" if package.size else ""
    file_fields = f"url = {_text(url)}{size}, hashes = {{ sha256 = {_text(package.sha256)} }}"
    if package.url:
        yield f"archive = {{ {file_fields} }}"
    elif package.file.endswith(".whl"):
        yield f"wheels = [{{ name = {_text(package.file)}, {file_fields} }}]"
    else:
        yield f"sdist = {{ name = {_text(package.file)}, {file_fields} }}"


def _addresses(data: Mapping[str, object]) -> dict[str, str]:
    """SHA-256 -> URL of every file in uv's pylock.toml."""
    by_digest: dict[str, str] = {}
    packages = data.get("packages", [])
    for table in packages if isinstance(packages, list) else []:
        for file in (*table.get("wheels", ()), *((table["sdist"],) if "sdist" in table else ())):
            by_digest[str(file.get("hashes", {}).get("sha256", ""))] = str(file.get("url", ""))
    return by_digest


def _target_name(lock: Lock) -> str:
    return f"Python {lock.target.minor} on {lock.target.platform or 'the platform where it was created'}"


def _text(value: str) -> str:
    """A TOML string; the escapes of JSON are valid in TOML."""
    return json.dumps(value)
