"""The guest package as the bytes of a zip: the same bytes for the same version, wherever it is installed."""

from __future__ import annotations

import functools
import io
import zipfile
from importlib.resources import files

from uv_argo_magic.core.spec.program import GUEST_NAME

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip can state: the bytes must not say when they were made."""


@functools.cache
def guest_zip() -> bytes:
    """Pack uv_argo_magic.guest under the name that it has where it runs."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for module in sorted(files("uv_argo_magic.guest").iterdir(), key=lambda entry: entry.name):
            if module.name.endswith(".py"):
                name = zipfile.ZipInfo(f"{GUEST_NAME}/{module.name}", EPOCH)
                archive.writestr(name, module.read_bytes(), compress_type=zipfile.ZIP_DEFLATED)
    return out.getvalue()
