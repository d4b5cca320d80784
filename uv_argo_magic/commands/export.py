"""A run as a file that runs without this package: a Workflow for plain Argo, or a script for plain `uv run`.

Rules:
- A run is exported with the packages that it had. Missing information is an error; nothing is guessed.
- A file that this package did not write is not overwritten.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.script_export import Standalone, pins, standalone
from uv_argo_magic.engine.build import build
from uv_argo_magic.engine.checks import Proposal, enforce
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.entry import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import Pushed, RunSpec
    from uv_argo_magic.engine.prepared import Prepared
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History

MARK = "Exported by uv-argo-magic"
WORKFLOW, SCRIPT = (".yaml", ".yml"), (".py",)


def export_prepared(plan: Prepared, to: str) -> str:
    """Write what would run; the message about it.

    Raises:
        SpecError: it cannot be exported in this format, or the file cannot be written.
    """
    _refuse_session(plan.spec)
    path = _path(to)
    if path.suffix in WORKFLOW:
        text = base.exporter(base.load(plan.spec.backend), plan.spec.backend).manifest(plan.program, plan.spec)
        return _write_workflow(path, text, "what would have run")
    script = _script(plan.spec, plan.resolution, plan.interpreter.target.minor, (), "what would have run")
    return _write_script(path, script)


def handle(request: Request) -> Iterator[str]:
    """The `export` command."""
    yield export_run(request.line, request.history, request.notebook)


def export_run(line: Line, history: History, notebook: str | None = None) -> str:
    """Export a run of the history: its script, or what was written. `notebook` restricts "the last run" to its runs.

    Raises:
        SpecError: there is no such run, it cannot be exported in this format, or the file cannot be written.
    """
    entry = history.get(line.argument) if line.argument else history.last(notebook)
    spec = entry.spec()
    resolution = entry.lock()
    if spec is None or resolution is None:
        raise SpecError(f"cannot read {entry.id}", hint="Run the cell again, then export that run.")
    _refuse_session(spec)
    spec = replace(
        spec,
        backend=line.text("backend") or spec.backend,
        settings=settings_parser.updated(spec.settings, dict(settings_parser.parse_assignments(line.each("set")))),
    )
    description = f"the run {entry.id}"
    path = _path(line.text("to")) if line.has("to") else None
    if path and path.suffix in WORKFLOW:
        return _write_workflow(path, _workflow(entry, spec, resolution), description)
    enforce(Proposal(spec=spec, resolution=resolution, purpose="export", document=entry.notebook))
    script = _script(spec, resolution, _python_minor(entry, resolution), entry.packages, description)
    return _write_script(path, script) if path else script.text


def _refuse_session(spec: RunSpec) -> None:
    if spec.session:
        raise SpecError(
            f"a cell of session {spec.session} needs the cells before it, and cannot be exported alone",
            hint="Run the cell without --session, and export that run.",
        )


def _workflow(entry: RunRecord, spec: RunSpec, resolution: Resolution) -> str:
    """The manifest of a run for the backend of the spec."""
    _refuse_pushed(spec.push, "are not in the history")
    hidden = [name for name, value in spec.settings.variables if value == HIDDEN]
    if hidden:
        raise SpecError(
            f"the history does not keep values of variables, and {entry.id} had {', '.join(hidden)}",
            hint=f"Set them again: --set variables={hidden[0]}=VALUE.",
        )
    if HIDDEN in " ".join((spec.settings.index_url, *(url for _, url in spec.settings.indexes))):
        raise SpecError(
            f"the history does not keep passwords, and the index of {entry.id} had one",
            hint="Set the index again: --set index_url=URL.",
        )
    backend = base.load(spec.backend)
    proposal = Proposal(spec=spec, resolution=resolution, purpose="export", document=entry.notebook)
    exporter = base.exporter(backend, spec.backend)
    manifest = exporter.manifest(build(proposal), spec)
    if not isinstance(resolution, Lock) or resolution.target == backend.target(spec).target:
        return manifest
    # The run's files are for another platform than this one's: the same versions are looked for there.
    pins_of_run = tuple(f"{package.name}=={package.version}" for package in resolution.packages if not package.url)
    pinned_spec = replace(spec, settings=replace(spec.settings, constraints=(*spec.settings.constraints, *pins_of_run)))
    prepared = prepare(pinned_spec, backend, notebook=entry.notebook, dry_run=True, purpose="export")
    return exporter.manifest(prepared.program, pinned_spec)


def _script(
    spec: RunSpec, resolution: Resolution, minor: str, installed: tuple[tuple[str, str], ...], description: str
) -> Standalone:
    _refuse_pushed(spec.push, "cannot be exported to a script")
    if isinstance(resolution, Lock):
        lines, pinned = pins(resolution), True
    elif installed:
        lines, pinned = tuple(f"{name}=={version}" for name, version in installed), True
    else:
        lines, pinned = resolution.lines, False
    return standalone(
        spec.cell, lines=lines, minor=minor, settings=spec.settings, comment=f"{MARK}: {description}.", pinned=pinned
    )


def _python_minor(entry: RunRecord, resolution: Resolution) -> str:
    """The Python's "X.Y": of the lock, else of what ran."""
    if isinstance(resolution, Lock):
        return resolution.target.minor
    hello = entry.state().hello
    if hello is None:
        raise SpecError(
            f"the Python version of {entry.id} is not known: the run did not start",
            hint="Export a run that started.",
        )
    return ".".join(hello.python.split(".")[:2])


def _refuse_pushed(pushed: tuple[Pushed, ...], reason: str) -> None:
    if pushed:
        raise SpecError(
            f"pushed values {reason}: {', '.join(item.name for item in pushed)}",
            hint="Compute them in the cell.",
        )


def _path(to: str) -> Path:
    path = Path(to).expanduser()
    if path.suffix not in (*WORKFLOW, *SCRIPT):
        raise SpecError(
            f"cannot infer the output format from `--to {to}`",
            hint="Use a name that ends with .yaml (Workflow) or .py (script for `uv run`).",
        )
    try:
        ours = MARK.encode() in path.read_bytes()
    except FileNotFoundError:
        return path
    except OSError as problem:
        raise SpecError(f"cannot write {to}: {problem.strerror}", hint="Name another file.") from problem
    if not ours:
        raise SpecError(f"{to} exists and was not exported by uv-argo-magic", hint="Choose another name, or remove it.")
    return path


def _write_workflow(path: Path, text: str, description: str) -> str:
    kinds = text.count("\nkind: ") + text.startswith("kind: ")
    how = f"kubectl create -f {path.name}" + (f"   or   argo submit {path.name}" if kinds == 1 else "")
    header = [
        f"{MARK}: {description}.",
        f"Run it with:   {how}",
        "Lines of its log that begin with @uv-argo: are records.",
    ]
    _write(path, "".join(f"# {line}\n" for line in header) + text)
    return f"{path}: {how}"


def _write_script(path: Path, script: Standalone) -> str:
    _write(path, script.text)
    return "\n".join([f"{path}: uv run {path.name}", *script.notes])


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise SpecError(f"cannot write {path}: {problem.strerror}", hint="Name another file.") from problem
