"""Find a run by its id or name, in the history of this machine or in its backend.

Rules:
- The history comes first. The backend is queried only about runs that this machine has not seen finish.
- If there is no such run, the error suggests where else to search.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic import config, sessions
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import BackendError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uv_argo_magic.config import Config
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History, RunList


@frozen
class RunRef:
    """A run: its `entry` in the history, and the `remote` run in its backend (None: not queried, or not found)."""

    backend: str
    settings: Settings
    entry: RunRecord | None = None
    remote: base.RemoteRun | None = None
    runs: base.Backend | None = None
    """The session of the run, if it has one."""

    @property
    def source(self) -> base.Backend:
        """The backend or session that can follow and stop the run."""
        return self.runs or lookup.load(self.backend)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.entry.id if self.entry else self.remote.run if self.remote else ""

    @property
    def outcome(self) -> str:
        """The outcome or phase as one word."""
        if self.remote is not None and self.remote.was_stopped and self.remote.phase in {"Failed", "Error"}:
            return "Stopped"
        if self.remote is not None:
            return self.remote.phase
        return self.entry.outcome if self.entry else "Lost"


def locate(name: str, history: History, configuration: Config, notebook: str | None = None) -> RunRef:
    """The run with this name; without a name, the last run of the notebook.

    Raises:
        SpecError: there is no such run.
        BackendUnavailable: the run is not in the history, and the backend does not respond.
    """
    runs = history.read()
    entry = runs.find(name) if name else runs.last(notebook)
    return locate_entry(entry, configuration) if entry is not None else locate_remote(name, runs, configuration)


def locate_remote(name: str, runs: RunList, configuration: Config) -> RunRef:
    """A run that is not in the history, from the configured backend.

    Raises:
        SpecError: the backend does not have the run either.
        BackendUnavailable: the backend does not respond.
    """
    remote = lookup.load(configuration.backend).find(name, configuration.settings)
    if remote is None:
        try:
            runs.get(name)
        except SpecError as problem:
            others = [f"`-b {backend}`" for backend in lookup.names() if backend != configuration.backend]
            hint = f"Not found on {configuration.backend}." + (f" Try {' or '.join(others)}." if others else "")
            raise SpecError(problem.message, hint=f"{problem.hint} {hint}") from None
    return RunRef(backend=configuration.backend, settings=configuration.settings, remote=remote)


def locate_entry(entry: RunRecord, configuration: Config | None = None) -> RunRef:
    """A run in the history, with its state in the backend if this machine has not seen it finish.

    Raises:
        BackendUnavailable: the backend does not respond.
    """
    line_keys = (
        [key for key, origin in configuration.origins if origin == config.LINE and key in settings_parser.FIELDS]
        if configuration
        else []
    )
    settings = _settings(entry)
    if configuration:
        settings = replace(settings, **{key: getattr(configuration.settings, key) for key in line_keys})
    # A live run can be followed by another process. The backend finds it too, if its runs outlive processes.
    remote = None
    if entry.unseen and entry.session:
        found = sessions.find_run.find(entry)
        if found is not None:
            return RunRef(backend=entry.backend, settings=settings, entry=entry, remote=found[1], runs=found[0])
    elif entry.summary is None:
        # If the process ended during the submission, there is no name, but the backend can have the run.
        remote = lookup.load(entry.backend).find(entry.note("name") or entry.id, settings)
    return RunRef(backend=entry.backend, settings=settings, entry=entry, remote=remote)


def _settings(entry: RunRecord) -> Settings:
    """The settings with which the run was started, which select its cluster."""
    spec = entry.spec()
    return spec.settings if spec else Settings()


def outcomes(entries: Iterable[RunRecord]) -> dict[str, str]:
    """The outcomes of the runs by id; a backend that does not respond is queried only once."""
    outcome_by_id: dict[str, str] = {}
    unreachable: set[tuple[str, Settings]] = set()
    for entry in entries:
        outcome_by_id[entry.id] = entry.outcome
        if not entry.unseen:
            continue
        target = (entry.backend, _settings(entry))
        try:
            outcome_by_id[entry.id] = "Unknown" if target in unreachable else locate_entry(entry).outcome
        except (BackendError, SpecError):
            unreachable.add(target)
            outcome_by_id[entry.id] = "Unknown"
    return outcome_by_id
