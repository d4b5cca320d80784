"""Requirements: one grammar for all of them, and readers of the files that contain them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from uv_argo_magic.core.requirements.model import Requirement, Requirements

if TYPE_CHECKING:
    from uv_argo_magic.core.requirements.parser import parse, parse_items

__all__ = ["Requirement", "Requirements", "parse", "parse_items"]


def __getattr__(name: str) -> object:
    """Import the parser on first use: its import of `packaging` takes 15 ms, and most cells have no requirements."""
    if name in {"parse", "parse_items"}:
        return getattr(importlib.import_module("uv_argo_magic.core.requirements.parser"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
