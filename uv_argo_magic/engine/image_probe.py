"""Asks a place what its Python has: one tiny run there, remembered for as long as its image is the same.

Rules:
- The run is like any other: it goes through the Backend protocol, by the cell's own settings, and sends nothing of the
  user's.
- An image named by its digest cannot change, and is asked once; a tag may be moved, and is asked anew after a day. What
  is on this machine is asked each time: anybody may install into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base as backends
from uv_argo_magic.core.protocol import events
from uv_argo_magic.core.protocol.state import fold
from uv_argo_magic.core.resolution import base_packages as bases
from uv_argo_magic.core.resolution.lock import Unresolved
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine.build import build
from uv_argo_magic.errors import SpecError
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.backends.base import Backend
    from uv_argo_magic.core.resolution.base_packages import BaseEnvironment

MAX_AGE = 24 * 3600.0
"""Seconds that a tag's answer is good for."""
DEADLINE = 600.0
"""Seconds that the run over there may take, with its image to be pulled."""
ANY_PYTHON = "3.12.0"
"""What is said of an image whose Python is being asked for."""


def ignore(note: str) -> None:
    """Show no notes."""


def target(
    spec: RunSpec, backend: Backend, cache: Path, *, dry_run: bool = False, notify: Callable[[str], object] = ignore
) -> tuple[RunSpec, interpreters.Interpreter]:
    """The Python that will run this, with what the cell sees of it, and the spec as `inspect_image` gives it.

    Raises:
        SpecError: there is no such Python there, or nobody knows what is.
        BackendError: the place had to be asked, and could not be reached, or refused.
    """
    spec, base = inspect_image(spec, backend, cache, dry_run=dry_run, notify=notify)
    return spec, replace(backend.target(spec), base=base)


def inspect_image(
    spec: RunSpec, backend: Backend, cache: Path, *, dry_run: bool = False, notify: Callable[[str], object] = ignore
) -> tuple[RunSpec, BaseEnvironment | None]:
    """The spec with its image's own Python and platform where these are not told, and what the cell sees beneath it.

    What is not in `cache` takes a probe run, announced by `notify`; with `dry_run` it is an error.

    Raises:
        SpecError: it would have to be asked, did not say, or has another Python than is wanted.
        BackendError: the place could not be reached, or refused.
    """
    settings = spec.settings
    image = backends.image(backend, spec) if settings.base or settings.image else ""
    if not settings.base and (not image or re.fullmatch(r"3\.\d+\.\d+", spec.python)):
        return spec, None
    if image and dry_run and cached_base(spec, image, cache) is None:
        raise SpecError(
            f"nobody knows yet what is in {image}, and asking it is a run of its own",
            hint="Run the cell once; where only its Python must be known, give that: --python X.Y.Z.",
        )
    base = probe(backend, spec, image, cache, notify)
    if image:
        mismatch = "" if interpreters.fits(base.python, spec.python) else f"{spec.python} is asked for"
        mismatch = mismatch or ("" if base.implementation == "cpython" else f"that is {base.implementation}")
        mismatch = mismatch or ("" if base.platform else "its C library is not glibc, for which wheels are chosen here")
        if mismatch:
            raise SpecError(f"{image} has Python {base.python}, and {mismatch}", hint="Choose another image or Python.")
        settings = replace(settings, image=image, platform=base.platform)
        spec = replace(spec, python=base.python, settings=settings)
    return spec, base if settings.base else None


def cached_base(spec: RunSpec, image: str, cache: Path) -> BaseEnvironment | None:
    """What is remembered of an image; None where nothing is, or it is too old, or there is no image."""
    if not image:
        return None
    try:
        data = json.loads(_cache_file(spec, image, cache).read_text(encoding="utf-8"))
        created_at, base = float(data["made"]), bases.BaseEnvironment.from_json(data["base"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return base if "@sha256:" in image or 0 <= time.time() - created_at < MAX_AGE else None


def probe(backend: Backend, spec: RunSpec, image: str, cache: Path, notify: Callable[[str], object]) -> BaseEnvironment:
    """What the Python that would run this has; `image` is where it is, "" for this machine, `notify` is told of a run.

    Raises:
        SpecError: it did not say.
        BackendError: the place could not be reached, or refused.
    """
    if base := cached_base(spec, image, cache):
        return base
    if image:
        notify(f"{image} is asked once which Python and packages it has")
    base = _run_probe(backend, spec, image)
    if image:
        with contextlib.suppress(OSError):
            file = _cache_file(spec, image, cache)
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as temporary:
                temporary.write(json.dumps({"made": time.time(), "base": base.to_json()}))
            Path(temporary.name).replace(file)
    return base


def _run_probe(backend: Backend, spec: RunSpec, image: str) -> BaseEnvironment:
    """Submit the probe, and read what it says."""
    settings = replace(
        spec.settings, base=spec.settings.base or "own", env=(), secret_env=(), volumes=(), run_timeout=60.0,
        deadline=min(spec.settings.deadline or DEADLINE, DEADLINE),
    )  # fmt: skip
    probe = RunSpec(
        cell=bases.PROBE, python=ANY_PYTHON if image else spec.python, backend=spec.backend, settings=settings
    )
    built = build(probe, Unresolved(lines=(), reason="a probe installs nothing"), "probe")
    name = backend.submit(built, probe, f"probe-{built.nonce}").name
    received: list[events.Event] = []
    try:
        for item in backend.watch(name):
            decoded = events.decode(item, built.nonce) if isinstance(item, str) else iter((item,))
            received += decoded
            if any(isinstance(event, events.Exited) for event in received):
                break
    except BaseException:
        backend.stop(name)
        raise
    finally:
        backend.delete(name)
    state = fold(received)
    # A line that is too long for a log comes as text in pieces.
    output_text = "".join(output.text for output in state.outputs if isinstance(output, events.Lines | events.Text))
    try:
        return bases.read_probe(output_text)
    except ValueError as error:
        detail = f": {state.node.message}" if state.node and state.node.message else ""
        raise SpecError(
            f"{image or 'the Python here'} did not say which packages it has{detail}",
            hint="Say its Python yourself (--python X.Y.Z), and leave base out, or choose another image.",
        ) from error


def _cache_file(spec: RunSpec, image: str, cache: Path) -> Path:
    """Where an image's answer is kept: the same name may be another image in another cluster, or on other nodes.

    Of the platform only the architecture counts: the rest of it may come from this answer.
    """
    settings = spec.settings
    parts = [image, spec.backend, settings.kubeconfig, settings.context, settings.platform.partition("-")[0]]
    return cache / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.json"
