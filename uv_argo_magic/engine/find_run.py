"""A run by any name of it: kept in the history of this machine, or known only where it runs.

Rules:
- The history comes first. The place is asked only about a run whose end nobody here saw.
- Where no name finds anything, the error says what could be added to the line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import BackendError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uv_argo_magic.config import Config
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History, RunList


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """`entry`: what is kept here of it. `remote`: what its place says; None where it was not asked or knows nothing."""

    backend: str
    settings: Settings
    entry: RunRecord | None = None
    remote: base.RemoteRun | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.entry.id if self.entry else self.remote.run if self.remote else ""

    @property
    def outcome(self) -> str:
        """How it stands, in one word."""
        if self.remote is not None:
            return self.remote.phase
        return self.entry.outcome if self.entry else "Lost"


def locate(name: str, history: History, configuration: Config, notebook: str | None = None) -> RunRef:
    """The run of this name; without a name, the notebook's last.

    Raises:
        SpecError: there is none.
        BackendUnavailable: only its place could know it, and does not answer.
    """
    runs = history.read()
    entry = runs.find(name) if name else runs.last(notebook)
    return locate_entry(entry, configuration) if entry is not None else locate_remote(name, runs, configuration)


def locate_remote(name: str, runs: RunList, configuration: Config) -> RunRef:
    """A run that is not in the history, as the configured backend knows it.

    Raises:
        SpecError: it does not know it either.
        BackendUnavailable: it does not answer.
    """
    remote = base.load(configuration.backend).find(name, configuration.settings)
    if remote is None:
        try:
            runs.get(name)
        except SpecError as problem:
            others = [f"`-b {backend}`" for backend in base.names() if backend != configuration.backend]
            hint = f"Not found on {configuration.backend}." + (f" Try {' or '.join(others)}." if others else "")
            raise SpecError(problem.message, hint=f"{problem.hint} {hint}") from None
    return RunRef(backend=configuration.backend, settings=configuration.settings, remote=remote)


def locate_entry(entry: RunRecord, configuration: Config | None = None) -> RunRef:
    """A kept run, and what its place says of it where nobody here saw its end.

    Raises:
        BackendUnavailable: the place does not answer.
    """
    line_keys = (
        [key for key, origin in configuration.origins if origin == "the line" and key in settings_parser.FIELDS]
        if configuration
        else []
    )
    settings = _settings(entry)
    if configuration:
        settings = replace(settings, **{key: getattr(configuration.settings, key) for key in line_keys})
    # A live run may be another process's: then its place knows it as well, if it is such a place.
    remote = None
    if entry.summary is None and (name := entry.note("name")):
        remote = base.load(entry.backend).find(name, settings)
    return RunRef(backend=entry.backend, settings=settings, entry=entry, remote=remote)


def _settings(entry: RunRecord) -> Settings:
    """Those it began with, which say where it runs."""
    spec = entry.spec()
    return spec.settings if spec else Settings()


def outcomes(entries: Iterable[RunRecord]) -> dict[str, str]:
    """How each of them stands; a place that does not answer is asked once."""
    outcome_by_id: dict[str, str] = {}
    unreachable: set[tuple[str, Settings]] = set()
    for entry in entries:
        outcome_by_id[entry.id] = entry.outcome
        if not entry.unseen or not entry.note("name"):
            continue
        target = (entry.backend, _settings(entry))
        try:
            outcome_by_id[entry.id] = "Unknown" if target in unreachable else locate_entry(entry).outcome
        except (BackendError, SpecError):
            unreachable.add(target)
            outcome_by_id[entry.id] = "Unknown"
    return outcome_by_id
