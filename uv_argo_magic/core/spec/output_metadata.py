"""The metadata of a run's output in a notebook: enough to run the cell again with the same files.

    {"uv_argo": {"schema": 1, "run": ID, "cell": SHA-256 of its text, "lock": key, "python": "3.12.1", "abi": "cp312",
                 "platform": "", "implementation": "cpython", "uv": "0.13.9", "image": "", "seconds": {"running": 1.2},
                 "packages": the lock's lines, as base64(zlib(UTF-8))}}

Rules:
- The metadata is small, about 70 bytes per package, and contains no host, path or user name.
- Packages that do not match their key are refused, because someone changed them.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol.state import durations
from uv_argo_magic.core.resolution.lock import Lock, Package, Resolution, Target
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.state import RunState

KEY = "uv_argo"
"""The key of this package in the metadata of an output."""
SCHEMA = 1
LARGEST = 4 * 1024 * 1024
"""Maximum bytes of the uncompressed lines of a lock: enough for thousands of packages."""

Metadata: TypeAlias = dict[str, object]


@frozen
class Provenance:
    """What ran: the run's ID, the digest of the cell's text, and the lock (None: unknown, resolved in the pod)."""

    run: str
    cell: str
    lock: Lock | None


def metadata(state: RunState, cell_digest: str, resolution: Resolution, image: str = "") -> Metadata:
    """The metadata for an output of this run."""
    lock = resolution if isinstance(resolution, Lock) else None
    data: Metadata = {"schema": SCHEMA, "run": state.run, "cell": cell_digest, "lock": lock.key if lock else ""}
    if lock:
        target = lock.target
        data |= {"python": target.python, "abi": target.abi, "implementation": target.implementation}
        data |= {"platform": target.platform, "uv": lock.uv, "packages": _pack(lock.lines)}
        if lock.base_digest:
            data["base"] = lock.base_digest
    if image:
        data["image"] = image
    if state.ended:
        data["seconds"] = {stage: round(took, 2) for stage, took in durations(state, state.ended_at)}
    return {KEY: data}


def extract(metadata: object) -> Metadata | None:
    """The part of an output's metadata that `metadata` wrote, or None."""
    ours = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    return dict(ours) if isinstance(ours, Mapping) else None


def read(data: Metadata) -> Provenance | None:
    """The run recorded in an output's metadata; None if the output is not the panel of a run.

    Raises:
        SpecError: a newer version wrote it, or it was changed.
    """
    if "run" not in data:
        return None
    if data.get("schema") != SCHEMA:
        raise SpecError("written by a newer uv-argo-magic", hint="Upgrade it: pip install -U uv-argo-magic")
    lock = _lock(data) if data.get("lock") else None
    return Provenance(run=str(data["run"]), cell=str(data.get("cell", "")), lock=lock)


@functools.lru_cache(maxsize=8)
def _pack(lines: tuple[str, ...]) -> str:
    """Compress the lines of a lock; cached, because many cells of a session share one."""
    return base64.b64encode(zlib.compress("\n".join(lines).encode(), 9)).decode()


_LINE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*)(?:==(?P<version>\S+)| @ (?P<url>\S+))(?: --hash=sha256:(?P<sha256>[0-9a-f]{64}))?"
)


def _lock(data: Metadata) -> Lock:
    target = Target(**{name: str(data.get(name, "")) for name in ("python", "abi", "implementation", "platform")})
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(str(data.get("packages", ""))), LARGEST).decode()
        matches = [_LINE.fullmatch(line) for line in text.splitlines()]
    except (binascii.Error, ValueError, zlib.error):
        matches = [None]
    packages = tuple(
        Package(name=line["name"], version=line["version"] or "", url=line["url"] or "", sha256=line["sha256"] or "")
        for line in matches
        if line
    )
    lock = Lock(packages=packages, target=target, uv=str(data.get("uv", "")), base_digest=str(data.get("base", "")))
    if None in matches or lock.key != data.get("lock"):
        raise SpecError(
            "the recorded packages do not match their key: they were changed",
            hint="Run the cell again, and save the notebook.",
        )
    return lock
