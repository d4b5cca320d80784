"""The name of the user, for lists; it is not verified."""

from __future__ import annotations

import contextlib
import getpass
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def name(environ: Mapping[str, str] = os.environ) -> str:
    """The user's name in JupyterHub, where all users may have one login name, else the login name; "" if unknown."""
    if hub := environ.get("JUPYTERHUB_USER"):
        return hub
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""
