"""The `policy` command: show the rules in force, check files against them, or explain them for a package.

Rule: nothing is submitted, installed or stored; requirements are only resolved, as in a dry run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from uv_argo_magic._os import paths, text_file
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.commands.registry import Failure
from uv_argo_magic.core.commands import cell_text
from uv_argo_magic.core.commands.run_options import RunOptions, run_options
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.policy import kinds, rules
from uv_argo_magic.core.policy.model import Policy, Statement, path_to
from uv_argo_magic.core.policy.patterns import glob
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.preparation.prepare import find_target, prepare
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, PolicyError, SpecError
from uv_argo_magic.policy import enforcement, sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from uv_argo_magic.commands.registry import Request, Result
    from uv_argo_magic.core.policy.model import Violation
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.context import CellContext

ACTIONS = ("show", "check", "explain")


@frozen
class FileResult:
    """The result for a cell, script or requirements file: its violations, or the problem that prevented the check."""

    file: str
    cell: int = 0
    violations: tuple[Violation, ...] = ()
    problem: str = ""

    @property
    def verdict(self) -> str:
        """The result in one or two words, as shown in the table."""
        return "not allowed" if self.violations else "not checked" if self.problem else "allowed"

    def data(self) -> dict[str, object]:
        """The result as an object for JSON."""
        violations = [
            {"rule": item.rule, "origin": item.origin, "package": item.package, "path": list(item.path),
             "sentence": item.sentence, "action": item.action}
            for item in self.violations
        ]  # fmt: skip
        return {
            "file": self.file, "cell": self.cell, "verdict": self.verdict, "problem": self.problem,
            "violations": violations,
        }  # fmt: skip


def handle(request: Request) -> Iterator[Result]:
    """The `policy` command."""
    words = request.line.arguments
    action, names = (words[0], words[1:]) if words else ("show", ())
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    as_json = request.line.has("json")
    if action == "show":
        policy, problem = _policy(request)
        yield json.dumps(_data(policy), indent=1) if as_json else show(policy, problem)
    elif action == "check":
        names = names or tuple(filter(None, [request.notebook]))
        if not names:
            raise SpecError("policy check needs a file", hint="Example: policy check study.ipynb")
        results = [result for name in names for result in check(name, request)]
        yield json.dumps([result.data() for result in results], indent=1) if as_json else _table(results)
        if refused := sum(result.verdict != "allowed" for result in results):
            yield Failure(
                error=PolicyError(
                    f"{refused} of {len(results)} are not allowed or could not be checked", hint="See the table above."
                )
            )
    else:
        if len(names) != 1:
            raise SpecError("policy explain needs the name of a package", hint="Example: policy explain numpy")
        yield from explain(names[0], request, as_json=as_json)


def _policy(request: Request) -> tuple[Policy, str]:
    """(the policy for runs on the configured backend, the error if a part of it could not be read, or "")."""
    configuration = request.configuration()
    backend = lookup.load(configuration.backend)
    shared = base.policy(backend, configuration.settings)
    policy = sources.find(request.context.notebook_path, backend, configuration.settings)
    return policy or Policy(), f"{shared.origin}: {shared.problem}" if shared and shared.problem else ""


def _in_force(policy: Policy) -> Iterator[tuple[rules.Rule, str, str]]:
    """(rule, value, origin) of each statement that applies."""
    for rule in rules.RULES.values():
        for statement in rule.in_force(policy):
            yield rule, rule.kind.show(statement.value), statement.origin


def show(policy: Policy, problem: str = "") -> Table:
    """A table of the rules in force and their sources; `problem` is the error for a part that could not be read."""
    problems = (f"Not read: {problem}.",) if problem else ()
    if not policy:
        return Table(notes=("No package policy: all packages are allowed.", *problems))
    return Table(
        head=("RULE", "VALUE", "SOURCE"),
        rows=tuple((rule.name, value, origin) for rule, value, origin in _in_force(policy)),
        notes=("If several sources set a limit, the strictest one applies.", *problems),
    )


def _data(policy: Policy) -> list[dict[str, str]]:
    return [{"rule": rule.name, "value": value, "origin": origin} for rule, value, origin in _in_force(policy)]


def check(name: str, request: Request) -> Iterator[FileResult]:
    """Check the `%%argo` cells of a notebook, a script, or a requirements file.

    Raises:
        SpecError: the file cannot be read, or the line is invalid.
    """
    path = request.context.folder / paths.expanded(name)
    options = replace(run_options(request.line), dry_run=True)
    context = replace(request.context, notebook=str(path), names={})
    if path.suffix == ".ipynb":
        yield from _check_notebook(name, path, options, replace(context, line_offset=1))
    elif path.suffix == ".py":
        yield _check(name, 0, _read(path), options, replace(context, line_offset=0))
    else:
        options = replace(options, requirements=(*options.requirements, name))
        yield _check(name, 0, "", options, replace(context, notebook=""), document=str(path))


def _check_notebook(name: str, path: Path, options: RunOptions, context: CellContext) -> Iterator[FileResult]:
    has_cells = False
    for cell in cell_text.notebook_cells(_read(path), path.name):
        has_cells = True
        try:
            cell_options = run_options(read_cell(cell.line, cell_text.UnknownVariables()))
            settings = (*cell_options.sets, *options.sets)
            cell_options = replace(
                cell_options, sets=settings, push=(), session="", backend=options.backend or cell_options.backend
            )
        except ArgoMagicError as error:
            yield FileResult(file=name, cell=cell.number, problem=str(error))
            continue
        yield _check(name, cell.number, cell.text, cell_options, context)
    if not has_cells:
        yield FileResult(file=name)


def _check(
    name: str, cell: int, text: str, options: RunOptions, context: CellContext, *, document: str = ""
) -> FileResult:
    try:
        spec, _ = specify(text, options, context)
        prepare(spec, notebook=document or context.notebook, dry_run=True)
    except PolicyError as error:
        return FileResult(file=name, cell=cell, violations=error.violations, problem=error.message)
    except ArgoMagicError as error:
        return FileResult(file=name, cell=cell, problem=str(error))
    return FileResult(file=name, cell=cell)


def _read(path: Path) -> str:
    return text_file.read(path, path.name, hint="Name a notebook, a script or a requirements file.")


def _table(results: Sequence[FileResult]) -> Table:
    rows = [
        (result.file, str(result.cell or "-"), result.verdict, text)
        for result in results
        for text in ([violation.text for violation in result.violations] or [result.problem or "-"])
    ]
    return Table(head=("FILE", "CELL", "RESULT", "REASON"), rows=tuple(rows), right=frozenset({1}))


def explain(name: str, request: Request, *, as_json: bool = False) -> Iterator[Result]:
    """Explain whether a package is allowed: as part of the requirements of the line or of the last run, or alone.

    Raises:
        ResolutionError: no versions satisfy the requirements.
        SpecError: the line is invalid, or its requirements do not install the package.
    """
    name = canonicalize_name(name)
    policy, _ = _policy(request)
    lock, violations = _decide(policy, name, request)
    package = next((package for package in lock.packages if package.name == name), None) if lock else None
    if lock and package is None:
        raise SpecError(
            f"these requirements do not install {name}", hint=f"To check {name} alone, leave out the requirements."
        )
    path = path_to(lock.packages, name) if lock else (name,)
    if as_json:
        version = package.version if package else ""
        yield json.dumps(FileResult(file=name, violations=violations).data() | {"version": version, "path": list(path)})
        return
    label = f"{name} {package.version}" if package else name
    notes = [violation.text for violation in violations]
    if len(path) > 1:
        notes.insert(0, f"Required by {' > '.join(path[:-1])}.")
    for rule, statement in _about(policy, name):
        notes.append(f"{rule.name} of {statement.origin}: {rule.kind.show(statement.value)}")
    yield Table(title=f"{label} is {'not ' if violations else ''}allowed.", notes=tuple(notes))


def _decide(policy: Policy, name: str, request: Request) -> tuple[Lock | None, tuple[Violation, ...]]:
    """(lock with the package, violations); the lock is None if the policy does not allow a resolution."""
    spec, lock = _spec_with(name, request)
    backend = lookup.load(spec.backend)
    document = request.context.notebook_path
    try:
        spec = checks.begin(spec, backend, document)
        target = find_target(spec, backend, may_run=False)
        resolver = replace(target.resolver(document), store=None)
        requirements = target.spec.requirements
        resolution = lock or resolver.lock(requirements)
        if isinstance(resolution, Lock):
            lock = resolution = resolver.explain(resolution, requirements)
        proposal = checks.Proposal(spec=target.spec, resolution=resolution, purpose="lock", resolver=lambda: resolver)
        violations = enforcement.check(policy, proposal, backend)
    except PolicyError as error:
        violations = error.violations
    return lock, tuple(violation for violation in violations if violation.package in ("", name))


def _spec_with(name: str, request: Request) -> tuple[RunSpec, Lock | None]:
    """The requirements of the line, else the last run (with its lock) if it has the package, else the package alone."""
    options, context = run_options(request.line), request.context
    if options.deps is None and not options.requirements:
        entries = request.history.read().entries
        for entry in [entry for entry in entries if not context.notebook or entry.notebook == context.notebook][:1]:
            lock, spec = entry.lock(), entry.spec()
            if isinstance(lock, Lock) and spec and any(package.name == name for package in lock.packages):
                return spec, lock
        options = replace(options, deps=name)
    return specify("", options, context)[0], None


def _about(policy: Policy, name: str) -> Iterator[tuple[rules.Rule, Statement]]:
    """The statements whose patterns match the package."""
    for rule in rules.RULES.values():
        for statement in rule.in_force(policy):
            if rule.kind is kinds.NAMES and any(glob(item.name, name) for item in statement.value):
                matching = tuple(item for item in statement.value if glob(item.name, name))
                yield rule, replace(statement, value=matching)
