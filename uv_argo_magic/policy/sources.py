"""The package policy of a run, from the policy files and from the backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.policy import files

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.model import Policy
    from uv_argo_magic.core.spec.run_spec import Settings


def find(document: str, backend: base.Backend, settings: Settings, *, offline: bool = True) -> Policy | None:
    """The policies that apply to a notebook or file (its path, or "") and to runs of a backend; None if there are none.

    With `offline`, the policy of a backend that does not respond is left out; a run needs it.

    Raises:
        PolicyError: a policy cannot be read, or is invalid.
        BackendUnavailable: not `offline`, and the backend does not respond.
    """
    policy = files.read(document)
    shared = base.policy(backend, settings)
    if shared and shared.unavailable and not offline:
        raise shared.unavailable
    if not shared or not shared.text:
        return policy
    from uv_argo_magic.core.policy import reader  # noqa: PLC0415 - 15 ms, and only if there is a policy

    read = reader.read(shared.text, shared.origin)
    return policy | read if policy else read
