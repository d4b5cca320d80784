"""A run before it is submitted, as data that can be printed: its target, its lock and its program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base, lookup
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
    """The target of a run: the interpreter, and the spec with the Python and platform of the image.

    `requested` is the spec before these were filled in.
    """

    requested: RunSpec
    spec: RunSpec
    backend: base.Backend
    interpreter: interpreters.Interpreter

    def resolver(self, notebook: str = "", environ: Mapping[str, str] | None = None) -> Resolver:
        """A resolver for this target, with the locks of the notebook (its path, or "")."""
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
    """The installs of `%pip` lines while the cell runs: the text of each line, and its packages."""

    exchange: str = ""
    """A folder for files of values, which the run shares with this machine, or ""."""

    @property
    def spec(self) -> RunSpec:
        """The spec of this target."""
        return self.target.spec

    @property
    def interpreter(self) -> interpreters.Interpreter:
        """The Python that runs the cell."""
        return self.target.interpreter

    @property
    def resolver(self) -> Resolver:
        """A resolver for this target and notebook."""
        return self.target.resolver(self.notebook)

    def describe(self, backend: base.Backend | None = None) -> str:
        """A description of the run for people (`--dry-run`). The backend can check it, but does not run it.

        Raises:
            SpecError: the run cannot be submitted.
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
        # The worker of the session runs it, so there is nothing to describe by the backend.
        backend = backend or lookup.load(self.spec.backend)
        if not self.spec.session and (details := base.describe(backend, self.program, self.spec)):
            lines += ["", details]
        return "\n".join(lines)
