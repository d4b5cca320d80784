"""The result of checking a requirements file against the index: a lock, or a problem and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core import humanize
from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from uv_argo_magic.core.resolution.lock import Lock


@frozen
class CheckResult:
    """The result of a check: a lock, or a problem with a hint (`unreachable`: the index did not respond).

    `stored` means that the lock is stored for the notebook. `cached` are the packages that need no download, or None if
    unknown. `blamed` are the packages that cause the problem. `target` is the Python and platform of the resolution.
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
        """The resolved versions: canonical name -> version."""
        return {package.name: package.version for package in self.lock.packages} if self.lock else {}

    def sentence(self, now: float = 0.0) -> str:
        """The result in one line; with `now` (Unix seconds) also the age of a stored lock."""
        if self.unreachable:
            return f"Not checked: {self.problem}"
        if self.lock is None:
            return self.problem
        if not self.lock.packages:
            return "No packages."
        locked = f", locked {humanize.ago(now - self.lock.created_at)}" if self.stored and now else ""
        return f"{humanize.count(len(self.lock.packages), 'package')}{self._sizes()}, for {self.target}{locked}"

    def _sizes(self) -> str:
        """Total size and size of the downloads; empty if the index does not give every size."""
        packages = self.lock.packages if self.lock else ()
        if not all(package.size for package in packages):
            return ""
        total = sum(package.size for package in packages)
        if self.cached is None:
            return f", {humanize.size(total)}"
        remaining = sum(package.size for package in packages if package.name not in self.cached)
        download = f"{humanize.size(remaining) or 'nothing'} to download"
        return f", {download}" if remaining == total else f", {humanize.size(total)}, {download}"
