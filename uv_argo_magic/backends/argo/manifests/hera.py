"""Hera, imported on first use: it takes a second, and only a run on a cluster needs it."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from typing import TYPE_CHECKING

import yaml

from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_importing = threading.Lock()
"""Its modules import each other: another thread would see one that is not complete."""
INSTALL = 'Install what it needs: pip install "uv-argo-magic[argo]"'


def hera() -> tuple[ModuleType, ModuleType]:
    """hera.workflows and hera.workflows.models.

    Importing them changes PyYAML's representers for the whole process; these are restored, so that YAML that the user
    writes in the same process stays the same.
    """
    with _importing:
        if "hera.workflows" not in sys.modules:
            classes = [yaml.Dumper, yaml.SafeDumper, yaml.representer.SafeRepresenter, yaml.representer.Representer]
            before = [(cls, dict(cls.yaml_representers)) for cls in classes]
            importlib.import_module("hera.workflows")
            for cls, representers in before:
                cls.yaml_representers = representers
    return sys.modules["hera.workflows"], importlib.import_module("hera.workflows.models")


@contextlib.contextmanager
def required_packages() -> Iterator[None]:
    """Turn an ImportError of hera, kubernetes or yaml into an error with the command that installs them.

    Raises:
        BackendUnavailable: one of them is not installed.
    """
    try:
        yield
    except ImportError as problem:
        raise BackendUnavailable(f"the argo backend cannot be used: {problem}", hint=f"{INSTALL}.") from problem
