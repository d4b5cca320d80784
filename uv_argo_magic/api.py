"""Start runs from Python code: `submit` returns at once, `run` waits for the end (docs/api.md)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic import cell_syntax, config
from uv_argo_magic._os import paths
from uv_argo_magic.core.commands import run_options
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.engine.execute import execute
from uv_argo_magic.engine.front_end import SourceFrontEnd
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.store import History

if TYPE_CHECKING:
    from uv_argo_magic.core.spec.run_spec import Settings
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Run

LOGGER = logging.getLogger("uv_argo_magic")
"""The logger for notes about runs; Python drops them if no handler is configured."""


def submit(  # noqa: PLR0913 - by keyword, each with a default
    source: str | Path,
    *,
    deps: str | Iterable[str] | None = None,
    python: str = "",
    backend: str = "",
    push: Mapping[str, object] | None = None,
    pull: str | Iterable[str] = (),
    resources: Mapping[str, object] | None = None,
    env_file: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
) -> Run:
    """Start a run, and return it without waiting for its end.

    Args:
        source: the code as text, or the path of a Python file.
        deps: requirements, as a string for `--deps` ("numpy pandas>=2") or a list; by default those of the
            code's script block or of the configuration.
        python: a version or specifier, as for `--python`.
        backend: the backend's name, as `--backend`.
        push: variables to send to the code, by name.
        pull: names of variables that `Run.result` returns.
        resources: cpu, memory, gpu and disk, as for `--resources` ({"cpu": 2, "memory": "8Gi"}).
        env_file: a file with environment variables for the code, as for `--env-file`.
        settings: other settings by name, as for `--set` (docs/settings.md).

    Raises:
        SpecError: an argument, a setting or the source is invalid.
        ResolutionError: no versions satisfy the requirements.
        PolicyError: a check refused the run.
        CellFailed: the source has a syntax error.
        BackendError: the backend cannot be reached, or refused the run.
    """
    for argument, text, example in (("python", python, '"3.12"'), ("backend", backend, '"argo"')):
        if not isinstance(text, str):
            raise _invalid(argument, "a string", text, example)
    if env_file is not None and not isinstance(env_file, str | Path):
        raise _invalid("env_file", "a path", env_file, '".env"')
    code, name, document = _read(source)
    variables = _by_name("push", push, '{"n": 5}')
    requested = _by_name("resources", resources, '{"cpu": 2, "memory": "8Gi"}')
    options = run_options.RunOptions(
        deps=None if deps is None else "\n".join(_strings("deps", deps, '["numpy", "pandas>=2"]')),
        python=python,
        backend=backend,
        push=tuple(variables),
        pull=tuple(name for text in _strings("pull", pull, '["total"]') for name in text.replace(",", " ").split()),
        resources=run_options.resources((kind, str(amount)) for kind, amount in requested.items()),
        env_files=() if env_file is None else (str(env_file),),
        sets=tuple(
            (key, config.parse_value(key, value))  # type: ignore[misc]
            for key, value in _by_name("settings", settings, '{"run_timeout": "5m"}').items()
        ),
    )
    context = CellContext.current(names=variables, traits={}, line_offset=0)
    started = execute(code, options, context, _PythonFrontEnd(name, document))
    if started is None:  # pragma: no cover - only a dry run has none
        raise AssertionError
    return started


def run(  # noqa: PLR0913 - as submit
    source: str | Path,
    *,
    deps: str | Iterable[str] | None = None,
    python: str = "",
    backend: str = "",
    push: Mapping[str, object] | None = None,
    pull: str | Iterable[str] = (),
    resources: Mapping[str, object] | None = None,
    env_file: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
) -> Run:
    """Start a run, and wait for its end. The arguments and errors are those of `submit`.

    Raises:
        RunError: the run failed. The exception of the code keeps its class, if this process can import it.
        KeyboardInterrupt: the user interrupted the wait; the run was stopped.
    """
    started = submit(
        source,
        deps=deps,
        python=python,
        backend=backend,
        push=push,
        pull=pull,
        resources=resources,
        env_file=env_file,
        settings=settings,
    )
    started.follow()
    started.raise_for_state()
    return started


def _invalid(argument: str, expected: str, value: object, example: str) -> SpecError:
    return SpecError(
        f"{argument} must be {expected}, not of type {type(value).__name__}", hint=f"Example: {argument}={example}"
    )


def _strings(argument: str, value: object, example: str) -> tuple[str, ...]:
    """The strings of an argument that is one string or several."""
    values = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    for item in values:
        if not isinstance(item, str):
            raise _invalid(argument, "a string or a list of strings", value, example)
    return values


def _by_name(argument: str, value: object, example: str) -> dict[str, object]:
    """The values of an argument that is a dict."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _invalid(argument, "a dict with strings as keys", value, example)
    return dict(value)


def _read(source: str | Path) -> tuple[str, str, str]:
    """Read the source: (code, its name in tracebacks, the path under which its locks and history are stored)."""
    if isinstance(source, str):
        return source, "<source>", ""
    if not isinstance(source, Path):
        raise SpecError(
            f"source must be a string or a pathlib.Path, not of type {type(source).__name__}",
            hint='Example: run("print(1)")',
        )
    try:
        return cell_syntax.read_script(source.read_bytes(), str(source)), str(source), str(source.absolute())
    except OSError as error:
        raise SpecError(f"cannot read {source}: {error.strerror}", hint="Check the path.") from error


class _PythonFrontEnd(SourceFrontEnd):
    """The engine's front end for Python code: notes go to the log, and the caller waits for the run."""

    def notify(self, note: str) -> None:
        """Log a note."""
        LOGGER.info(note)

    def show_plan(self, prepared: Prepared) -> None:
        """Log what would run."""
        self.notify(prepared.describe())

    def history(self, settings: Settings) -> History:
        """The history of this machine."""
        return History(paths.data_dir() / "runs", keep=settings.history)
