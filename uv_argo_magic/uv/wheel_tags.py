"""The wheel tags of a Python on this machine, best first."""

from __future__ import annotations

import functools
import sysconfig
from typing import TYPE_CHECKING

from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags, sys_tags

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable


@functools.cache
def of_this_process() -> tuple[Tag, ...]:
    """The tags of this process's Python."""
    return tuple(sys_tags())


def parse(texts: Iterable[str]) -> tuple[Tag, ...]:
    """Parse tags such as "cp312-cp312-manylinux_2_28_x86_64"."""
    return tuple(Tag(*text.split("-", 2)) for text in texts)


def compute(path: str, minor: tuple[int, int], platform: str) -> tuple[Tag, ...]:
    """The tags of a CPython at `path` that cannot list them, from its version and the platform of this process.

    Raises:
        SpecError: the Python is for another platform.
    """
    if platform != sysconfig.get_platform():
        raise SpecError(
            f"The Python at {path} is for {platform}, and does not list its wheel tags.",
            hint="Choose another with --python.",
        )
    platforms = list(platform_tags())
    name = f"cp{minor[0]}{minor[1]}"
    return (*cpython_tags(minor, [name], platforms), *compatible_tags(minor, name, platforms))
