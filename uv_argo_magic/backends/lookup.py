"""The installed backends, by name.

Our backends are in a table instead of being entry points, because the scan for entry points takes longer than a small
run.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.base import Backend, DeclaresSettings, Exports
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import BackendUnavailable, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.spec.run_spec import RunSpec

GROUP = "uv_argo_magic.backends"
"""The entry-point group of the backends of other packages."""
OURS = {
    "local": "uv_argo_magic.backends.local:LocalBackend",
    "argo": "uv_argo_magic.backends.argo.backend:ArgoBackend",
}
"""The backends of this package: name -> "module:class"."""


def default_name(environ: Mapping[str, str]) -> str:
    """The default backend: argo in a cluster or if a namespace is configured, else local."""
    return "argo" if environ.get("KUBERNETES_SERVICE_HOST") or environ.get("UV_ARGO_NAMESPACE") else "local"


@functools.cache
def _installed() -> dict[str, str]:
    """All backends: name -> "module:class"; the scan takes up to 40 ms in a large environment."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 10 ms, and our own backends are found without it

    return {point.name: point.value for point in entry_points(group=GROUP)} | OURS


def names() -> tuple[str, ...]:
    """The names of the installed backends."""
    return tuple(sorted(_installed()))


def is_installed(name: str) -> bool:
    """Whether a backend with this name is installed."""
    return name in OURS or name in _installed()


@functools.cache
def load(name: str) -> Backend:
    """The backend with this name; the same object for the whole process.

    Raises:
        BackendUnavailable: the backend is not installed, cannot be imported, or is not a Backend.
    """
    if not is_installed(name):
        error = unknown("backend", name, names())
        raise BackendUnavailable(error.message, hint=error.hint)
    target = OURS.get(name) or _installed()[name]
    module, _, class_name = target.partition(":")
    try:
        backend = operator.attrgetter(class_name)(importlib.import_module(module))()
    except ImportError as problem:
        needs = f'pip install "uv-argo-magic[{name}]"' if name in OURS else target
        raise BackendUnavailable(
            f"cannot import the backend {name}: {problem}", hint=f"Install its dependencies: {needs}."
        ) from problem
    if not isinstance(backend, Backend):
        raise BackendUnavailable(
            f"{target} is not a backend: it lacks {', '.join(_missing(backend))}",
            hint="Implement uv_argo_magic.backends.base.Backend, or uninstall the package.",
        )
    return backend


def _declare_settings() -> None:
    """Declare the settings of the backends of other packages, except those that cannot be loaded."""
    for name in _installed().keys() - OURS.keys():
        with contextlib.suppress(BackendUnavailable):
            backend = load(name)
            if isinstance(backend, DeclaresSettings):
                settings_parser.declare(name, backend.own_settings)


settings_parser.on_unknown(_declare_settings)


def used_settings(name: str) -> frozenset[str]:
    """The settings that this backend uses, of those that only some backends use.

    Raises:
        BackendUnavailable: the backend cannot be loaded.
    """
    own = (setting for setting, backend in settings_parser.OWN.items() if backend == name)
    return load(name).settings.union(own)


def _missing(backend: object) -> list[str]:
    """The required attributes that the object lacks."""
    required = [*Backend.__annotations__, *(name for name in vars(Backend) if not name.startswith("_"))]
    return [name for name in required if not hasattr(backend, name)]


def exporter(backend: Backend, name: str) -> Exports:
    """The backend as one that can export; `name` is for the error.

    Raises:
        SpecError: the backend cannot export.
    """
    if isinstance(backend, Exports):
        return backend
    others = options_for(Exports)
    hint = f"Choose a backend that does ({others}), or e" if others else "E"
    raise SpecError(f"the {name} backend does not write manifests", hint=f"{hint}xport a script: --to FILE.py.")


def options_for(part: Any) -> str:
    """The options that choose a backend with this optional part, such as "-b argo"; "" if none can be loaded."""
    found = []
    for name in names():
        with contextlib.suppress(BackendUnavailable):
            if isinstance(load(name), part):
                found.append(f"-b {name}")
    return ", ".join(found)


def can_send_early(spec: RunSpec) -> bool:
    """Whether the program includes the module that sends the first output before the log is available.

    Raises:
        BackendUnavailable: the backend cannot be loaded.
    """
    settings = spec.settings
    is_one_container = not (settings.template or settings.separate_install or settings.retries)
    is_asked = settings.early_output and "early_output" in load(spec.backend).settings
    return is_asked and is_one_container and not spec.session
