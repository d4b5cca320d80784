"""Checks of a run between its resolution and its submission: the one place where a policy refuses it.

    from uv_argo_magic.engine import checks
    checks.CHECKS.append(refuse_unlocked)     # def refuse_unlocked(proposal: Proposal) -> None: raise PolicyError(...)

Rules:
- Whatever reaches a backend is a program, and engine/build.py builds each of them: cells, `verify`, `doctor`, probes of
  images, exported workflows. It enforces the checks first, so no path leads around them.
- Locks that are saved or shown as what a cell would get are checked as well, so that a user learns early.
- These checks help honest users. What must not be circumvented belongs to the API server (docs/administrators.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec

Purpose: TypeAlias = Literal["run", "probe", "export", "lock"]
"""What the proposal is for: a run, a probe of an image, a workflow that is written to a file, a lock that is saved."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a check decides on: the run with its settings and target, and all packages that it installs."""

    spec: RunSpec
    resolution: Resolution
    purpose: Purpose = "run"


Check: TypeAlias = "Callable[[Proposal], None]"
"""Raises PolicyError to refuse a proposal."""

CHECKS: list[Check] = []
"""The checks of this process, in order; empty by default."""


def enforce(proposal: Proposal) -> None:
    """Apply all checks.

    Raises:
        PolicyError: a check refused the proposal.
    """
    for check in CHECKS:
        check(proposal)
