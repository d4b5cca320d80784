"""Packages that import their modules on first use (PEP 562)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def attributes(package: str, *names: str) -> Callable[[str], ModuleType]:
    """The `__getattr__` of a package that imports these modules when `package.module` is first used.

    `from package import module` imports the module at once.
    """

    def load(name: str) -> ModuleType:
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
