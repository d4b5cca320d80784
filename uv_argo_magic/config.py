"""Where settings come from, and which backend that makes: layers, the first that says something counts.

    the cell's line > its script block > %config ArgoMagics > environment > uv-argo.toml here > the user's > default

Rules:
- This is the one place that reads UV_ARGO_* and uv-argo.toml; what comes out is frozen and knows where it is from.
- `python`, `backend` and `deps` are keys as well: what the options of these names say where no option does.
- A wrong key in a file is an error; in the environment, which others write too, only a close miss gets a sentence.
- Nothing falls back from a backend that was meant to one that was not.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import Resources, Settings
from uv_argo_magic.core.suggest import nearest, unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.commands.table import RunOptions

FILE = "uv-argo.toml"
OPTIONS = ("python", "backend", "deps")
"""Keys besides those of Settings."""
_OTHER_VARIABLES = {"UV_ARGO_HOME", "UV_ARGO_NAMESPACE"}
"""Variables of ours that are no settings: where our folders lie, and the sign of a configured cluster."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one place says; `origin` names the place in a message."""

    origin: str
    values: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting, where each one not by default comes from, and sentences that a person should see."""

    settings: Settings
    backend: str
    python: str = ""
    deps: str = ""
    origins: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """Where a value comes from: "default" where nobody says."""
        return dict(self.origins).get(key, "default")


def layers(
    line: Mapping[str, object],
    script: Mapping[str, object],
    traits: Mapping[str, object],
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> tuple[Layer, ...]:
    """All places, the strongest first; `folder` holds the notebook, else it is the working directory.

    Raises:
        SpecError: a file that cannot be read, or says something wrong.
    """
    local_file = (folder or Path.cwd()) / FILE
    files = (
        [local_file]
        if local_file == paths.config_dir(environ) / FILE
        else [local_file, paths.config_dir(environ) / FILE]
    )
    return (
        Layer(origin="the line", values=line),
        Layer(origin="the cell's script block", values=script),
        Layer(origin="%config ArgoMagics", values=traits),
        *(
            Layer(origin=name, values={key: environ[name]})
            for key in (*settings_parser.FIELDS, *OPTIONS)
            if environ.get(name := f"UV_ARGO_{key.upper()}")
        ),
        *(Layer(origin=str(path), values=_file(path)) for path in files if path.is_file()),
    )


def configure(layers: tuple[Layer, ...], environ: Mapping[str, str] = os.environ) -> Config:
    """One Config of all layers.

    Raises:
        SpecError: a key or value that is wrong, with the place that says it, or a backend that is not there.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in reversed(layers):
        for key, value in layer.values.items():
            try:
                values[key] = checked(key, value)
            except SpecError as error:
                raise SpecError(f"{layer.origin}: {error.message}", hint=error.hint) from None
            origins[key] = layer.origin
    settings = {key: values[key] for key in settings_parser.FIELDS if key in values}
    return Config(
        settings=replace(Settings(), **settings),  # type: ignore[arg-type]
        backend=_backend(str(values.get("backend", "")), origins.get("backend", ""), environ),
        python=str(values.get("python", "")),
        deps=str(values.get("deps", "")),
        origins=tuple(sorted(origins.items())),
        notes=tuple(_typo_notes(environ)),
    )


def line_values(options: RunOptions) -> dict[str, object]:
    """What the line says, as a layer's values."""
    values = {"python": options.python, "backend": options.backend, "deps": options.deps}
    return {**dict(options.sets), **{key: value for key, value in values.items() if value not in ("", None)}}


def backends() -> dict[str, str]:
    """The backends that are installed: name -> where its class is."""
    return {name: point.value for name, point in base.points().items()}


def refuse(options: RunOptions, backend: str) -> None:
    """Refuse options of the line that the backend does not support.

    Raises:
        SpecError: the option, and what to do instead.
        BackendUnavailable: the backend cannot be imported.
    """
    given = {
        "detach": (base.Capability.DETACH, options.detach),
        "resources": (base.Capability.RESOURCES, options.resources != Resources()),
    }
    for name, (capability, is_given) in given.items():
        if is_given and capability not in base.load(backend).capabilities:
            raise SpecError(
                f"the {backend} backend does not support --{name}",
                hint=f"Leave --{name} out, or choose a backend that does.",
            )


def ignored_settings(options: RunOptions, backend: str) -> tuple[str, ...]:
    """A note on the settings of the line that the backend does not use; () if it uses all of them.

    Configuration files and variables are for all backends, so their settings are not checked.

    Raises:
        BackendUnavailable: the backend cannot be imported.
    """
    specific = sorted({name for name, _ in options.sets} & base.BACKEND_SETTINGS)
    ignored = [name for name in specific if name not in base.load(backend).settings]
    if not ignored:
        return ()
    return (f"The {backend} backend ignores {', '.join(f'--set {name}' for name in ignored)}.",)


def checked(key: str, value: object) -> object:
    """A key's value as its type has it.

    Raises:
        SpecError: the key is unknown, or the value does not fit it.
    """
    if key not in OPTIONS:
        if key not in settings_parser.FIELDS:
            raise unknown("setting", key, (*settings_parser.FIELDS, *OPTIONS))
        return settings_parser.parse_setting(key, value)
    if key == "deps" and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    if key == "python" and isinstance(value, float):
        # 3.10 as a number is 3.1: nobody can say which was meant.
        raise SpecError("python cannot be a number", hint=f'Write it as text: python = "{value}".')
    if not isinstance(value, str):
        raise SpecError(f"{key} cannot be {value!r}", hint="Write it as text.")
    return value


def _file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}", hint="Make it readable, or remove it.") from error
    except ValueError as error:
        raise SpecError(f"{path} is not TOML: {error}", hint='A line looks like: run_timeout = "5m"') from error


def _backend(name: str, origin: str, environ: Mapping[str, str]) -> str:
    installed = backends()
    if not name:
        return base.default_name(environ, installed)
    if installed and name not in installed:
        error = unknown("backend", name, installed)
        raise SpecError(f"{origin}: {error.message}" if origin != "the line" else error.message, hint=error.hint)
    return name


def _typo_notes(environ: Mapping[str, str]) -> list[str]:
    names = {f"UV_ARGO_{key.upper()}" for key in (*settings_parser.FIELDS, *OPTIONS)} | _OTHER_VARIABLES
    notes = []
    for name in sorted(environ):
        if name.startswith("UV_ARGO_") and name not in names:
            suggestion = nearest(name.removeprefix("UV_ARGO_"), (*settings_parser.FIELDS, *OPTIONS))
            if suggestion and abs(len(suggestion) - len(name) + len("UV_ARGO_")) <= 2:
                notes.append(f"{name} is no setting; did you mean UV_ARGO_{suggestion.upper()}?")
    return notes


def defaults() -> dict[str, str]:
    """Every key and its default as written, for lists."""
    return {
        setting.name: settings_parser.format_value(setting.default) for setting in fields(Settings)
    } | dict.fromkeys(OPTIONS, "")
