"""The guest package as the bytes of a zip: the same bytes for the same version, wherever it is installed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
from pathlib import Path

from uv_argo_magic import guest
from uv_argo_magic._os import atomic_write, paths
from uv_argo_magic.core.spec.program import GUEST_NAME

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip can state: the bytes must not say when they were made."""


@functools.cache
def guest_zip() -> bytes:
    """The package uv_argo_magic.guest under the name that it has where it runs; kept in the cache, to save 20 ms."""
    modules = sorted(Path(guest.__file__).parent.glob("*.py"))
    stats = [(str(module), module.stat()) for module in modules]
    stamp = json.dumps([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])
    cached = paths.cache_dir() / "guest" / f"{hashlib.sha256(stamp.encode()).hexdigest()[:32]}.zip"
    with contextlib.suppress(OSError):
        return cached.read_bytes()
    data = _pack(modules)
    with contextlib.suppress(OSError):
        atomic_write.write(cached, data)
    return data


def _pack(modules: list[Path]) -> bytes:
    import zipfile  # noqa: PLC0415 - only the first run of a version packs

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for module in modules:
            name = zipfile.ZipInfo(f"{GUEST_NAME}/{module.name}", EPOCH)
            archive.writestr(name, module.read_bytes(), compress_type=zipfile.ZIP_DEFLATED)
    return out.getvalue()
