"""The notebook's cloudpickle, under its private name."""

from __future__ import annotations

import functools
import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError
from uv_argo_magic.guest_values import pickles

if TYPE_CHECKING:
    from types import ModuleType

FILE = f"{pickles.PRIVATE}.py"
"""The file name of cloudpickle in a run."""


@functools.cache
def source() -> str:
    """The source of the installed cloudpickle, with its version at the end.

    Raises:
        SpecError: cloudpickle is not installed.
    """
    spec = importlib.util.find_spec("cloudpickle")
    if spec is None or not spec.submodule_search_locations:
        raise SpecError(
            "functions and classes of a notebook need cloudpickle, which is not installed here",
            hint="Install it in the notebook's environment: pip install cloudpickle.",
        )
    path = Path(spec.submodule_search_locations[0]) / "cloudpickle.py"
    return f"{path.read_text(encoding='utf-8')}\n__version__ = {metadata.version('cloudpickle')!r}\n"


def load_cloudpickle() -> ModuleType:
    """Cloudpickle under its private name, so that its pickles refer to that name.

    Raises:
        SpecError: cloudpickle is not installed.
    """
    if pickles.PRIVATE not in sys.modules:
        text = source()
        spec = importlib.util.spec_from_loader(pickles.PRIVATE, loader=None)
        assert spec is not None  # noqa: S101 - it has a name
        module = importlib.util.module_from_spec(spec)
        sys.modules[pickles.PRIVATE] = module
        exec(compile(text, f"<{pickles.PRIVATE}>", "exec"), module.__dict__)  # noqa: S102 - an installed package
    return sys.modules[pickles.PRIVATE]
