"""Everything that is decided before a run is submitted: target, lock and program; it can be printed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.core.resolution.lock import Lock, Resolution
from uv_argo_magic.core.spec import indexes, program
from uv_argo_magic.engine import ipython_syntax
from uv_argo_magic.engine.build import build
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.image_probe import Notify
    from uv_argo_magic.uv import interpreters
    from uv_argo_magic.uv.resolver import Resolver


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """Where a run goes, as found out: the interpreter there, and the spec with its image's own Python and platform.

    `requested` is the spec before that.
    """

    requested: RunSpec
    spec: RunSpec
    backend: base.Backend
    interpreter: interpreters.Interpreter

    def resolver(self, notebook: str = "", environ: Mapping[str, str] | None = None) -> Resolver:
        """Resolves for this target; its locks are those of the notebook (its path, "": none)."""
        from uv_argo_magic.uv import lock_store, resolver  # noqa: PLC0415 - 20 ms; without requirements there is no lock

        return resolver.Resolver(
            interpreter=self.interpreter,
            settings=self.spec.settings,
            environ=environ,
            store=lock_store.LockStore(paths.data_dir() / "locks", notebook),
        )


def find_target(
    spec: RunSpec,
    backend: base.Backend | None = None,
    *,
    may_run: bool = True,
    notify: Notify | None = None,
) -> RunTarget:
    """Find the Python of the backend that the spec asks for, and what its image contains.

    A probe run finds out what an image contains, and `notify` gets a note. Unless it `may_run`, an image that was never
    probed is an error.

    Raises:
        SpecError: there is no such Python.
        BackendError: the backend is not installed, cannot be reached, or refused the probe.
    """
    backend = backend or base.load(spec.backend)
    found_spec, packages = spec, None
    if spec.settings.base or spec.settings.image:
        from uv_argo_magic.engine import image_probe  # noqa: PLC0415 - 15 ms, and a run on this machine has no image

        cache = paths.cache_dir() / "images"
        found_spec, packages = image_probe.inspect_image(spec, backend, cache, may_run=may_run, notify=notify)
    interpreter = replace(backend.target(found_spec), base=packages)
    return RunTarget(requested=spec, spec=found_spec, backend=backend, interpreter=interpreter)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that is ready to be submitted, and can be printed."""

    target: RunTarget
    notebook: str
    resolution: Resolution
    program: program.Program

    @property
    def spec(self) -> RunSpec:
        """The spec for this target."""
        return self.target.spec

    @property
    def interpreter(self) -> interpreters.Interpreter:
        """The Python that runs the cell."""
        return self.target.interpreter

    @property
    def resolver(self) -> Resolver:
        """Resolves for this target and notebook."""
        return self.target.resolver(self.notebook)

    def describe(self, backend: base.Backend | None = None) -> str:
        """What would run, for people (`--dry-run`); the backend may check it, and runs nothing.

        Raises:
            SpecError: it cannot be submitted.
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
    notify: Notify | None = None,
) -> Prepared:
    """Find the target, resolve the requirements for it, apply the checks, and build the program.

    The lock that is stored for this `notebook` (its path) is used, unless `upgrade`; a given `resolution` is used as it
    is. With `dry_run` no lock is stored. `notify` is that of `find_target`.

    Raises:
        SpecError: there is no such Python, or a password would leave this machine.
        BackendUnavailable: there is no such backend.
        ResolutionError: no set of versions satisfies the requirements.
        PolicyError: a check refused the run.
    """
    backend = backend or base.load(spec.backend)
    if indexes.credentials(spec.settings) and base.Capability.LOCAL not in backend.capabilities:
        raise SpecError(
            "the URL of an index contains a password, which would be sent to the cluster",
            hint="Remove it from the URL (--set indexes=NAME=URL). For this machine, set UV_INDEX_NAME_USERNAME and "
            "UV_INDEX_NAME_PASSWORD; for the cluster, add --set index_secrets=NAME=SECRET.",
        )
    target = find_target(spec, backend, notify=notify)
    requirements, interpreter = target.spec.requirements, target.interpreter
    if not resolution and not requirements:
        resolution = Lock.empty(interpreter.target, interpreter.base.digest if interpreter.base else "")
    if not resolution:
        resolution = target.resolver(notebook).lock(requirements, upgrade=upgrade, save=not dry_run)
    ipython_syntax.refuse_unknown(target.spec, resolution)
    return Prepared(target=target, notebook=notebook, resolution=resolution, program=build(target.spec, resolution))
