"""The edge's last step before anything happens: a cell, its options and all configuration -> one RunSpec.

Rules:
- What a cell needs is the union of its line's `--deps`, each `-r` file in order, and its script block; the configured
  `deps` count only where the cell says none of these. `--deps ""` says: nothing.
- `-p` beats the block's `requires-python` and must satisfy it; a configured Python counts where it satisfies it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from uv_argo_magic import config
from uv_argo_magic.core import requirements as req
from uv_argo_magic.core import script as scripts
from uv_argo_magic.core import values
from uv_argo_magic.core.options import nearest
from uv_argo_magic.core.spec import RunSpec
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.core.verbs import RunOptions


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a cell stands: variables, traits, environment, folder, and how many lines stand above its first."""

    names: Mapping[str, object]
    traits: Mapping[str, object]
    environ: Mapping[str, str]
    folder: Path
    line_offset: int = 1

    @classmethod
    def here(cls, *, names: Mapping[str, object], traits: Mapping[str, object], line_offset: int) -> Surroundings:
        """The surroundings of this process."""
        return cls(names=names, traits=traits, environ=os.environ, folder=Path.cwd(), line_offset=line_offset)


def specify(cell: str, options: RunOptions, around: Surroundings) -> tuple[RunSpec, config.Config]:
    """What is wanted, and the configuration it was made with.

    Raises:
        SpecError: the line, a file, the block, a setting or a pushed value is wrong.
    """
    script = scripts.parse_script(cell)
    block = dict(script.settings) if script else {}
    found = config.layers(config.line_values(options), block, around.traits, around.environ, around.folder)
    made = config.configure(found, around.environ)
    config.refuse(options, made.backend)
    return RunSpec(
        cell=cell,
        requirements=_requirements(options, script, made, around.folder),
        python=_python(options.python, script.requires_python if script else "", made),
        backend=made.backend,
        push=tuple(_pushed(options.push, around.names, made.settings.value_limit)),
        pull=options.pull,
        resources=options.resources,
        settings=made.settings,
        line_offset=around.line_offset,
    ), made


def _requirements(
    options: RunOptions, script: scripts.Script | None, made: config.Config, folder: Path
) -> req.Requirements:
    found = []
    if options.deps is not None:
        found.append(req.parse(options.deps))
    found += [
        req.parse(_text(folder / Path(name).expanduser(), name), source=name, file=True)
        for name in options.requirements
    ]
    if script:
        found.append(script.requirements)
    if not found:
        found.append(req.parse(made.deps, source=f"deps of {made.origin('deps')}"))
    return req.merge(*found)


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 text", hint="Save the requirements file as UTF-8.") from error
    except OSError as error:
        near = [one.name for one in path.parent.glob("*.txt")] if path.parent.is_dir() else []
        best = nearest(path.name, near)
        raise SpecError(
            f"{name} cannot be read: {error.strerror}" + (f"; did you mean {best}?" if best else ""),
            hint="A relative name begins where the notebook works.",
        ) from error


def _python(asked: str, required: str, made: config.Config) -> str:
    if not required:
        return made.python
    try:
        wanted = SpecifierSet(required)
    except InvalidSpecifier as error:
        raise SpecError(f'requires-python = "{required}" is no specifier', hint='Write ">=3.11".') from error
    if asked and not _satisfies(asked, wanted):
        raise SpecError(
            f"--python {asked} is not what the cell's script block requires: {required}",
            hint="Change one of them.",
        )
    configured = made.python or ".".join(map(str, sys.version_info[:2]))
    if _satisfies(configured, wanted):
        return made.python
    return required


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
