"""Read the settings and the backend from layers; for each key, the first layer that sets it applies.

    %%argo line > script block > %config ArgoMagics > environment > uv-argo.toml in the folder > user's uv-argo.toml

Rules:
- Only this module reads UV_ARGO_* and uv-argo.toml; its result is frozen, and contains the origin of each value.
- `python`, `backend` and `deps` are also keys: they set the defaults of the options with these names.
- An unknown key in a file is an error. An unknown variable can belong to another program, so the user gets a note only
  if it looks like a typo.
- There is no fallback to a backend that was not chosen.
"""

from __future__ import annotations

import functools
import os
import stat
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import Resources, Settings
from uv_argo_magic.core.suggest import nearest, unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.commands.run_options import RunOptions

FILE = "uv-argo.toml"
LINE = "the line"
"""The origin of a value from the `%%argo` line or the command line."""
OPTIONS = ("python", "backend", "deps")
"""The keys that are not fields of Settings."""
_OTHER_VARIABLES = {"UV_ARGO_HOME", "UV_ARGO_NAMESPACE", "UV_ARGO_POLICY"}
"""Environment variables that are not settings: the location of our folders, a namespace, and a package policy."""


@frozen
class Layer:
    """The values of one source; messages call it `origin`."""

    origin: str
    values: Mapping[str, object]


@frozen
class Config:
    """All settings, the origins of those that are not defaults, and notes for the user."""

    settings: Settings
    backend: str
    python: str = ""
    deps: str = ""
    origins: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """The origin of a value; "default" if no layer sets it."""
        return dict(self.origins).get(key, "default")


@frozen
class Sources:
    """The environment variables with our prefix, and our files with their versions; equal until one of them changes."""

    variables: Mapping[str, str]
    default_backend: str
    files: tuple[tuple[Path, tuple[int, int, int]], ...]

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> Sources:
        """The sources in this environment and the notebook's folder (default: the working directory)."""
        candidates = _candidates(folder or Path.cwd(), paths.config_dir(environ))
        return cls(
            variables={name: environ[name] for name in _our_variables(environ)},
            default_backend=lookup.default_name(environ),
            files=tuple((path, version) for path in candidates if (version := _version(path))),
        )


@functools.lru_cache(maxsize=16)
def _candidates(folder: Path, user_folder: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys((folder / FILE, user_folder / FILE)))


def _our_variables(environ: Mapping[str, str]) -> list[str]:
    if environ is os.environ and os.supports_bytes_environ:  # avoids decoding all names for each cell
        return [os.fsdecode(name) for name in os.environb if name.startswith(b"UV_ARGO_")]
    return [name for name in environ if name.startswith("UV_ARGO_")]


def layers(
    line: Mapping[str, object],
    script: Mapping[str, object],
    traits: Mapping[str, object],
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> tuple[Layer, ...]:
    """All layers, the strongest first; `folder` is the notebook's (default: the working directory).

    Raises:
        SpecError: a file cannot be read, or is invalid.
    """
    return layers_of(Sources.of(environ, folder), line, script, traits)


def layers_of(
    sources: Sources, line: Mapping[str, object], script: Mapping[str, object], traits: Mapping[str, object]
) -> tuple[Layer, ...]:
    """All layers, the strongest first.

    Raises:
        SpecError: a file cannot be read, or is invalid.
    """
    variables = sources.variables
    if not variables.keys() <= _variables():
        settings_parser.complete()
    return (
        Layer(origin=LINE, values=line),
        Layer(origin="the cell's script block", values=script),
        Layer(origin="%config ArgoMagics", values=traits),
        *(
            Layer(origin=name, values={key: variables[name]})
            for key in (*settings_parser.FIELDS, *OPTIONS)
            if variables.get(name := f"UV_ARGO_{key.upper()}")
        ),
        *(Layer(origin=str(path), values=_file(path)) for path, _ in sources.files),
    )


def _version(path: Path) -> tuple[int, int, int] | None:
    """A value that changes with the file; None if the file does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None


def configure(layers: tuple[Layer, ...], environ: Mapping[str, str] = os.environ) -> Config:
    """Combine all layers.

    Raises:
        SpecError: a key or value is invalid (with its origin), or the backend is not installed.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in reversed(layers):
        for key, value in layer.values.items():
            try:
                values[key] = parse_value(key, value)
            except SpecError as error:
                raise SpecError(f"{layer.origin}: {error.message}", hint=error.hint) from None
            origins[key] = layer.origin
    _choose_environment(values, origins, layers)
    settings = {key: value for key, value in values.items() if key in settings_parser.FIELDS}
    return Config(
        settings=settings_parser.updated(Settings(), settings),
        backend=_backend(str(values.get("backend", "")), origins.get("backend", ""), environ),
        python=str(values.get("python", "")),
        deps=str(values.get("deps", "")),
        origins=tuple(sorted(origins.items())),
        notes=tuple(_typo_notes(environ)),
    )


def _choose_environment(values: dict[str, object], origins: dict[str, str], layers: tuple[Layer, ...]) -> None:
    """Let the stronger layer decide if one sets `venv`, and another one a kind of environment that is not persistent.

    Raises:
        SpecError: the same layer sets both.
    """
    kind, venv = values.get("env"), values.get("venv")
    if not venv or kind in (None, "", "persistent"):
        return
    # Each variable has its own origin, but none is stronger than another.
    groups = ["UV_ARGO_" if layer.origin.startswith("UV_ARGO_") else layer.origin for layer in layers]
    ranks = {layer.origin: groups.index(group) for layer, group in zip(layers, groups, strict=True)}
    by_kind, by_venv = ranks[origins["env"]], ranks[origins["venv"]]
    if by_kind == by_venv:
        raise SpecError(
            f"env={kind} contradicts venv={venv}, which is a persistent environment", hint="Remove one of them."
        )
    if by_kind < by_venv:
        del values["venv"], origins["venv"]
    else:
        del values["env"], origins["env"]


def line_values(options: RunOptions) -> dict[str, object]:
    """The keys and values that the options of a line set."""
    values = {"python": options.python, "backend": options.backend, "deps": options.deps}
    return {**dict(options.sets), **{key: value for key, value in values.items() if value not in ("", None)}}


def refuse_unsupported(options: RunOptions, backend: str) -> None:
    """Refuse options that the backend does not support.

    Raises:
        SpecError: the backend does not support one of the options.
        BackendUnavailable: the backend cannot be imported.
    """
    if options.detach and base.Capability.DETACH not in lookup.load(backend).capabilities:
        raise SpecError(
            f"the {backend} backend does not support --detach",
            hint="Leave out --detach, or choose a backend that supports it.",
        )


def ignored_settings(options: RunOptions, configuration: Config) -> tuple[str, ...]:
    """A note on the settings and resources that the backend ignores, with their origins; () if it uses all of them.

    Settings from variables and from the user's file are left out, because they apply to all notebooks and backends.

    Raises:
        BackendUnavailable: the backend cannot be imported.
    """
    name = configuration.backend
    specific = base.BACKEND_SETTINGS | settings_parser.OWN.keys()
    unused = [
        (key, origin)
        for key, origin in configuration.origins
        if key in specific - lookup.used_settings(name) and not _is_general(origin)
    ]
    ignored = [f"--set {key}" if origin == LINE else f"{key} ({origin})" for key, origin in unused]
    requested = {field.name: value for field in fields(Resources) if (value := getattr(options.resources, field.name))}
    if requested:
        ignored += [f"{key}={requested[key]}" for key in base.ignored_resources(lookup.load(name), requested)]
    return (f"The {name} backend ignores {', '.join(ignored)}.",) if ignored else ()


def _is_general(origin: str) -> bool:
    """Whether the value is set for all notebooks of the user: by a variable, or in the user's file."""
    return origin.startswith("UV_ARGO_") or origin == str(paths.config_dir() / FILE)


def parse_value(key: str, value: object) -> object:
    """The value of a key, converted to its type.

    Raises:
        SpecError: the key is unknown, or the value is invalid.
    """
    if key not in OPTIONS:
        if key not in settings_parser.FIELDS:
            settings_parser.complete()
        if key not in settings_parser.FIELDS:
            raise unknown("setting", key, (*settings_parser.FIELDS, *OPTIONS))
        return settings_parser.parse_setting(key, value)
    if key == "deps" and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    if key == "python" and isinstance(value, float):
        # 3.10 as a number is 3.1, so a number is ambiguous.
        raise SpecError("python must be a string, not a number", hint=f'Write python = "{value}".')
    if not isinstance(value, str):
        raise SpecError(f"{key} must be a string, not {value!r}", hint="Put it in quotes.")
    return value


def _file(path: Path) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 - 4 ms for each command, and most users have no such file

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}", hint="Make it readable, or remove it.") from error
    except ValueError as error:
        raise SpecError(f"invalid TOML in {path}: {error}", hint='Write lines such as run_timeout = "5m".') from error


def _backend(name: str, origin: str, environ: Mapping[str, str]) -> str:
    if not name:
        return lookup.default_name(environ)
    if not lookup.is_installed(name):
        error = unknown("backend", name, lookup.names())
        raise SpecError(f"{origin}: {error.message}" if origin != LINE else error.message, hint=error.hint)
    return name


def _variables() -> set[str]:
    """The names of all environment variables that we read."""
    return {f"UV_ARGO_{key.upper()}" for key in (*settings_parser.FIELDS, *OPTIONS)} | _OTHER_VARIABLES


def _typo_notes(environ: Mapping[str, str]) -> list[str]:
    notes = []
    present = [name for name in environ if name.startswith("UV_ARGO_")]
    for name in sorted(set(present) - _variables()):
        suggestion = nearest(name.removeprefix("UV_ARGO_"), (*settings_parser.FIELDS, *OPTIONS))
        if suggestion and abs(len(suggestion) - len(name) + len("UV_ARGO_")) <= 2:
            notes.append(f"Unknown setting {name}; did you mean UV_ARGO_{suggestion.upper()}?")
    return notes
