"""A cell, its options and all configuration -> one RunSpec.

Rules:
- Requirements come from the first of these that is set: the line (`--deps` and all `-r` files), the `dependencies` of
  the script block, the notebook's requirements file, the configured `deps`. So `--deps ""` means: none. A note names
  the source if it is one of the last two, which the cell does not show.
- `-p` beats the `requires-python` of the block and of files, and must satisfy it; a configured Python counts where it
  satisfies it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
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
    from uv_argo_magic.engine.context import CellContext


BLOCK = "the cell's script block"


def specify(
    cell: str, options: RunOptions, context: CellContext, requirements: req.Requirements | None = None
) -> tuple[RunSpec, config.Config]:
    """The spec, and the configuration it was made with; `requirements` stand in for those of the line.

    Raises:
        SpecError: the line, a file, the block, a setting or a pushed value is invalid.
    """
    script = scripts.parse_script(cell)
    block_settings = dict(script.settings) if script else {}
    layers = config.layers(config.line_values(options), block_settings, context.traits, context.environ, context.folder)
    configuration = config.configure(layers, context.environ)
    config.refuse(options, configuration.backend)
    source, origin = _find_requirements(options, script, configuration, context, requirements)
    listed = ", ".join(source.requirements.lines) or "none"
    in_the_cell = origin in ("", FILES, BLOCK)
    note = () if in_the_cell else (f"Requirements from {origin}: {listed}",)
    configuration = replace(
        configuration,
        notes=(*configuration.notes, *config.ignored_settings(options, configuration.backend), *note, *source.notes),
        settings=replace(
            configuration.settings,
            constraints=(*configuration.settings.constraints, *source.constraints),
            overrides=(*configuration.settings.overrides, *source.overrides),
        ),
    )
    return RunSpec(
        cell=cell,
        requirements=source.requirements,
        requirements_source=origin,
        python=_choose_python(options.python, _python_requirements(script, source), configuration),
        backend=configuration.backend,
        push=tuple(_encode_pushed(options.push, context.names, configuration.settings.value_limit)),
        pull=options.pull,
        resources=options.resources,
        settings=_run_in_base_image(configuration.settings),
        line_offset=context.line_offset,
    ), configuration


def _run_in_base_image(settings: Settings) -> Settings:
    """An image whose packages the cell sees is the image that runs it."""
    if settings.base in ("", "own", settings.image):
        return settings
    if settings.image:
        raise SpecError(
            f"base is {settings.base}, but image is {settings.image}",
            hint="Remove one: a base is also the image of the run.",
        )
    return replace(settings, image=settings.base)


def _find_requirements(
    options: RunOptions,
    script: scripts.Script | None,
    configuration: config.Config,
    context: CellContext,
    given_requirements: req.Requirements | None,
) -> tuple[ParsedRequirements, str]:
    """The requirements of the cell, and their origin."""
    if given_requirements:
        return ParsedRequirements(requirements=given_requirements), ""
    if options.deps is not None or options.requirements:
        line = [ParsedRequirements(requirements=req.parse(options.deps))] if options.deps is not None else []
        return merge(
            *line, *(requirements_files.read(name, context.folder) for name in options.requirements)
        ), FILES if options.requirements else ""
    if script and script.requirements is not None:
        return ParsedRequirements(requirements=script.requirements), BLOCK
    if given_requirements is not None:
        return ParsedRequirements(requirements=given_requirements), ""
    notebook_file = requirements_files.read_notebook(context.notebook, context.folder)
    if notebook_file is not None:
        return notebook_file, f"{Path(context.notebook).stem}{requirements_files.SUFFIX}"
    origin = f"deps of {configuration.origin('deps')}"
    requirements = req.parse(configuration.deps, source=origin)
    return ParsedRequirements(requirements=requirements), origin if requirements else ""


def _python_requirements(script: scripts.Script | None, source: ParsedRequirements) -> tuple[tuple[str, str], ...]:
    """(specifier, its origin) of each source that requires a Python."""
    from_block = ((script.requires_python, BLOCK),) if script and script.requires_python else ()
    return (*from_block, *source.requires_python)


def _choose_python(requested: str, required: tuple[tuple[str, str], ...], configuration: config.Config) -> str:
    if not required:
        return configuration.python
    for specifier, origin in required:
        try:
            specifiers = SpecifierSet(specifier)
        except InvalidSpecifier as error:
            raise SpecError(
                f'{origin}: invalid requires-python "{specifier}"', hint='Write for example ">=3.11".'
            ) from error
        if requested and not _satisfies(requested, specifiers):
            raise SpecError(
                f"--python {requested} does not satisfy requires-python {specifier} of {origin}",
                hint="Change one of them.",
            )
    together = ",".join(specifier for specifier, _ in required)
    configured = configuration.python or ".".join(map(str, sys.version_info[:2]))
    return configuration.python if _satisfies(configured, SpecifierSet(together)) else together


def _satisfies(version: str, specifiers: SpecifierSet) -> bool:
    """Whether a Python of this version can be within; "3.12" stands for the newest patch of it."""
    version = version.rstrip("t")
    newest = version if version.count(".") > 1 else f"{version}.99" if "." in version else f"{version}.99.99"
    oldest = version if version.count(".") > 1 else f"{version}.0"
    try:
        return specifiers.contains(newest, prereleases=True) or specifiers.contains(oldest, prereleases=True)
    except ValueError:  # a configured python may be a path or a name without a version
        return False


def _encode_pushed(names: Iterable[str], variables: Mapping[str, object], limit: int) -> Iterable[tuple[str, str]]:
    room = limit or sys.maxsize
    for name in names:
        if name not in variables:
            best = nearest(name, variables)
            raise SpecError(
                f"--push {name}: {name} is not defined" + (f"; did you mean {best}?" if best else ""),
                hint="Define it in a cell above.",
            )
        body = values.encode(name, variables[name], room)
        room -= len(body)
        yield name, body
