"""The audit log: one line of JSON for each decision of a policy on a run, a probe or an export.

Rules:
- A line has names and digests, but no code of the cell, no values of variables, and no credentials.
- It is written before anything is submitted. If a log named by a policy cannot be written, the run is refused; the
  user's log, which is also used to count installs, can fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uv_argo_magic._os import paths, user
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import indexes
from uv_argo_magic.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uv_argo_magic.core.policy.model import Policy, Violation
    from uv_argo_magic.core.resolution.lock import Package
    from uv_argo_magic.engine.checks import Proposal

LARGEST = 1024 * 1024
"""Maximum bytes of the user's log, which is then rotated; one old log is kept."""
HOUR = 3600.0
TIME = "%Y-%m-%dT%H:%M:%SZ"


def own_log() -> Path:
    """The path of this user's log."""
    return paths.data_dir() / "audit.jsonl"


def entry(proposal: Proposal, policy: Policy, violations: tuple[Violation, ...]) -> dict[str, object]:
    """The record of a decision."""
    resolution = proposal.resolution
    locks = [resolution, *(lock for _, lock in proposal.installs)] if isinstance(resolution, Lock) else []
    return {
        "time": time.strftime(TIME, time.gmtime()),
        "user": _user(),
        "host": socket.gethostname(),
        "document": proposal.document,
        "backend": proposal.spec.backend,
        "purpose": proposal.purpose,
        "cell": proposal.spec.cell_digest,
        "lock": resolution.key if isinstance(resolution, Lock) else "",
        "packages": sorted(_name(package) for lock in locks for package in lock.packages),
        "decision": "refused" if violations else "allowed",
        "violations": [
            {"rule": violation.rule, "origin": violation.origin, "package": violation.package}
            for violation in violations
        ],
        "policies": list(policy.origins),
    }


def annotation(record: dict[str, object]) -> str:
    """The short form of an entry, for the metadata of a workflow."""
    return json.dumps({key: record[key] for key in ("user", "lock", "decision", "policies")}, sort_keys=True)


def write(record: dict[str, object], named_logs: Iterable[str]) -> None:
    """Append an entry to the user's log, and to those named by a policy.

    Raises:
        PolicyError: a log named by a policy cannot be written.
    """
    line = json.dumps(record) + "\n"
    with contextlib.suppress(OSError):
        log = own_log()
        if log.exists() and log.stat().st_size > LARGEST:
            log.replace(log.with_suffix(".1.jsonl"))
        _append(log, line)
    for name in named_logs:
        try:
            _append(Path(name), line)
        except OSError as error:
            raise PolicyError(
                f"cannot write the audit log {name}: {error.strerror}",
                hint="The package policy requires it. Ask your administrator to make it writable.",
            ) from error


def recent_installs() -> int:
    """The number of runs with packages in the last hour on this machine, from this user's log."""
    since = time.strftime(TIME, time.gmtime(time.time() - HOUR))
    return sum(
        record["purpose"] == "run" and record["decision"] == "allowed" and bool(record["packages"])
        for record in _records()
        if str(record["time"]) >= since
    )


def allowed_locks() -> frozenset[str]:
    """The keys of the locks that this user was previously allowed to run."""
    return frozenset(
        str(record["lock"]) for record in _records() if record["purpose"] == "run" and record["decision"] == "allowed"
    )


def _user() -> str:
    """The name of the user, or else the user id, because in a container the user can have no name."""
    return user.name() or (str(os.getuid()) if hasattr(os, "getuid") else "")


def _records() -> Iterator[dict[str, Any]]:
    """The valid lines of the user's log and of the rotated one."""
    for log in (own_log().with_suffix(".1.jsonl"), own_log()):
        try:
            lines = log.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and record.keys() >= {"time", "purpose", "decision", "packages", "lock"}:
                    yield record


def _name(package: Package) -> str:
    if package.url:
        return f"{package.name} @ {indexes.without_credentials(package.url)}"
    return f"{package.name}=={package.version}"


def _append(path: Path, line: str) -> None:
    """Append a line with a single write, so that lines of several processes do not mix.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        rest = line.encode()
        while rest:  # a write to a full disk is partial, and the next one fails
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)
