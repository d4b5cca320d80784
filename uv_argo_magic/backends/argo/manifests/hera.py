"""Import Hera on first use: this takes a second, and only a run on a cluster needs it."""

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
"""Prevents a second import at the same time: Hera's modules import each other, so it would see incomplete ones."""
INSTALL = 'Install its dependencies: pip install "uv-argo-magic[argo]"'


def hera() -> tuple[ModuleType, ModuleType]:
    """hera.workflows and hera.workflows.models.

    Importing them changes PyYAML's representers for the whole process. They are restored, so that the user's YAML
    output in the same process does not change.
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
        BackendUnavailable: one of the packages is not installed.
    """
    try:
        yield
    except ImportError as problem:
        raise BackendUnavailable(f"the argo backend cannot be used: {problem}", hint=f"{INSTALL}.") from problem
