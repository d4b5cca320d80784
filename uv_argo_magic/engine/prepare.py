"""All that is decided before anything is sent: the Python of the place, the lock, the program; it can be printed."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.core.resolution.lock import Lock, Resolution
from uv_argo_magic.core.spec import indexes, program
from uv_argo_magic.engine import image_probe
from uv_argo_magic.engine.guest_zip import guest_zip
from uv_argo_magic.engine.image_probe import ignore
from uv_argo_magic.errors import SpecError
from uv_argo_magic.uv import interpreters, resolver, runner
from uv_argo_magic.uv.lock_store import LockStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.spec.run_spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that is decided before anything is sent."""

    spec: RunSpec
    resolution: Resolution
    program: program.Program
    interpreter: interpreters.Interpreter
    locks: LockStore | None = None

    def describe(self, backend: base.Backend | None = None) -> str:
        """What would run, for people: `--dry-run`; the place may be asked about it, and begins nothing.

        Raises:
            SpecError: it could not be sent.
        """
        lines = [f"backend   {self.spec.backend}", f"python    {self.interpreter.target.python}"]
        if self.interpreter.image:
            lines.append(f"image     {self.interpreter.image}")
        if isinstance(self.resolution, Lock):
            key = self.resolution.key if self.resolution.packages else "no dependencies, no install"
            lines.append(f"lock      {key}")
            lines += [f"          {package.name}=={package.version}" for package in self.resolution.packages]
        else:
            lines += [f"unresolved {self.resolution.reason}", *(f"          {line}" for line in self.resolution.lines)]
        payload = program.payload(self.spec, self.resolution, self.program.nonce)
        settings = {key: payload[key] for key in ("settings", "uv")}
        lines.append(f"settings  {json.dumps(settings, sort_keys=True)}")
        lines.append(f"program   {len(self.program.source):,} bytes, run by a Python of that version")
        lines.append("cell")
        lines += [f"    {line}" for line in self.spec.cell.split("\n")]
        if details := base.describe(backend or base.load(self.spec.backend), self.program, self.spec):
            lines += ["", details]
        return "\n".join(lines)


def prepare(  # noqa: PLR0913 - by keyword, each with a default that a plain cell wants
    spec: RunSpec,
    backend: base.Backend | None = None,
    *,
    notebook: str = "",
    upgrade: bool = False,
    resolution: Resolution | None = None,
    dry_run: bool = False,
    notify: Callable[[str], object] = ignore,
) -> Prepared:
    """Find the Python of the place where it will run, resolve the requirements for it, build the program.

    What was resolved for this `notebook` (its path) before is used again, unless `upgrade`; a given `resolution` is
    used as it is. Where the settings depend on what an image contains, a probe run finds that out, and `notify` gets a
    note. With `dry_run` nothing is run and nothing is kept: an image that was never probed is an error then.

    Raises:
        SpecError: there is no such Python there, or a password would leave this machine.
        BackendUnavailable: there is no such backend.
        ResolutionError: no set of versions satisfies the requirements.
    """
    backend = backend or base.load(spec.backend)
    logins = indexes.credentials(spec.settings)
    if logins and base.Capability.LOCAL not in backend.capabilities:
        raise SpecError(
            "the address of an index holds a password, which would leave this machine",
            hint="Name the index without it, --set indexes=NAME=URL: here the variables UV_INDEX_NAME_USERNAME and "
            "UV_INDEX_NAME_PASSWORD log in, and over there a Secret does, --set index_secrets=NAME=SECRET.",
        )
    spec, interpreter = image_probe.target(spec, backend, paths.cache_dir() / "images", dry_run=dry_run, notify=notify)
    locks = LockStore(paths.data_dir() / "locks", notebook)
    resolution = resolution or resolver.lock(
        spec.requirements, interpreter=interpreter, settings=spec.settings, locks=locks, upgrade=upgrade,
        keeping=not dry_run,
    )  # fmt: skip
    built = build(spec, resolution)
    return Prepared(spec=spec, resolution=resolution, program=built, interpreter=interpreter, locks=locks)


def build(spec: RunSpec, resolution: Resolution) -> program.Program:
    """The program of one execution, with a nonce of its own."""
    uv = runner.uv_version() if spec.settings.shape == "runtime" else ""
    return program.build(spec, resolution, guest=guest_zip(), nonce=secrets.token_hex(8), uv=uv)
