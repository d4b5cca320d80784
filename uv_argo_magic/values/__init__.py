"""The notebook's side of pushed and pulled variables (docs/values.md).

The modules are imported on first use, because few cells push or pull, and the import takes 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.lazy_modules import attributes

if TYPE_CHECKING:
    from uv_argo_magic.values import auto, pickling, pushing, sealed

__all__ = ["auto", "pickling", "pushing", "sealed"]

if not TYPE_CHECKING:
    __getattr__ = attributes(__name__, *__all__)
