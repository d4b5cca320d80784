"""Builds programs: what a backend is given to run. The only caller of `core.spec.program.build`."""

from __future__ import annotations

import base64
import functools
import os
from typing import TYPE_CHECKING

from uv_argo_magic.core.spec import program
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.guest_zip import guest_zip
from uv_argo_magic.uv import runner

if TYPE_CHECKING:
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec


@functools.cache
def guest_text() -> str:
    """The guest package as a program contains it."""
    return base64.b64encode(guest_zip()).decode()


def build(spec: RunSpec, resolution: Resolution, purpose: checks.Purpose = "run") -> program.Program:
    """The program of one execution, with a nonce of its own.

    Raises:
        PolicyError: a check refused it.
    """
    checks.enforce(checks.Proposal(spec=spec, resolution=resolution, purpose=purpose))
    uv = runner.uv_version() if spec.settings.shape == "runtime" else ""
    return program.build(spec, resolution, guest=guest_text(), nonce=os.urandom(8).hex(), uv=uv)
