"""Checks of a run between its resolution and its submission: the only place where a run can be refused.

    from uv_argo_magic.engine import checks
    checks.CHECKS.append(refuse_unlocked)     # def refuse_unlocked(proposal: Proposal) -> None: raise PolicyError(...)

Rules:
- Backends receive only programs that preparation/build.py builds: cells, `verify`, `doctor`, image probes and exported
  workflows. It enforces the checks first, so no code path bypasses them.
- Locks that are saved or shown are checked as well, so that users learn about problems early.
- The package policy (docs/policy.md) is applied before the checks of this process. Without a policy, its code is not
  imported.
- Users can bypass these checks. Rules that must hold for everyone belong on the API server (docs/administrators.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.policy import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.resolution.lock import Lock, Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.uv.resolver import Resolver

Purpose: TypeAlias = Literal["run", "plan", "probe", "export", "lock"]
"""The purpose of a proposal: a run, a run that is only shown (`--dry-run`), a probe of an image, a workflow that is
exported to a file, or a lock that is saved."""


@frozen
class Proposal:
    """The object of a check: the run with its settings and target, and all packages that it has.

    `installs` are its `%pip` lines with their packages. `document` is the path of its notebook or file, or "".
    `backend` runs it (None: the backend of the spec). `resolver` provides more information on a lock, for which it can
    run uv.
    """

    spec: RunSpec
    resolution: Resolution
    purpose: Purpose = "run"
    installs: tuple[tuple[str, Lock], ...] = ()
    document: str = ""
    backend: base.Backend | None = None
    resolver: Callable[[], Resolver] | None = None


Check: TypeAlias = "Callable[[Proposal], None]"
"""Raises PolicyError to refuse a proposal."""

CHECKS: list[Check] = []
"""The checks of this process, in order; empty by default."""


def begin(spec: RunSpec, backend: base.Backend, document: str = "") -> RunSpec:
    """Apply the limits of the package policy to a spec, before its requirements are resolved.

    Raises:
        PolicyError: the policy does not allow the resolution, or a policy cannot be read.
    """
    policy = sources.find(document, backend, spec.settings)
    if policy is None:
        return spec
    from uv_argo_magic.core.policy import reader  # noqa: PLC0415 - 15 ms, and only if there is a policy
    from uv_argo_magic.policy import enforcement  # noqa: PLC0415 - 4 ms, and only if there is a policy

    spec = reader.limited(spec, policy)
    enforcement.enforce_early(policy, spec, backend)
    return spec


def enforce(proposal: Proposal) -> str:
    """Apply the package policy and all checks; return the policy's decision, for the workflow's record ("": none).

    Raises:
        PolicyError: the policy or a check refused the proposal, or a policy cannot be read.
        BackendUnavailable: a run needs the policy of a backend that does not respond.
    """
    backend = proposal.backend or lookup.load(proposal.spec.backend)
    note = ""
    offline = proposal.purpose not in {"run", "probe"}
    if policy := sources.find(proposal.document, backend, proposal.spec.settings, offline=offline):
        from uv_argo_magic.policy import enforcement  # noqa: PLC0415 - 4 ms, and only if there is a policy

        note = enforcement.enforce(policy, proposal, backend)
    for check in CHECKS:
        check(proposal)
    return note
