"""The folder for our sockets: only this user can access it, and its path is short."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PATH = 100
"""Maximum bytes of a socket's path; the system's limit is 108 (macOS: 104)."""


def socket_folder(environ: Mapping[str, str] = os.environ, fallback: str = "/tmp") -> Path:  # noqa: S108 - checked below
    """`$XDG_RUNTIME_DIR` if it is private, else a folder of this user in `fallback`, which is created.

    Raises:
        OSError: another user owns the folder or can write to it, or it is a symbolic link.
    """
    uid = os.getuid()
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and len(os.fsencode(runtime)) < MAX_PATH - 24 and not _objection(runtime, uid):
        return Path(runtime)
    folder = Path(fallback) / f"uv-argo-{uid}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if objection := _objection(folder, uid):
        raise OSError(f"{folder} is not a private folder: {objection}")
    return folder


def _objection(folder: str | Path, uid: int) -> str:
    """Why the folder is not private to this user; "" if it is."""
    try:
        status = os.lstat(folder)
    except OSError as problem:
        return str(problem.strerror)
    if not stat.S_ISDIR(status.st_mode):
        return "it is a symbolic link or a file"
    if status.st_uid != uid:
        return "another user owns it"
    if status.st_mode & 0o077:
        return "other users have access to it"
    return ""
