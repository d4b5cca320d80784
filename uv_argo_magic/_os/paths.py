"""Where things of ours lie on this machine: data, cache and configuration, as the platform has it.

Rule: UV_ARGO_HOME, where set, holds all of them; nothing is made here, whoever writes makes the folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "uv-argo"


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """What must last: the history of runs."""
    return _home(environ, "data") or platformdirs.user_data_path(APP, appauthor=False)


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """What can be made again: environments, interpreters' answers, locks."""
    return _home(environ, "cache") or platformdirs.user_cache_path(APP, appauthor=False)


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the user's own uv-argo.toml lies."""
    return _home(environ, "config") or platformdirs.user_config_path(APP, appauthor=False)


def run_dir(run_id: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The history's folder of one run."""
    return data_dir(environ) / "runs" / run_id


def _home(environ: Mapping[str, str], kind: str) -> Path | None:
    home = environ.get("UV_ARGO_HOME", "")
    return Path(home).expanduser().absolute() / kind if home else None
