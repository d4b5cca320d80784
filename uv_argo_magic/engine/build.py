"""Builds programs: what a backend is given to run. The only caller of `core.spec.program.build`."""

from __future__ import annotations

import base64
import functools
import os
import re
from typing import TYPE_CHECKING

from uv_argo_magic.core.spec import program
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.guest_zip import guest_zip, notebook_modules
from uv_argo_magic.uv import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec


_MENTIONS = re.compile(r"IPython|__IPYTHON__|get_ipython|ipykernel|matplotlib_inline|importlib|__import__")
"""What a cell without packages contains if it looks for IPython."""


@functools.cache
def guest_text(*parts: str) -> str:
    """The guest package as a program contains it, with these of its subpackages."""
    return base64.b64encode(guest_zip(*parts)).decode()


def _parts(spec: RunSpec) -> Iterator[str]:
    if spec.session:
        yield "session"
    if spec.settings.environment == "persistent":
        yield "persistent"


def build(proposal: checks.Proposal, missing: Resolution | None = None) -> program.Program:
    """The program of one execution, with a nonce of its own.

    It installs `missing`, which is what a session lacks; by default the whole resolution.

    Raises:
        PolicyError: a check refused it.
    """
    checks.enforce(proposal)
    spec, resolution = proposal.spec, missing or proposal.resolution
    uv = runner.uv_version() if spec.settings.shape == "runtime" else ""
    modules = notebook_modules() if may_use_ipython(spec, resolution) else {}
    return program.build(
        spec,
        resolution,
        guest=guest_text(*_parts(spec)),
        nonce=os.urandom(8).hex(),
        uv=uv,
        modules=modules,
        installs=proposal.installs,
    )


def may_use_ipython(spec: RunSpec, resolution: Resolution) -> bool:
    """Whether the cell, or a package that it sees, may look for IPython."""
    if spec.script:
        return False
    return bool(spec.code or resolution.lines or spec.settings.base) or bool(_MENTIONS.search(spec.cell))
