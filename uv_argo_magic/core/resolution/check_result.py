"""The result of checking a requirements file against the index: a lock, or a problem and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uv_argo_magic.core import humanize

if TYPE_CHECKING:
    from uv_argo_magic.core.resolution.lock import Lock


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What is known of a requirements file: a lock, or a problem and what to do, or (unreachable) neither.

    `kept` says that the lock sticks to the notebook; `cached` are the packages that need no download here, None where
    nobody has looked; `names` are those to blame, `where` is the Python and place it was resolved for, in humanize.
    """

    lock: Lock | None = None
    stored: bool = False
    cached: frozenset[str] | None = None
    problem: str = ""
    hint: str = ""
    blamed: tuple[str, ...] = ()
    unreachable: bool = False
    target: str = ""

    @property
    def versions(self) -> dict[str, str]:
        """What was resolved: canonical name -> version."""
        return {one.name: one.version for one in self.lock.packages} if self.lock else {}

    def sentence(self, now: float = 0.0) -> str:
        """What a person should know, in one line; `now` (Unix seconds) gives a kept lock its age."""
        if self.unreachable:
            return f"Not checked: {self.problem}"
        if self.lock is None:
            return self.problem
        if not self.lock.packages:
            return "No packages: cells run with Python alone."
        kept = f", locked {humanize.ago(now - self.lock.created_at)}" if self.stored and now else ""
        return f"{humanize.count(len(self.lock.packages), 'package')}{self._sizes()}, for {self.target}{kept}"

    def _sizes(self) -> str:
        """How much it is, and how much of it has to come; an index that tells no size gets no wrong sum."""
        packages = self.lock.packages if self.lock else ()
        if not all(one.size for one in packages):
            return ""
        total = sum(one.size for one in packages)
        if self.cached is None:
            return f", {humanize.size(total)}"
        left = sum(one.size for one in packages if one.name not in self.cached)
        come = f"{humanize.size(left) or 'nothing'} to download"
        return f", {come}" if left == total else f", {humanize.size(total)}, {come}"
