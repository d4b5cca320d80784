"""The package policy of a run: that of the files, and that of the backend.

Rule: a backend that does not respond has no policy: its runs fail anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.policy import files

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.model import Policy
    from uv_argo_magic.core.spec.run_spec import Settings


def find(document: str, backend: base.Backend, settings: Settings) -> Policy | None:
    """The policies that hold for a notebook or file (its path; "": none), and for runs of a backend; None without any.

    Raises:
        PolicyError: a policy cannot be read, or is invalid.
    """
    policy = files.read(document)
    shared = base.policy(backend, settings)
    if not shared or not shared.text:
        return policy
    from uv_argo_magic.core.policy import reader  # noqa: PLC0415 - 15 ms, and only if there is a policy

    read = reader.read(shared.text, shared.origin)
    return policy | read if policy else read
