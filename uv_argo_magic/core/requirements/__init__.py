"""Requirements: one grammar for them all, and readers of the files that hold them."""

from uv_argo_magic.core.requirements.model import Requirement, Requirements, parse

__all__ = ["Requirement", "Requirements", "parse"]
