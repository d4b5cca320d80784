"""Which image runs which Python, and which wheels fit it: the target that a cell on a cluster is resolved for.

Rules:
- An image is named with the full version of its Python, so that markers are decided here as they would be there.
- Tags follow from version and platform alone; nothing is asked of a registry.
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
"""Python (X.Y.Z) -> an image with it, uv and `python3` on its PATH; the setting `images` adds to it.

Their makers build a tag anew now and then, so the last number may be behind: it decides markers only. Another minor
than the lock's is an error over there.
"""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""uv's name of an architecture -> Kubernetes' own, as nodes are labelled."""

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
"""The oldest glibc (2.N) that wheels of an architecture were made for."""


def target(python: str, settings: Settings) -> interpreters.Interpreter:
    """The Python of the image that `python` ("", "3.12", "3.12.1", ">=3.12") and the settings choose.

    Raises:
        SpecError: no image is known for it, or the platform cannot be read.
    """
    return interpreter(*_choose(python.strip(), settings), settings.platform)


def interpreter(full: str, image: str, platform: str) -> interpreters.Interpreter:
    """The Python of this full version in an image for this platform.

    Raises:
        SpecError: the platform cannot be read.
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
    """The image that installs for cells that run in `image`, where a container of its own does so.

    Raises:
        SpecError: none is known for this Python.
    """
    if settings.install_image or not settings.image:
        return settings.install_image or image
    minor = ".".join(python.strip().split(".")[:2])
    try:
        return _choose(minor, replace(settings, image=""))[1]
    except SpecError as problem:
        raise SpecError(
            f"there is no image that installs for Python {minor}",
            hint="Name one that has this Python and uv: --set install_image=IMAGE.",
        ) from problem


def architecture(settings: Settings) -> str:
    """The nodes' architecture, as Kubernetes names it.

    Raises:
        SpecError: the platform cannot be read.
    """
    return ARCHITECTURES[_platform(settings.platform)[0]]


def _choose(python: str, settings: Settings) -> tuple[str, str]:
    """(full version, image)."""
    if settings.image:
        if not re.fullmatch(r"3\.\d+\.\d+", python):
            raise SpecError(
                "an image of your own needs its Python's full version",
                hint=f"Say which Python is in {settings.image}: --python X.Y.Z, as python3 --version prints it there.",
            )
        return python, settings.image
    table = IMAGES | dict(settings.images)
    for version in table:
        if not re.fullmatch(r"3\.\d+\.\d+", version):
            raise SpecError(
                f"images: {version!r} is no full version of a Python", hint="Write --set images=3.12.12=IMAGE."
            )
    # What the settings name comes first: the built-in table is for whoever named nothing.
    named = dict(settings.images)
    newest = sorted(table, key=lambda version: (version in named, Version(version)), reverse=True)
    if not python:
        own = f"{sys.version_info[0]}.{sys.version_info[1]}."
        newest.sort(key=lambda version: not version.startswith(own))
        return newest[0], table[newest[0]]
    fitting = [version for version in newest if fits(version, python)]
    if not fitting:
        raise SpecError(
            f"there is no image for Python {python}; there are images for {', '.join(sorted(table, key=Version))}",
            hint="Choose one of them with --python, or name an image: --python X.Y.Z --set image=IMAGE.",
        )
    return fitting[0], table[fitting[0]]


def fits(version: str, wanted: str) -> bool:
    """Whether a full version is one that was asked for: "3.12", "3.12.1", ">=3.12".

    Raises:
        SpecError: what was asked for is no version.
    """
    if re.fullmatch(r"\d+(\.\d+){0,2}", wanted):
        parts = wanted.split(".")
        return version.split(".")[: len(parts)] == parts
    try:
        return SpecifierSet(wanted).contains(version)
    except (InvalidSpecifier, InvalidVersion):
        raise SpecError(
            f"a Python in an image is chosen by its version, and {wanted!r} is none",
            hint='Write for example --python 3.12, 3.12.1 or ">=3.12"; free-threaded ones need an image of your own.',
        ) from None


def _platform(text: str) -> tuple[str, int]:
    """(architecture, N of glibc 2.N) of "x86_64-manylinux_2_N"."""
    found = re.fullmatch(r"(x86_64|aarch64)-manylinux_2_(\d+)", text)
    if not found:
        raise SpecError(
            f"platform cannot be {text!r}",
            hint="It is x86_64-manylinux_2_28 or aarch64-manylinux_2_28, with the image's glibc as its last number.",
        )
    return found[1], int(found[2])


def _platforms(arch: str, glibc: int) -> Iterator[str]:
    for minor in range(glibc, _OLDEST[arch] - 1, -1):
        yield f"manylinux_2_{minor}_{arch}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{arch}"
    yield f"linux_{arch}"
