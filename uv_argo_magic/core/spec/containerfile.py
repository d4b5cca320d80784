"""The Containerfile of an image with an environment, which cells with the same lock find by its key.

Rules:
- The image builds the environment in the same way as a store (guest/install/environment.py), and includes its byte
  code, because an image is read-only.
- The data of the lock is inside quoted here-documents, where nothing is expanded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uv_argo_magic.core import humanize
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.core.resolution.lock import Lock

BAKED = "/opt/uv-argo/store"
"""The folder in which the guest looks for environments of the image."""
FIRST_LINE = "# syntax=docker/dockerfile:1\n# An image with an environment for cells (uv-argo-magic)"
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]*", re.IGNORECASE)
"""A rough check of an image reference; the registry checks the rest."""
_TORCH_BACKEND = re.compile(r"[a-z0-9.]*")
"""A rough check of `torch_backend`; uv checks the rest."""

SCRIPT = """\
import json, os, re, subprocess, sys, time
store, key, lock = sys.argv[1:]
home = os.path.join(store, "trees", key)
site, started = os.path.join(home, "site"), time.time()
os.makedirs(site)
subprocess.check_call(
    ["uv", "pip", "install", "--target", site, "--python", sys.executable, "--no-deps", "--no-cache"]
    + ["--link-mode", "copy", "--compile-bytecode", "--require-hashes", "-r", lock]
)
stems = [name[: -len(".dist-info")].partition("-") for name in os.listdir(site) if name.endswith(".dist-info")]
packages = sorted([re.sub(r"[-_.]+", "-", name).lower(), version] for name, _, version in stems)
with open(os.path.join(home, ".ok"), "w") as file:
    python = "%d.%d" % sys.version_info[:2]
    json.dump({"packages": packages, "seconds": time.time() - started, "python": python}, file)
"""
"""The script that installs the environment; its arguments are the store, the key and the file with the locked lines."""


def write(lock: Lock, image: str, torch_backend: str = "") -> str:
    """The Containerfile of an image based on `image`; `torch_backend` is the setting with which the lock was resolved.

    Raises:
        SpecError: the lock has no packages, or `image` or `torch_backend` are invalid.
    """
    if not lock.packages:
        raise SpecError("there is nothing to bake: the lock has no packages", hint='Add requirements: --deps "numpy".')
    if not _IMAGE.fullmatch(image):
        raise SpecError(f"invalid image name: {image}", hint="Write --set image=REGISTRY/NAME:TAG.")
    if not _TORCH_BACKEND.fullmatch(torch_backend):
        raise SpecError(
            f"invalid torch_backend: {torch_backend}", hint="Write --set torch_backend=cpu, cu128 and so on."
        )
    # Without it, uv does not find versions such as 2.9+cpu, which only PyTorch's indexes have.
    torch = f"ARG UV_TORCH_BACKEND={torch_backend}\n" if torch_backend else ""
    lines = "\n".join(lock.lines)
    return f"""\
{FIRST_LINE}, made by `uv-argo bake`.
# Environment {lock.key}: {humanize.count(len(lock.packages), "package")} for Python {lock.target.python}.
# Set --build-arg UV_DEFAULT_INDEX=URL for another package index, and UV_INDEX="URL URL" for more.
FROM {image}
USER 0
ARG UV_DEFAULT_INDEX
ARG UV_INDEX
{torch}COPY <<"LOCK" /opt/uv-argo/lock.txt
{lines}
LOCK
COPY <<"SCRIPT" /opt/uv-argo/bake.py
{SCRIPT}SCRIPT
RUN UV_NO_CONFIG=1 python3 -I /opt/uv-argo/bake.py {BAKED} {lock.key} /opt/uv-argo/lock.txt
# Numeric, so that Kubernetes can verify that it is not root.
USER 1000:1000
"""
