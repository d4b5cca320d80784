"""The commands about runs: texts and tables from the history."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base, lookup
from uv_argo_magic.commands import sessions
from uv_argo_magic.core import humanize
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.table import count
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.resolution.diff import difference
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.view import messages, run_text
from uv_argo_magic.core.view.tables import Table, changes
from uv_argo_magic.engine.find_run import RunRef, locate_entry, locate_remote, outcomes
from uv_argo_magic.errors import BackendError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uv_argo_magic.backends.base import RemoteRun
    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.config import Config
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History


def explain(request: Request) -> Iterator[str]:
    """The help of one command, or the list of all commands."""
    name, front_end = request.line.argument, request.front_end
    yield command_help.explain(name, front_end) if name else command_help.overview(front_end)


def list_runs(request: Request) -> Iterator[str | Table]:
    """The newest runs of this notebook, with --all of every notebook, or with --backend of a backend.

    Raises:
        BackendError: the backend does not respond.
    """
    entries = request.history.list()
    if request.line.has("backend"):
        configuration = request.configuration()
        remote = base.runs(lookup.load(configuration.backend), configuration.settings)
        if remote is not None:
            yield remote_runs(remote[: count(request.line)], configuration)
            return
        entries = tuple(entry for entry in entries if entry.backend == configuration.backend)
    if request.notebook and not request.line.has("all"):
        entries = tuple(entry for entry in entries if entry.notebook == request.notebook)
    yield runs(entries[: count(request.line)])


def show_last(request: Request) -> Iterator[Table]:
    """A summary of the last run."""
    yield last(request.history.last(request.notebook))


def show_logs(request: Request) -> Iterator[str]:
    """The full log of a run."""
    line = request.line
    yield _logs(line.argument, request.history, request.configuration(), request.notebook, raw=line.has("raw"))


def show_packages(request: Request) -> Iterator[Table]:
    """The packages of a run, or the differences between two runs."""
    yield _packages(request.line.argument.split(), request.history, request.notebook)


def stop(request: Request) -> Iterator[str]:
    """Stop a run or end a session; without a name, stop the newest live run.

    Raises:
        SpecError: there is no such run, or no run is live.
        BackendError: the backend does not respond.
    """
    name, history = request.line.argument, request.history
    if name and (session := sessions.find_to_stop(request)):
        yield sessions.stop(session)
        return
    listing = history.read()
    if not name:
        candidates = [entry for entry in listing.entries if entry.live or (entry.unseen and entry.note("name"))]
        if not candidates:
            raise SpecError("no run is in progress", hint="The runs command lists finished runs.")
        name = next((entry.id for entry in candidates if entry.live), candidates[0].id)
    entry = listing.find(name)
    if entry is not None and history.stop(entry, f"the stop command in a {request.front_end}"):
        yield f"Stop requested for {entry.id}"
        return
    configuration = request.configuration()
    ref = locate_entry(entry, configuration) if entry else locate_remote(name, listing, configuration)
    if ref.remote is not None and not ref.remote.has_ended:
        ref.source.stop(ref.remote.name)
        yield f"Stop requested for {ref.id} ({ref.remote.name})"
    else:
        yield f"{ref.id} is not running: {ref.outcome}"


def _logs(name: str, history: History, configuration: Config, notebook: str | None, *, raw: bool) -> str:
    """The full log from the history, or from the backend if this machine has not seen the run finish."""
    listing = history.read()
    entry = listing.find(name) if name else listing.last(notebook)
    try:
        ref = locate_entry(entry, configuration) if entry else locate_remote(name, listing, configuration)
    except BackendError as problem:
        if entry is None:
            raise
        return (entry.log() if raw else run_text.log(entry.state())) + f"[later output is not available: {problem}]\n"
    remote = ref.remote
    if remote is None or (entry is not None and entry.live):
        return "" if entry is None else entry.log() if raw else run_text.log(entry.state(), entry.output())
    texts = [item for item in ref.source.watch(remote.name, follow=False) if isinstance(item, str)]
    text = "".join(texts)
    return text if raw else run_text.log(fold(log_reader.decode(text, remote.nonce), RunState(run=ref.id)))


def runs(entries: tuple[RunRecord, ...]) -> str | Table:
    """A table of runs in the history, newest first."""
    if not entries:
        return "No runs in the history."
    statuses = outcomes(entries)
    rows = tuple(
        (
            entry.id,
            statuses[entry.id],
            _start_time(entry.begun, time.time()),
            _duration(entry, statuses[entry.id]),
            entry.backend,
            humanize.one_line(" ".join(entry.requirements) or "-", 30),
            humanize.one_line(first_line(entry.cell), 40),
        )
        for entry in entries
    )
    head = ("RUN", "STATUS", "STARTED", "DURATION", "BACKEND", "REQUIREMENTS", "CELL")
    return Table(head=head, rows=rows, flexible=frozenset({5, 6}))


def remote_runs(remote: tuple[RemoteRun, ...], configuration: Config) -> str | Table:
    """A table of runs in a backend."""
    if not remote:
        return f"No runs on {configuration.backend}."
    now = time.time()
    rows = tuple(
        (
            run.run,
            RunRef(backend=configuration.backend, settings=configuration.settings, remote=run).outcome,
            _start_time(run.started_at, now),
            humanize.seconds(max(0.0, (run.ended_at or now) - run.started_at)),
            run.name,
            PurePath(run.notebook).name or "-",
        )
        for run in remote
    )
    head = ("RUN", "STATUS", "STARTED", "DURATION", "NAME", "NOTEBOOK")
    return Table(title=f"Runs on {remote[0].location}", head=head, rows=rows, flexible=frozenset({5}))


def _start_time(started_at: float, now: float) -> str:
    """The time of day if it is today, else the date; `last` shows both."""
    start, today = time.localtime(started_at), time.localtime(now)
    return time.strftime("%H:%M" if start[:3] == today[:3] else "%b %d", start)


def last(entry: RunRecord) -> Table:
    """A summary of one run."""
    end = entry.summary
    duration = f" after {humanize.seconds(entry.seconds)}" if entry.seconds else ""
    rows = [
        ("started", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.begun))),
        ("backend", entry.backend + (f" ({end.place})" if end and end.place else "")),
    ]
    if entry.notebook:
        path = PurePath(entry.notebook)
        rows.append(("file" if path.suffix == ".py" else "notebook", path.name))
    if entry.requirements:
        rows.append(("requirements", " ".join(entry.requirements)))
    lock = entry.lock()
    if isinstance(lock, Lock):
        resolver = f", uv {lock.uv}" if lock.uv else ""
        rows.append(("lock", f"{lock.key}: {humanize.count(len(lock.packages), 'package')}{resolver}"))
        rows.append(("python", lock.target.python + (f" in {entry.image}" if entry.image else "")))
    if end and end.stages:
        ends = [*(start for _, start in end.stages[1:]), end.ended]
        times = [
            f"{stage} {humanize.seconds(stop - start)}"
            for (stage, start), stop in zip(end.stages, ends, strict=True)
            if stage != "ended"
        ]
        rows.append(("phases", ", ".join(times)))
    if end and end.ename:
        rows.append(("error", f"{end.ename}: {humanize.one_line(first_line(end.evalue), 80)}"))
    elif end and end.node_message and end.outcome in {"NotStarted", "Lost"}:
        rows.append(("cause", humanize.one_line(end.node_message, 200)))
    elif end and end.exit:
        rows.append(("exit", str(end.exit)))
    rows.append(("cell", humanize.one_line(first_line(entry.cell), 80)))
    title = f"{entry.id}: {outcomes([entry])[entry.id]}{duration}"
    return Table(title=title, rows=tuple((f"  {name}", value) for name, value in rows), flexible=frozenset({1}))


def _packages(names: Sequence[str], history: History, notebook: str | None) -> Table:
    """The packages of a run, or the differences between two runs."""
    if len(names) > 2:
        raise SpecError("packages takes one run, or two to compare", hint="The runs command lists all runs.")
    listing = history.read()
    entries = [listing.get(name) for name in names] or [listing.last(notebook)]
    if len(entries) == 1:
        return replace(packages(entries[0]), title=entries[0].id if names else "")
    before, after = entries
    title = f"From {before.id} to {after.id}"
    return changes(difference(before.installed, after.installed), title)


def packages(entry: RunRecord) -> Table:
    """The packages of a run: version, index, and the size and hash of the file."""
    installed = entry.installed
    has_index = any(package.index for package in installed)
    rows = tuple(
        (
            package.name,
            package.version,
            humanize.size(package.size),
            *((package.index or "-",) if has_index else ()),
            package.sha256[:12],
        )
        for package in installed
    )
    lock = entry.lock()
    base_note = messages.base_packages_note(lock) if isinstance(lock, Lock) else ""
    if not rows:
        return Table(title=f"{entry.id} had no packages." + (f" {base_note}" if base_note else ""))
    total = humanize.size(sum(package.size for package in installed))
    return Table(
        head=("PACKAGE", "VERSION", "SIZE", *(("INDEX",) if has_index else ()), "SHA-256"),
        rows=rows,
        notes=(humanize.count(len(rows), "package") + (f", {total}" if total else ""), *filter(None, [base_note])),
        right=frozenset({2}),
    )


def _duration(entry: RunRecord, outcome: str) -> str:
    """The duration of a run; "-" if this machine has not seen it finish."""
    if outcome == "Running":
        return humanize.seconds(time.time() - entry.begun)
    return "-" if entry.unseen else humanize.seconds(entry.seconds)


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
