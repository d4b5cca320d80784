"""The edge's last step before anything happens: a cell, its options and all configuration -> one RunSpec.

Rules:
- What a cell needs comes from one place, the first that says something: its line (`--deps` and each `-r` file in order,
  all of them), its script block's `dependencies`, the notebook's requirements file, the configured `deps`. So
  `--deps ""` says: nothing. A note tells of the last two; line and block stand before the reader's eyes.
- `-p` beats the `requires-python` of the block and of files, and must satisfy it; a configured Python counts where it
  satisfies it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from uv_argo_magic import config, requirements_files
from uv_argo_magic.core.protocol import values
from uv_argo_magic.core.requirements import model as req
from uv_argo_magic.core.requirements import pep723 as scripts
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements, merge
from uv_argo_magic.core.spec.run_spec import FILES, RunSpec, Settings
from uv_argo_magic.core.suggest import nearest
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.core.commands.table import RunOptions


BLOCK = "the cell's script block"


@dataclass(frozen=True, kw_only=True)
class CellContext:
    """Where a cell stands: variables, traits, environment, folder, notebook, how many lines stand above its first.

    `notebook` is its path as far as it is known, absolute or relative to `folder`.
    """

    names: Mapping[str, object]
    traits: Mapping[str, object]
    environ: Mapping[str, str]
    folder: Path
    notebook: str = ""
    line_offset: int = 1

    @classmethod
    def here(
        cls, *, names: Mapping[str, object], traits: Mapping[str, object], line_offset: int, notebook: str = ""
    ) -> CellContext:
        """The surroundings of this process."""
        return cls(
            names=names,
            traits=traits,
            environ=os.environ,
            folder=Path.cwd(),
            notebook=notebook,
            line_offset=line_offset,
        )


def specify(
    cell: str, options: RunOptions, around: CellContext, needs: req.Requirements | None = None
) -> tuple[RunSpec, config.Config]:
    """What is wanted, and the configuration it was made with; `needs` stands in for what the line says of that.

    Raises:
        SpecError: the line, a file, the block, a setting or a pushed value is wrong.
    """
    script = scripts.parse_script(cell)
    block = dict(script.settings) if script else {}
    found = config.layers(config.line_values(options), block, around.traits, around.environ, around.folder)
    made = config.configure(found, around.environ)
    config.refuse(options, made.backend)
    asked, origin = _asked(options, script, made, around, needs)
    listed = ", ".join(asked.requirements.lines) or "nothing"
    in_the_cell = origin in ("", FILES, BLOCK)
    told = () if in_the_cell else (f"needs {listed}: from {origin}",)
    made = replace(
        made,
        notes=(*made.notes, *told, *asked.notes),
        settings=replace(
            made.settings,
            constraints=(*made.settings.constraints, *asked.constraints),
            overrides=(*made.settings.overrides, *asked.overrides),
        ),
    )
    return RunSpec(
        cell=cell,
        requirements=asked.requirements,
        requirements_source=origin,
        python=_python(options.python, _wanted(script, asked), made),
        backend=made.backend,
        push=tuple(_pushed(options.push, around.names, made.settings.value_limit)),
        pull=options.pull,
        resources=options.resources,
        settings=_over_its_base(made.settings),
        line_offset=around.line_offset,
    ), made


def _over_its_base(settings: Settings) -> Settings:
    """An image whose packages the cell sees is the image that runs it."""
    if settings.base in ("", "own", settings.image):
        return settings
    if settings.image:
        raise SpecError(
            f"base is {settings.base}, and image is {settings.image}", hint="Name one: base is the image that runs it."
        )
    return replace(settings, image=settings.base)


def _asked(
    options: RunOptions,
    script: scripts.Script | None,
    made: config.Config,
    around: CellContext,
    needs: req.Requirements | None,
) -> tuple[ParsedRequirements, str]:
    """What the cell needs, and the place that says so."""
    if needs:
        return ParsedRequirements(requirements=needs), ""
    if options.deps is not None or options.requirements:
        line = [ParsedRequirements(requirements=req.parse(options.deps))] if options.deps is not None else []
        return merge(
            *line, *(requirements_files.read(name, around.folder) for name in options.requirements)
        ), FILES if options.requirements else ""
    if script and script.requirements is not None:
        return ParsedRequirements(requirements=script.requirements), BLOCK
    if needs is not None:
        return ParsedRequirements(requirements=needs), ""
    beside = requirements_files.read_notebook(around.notebook, around.folder)
    if beside is not None:
        return beside, f"{Path(around.notebook).stem}{requirements_files.SUFFIX}"
    origin = f"deps of {made.origin('deps')}"
    found = req.parse(made.deps, source=origin)
    return ParsedRequirements(requirements=found), origin if found else ""


def _wanted(script: scripts.Script | None, asked: ParsedRequirements) -> tuple[tuple[str, str], ...]:
    """(specifier, who says so) of every place that requires a Python."""
    block = ((script.requires_python, BLOCK),) if script and script.requires_python else ()
    return (*block, *asked.requires_python)


def _python(asked: str, required: tuple[tuple[str, str], ...], made: config.Config) -> str:
    if not required:
        return made.python
    for said, origin in required:
        try:
            wanted = SpecifierSet(said)
        except InvalidSpecifier as error:
            raise SpecError(f'{origin}: requires-python = "{said}" is no specifier', hint='Write ">=3.11".') from error
        if asked and not _satisfies(asked, wanted):
            raise SpecError(f"--python {asked} is not what {origin} requires: {said}", hint="Change one of them.")
    together = ",".join(said for said, _ in required)
    configured = made.python or ".".join(map(str, sys.version_info[:2]))
    return made.python if _satisfies(configured, SpecifierSet(together)) else together


def _satisfies(version: str, wanted: SpecifierSet) -> bool:
    """Whether a Python of this version can be within; "3.12" stands for the newest patch of it."""
    version = version.rstrip("t")
    newest = version if version.count(".") > 1 else f"{version}.99" if "." in version else f"{version}.99.99"
    oldest = version if version.count(".") > 1 else f"{version}.0"
    try:
        return wanted.contains(newest, prereleases=True) or wanted.contains(oldest, prereleases=True)
    except ValueError:  # a configured python may be a path or a name, which says nothing about its version
        return False


def _pushed(names: Iterable[str], have: Mapping[str, object], limit: int) -> Iterable[tuple[str, str]]:
    room = limit or sys.maxsize
    for name in names:
        if name not in have:
            best = nearest(name, have)
            raise SpecError(
                f"--push {name}: {name} is not defined" + (f"; did you mean {best}?" if best else ""),
                hint="Define it in a cell above.",
            )
        body = values.encode(name, have[name], room)
        room -= len(body)
        yield name, body
