"""A notebook cell with its own dependencies, elsewhere, as if it had run here.

    %load_ext uv_argo_magic
    %%argo --deps "numpy pandas"

Rule: importing this is light; what a run needs is imported by the first run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.errors import (
    ArgoMagicError,
    BackendError,
    CellFailed,
    InstallFailed,
    NodeFailed,
    PolicyError,
    ResolutionError,
    RunError,
    SpecError,
    Stopped,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "ArgoMagicError",
    "BackendError",
    "CellFailed",
    "InstallFailed",
    "NodeFailed",
    "PolicyError",
    "ResolutionError",
    "RunError",
    "SpecError",
    "Stopped",
    "load_ipython_extension",
    "unload_ipython_extension",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What `%load_ext uv_argo_magic` calls."""
    from uv_argo_magic.notebook import magics  # noqa: PLC0415 - importing the package asks for no IPython

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What `%unload_ext uv_argo_magic` calls."""
    from uv_argo_magic.notebook import magics  # noqa: PLC0415

    magics.unload(shell)
