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
        return {package.name: package.version for package in self.lock.packages} if self.lock else {}

    def sentence(self, now: float = 0.0) -> str:
        """What a person should know, in one line; `now` (Unix seconds) gives a kept lock its age."""
        if self.unreachable:
            return f"Not checked: {self.problem}"
        if self.lock is None:
            return self.problem
        if not self.lock.packages:
            return "No packages: cells run with Python alone."
        locked = f", locked {humanize.ago(now - self.lock.created_at)}" if self.stored and now else ""
        return f"{humanize.count(len(self.lock.packages), 'package')}{self._sizes()}, for {self.target}{locked}"

    def _sizes(self) -> str:
        """How much it is, and how much of it has to come; an index that tells no size gets no wrong sum."""
        packages = self.lock.packages if self.lock else ()
        if not all(package.size for package in packages):
            return ""
        total = sum(package.size for package in packages)
        if self.cached is None:
            return f", {humanize.size(total)}"
        remaining = sum(package.size for package in packages if package.name not in self.cached)
        download = f"{humanize.size(remaining) or 'nothing'} to download"
        return f", {download}" if remaining == total else f", {humanize.size(total)}, {download}"
