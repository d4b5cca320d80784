"""Variables of the notebook that are pushed, and pulled ones as they arrive (docs/values.md).

Their users name the modules by the package, which imports them on first use: few cells have any, and they take 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.lazy_modules import attributes

if TYPE_CHECKING:
    from uv_argo_magic.values import auto, pickling, pushing, sealed

__all__ = ["auto", "pickling", "pushing", "sealed"]

if not TYPE_CHECKING:
    __getattr__ = attributes(__name__, *__all__)
