"""Start the worker of a session as a process on this machine, and connect to it.

Rules:
- The worker is independent of the kernel. It inherits only one file descriptor, which signals that it listens.
- Its socket has an unused name in a folder that only this user can access.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from uv_argo_magic._os import descriptors, private_folder
from uv_argo_magic.backends import local_limits, prestart
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.backends.sessions import WorkerOptions
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.settings import Resources

START_SECONDS = 60.0
CONNECT_SECONDS = 5.0


def start(
    program: Program,
    options: WorkerOptions,
    python: str,
    store: Path,
    credentials: Mapping[str, str],
    resources: Resources,
) -> str:
    """Start a worker with this Python; return the path of the socket on which it listens.

    Raises:
        BackendUnavailable: the worker cannot be started.
    """
    if sys.platform == "win32":
        raise BackendUnavailable("sessions on this machine do not support Windows", hint="Run Jupyter in WSL.")
    try:
        address = str(private_folder.socket_folder() / f"uv-argo-{secrets.token_hex(6)}")
        folder = Path(tempfile.mkdtemp(prefix="uv-argo-session-"))
    except OSError as problem:
        raise BackendUnavailable(
            f"cannot create the folder of a session: {problem}",
            hint="Set XDG_RUNTIME_DIR to a private folder, or free some disk space.",
        ) from problem
    try:
        store.mkdir(parents=True, exist_ok=True)
        source = local_limits.prelude(resources) + program.worker_source
        (folder / "program.py").write_text(source, encoding="utf-8")
        _spawn(folder, options, address, python, store, credentials)
    except BaseException as problem:
        text = ""
        with contextlib.suppress(OSError):
            text = (folder / "worker.err").read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(problem, OSError):
            raise BackendUnavailable(
                f"cannot start the session: {text or problem}",
                hint="Choose another Python (--python), or close other programs.",
            ) from problem
        raise
    return address


def _spawn(
    folder: Path, options: WorkerOptions, address: str, python: str, store: Path, credentials: Mapping[str, str]
) -> None:
    """Start the process, and wait until it listens.

    Raises:
        OSError: the process ended before that.
    """
    read_end, write_end = os.pipe()
    try:
        described = {
            "name": options.name, "socket": address, "token": options.token_digest, "keep": options.keep,
            "max_age": options.max_age, "bound": options.is_bound, "report": options.report, "ready": write_end,
        }  # fmt: skip
        with (folder / "worker.err").open("wb") as err:
            process = subprocess.Popen(
                [python, "-I", "-S", str(folder / "program.py")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                env=prestart.environment(os.environ, store=str(store), folder=str(folder), uv=find_uv_bin())
                | dict(credentials)
                | {"UV_ARGO_SESSION": json.dumps(described)},
                cwd=folder,
                pass_fds=(write_end,),
                start_new_session=True,
            )
        os.close(write_end)
        write_end = -1
        process.wait()  # it exits at once; the worker is a separate process
        if not descriptors.is_readable(read_end, START_SECONDS) or not os.read(read_end, 16):
            raise OSError("it ended while starting")
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)


def connect(address: str) -> socket.socket:
    """A connection to a worker's socket.

    Raises:
        OSError: no worker listens on this socket.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
