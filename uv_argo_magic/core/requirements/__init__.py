"""Requirements: the one grammar, and the files that people keep them in."""

from uv_argo_magic.core.requirements.model import Requirement, Requirements, parse

__all__ = ["Requirement", "Requirements", "parse"]
