"""Run uv in a temporary folder; if the call ends early for any reason, uv and its children are ended.

Rule: the folders are in our cache. A later call removes those of killed processes, after a day.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic._os import paths
from uv_argo_magic.errors import ResolutionError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

STALE = 24 * 3600.0
"""Seconds after which a left-over folder is removed."""
PATIENCE = 0.05
"""Maximum seconds until a cancelled call ends."""


class Cancelled(ResolutionError):
    """The caller no longer needs the result."""


def call(
    args: list[str],
    files: Mapping[str, str],
    environ: Mapping[str, str],
    timeout: float,
    *,
    cancelled: threading.Event | None = None,
    prepare_folder: Callable[[Path], object] | None = None,
) -> tuple[int, str, str]:
    """Run uv in a folder with these files and those of `prepare_folder`; return exit status, stdout and stderr.

    Raises:
        ResolutionError: uv took longer than `timeout` seconds (0: no limit).
        Cancelled: `cancelled` was set.
    """
    with tempfile.TemporaryDirectory(prefix="uv-argo-", dir=_home()) as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        if prepare_folder:
            prepare_folder(Path(folder))
        process = subprocess.Popen(
            [find_uv_bin(), *args],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name == "posix",
        )
        with process:
            try:
                out, err = _output(process, timeout, cancelled)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise ResolutionError(
                    f"uv did not finish within {timeout:g} seconds.",
                    hint="Run the cell again, or raise the limit: --set install_timeout=3600.",
                ) from None
            except BaseException:
                _kill(process)
                raise
        return process.returncode, out, err


def _home() -> Path | None:
    """The parent of the temporary folders, after removing old ones; None if it is not writable."""
    home = paths.cache_dir() / "asked"
    try:
        home.mkdir(parents=True, exist_ok=True)
        for left in home.iterdir():
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
    except OSError:
        return None
    return home if os.access(home, os.W_OK) else None


def _output(process: subprocess.Popen[str], timeout: float, cancelled: threading.Event | None) -> tuple[str, str]:
    """The output of the process until its end, or until `cancelled` is set."""
    if cancelled is None:
        return process.communicate(timeout=timeout or None)
    end = time.monotonic() + timeout if timeout else math.inf
    while True:
        try:
            return process.communicate(timeout=min(PATIENCE, max(0.0, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            if cancelled.is_set():
                raise Cancelled("The requirements changed while they were resolved.") from None
            if time.monotonic() >= end:
                raise


def _kill(process: subprocess.Popen[str]) -> None:
    """End uv and its children, such as builds, which continue if only uv is killed."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    # After an interrupt, Popen does not wait for the process.
    process.wait()


@functools.cache
def uv_version() -> str:
    """The version of uv, as reported by uv."""
    done = subprocess.run([find_uv_bin(), "--version"], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()[1]
