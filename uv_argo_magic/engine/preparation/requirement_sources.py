"""The requirements of a cell, and the Python that they need.

Rules:
- Requirements come from the first of these that is set: the line (`--deps` and all `-r` files), the `dependencies` of
  the script block, the notebook's requirements file, the configured `deps`. So `--deps ""` means no packages. A note
  names the source if it is one of the last two, because these are not visible in the cell.
- `-p` must satisfy the `requires-python` of the block and of files; a specifier is combined with it. A
  configured Python is used only if it does.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from uv_argo_magic import config, requirements_files
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements, merge
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.run_spec import FILES
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.config import Config
    from uv_argo_magic.core.commands.run_options import RunOptions
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.requirements.pep723 import Script
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.context import CellContext

BLOCK = "the cell's script block"


def add(
    spec: RunSpec,
    options: RunOptions,
    script: Script | None,
    configuration: Config,
    context: CellContext,
    given_requirements: Requirements | None,
) -> tuple[RunSpec, tuple[str, ...]]:
    """The spec with its requirements, their constraints and the Python that they need; and notes for the user.

    Raises:
        SpecError: the line, a file, the block or the configured `deps` are invalid, or need another Python.
    """
    source, origin = _find_requirements(options, script, configuration, context, given_requirements)
    listed = ", ".join(source.requirements.lines) or "none"
    note = () if origin in ("", FILES, BLOCK) else (f"Requirements from {origin}: {listed}",)
    # The line and the script block take precedence, because they belong to this cell; a file can belong to many.
    values = {key: value for key, value in source.settings if configuration.origin(key) not in (config.LINE, BLOCK)}
    settings = settings_parser.updated(
        spec.settings, {key: config.parse_value(key, value) for key, value in values.items()}
    )
    settings = replace(
        settings,
        constraints=(*spec.settings.constraints, *source.constraints),
        overrides=(*spec.settings.overrides, *source.overrides),
    )
    python = _choose_python(options.python, _python_requirements(script, source), configuration)
    spec = replace(spec, requirements=source.requirements, requirements_source=origin, python=python, settings=settings)
    used = ", ".join(f"{key} = {settings_parser.format_value(getattr(settings, key))}" for key in values)
    from_files = (f"Settings from {origin}: {used}",) if used else ()
    return spec, (*note, *source.notes, *from_files)


def _find_requirements(
    options: RunOptions,
    script: Script | None,
    configuration: Config,
    context: CellContext,
    given_requirements: Requirements | None,
) -> tuple[ParsedRequirements, str]:
    """The requirements of the cell, and their origin."""
    if given_requirements:
        return ParsedRequirements(requirements=given_requirements), ""
    if options.deps is not None or options.requirements:
        deps = options.deps
        line = [] if deps is None else [ParsedRequirements(requirements=parser.parse(deps, before=options.deps_column))]
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
    requirements = parser.parse(configuration.deps, source=origin)
    return ParsedRequirements(requirements=requirements), origin if requirements else ""


def _python_requirements(script: Script | None, source: ParsedRequirements) -> tuple[tuple[str, str], ...]:
    """(specifier, its origin) of each source that requires a Python."""
    from_block = ((script.requires_python, BLOCK),) if script and script.requires_python else ()
    return (*from_block, *source.requires_python)


def _choose_python(requested: str, required: tuple[tuple[str, str], ...], configuration: Config) -> str:
    if not required:
        return configuration.python
    for specifier, origin in required:
        try:
            specifiers = SpecifierSet(specifier)
        except InvalidSpecifier as error:
            raise SpecError(
                f'{origin}: invalid requires-python "{specifier}"', hint='Write for example ">=3.11".'
            ) from error
        if requested[:1].isdigit() and not _satisfies(requested, specifiers):
            raise SpecError(
                f"--python {requested} does not satisfy requires-python {specifier} of {origin}",
                hint="Change one of them.",
            )
    together = ",".join(specifier for specifier, _ in required)
    if requested and not requested[0].isdigit():
        return f"{requested},{together}"
    configured = configuration.python or ".".join(map(str, sys.version_info[:2]))
    return configuration.python if _satisfies(configured, SpecifierSet(together)) else together


def _satisfies(version: str, specifiers: SpecifierSet) -> bool:
    """Whether a Python of this version can satisfy the specifiers; "3.12" stands for its newest patch version."""
    version = version.rstrip("t")
    newest = version if version.count(".") > 1 else f"{version}.99" if "." in version else f"{version}.99.99"
    oldest = version if version.count(".") > 1 else f"{version}.0"
    try:
        return specifiers.contains(newest, prereleases=True) or specifiers.contains(oldest, prereleases=True)
    except ValueError:  # a configured Python can be a path or a name without a version
        return False
