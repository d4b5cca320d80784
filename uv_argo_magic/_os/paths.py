"""The folders for our data, cache and configuration, by the conventions of the platform; and the user's paths.

Rule: UV_ARGO_HOME, if set, contains all of them. The folders are created when they are written to.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "uv-argo"
WRITABLE = "Free some disk space, or set UV_ARGO_HOME to a writable folder."
"""The hint if these folders cannot be written."""


def expanded(path: str) -> Path:
    """The path with "~" or "~USER" replaced by the home folder; unchanged if there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises a RuntimeError for an unknown user


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Data that must last: the history and the locks."""
    return _home(environ, "data")


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Data that can be created again: environments and the packages of images."""
    return _home(environ, "cache")


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the user's uv-argo.toml."""
    return _home(environ, "config")


def run_dir(run_id: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of one run in the history."""
    return data_dir(environ) / "runs" / run_id


def _check_home() -> None:
    """Refuse to create the user's home folder, or to write into the root folder instead of one.

    Raises:
        SpecError: the home folder does not exist or is the root folder.
    """
    home = expanded("~")
    if home == Path(home.anchor) or not home.is_dir():
        raise SpecError(
            f"the home folder cannot be used: HOME is {home}",
            hint="Set HOME or UV_ARGO_HOME to a writable folder.",
        )


def _home(environ: Mapping[str, str], kind: Literal["data", "cache", "config"]) -> Path:
    variables = tuple(environ.get(name, "") for name in ("UV_ARGO_HOME", f"XDG_{kind.upper()}_HOME", "HOME"))
    return _folder(kind, *variables)


@functools.lru_cache(maxsize=16)
def _folder(kind: Literal["data", "cache", "config"], home: str, xdg: str, _user: str) -> Path:
    if home:
        return expanded(home).absolute() / kind
    if kind != "config" and not xdg:
        _check_home()
    import platformdirs  # noqa: PLC0415 - 3 ms that `%load_ext` does not need

    match kind:
        case "data":
            return platformdirs.user_data_path(APP, appauthor=False)
        case "cache":
            return platformdirs.user_cache_path(APP, appauthor=False)
        case "config":
            return platformdirs.user_config_path(APP, appauthor=False)
