"""Where things of ours lie on this machine: data, cache and configuration, as the platform has it.

Rule: UV_ARGO_HOME, where set, holds all of them; nothing is made here, whoever writes makes the folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "uv-argo"


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """What must last: the history of runs."""
    return _home(environ, "data")


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """What can be made again: environments, interpreters' answers, locks."""
    return _home(environ, "cache")


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the user's own uv-argo.toml lies."""
    return _home(environ, "config")


def run_dir(run_id: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The history's folder of one run."""
    return data_dir(environ) / "runs" / run_id


def _home(environ: Mapping[str, str], kind: Literal["data", "cache", "config"]) -> Path:
    if home := environ.get("UV_ARGO_HOME", ""):
        return Path(home).expanduser().absolute() / kind
    import platformdirs  # noqa: PLC0415 - 15 ms of %load_ext, which needs no folder

    match kind:
        case "data":
            return platformdirs.user_data_path(APP, appauthor=False)
        case "cache":
            return platformdirs.user_cache_path(APP, appauthor=False)
        case "config":
            return platformdirs.user_config_path(APP, appauthor=False)
