"""A run before it is submitted, as data: its target, its lock and its program; it can be printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.core import humanize
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution.lock import Lock, Resolution
from uv_argo_magic.core.spec import program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.uv import interpreters
    from uv_argo_magic.uv.resolver import Resolver


@frozen
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
        from uv_argo_magic.uv import lock_store, resolver  # noqa: PLC0415 - 24 ms; without requirements there is no lock

        return resolver.Resolver(
            interpreter=self.interpreter,
            settings=self.spec.settings,
            environ=environ,
            store=lock_store.LockStore(paths.data_dir() / "locks", notebook),
        )


@frozen
class Prepared:
    """A run that is ready to be submitted, and can be printed."""

    target: RunTarget
    notebook: str
    resolution: Resolution
    program: program.Program
    installs: tuple[tuple[str, Lock], ...] = ()
    """What `%pip` lines install while the cell runs: the text of the line, and its packages."""

    exchange: str = ""
    """A folder for files of values, which the run shares with this machine; "": there is none."""

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
            key = self.resolution.key if self.resolution.packages else "none: no packages to install"
            lines.append(f"lock      {key}")
            lines += [f"          {package.name}=={package.version}" for package in self.resolution.packages]
            for argument, lock in self.installs:
                names = " ".join(f"{package.name}=={package.version}" for package in lock.packages)
                lines.append(f"%pip {argument}: {names or 'nothing to install'}")
        else:
            lines += [f"unresolved {self.resolution.reason}", *(f"          {line}" for line in self.resolution.lines)]
        for name, kind, size, form in self.spec.sent:
            lines.append(f"push      {name}: {kind}, {humanize.size(size)}" + ("" if form == "plain" else f", {form}"))
        if self.spec.pull:
            limit = (
                humanize.exact_size(self.spec.settings.value_limit) if self.spec.settings.value_limit else "any size"
            )
            lines.append(f"pull      {', '.join(self.spec.pull)} (together at most {limit})")
        payload = program.payload(self.spec, self.resolution, self.program.nonce)
        settings = {key: payload[key] for key in ("settings", "uv")}
        lines.append(f"settings  {json.dumps(settings, sort_keys=True)}")
        if self.spec.session:
            lines.append(f"session   {self.spec.session}, whose worker receives {len(self.program.order):,} bytes")
        else:
            lines.append(f"program   {len(self.program.source):,} bytes")
        lines.append("cell")
        lines += [f"    {line}" for line in self.spec.cell.split("\n")]
        # The worker of the session runs it: the backend has nothing to describe.
        backend = backend or base.load(self.spec.backend)
        if not self.spec.session and (details := base.describe(backend, self.program, self.spec)):
            lines += ["", details]
        return "\n".join(lines)
