"""Requirements: one grammar for them all, and readers of the files that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.requirements.model import Requirement, Requirements

if TYPE_CHECKING:
    from uv_argo_magic.core.requirements.parser import parse

__all__ = ["Requirement", "Requirements", "parse"]


def __getattr__(name: str) -> object:
    if name == "parse":
        from uv_argo_magic.core.requirements import parser  # noqa: PLC0415 - `packaging` takes 30 ms

        return parser.parse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
