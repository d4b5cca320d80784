"""Build a RunSpec from a cell, its options and the configuration.

Rule: requirement_sources.py reads the requirements, and is imported only if there are any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic import config, values
from uv_argo_magic._os import paths, text_file
from uv_argo_magic.backends.sessions import exchanges_files
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import env_file
from uv_argo_magic.core.spec.run_spec import Pushed, Reads, RunSpec, Settings
from uv_argo_magic.engine.preparation import ipython_syntax
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.core.commands.run_options import RunOptions
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.requirements.pep723 import Script
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.sessions.registry import SessionEntry
    from uv_argo_magic.sessions.session import Session


def specify(
    cell: str,
    options: RunOptions,
    context: CellContext,
    requirements: Requirements | None = None,
    session: Session | None = None,
) -> tuple[RunSpec, config.Config]:
    """The spec and its configuration; `requirements` replace those of the line.

    In a `session`, the settings with which it was started take precedence over the configuration.

    Raises:
        SpecError: the line, a file, the block, a setting or a pushed value is invalid.
    """
    script = _script_block(cell)
    configuration, notes = _configure(options, script, context, session)
    if session is not None and session.entry is not None:
        # The first cell of the session has installed the notebook's requirements.
        configuration = replace(configuration, deps="")
        context = replace(context, notebook="")
    settings = _run_in_base_image(configuration.settings)
    settings = _with_absolute_links(_with_env_files(settings, options, context), context)
    code = "" if context.is_script else ipython_syntax.translate(cell)
    push: tuple[Pushed, ...] = ()
    reads = Reads()
    if options.push or options.pull or settings.push:
        push, reads, more_notes = _values(code or cell, options, context, settings, session)
        settings = replace(settings, value_limit=_value_limit(settings, configuration.backend, session))
        notes = (*notes, *more_notes)
    spec = RunSpec(
        cell=cell,
        python=configuration.python,
        backend=configuration.backend,
        push=push,
        pull=options.pull,
        reads=reads,
        args=options.args,
        resources=options.resources,
        settings=settings,
        line_offset=context.line_offset,
        session=options.session,
        script=context.is_script,
        code=code,
    )
    if session is not None:
        spec = session.adopt_rest(spec)
    sources = (requirements, options.deps, options.requirements, script, context.notebook, configuration.deps)
    if any(sources):
        from uv_argo_magic.engine.preparation import requirement_sources  # noqa: PLC0415 - 31 ms, and most files and cells have none

        spec, more_notes = requirement_sources.add(spec, options, script, configuration, context, requirements)
        notes = (*notes, *more_notes)
    return spec, replace(configuration, settings=spec.settings, notes=notes)


def _configure(
    options: RunOptions, script: Script | None, context: CellContext, session: Session | None
) -> tuple[config.Config, tuple[str, ...]]:
    """The configuration and notes on it; in a session, cached while their inputs are unchanged."""
    sources = config.Sources.of(context.environ, context.folder)
    entry = session.entry if session is not None and session.is_live else None
    made_of = options, script, context.traits, sources
    if _before and entry is not None and _before[0].entry is entry and _before[0].made_of == made_of:
        return _before[0].result
    block_settings = dict(script.settings) if script else {}
    layers = config.layers_of(sources, config.line_values(options), block_settings, context.traits)
    configuration = config.configure(layers, context.environ)
    if session is not None:
        configuration = session.adopt(configuration)
    config.refuse_unsupported(options, configuration.backend)
    result = configuration, (*configuration.notes, *config.ignored_settings(options, configuration))
    if entry is not None:
        _before[:] = [_Configured(made_of=made_of, entry=entry, result=result)]
    return result


@frozen
class _Configured:
    """The cached configuration of a session's previous cell; computing it takes a tenth of the time of a short cell."""

    made_of: tuple[object, ...]
    entry: SessionEntry
    result: tuple[config.Config, tuple[str, ...]]


_before: list[_Configured] = []


def _script_block(cell: str) -> Script | None:
    if "///" not in cell:
        return None
    from uv_argo_magic.core.requirements import pep723  # noqa: PLC0415 - 21 ms, and most files and cells have none

    return pep723.parse_script(cell)


def _with_env_files(settings: Settings, options: RunOptions, context: CellContext) -> Settings:
    """The settings with the variables of `--env-file`.

    They replace configured variables with the same name, and are replaced by those of the line.
    """
    if not options.env_files:
        return settings
    files: dict[str, str] = {}
    for name in options.env_files:
        path = context.folder / paths.expanded(name)
        hint = "A relative path is relative to the notebook's folder."
        text = text_file.read(path, name, hint=hint, encoding="utf-8-sig")
        files |= env_file.parse(text, source=name)
    own = dict(settings.variables)
    on_the_line = "variables" in dict(options.sets)
    return replace(settings, variables=tuple((files | own if on_the_line else own | files).items()))


def _with_absolute_links(settings: Settings, context: CellContext) -> Settings:
    """The settings with absolute paths for folders of wheels, because uv runs in another folder."""
    links = tuple(
        link if "://" in link else str((context.folder / paths.expanded(link)).absolute())
        for link in settings.find_links
    )
    return replace(settings, find_links=links) if links else settings


def _run_in_base_image(settings: Settings) -> Settings:
    """If `base` is an image, set it as the image of the run."""
    if settings.base in ("", "own", settings.image):
        return settings
    if settings.image:
        raise SpecError(
            f"base is {settings.base}, but image is {settings.image}",
            hint="Remove one: a base is also the image of the run.",
        )
    return replace(settings, image=settings.base)


def _values(
    source: str, options: RunOptions, context: CellContext, settings: Settings, session: Session | None
) -> tuple[tuple[Pushed, ...], Reads, tuple[str, ...]]:
    """(pushed variables, the values that the notebook can decode, notes)."""
    notes: tuple[str, ...] = ()
    named = tuple(name for name in options.push if name != values.auto.AUTO)
    push = values.pushing.encode(named, context.names, settings.value_limit)
    is_auto = len(named) < len(options.push) or (
        settings.push == values.auto.AUTO and not named and not context.is_script
    )
    present = session.variable_names() if is_auto and session is not None else frozenset()
    if is_auto and present is not None:
        more, notes = values.auto.encode(source, context.names, {*present, *named}, settings.auto_push_limit)
        push += more
    return push, values.pushing.readable(context.names), notes


LOG_LIMIT = 8 * 2**20
"""Maximum bytes of values in a log, of which a node keeps about 10 MiB."""


def _value_limit(settings: Settings, backend: str, session: Session | None) -> int:
    """The size limit of pulled values, which is lower if they are part of the log instead of files."""
    if exchanges_files(backend, in_session=session is not None):
        return settings.value_limit
    return min(settings.value_limit or LOG_LIMIT, LOG_LIMIT)
