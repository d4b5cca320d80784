"""Inspect the Python and the packages of an image with a small run, whose result is cached.

Rules:
- The probe is a run with the cell's settings, but without any data of the user.
- An image with a digest cannot change, so it is inspected once. A tag can be moved, so it is inspected again after a
  day. A Python on this machine is inspected each time, because its packages can change at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic.backends import base as backends
from uv_argo_magic.core import humanize
from uv_argo_magic.core.resolution import base_packages as bases
from uv_argo_magic.core.resolution.lock import Unresolved
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine import checks, start_run
from uv_argo_magic.engine.preparation.build import build
from uv_argo_magic.engine.preparation.prepared import Prepared, RunTarget
from uv_argo_magic.errors import SpecError
from uv_argo_magic.uv import interpreters
from uv_argo_magic.uv.runner import Cancelled

if TYPE_CHECKING:
    import threading

    from uv_argo_magic.backends.base import Backend
    from uv_argo_magic.core.resolution.base_packages import BaseEnvironment

Notify: TypeAlias = Callable[[str], object]
"""Shows the user a note on something that takes time."""
MAX_AGE = 24 * 3600.0
"""Seconds for which the result for a tag is valid."""
DEADLINE = 600.0
"""Maximum seconds of the probe, including the pull of its image."""
PATIENCE = 0.1
"""Seconds until a cancelled probe ends."""
ANY_PYTHON = "3.12.0"
"""The version in the spec of a probe, whose Python is not yet known."""


def inspect_image(
    spec: RunSpec,
    backend: Backend,
    cache: Path,
    *,
    may_run: bool = True,
    notify: Notify | None = None,
    cancelled: threading.Event | None = None,
) -> tuple[RunSpec, BaseEnvironment | None]:
    """The spec with the Python and platform of its image, if not set, and the preinstalled packages for the cell.

    An image that is not in `cache` needs a probe run, which `notify` announces. Without `may_run`, this is an error.

    Raises:
        SpecError: the probe is not allowed or failed, or the image has another Python than requested.
        BackendError: the backend cannot be reached, or refused the probe.
        Cancelled: `cancelled` was set, in another thread.
    """
    settings = spec.settings
    image = backends.image(backend, spec) if settings.base or settings.image else ""
    if not settings.base and (not image or re.fullmatch(r"3\.\d+\.\d+", spec.python)):
        return spec, None
    if image and not may_run and cached_base(spec, image, cache) is None:
        raise SpecError(
            f"the packages in {image} are not known yet; finding out takes a probe run",
            hint="Run the cell once. If only its Python is missing, add --python X.Y.Z.",
        )
    base = probe(backend, spec, image, cache, notify, cancelled)
    if image:
        mismatch = "" if interpreters.fits(base.python, spec.python) else f"{spec.python} is requested"
        mismatch = mismatch or (
            "" if base.implementation == "cpython" else f"its implementation is {base.implementation}"
        )
        mismatch = mismatch or ("" if base.platform else "its C library is not glibc, which the wheels need")
        if mismatch:
            raise SpecError(f"{image} has Python {base.python}, but {mismatch}", hint="Choose another image or Python.")
        settings = replace(settings, image=image, platform=base.platform)
        spec = replace(spec, python=base.python, settings=settings)
    return spec, base if settings.base else None


def cached_base(spec: RunSpec, image: str, cache: Path) -> BaseEnvironment | None:
    """The cached result for an image; None if there is none or it is too old."""
    if not image:
        return None
    try:
        data = json.loads(_cache_file(spec, image, cache).read_text(encoding="utf-8"))
        created_at, base = float(data["made"]), bases.BaseEnvironment.from_json(data["base"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return base if "@sha256:" in image or 0 <= time.time() - created_at < MAX_AGE else None


def probe(
    backend: Backend,
    spec: RunSpec,
    image: str,
    cache: Path,
    notify: Notify | None = None,
    cancelled: threading.Event | None = None,
) -> BaseEnvironment:
    """The packages of the Python that would run this, in `image` ("": on this machine); `notify` announces the probe.

    Raises:
        SpecError: the probe failed.
        BackendError: the backend cannot be reached, or refused the probe.
    """
    if base := cached_base(spec, image, cache):
        return base
    if image and notify:
        notify(f"Inspecting {image} (Python and installed packages); the result is cached.")
    base = _run_probe(backend, spec, image, cancelled)
    if image:
        with contextlib.suppress(OSError):
            file = _cache_file(spec, image, cache)
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as temporary:
                temporary.write(json.dumps({"made": time.time(), "base": base.to_json()}))
            Path(temporary.name).replace(file)
    return base


def _run_probe(
    backend: Backend, spec: RunSpec, image: str, cancelled: threading.Event | None = None
) -> BaseEnvironment:
    """Submit the probe, and read its output."""
    settings = replace(
        spec.settings.for_own_cell,
        base=spec.settings.base or "own",
        image=image,  # with its name, the backend needs no Python version to choose the image
        run_timeout=60.0,
        deadline=min(spec.settings.deadline or DEADLINE, DEADLINE),
    )
    probe = RunSpec(
        cell=bases.PROBE, python=ANY_PYTHON if image else spec.python, backend=spec.backend, settings=settings
    )
    resolution = Unresolved(lines=(), reason="a probe installs nothing")
    prepared = Prepared(
        # The Python of a probe need not be known, because nothing is resolved.
        target=RunTarget(requested=spec, spec=probe, backend=backend, interpreter=interpreters.find()),
        notebook="",
        resolution=resolution,
        program=build(checks.Proposal(spec=probe, resolution=resolution, purpose="probe", backend=backend)),
    )
    run = start_run.start(prepared)
    try:
        while not run.wait(PATIENCE).ended and not (cancelled and cancelled.is_set()):
            pass
    except BaseException:
        run.stop()
        raise
    state = run.state
    if not state.ended:
        run.stop()
        raise Cancelled("The inspection of the image was cancelled.")
    output_text = run.logs()
    try:
        return bases.read_probe(output_text)
    except ValueError as error:
        lines = output_text.strip().splitlines() or [state.node.message if state.node else ""]
        detail = f": {humanize.one_line(lines[-1])}" if lines[-1] else ""
        raise SpecError(
            f"could not list the packages installed in {image or 'the Python of this machine'}{detail}",
            hint="Add --python X.Y.Z and remove base, or choose another image.",
        ) from error


def _cache_file(spec: RunSpec, image: str, cache: Path) -> Path:
    """The cache file of an image. The same name can be a different image in another cluster, or on other nodes.

    Of the platform, only the architecture is part of the key, because the rest can be a result of the probe.
    """
    settings = spec.settings
    parts = [image, spec.backend, settings.kubeconfig, settings.context, settings.platform.partition("-")[0]]
    return cache / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.json"
