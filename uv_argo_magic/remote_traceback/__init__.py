"""A remote exception, rebuilt here with its traceback.

Their users name the modules by the package, which imports them on first use: only a failed run needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.lazy_modules import attributes

if TYPE_CHECKING:
    from uv_argo_magic.remote_traceback import local_names, rebuild

__all__ = ["local_names", "rebuild"]

if not TYPE_CHECKING:
    __getattr__ = attributes(__name__, *__all__)
