"""The sessions of this machine, and the client side of their workers.

The modules are imported on first use, because most cells have no session, and the import takes 10 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.lazy_modules import attributes

if TYPE_CHECKING:
    from uv_argo_magic.sessions import find_run, packages, registry, session, workers

__all__ = ["find_run", "packages", "registry", "session", "workers"]

if not TYPE_CHECKING:
    __getattr__ = attributes(__name__, *__all__)
