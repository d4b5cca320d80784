"""Select the image for a Python version, and its wheel tags: the target for which cells on a cluster are resolved.

Rules:
- The full version of an image's Python is known, so that markers evaluate as they would in the image.
- Wheel tags are derived from version and platform, without contacting a registry.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import compatible_tags, cpython_tags
from packaging.version import InvalidVersion, Version

from uv_argo_magic.core.resolution.lock import Target
from uv_argo_magic.errors import SpecError
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.spec.run_spec import Settings

IMAGES = {
    "3.11.14": "docker.io/astral/uv:0.9.8-python3.11-bookworm-slim",
    "3.12.12": "docker.io/astral/uv:0.9.8-python3.12-bookworm-slim",
    "3.13.9": "docker.io/astral/uv:0.9.8-python3.13-bookworm-slim",
    "3.14.0": "docker.io/astral/uv:0.9.8-python3.14-bookworm-slim",
}
"""Python (X.Y.Z) -> an image with that Python, uv, and `python3` on its PATH; the setting `images` adds to it.

The patch version can be outdated, because image tags are rebuilt; it matters only for markers. If the minor version of
the image differs from the lock's, the run fails.
"""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""uv's name of an architecture -> the label value of nodes."""

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
"""The oldest glibc (2.N) with wheels for an architecture."""


def target(python: str, settings: Settings) -> interpreters.Interpreter:
    """The Python of the image selected by `python` ("", "3.12", "3.12.1", ">=3.12") and the settings.

    Raises:
        SpecError: there is no image for it, or the platform is invalid.
    """
    return interpreter(*_choose(python.strip(), settings), settings.platform)


def interpreter(full: str, image: str, platform: str) -> interpreters.Interpreter:
    """The Python with this full version in an image for this platform.

    Raises:
        SpecError: the platform is invalid.
    """
    arch, glibc = _platform(platform)
    minor = Version(full).release[:2]
    name = f"cp{minor[0]}{minor[1]}"
    platforms = list(_platforms(arch, glibc))
    return interpreters.Interpreter(
        path=interpreters.find().path,
        target=Target(python=full, abi=name, platform=platform),
        tags=(*cpython_tags(minor, [name], platforms), *compatible_tags(minor, name, platforms)),
        image=image,
    )


def installer(python: str, settings: Settings, image: str) -> str:
    """The image of the install container for cells that run in `image`.

    Raises:
        SpecError: there is no such image for this Python.
    """
    if settings.install_image or not settings.image:
        return settings.install_image or image
    minor = ".".join(python.strip().split(".")[:2])
    try:
        return _choose(minor, replace(settings, image=""))[1]
    except SpecError as problem:
        raise SpecError(
            f"no image with uv for Python {minor}",
            hint="Choose one with this Python and uv: --set install_image=IMAGE.",
        ) from problem


def architecture(settings: Settings) -> str:
    """The nodes' architecture, as Kubernetes names it.

    Raises:
        SpecError: the platform is invalid.
    """
    return ARCHITECTURES[_platform(settings.platform)[0]]


def _choose(python: str, settings: Settings) -> tuple[str, str]:
    """(full version, image)."""
    if settings.image:
        if not re.fullmatch(r"3\.\d+\.\d+", python):
            raise SpecError(
                f"unknown Python version in the image {settings.image}",
                hint="Give it with --python X.Y.Z, as python3 --version prints it in the image.",
            )
        return python, settings.image
    table = IMAGES | dict(settings.images)
    for version in table:
        if not re.fullmatch(r"3\.\d+\.\d+", version):
            raise SpecError(
                f"images: {version!r} is not a full Python version", hint="Write --set images=3.12.12=IMAGE."
            )
    # Images of the settings come before those of the built-in table.
    own_images = dict(settings.images)
    newest = sorted(table, key=lambda version: (version in own_images, Version(version)), reverse=True)
    if not python:
        own = f"{sys.version_info[0]}.{sys.version_info[1]}."
        newest.sort(key=lambda version: not version.startswith(own))
        return newest[0], table[newest[0]]
    fitting = [version for version in newest if fits(version, python)]
    if not fitting:
        raise SpecError(
            f"no image for Python {python}; available: {', '.join(sorted(table, key=Version))}",
            hint="Choose one of these with --python, or an image: --python X.Y.Z --set image=IMAGE.",
        )
    return fitting[0], table[fitting[0]]


def fits(version: str, requested: str) -> bool:
    """Whether a full version matches the requested one: "3.12", "3.12.1", ">=3.12".

    Raises:
        SpecError: `requested` is not a version.
    """
    if re.fullmatch(r"\d+(\.\d+){0,2}", requested):
        parts = requested.split(".")
        return version.split(".")[: len(parts)] == parts
    try:
        return SpecifierSet(requested).contains(version)
    except (InvalidSpecifier, InvalidVersion):
        raise SpecError(
            f"invalid Python version for an image: {requested!r}",
            hint='Use a version such as 3.12, 3.12.1 or ">=3.12"; a free-threaded Python needs --set image=IMAGE.',
        ) from None


def _platform(text: str) -> tuple[str, int]:
    """(architecture, N of glibc 2.N) of "x86_64-manylinux_2_N"."""
    match = re.fullmatch(r"(x86_64|aarch64)-manylinux_2_(\d+)", text)
    if not match:
        raise SpecError(
            f"invalid platform: {text}",
            hint="Use x86_64-manylinux_2_N or aarch64-manylinux_2_N, where 2.N is the version of the image's glibc.",
        )
    return match[1], int(match[2])


def _platforms(arch: str, glibc: int) -> Iterator[str]:
    for minor in range(glibc, _OLDEST[arch] - 1, -1):
        yield f"manylinux_2_{minor}_{arch}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{arch}"
    yield f"linux_{arch}"
