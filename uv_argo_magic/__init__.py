"""Run notebook cells, files and code with their own dependencies, here or in an Argo Workflows pod.

    %load_ext uv_argo_magic                                  in a notebook
    %%argo --deps "numpy pandas"

    uv_argo_magic.run("print(1)", deps="numpy").logs()       in Python (docs/api.md)

Rule: importing this package imports none of its modules; each name below is imported on first use.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # importing `typing` would double the import time; `uv-argo run` starts a process first
if TYPE_CHECKING:
    from types import ModuleType

    from IPython.core.interactiveshell import InteractiveShell

    from uv_argo_magic import testing
    from uv_argo_magic.api import run, submit
    from uv_argo_magic.backends.base import Backend
    from uv_argo_magic.engine.run import Renderer, Run
    from uv_argo_magic.errors import (
        ArgoMagicError,
        BackendError,
        BackendUnavailable,
        CellFailed,
        InstallFailed,
        NodeFailed,
        PolicyError,
        ProtocolError,
        PullError,
        ResolutionError,
        RunError,
        SpecError,
        Stopped,
        StreamLost,
        SubmitRejected,
        VerifyFailed,
    )

    __version__: str

__all__ = [
    "ArgoMagicError",
    "Backend",
    "BackendError",
    "BackendUnavailable",
    "CellFailed",
    "InstallFailed",
    "NodeFailed",
    "PolicyError",
    "ProtocolError",
    "PullError",
    "Renderer",
    "ResolutionError",
    "Run",
    "RunError",
    "SpecError",
    "Stopped",
    "StreamLost",
    "SubmitRejected",
    "VerifyFailed",
    "__version__",
    "load_ipython_extension",
    "run",
    "submit",
    "testing",
    "unload_ipython_extension",
]

_LAZY = {
    "run": "uv_argo_magic.api",
    "submit": "uv_argo_magic.api",
    "Run": "uv_argo_magic.engine.run",
    "Renderer": "uv_argo_magic.engine.run",
    "Backend": "uv_argo_magic.backends.base",
}
"""Name -> its module; all other names in `__all__` are exceptions in errors.py."""


def __getattr__(name: str) -> object:
    if name == "testing":
        return importlib.import_module("uv_argo_magic.testing")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("uv-argo-magic")
    if name in _LAZY or name in __all__:
        return getattr(importlib.import_module(_LAZY.get(name, "uv_argo_magic.errors")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%load_ext uv_argo_magic`."""
    _magics().load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%unload_ext uv_argo_magic`."""
    _magics().unload(shell)


def _magics() -> ModuleType:
    return importlib.import_module("uv_argo_magic.notebook.magics")  # importing the package must not import IPython
