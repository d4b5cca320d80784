"""Packages whose modules are imported when they are first used (PEP 562): `package.module.name`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def attributes(package: str, *names: str) -> Callable[[str], ModuleType]:
    """The `__getattr__` of a package: imports one of the modules with these names.

    `from package import module` works as well; it imports at once.
    """

    def load(name: str) -> ModuleType:
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
