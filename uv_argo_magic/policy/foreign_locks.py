"""Detect notebooks of other users whose packages were never installed here, for a policy that requires a confirmation.

A notebook does not contain a user name. If it has runs that are not in this user's history or audit log, it is from
another user.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.core import humanize
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import output_metadata
from uv_argo_magic.policy import audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.engine.checks import Proposal

SHOWN = 5
"""Maximum packages that the question lists."""


def question(proposal: Proposal, addresses: tuple[str, ...]) -> str:
    """The question to confirm before this run: the user, the packages and the indexes; "" if there is none."""
    lock = proposal.resolution
    if proposal.purpose != "run" or proposal.spec.settings.yes or not isinstance(lock, Lock) or not lock.packages:
        return ""
    known = audit.allowed_locks()
    if lock.key in known:
        return ""
    foreign = [run for run, key in _recorded(Path(proposal.document)) if key not in known and not _is_ours(run)]
    if not foreign:
        return ""
    requested = {item.name for item in proposal.spec.requirements.items}
    names = [f"{package.name} {package.version}" for package in lock.packages if package.name in requested]
    size = f" ({humanize.size(lock.size)})" if lock.size else ""
    return (
        f"This notebook has runs of another user or machine, the last one {foreign[-1]}. It would install "
        f"{humanize.count(len(lock.packages), 'package')}{size} that you never installed before, for "
        f"{', '.join(names[:SHOWN]) or 'this cell'}{' and others' if len(names) > SHOWN else ''}, "
        f"from {', '.join(addresses)}"
    )


def _recorded(notebook: Path) -> Iterator[tuple[str, str]]:
    """(run, key of its lock) from the outputs of a saved notebook."""
    if notebook.suffix != ".ipynb":
        return
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        entries = [entry for output in outputs if (entry := output_metadata.extract(output.get("metadata")))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for entry in entries:
        if entry.get("run"):
            yield str(entry["run"]), str(entry.get("lock", ""))


def _is_ours(run: str) -> bool:
    # A name from a notebook is untrusted, and must not be a path.
    return run != ".." and run == Path(run).name and os.path.isdir(paths.run_dir(run))  # noqa: PTH112 - never raises
