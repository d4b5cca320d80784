"""The name of the user, as shown in lists; it is not verified."""

from __future__ import annotations

import contextlib
import getpass
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def name(environ: Mapping[str, str] = os.environ) -> str:
    """The JupyterHub user name (in containers, all users can share a login name), else the login name, else ""."""
    if hub := environ.get("JUPYTERHUB_USER"):
        return hub
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""
