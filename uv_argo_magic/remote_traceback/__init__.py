"""Rebuild a remote exception with its traceback.

The modules are imported on first use, because only a failed run needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.lazy_modules import attributes

if TYPE_CHECKING:
    from uv_argo_magic.remote_traceback import local_names, rebuild

__all__ = ["local_names", "rebuild"]

if not TYPE_CHECKING:
    __getattr__ = attributes(__name__, *__all__)
