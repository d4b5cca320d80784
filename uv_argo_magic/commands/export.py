"""The `export` command: write a run as a file that does not need this package, a Workflow or a script for `uv run`.

Rules:
- The file has the packages of the run. Missing information is an error; nothing is guessed.
- Only files that this package wrote are overwritten.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.backends import lookup
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.script_export import Standalone, pins, standalone
from uv_argo_magic.engine.checks import Proposal, enforce
from uv_argo_magic.engine.preparation.build import build
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.entry import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import Pushed, RunSpec
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.history.entry import RunRecord
    from uv_argo_magic.history.store import History

MARK = "Exported by uv-argo-magic"
WORKFLOW, SCRIPT = (".yaml", ".yml"), (".py",)


def export_prepared(plan: Prepared, to: str) -> str:
    """Write what would run to a file; the message on how to run that file.

    Raises:
        SpecError: this run cannot be exported in this format, or the file cannot be written.
    """
    _refuse_session(plan.spec)
    path = _path(to)
    if path.suffix in WORKFLOW:
        text = lookup.exporter(lookup.load(plan.spec.backend), plan.spec.backend).manifest(plan.program, plan.spec)
        return _write_workflow(path, text, "the plan of a dry run")
    script = _script(plan.spec, plan.resolution, plan.interpreter.target.minor, (), "the plan of a dry run")
    return _write_script(path, script)


def handle(request: Request) -> Iterator[str]:
    """The `export` command."""
    yield export_run(request.line, request.history, request.notebook)


def export_run(line: Line, history: History, notebook: str | None = None) -> str:
    """Export a run of the history: the message on the written file, or without `--to` the text of the script.

    `notebook` is the notebook whose last run is the default.

    Raises:
        SpecError: the run does not exist or cannot be exported in this format, or the file cannot be written.
    """
    entry = history.get(line.argument) if line.argument else history.last(notebook)
    spec = entry.spec()
    resolution = entry.lock()
    if spec is None or resolution is None:
        raise SpecError(f"cannot read the run {entry.id}", hint="Run the cell again, then export that run.")
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
            f"a cell of session {spec.session} depends on earlier cells and cannot be exported alone",
            hint="Run the cell without --session, and export that run.",
        )


def _workflow(entry: RunRecord, spec: RunSpec, resolution: Resolution) -> str:
    """The manifest of a run for the backend of the spec."""
    _refuse_pushed(spec.push, "the history does not contain pushed values")
    hidden = [name for name, value in spec.settings.variables if value == HIDDEN]
    if hidden:
        raise SpecError(
            f"the history does not contain the values of variables: {', '.join(hidden)}",
            hint=f"Set them again: --set variables={hidden[0]}=VALUE.",
        )
    for name in ("index_url", "indexes", "find_links"):
        if HIDDEN in str(getattr(spec.settings, name)):
            raise SpecError(
                f"the history does not contain the password in {name} of {entry.id}",
                hint=f"Set it again: --set {name}=...",
            )
    backend = lookup.load(spec.backend)
    proposal = Proposal(spec=spec, resolution=resolution, purpose="export", document=entry.notebook)
    exporter = lookup.exporter(backend, spec.backend)
    manifest = exporter.manifest(build(proposal), spec)
    if not isinstance(resolution, Lock) or resolution.target == backend.target(spec).target:
        return manifest
    # The files of the lock are for another platform, so the same versions are resolved for this one.
    pins_of_run = tuple(f"{package.name}=={package.version}" for package in resolution.packages if not package.url)
    pinned_spec = replace(spec, settings=replace(spec.settings, constraints=(*spec.settings.constraints, *pins_of_run)))
    prepared = prepare(pinned_spec, backend, notebook=entry.notebook, dry_run=True, purpose="export")
    return exporter.manifest(prepared.program, pinned_spec)


def _script(
    spec: RunSpec, resolution: Resolution, minor: str, installed: tuple[tuple[str, str], ...], description: str
) -> Standalone:
    _refuse_pushed(spec.push, "a script cannot contain pushed values")
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
    """The minor version ("X.Y") of the Python in the lock, or else of the Python that ran."""
    if isinstance(resolution, Lock):
        return resolution.target.minor
    hello = entry.state().hello
    if hello is None:
        raise SpecError(
            f"the Python version of {entry.id} is not known: the run did not start",
            hint="Export a run that started.",
        )
    return ".".join(hello.python.split(".")[:2])


def _refuse_pushed(pushed: tuple[Pushed, ...], problem: str) -> None:
    if pushed:
        raise SpecError(
            f"{problem}: {', '.join(item.name for item in pushed)}", hint="Compute them in the cell instead."
        )


def _path(to: str) -> Path:
    path = paths.expanded(to)
    if path.suffix not in (*WORKFLOW, *SCRIPT):
        raise SpecError(
            f"cannot infer the output format from `--to {to}`",
            hint="Use a name that ends with .yaml (Workflow) or .py (script for `uv run`).",
        )
    try:
        is_ours = MARK.encode() in path.read_bytes()
    except FileNotFoundError:
        return path
    except OSError as problem:
        raise SpecError(f"cannot write {to}: {problem.strerror}", hint="Choose another file.") from problem
    if not is_ours:
        raise SpecError(
            f"{to} exists and was not exported by uv-argo-magic", hint="Choose another name, or remove the file."
        )
    return path


def _write_workflow(path: Path, text: str, description: str) -> str:
    kinds = text.count("\nkind: ") + text.startswith("kind: ")
    name = shlex.quote(path.name)
    command = f"kubectl create -f {name}" + (f"   or   argo submit {name}" if kinds == 1 else "")
    header = [
        f"{MARK}: {description}.",
        f"Run it with:   {command}",
        "In its log, lines that begin with @uv-argo: are records for uv-argo-magic.",
    ]
    _write(path, "".join(f"# {line}\n" for line in header) + text)
    return f"Wrote {path}. Run it with:   {command}"


def _write_script(path: Path, script: Standalone) -> str:
    _write(path, script.text)
    return "\n".join([f"Wrote {path}. Run it with:   uv run {shlex.quote(path.name)}", *script.notes])


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise SpecError(f"cannot write {path}: {problem.strerror}", hint="Choose another file.") from problem
