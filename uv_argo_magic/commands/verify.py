"""The `verify` command: run the cells of a saved notebook again with the same packages, and compare the results.

Rules:
- A cell is compared only if its text has not changed since it ran. Each cell runs alone, without variables of the
  notebook. The cells of a session run in order in a new session, which ends with the command.
- Packages: the recorded lock is installed with its hashes, and the installed packages must be those of the lock.
- Output: stdout, the plain text of displays and of the result, and the exception are compared. stderr (progress,
  warnings), images and memory addresses are not, because they differ between runs.
- Neither the notebook nor the history is changed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from uv_argo_magic._os import paths, text_file
from uv_argo_magic.commands.registry import Failure
from uv_argo_magic.core.commands import cell_text
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import output_metadata
from uv_argo_magic.core.view import ansi
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.core.view.truncate import OutputTruncator
from uv_argo_magic.engine import stages
from uv_argo_magic.engine.front_end import QuietFrontEnd
from uv_argo_magic.engine.preparation.prepare import find_target
from uv_argo_magic.engine.preparation.spec_builder import specify
from uv_argo_magic.errors import ArgoMagicError, SpecError, VerifyFailed
from uv_argo_magic.renderers.cell_output import CellOutput, OutputSink
from uv_argo_magic.sessions.session import TemporarySessions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.core.commands.cell_text import Cell
    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Lock
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.engine.run import Run
    from uv_argo_magic.sessions.session import Session

Verdict: TypeAlias = Literal["same", "differs", "not run"]


@frozen
class CellResult:
    """The result of one cell: a verdict, and remarks on its packages and output."""

    cell: Cell
    verdict: Verdict
    packages: str = ""
    output: str = ""


@frozen
class VisibleOutput:
    """The compared output of a cell: stdout, the plain text of displays and result, and the exception or ""."""

    stdout: str
    texts: tuple[str, ...]
    error: str


def handle(request: Request) -> Iterator[Table | Failure]:
    """The `verify` command."""
    table, is_same = verify(request.line, request.context)
    yield table
    if not is_same:
        yield Failure(error=VerifyFailed("some cells differ from the saved notebook", hint="See the table above."))


def verify(line: Line, context: CellContext) -> tuple[Table, bool]:
    """(the table of results, whether at least one cell was compared and none differs).

    Raises:
        SpecError: there is no notebook, or it cannot be read.
    """
    name = line.argument or context.notebook
    if not name:
        raise SpecError("cannot determine the notebook's path", hint="Name the notebook: verify study.ipynb")
    path = context.folder / paths.expanded(name)
    recorded_cells = tuple(cells(path))
    if not recorded_cells:
        raise SpecError(f"{path.name} has no %%argo cell with output", hint="Run its cells, and save the notebook.")
    context = replace(context, names={}, folder=path.parent, notebook=str(path), line_offset=1)
    temporary = TemporarySessions()
    try:
        results = [check(cell, line, context, temporary) for cell in recorded_cells]
    finally:
        temporary.close()
    counts = {
        verdict: sum(result.verdict == verdict for result in results) for verdict in ("same", "differs", "not run")
    }
    table = Table(
        title=path.name,
        head=("CELL", "RESULT", "PACKAGES", "OUTPUT", "CODE"),
        flexible=frozenset({2, 3, 4}),
        rows=tuple(
            (
                str(result.cell.number),
                result.verdict,
                result.packages or "-",
                result.output or "-",
                _first(result.cell.text),
            )
            for result in results
        ),
        notes=(", ".join(f"{count} {verdict}" for verdict, count in counts.items()),),
        right=frozenset({0}),
    )
    return table, not counts["differs"] and bool(counts["same"])


def cells(path: Path) -> Iterator[Cell]:
    """The `%%argo` cells of a notebook file that have outputs.

    Raises:
        SpecError: the file cannot be read, or is not a notebook.
    """
    text = text_file.read(path, path.name, hint="Name a notebook file.")
    return (cell for cell in cell_text.notebook_cells(text, path.name) if cell.outputs)


def check(cell: Cell, request: Line, context: CellContext, temporary: TemporarySessions) -> CellResult:
    """Run one cell again, and compare it with the saved one."""
    try:
        entries = [entry for output in cell.outputs if (entry := output_metadata.extract(output.get("metadata")))]
        recorded = next((record for entry in reversed(entries) if (record := output_metadata.read(entry))), None)
        if recorded is None or recorded.lock is None:
            reason = "its packages were resolved in the pod" if recorded else "no run is recorded in its output"
            return CellResult(cell=cell, verdict="not run", packages=reason)
        line = read_cell(cell.line, cell_text.UnknownVariables())
        options = replace(run_options(line), deps="", requirements=(), python="", upgrade=False, detach=False, out="")
        if options.push:
            return CellResult(cell=cell, verdict="not run", output=f"needs {', '.join(options.push)} from the notebook")
        overrides = run_options(request)
        options = replace(
            options, backend=overrides.backend or options.backend, sets=(*options.sets, *overrides.sets), dry_run=False
        )
        spec, _ = specify(cell.text, options, context)
        if spec.cell_digest != recorded.cell:
            return CellResult(cell=cell, verdict="differs", output="the cell was changed after it ran")
        session = temporary.open(spec.session, context) if spec.session else None
        return _run_again(cell, spec, recorded.lock, session)
    except ArgoMagicError as error:
        return CellResult(cell=cell, verdict="differs", output=f"{type(error).__name__}: {error}")


def _run_again(cell: Cell, spec: RunSpec, lock: Lock, session: Session | None) -> CellResult:
    spec = replace(spec, python=lock.target.python)
    try:
        target = find_target(spec)
    except SpecError:
        # Another patch version of the same minor version uses the same files.
        spec = replace(spec, python=lock.target.minor)
        target = find_target(spec)
    base = target.interpreter.base
    if lock.base_digest != (base.digest if base else ""):
        return CellResult(
            cell=cell, verdict="differs", packages="the preinstalled packages of this Python have changed"
        )
    front_end = _RecordingFrontEnd()
    error = ""
    try:
        stages.carry_out(spec, front_end, resolution=lock, session=session)
    except Exception as problem:
        if front_end.state is None:  # before the run; later exceptions are those of the cell
            raise
        error = f"{type(problem).__name__}: {problem}"
    state = front_end.state
    assert state is not None  # noqa: S101 - carry_out followed the run
    packages = compare_packages(state, lock)
    output = compare_output(stored(cell.outputs), front_end.recorder.output(error))
    verdict: Verdict = "same" if not packages and not output else "differs"
    return CellResult(
        cell=cell,
        verdict=verdict,
        packages=packages or f"{len(lock.packages)}, same hashes",
        output=output or "same",
    )


class _RecordingFrontEnd(QuietFrontEnd):
    """Waits for the run, and records the output that a notebook would show; `state` is None before the run."""

    def __init__(self) -> None:
        self.recorder = _Recorder()
        self.state: RunState | None = None

    def follow(self, run: Run, prepared: Prepared) -> bool:
        """Record the output of the run until its end."""
        lines = prepared.spec.settings.output_lines
        truncator = OutputTruncator(head=lines, tail=lines, full_log=f"%argo logs {run.id}")
        self.state = run.follow(CellOutput(truncator=truncator, sink=self.recorder))
        return True


def compare_packages(state: RunState, lock: Lock) -> str:
    """The differences between the installed and the locked packages; "" if there are none."""
    installed = dict(state.installed.packages) if state.installed else {}
    if lock.packages and not state.installed:
        return "not installed"
    # A package from a URL can have no version in the lock; uv has compared its hash.
    expected = {package.name: package.version or installed.get(package.name, "") for package in lock.packages}
    differences = [
        f"{name} {expected.get(name, 'none')} became {installed.get(name, 'none')}"
        for name in sorted({*expected, *installed})
        if expected.get(name) != installed.get(name)
    ]
    return "; ".join(differences)


def compare_output(before: VisibleOutput, after: VisibleOutput) -> str:
    """The first difference between two outputs, as text; "" if there is none."""
    if before.error != after.error:
        return f"ended with {before.error or 'no exception'}, now with {after.error or 'no exception'}"
    for label, old, new in (("standard output", before.stdout, after.stdout), *_pairs(before.texts, after.texts)):
        if _plain(old) != _plain(new):
            return f"{label}: {_difference(_plain(old), _plain(new))}"
    return ""


def _pairs(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    longest = max(len(before), len(after))
    for at in range(longest):
        old, new = (texts[at] if at < len(texts) else "(none)" for texts in (before, after))
        yield f"display {at + 1}", old, new


def _plain(text: str) -> str:
    """The text without memory addresses and run ids, which differ between runs."""
    return re.sub(r"0x[0-9a-f]{6,}|(?<=%argo logs )\S+", "", ansi.strip(text))


def _difference(old: str, new: str) -> str:
    """The first line that differs, in both texts."""
    for old_line, new_line in zip(old.splitlines(), new.splitlines(), strict=False):
        if old_line != new_line:
            return f"{_first(old_line)!r} became {_first(new_line)!r}"
    return f"{len(old.splitlines())} lines became {len(new.splitlines())}"


def _first(text: str, width: int = 40) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else line[: width - 1] + "…"


def stored(outputs: tuple[Mapping[str, Any], ...]) -> VisibleOutput:
    """The outputs stored in a notebook file, without our panel."""
    stdout, texts, error = "", [], ""
    for output in outputs:
        if output_metadata.extract(output.get("metadata")):
            continue
        match output.get("output_type"):
            case "stream" if output.get("name") == "stdout":
                stdout += _joined(output.get("text", ""))
            case "display_data" | "execute_result":
                data = output.get("data", {})
                if any(map(_joined, data.values())):  # a finished panel leaves an empty display
                    texts.append(_joined(data.get("text/plain", "")))
            case "error":
                error = f"{output.get('ename')}: {output.get('evalue')}"
            case _:
                pass  # stderr
    return VisibleOutput(stdout=stdout, texts=tuple(texts), error=error)


def _joined(text: object) -> str:
    """A text of a notebook file, which can be a string or a list of lines."""
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


class _Recorder(OutputSink):
    """Records a cell's output as a front end would show it."""

    def __init__(self) -> None:
        self._stdout: list[str] = []
        self._texts: list[tuple[str, str]] = []
        self._is_clear_pending = False

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any], *, transient: dict[str, str], update: bool
    ) -> None:
        """Record a display, or update the displays with the same id."""
        del metadata
        name, text = transient.get("display_id", ""), str(data.get("text/plain", ""))
        if update:
            self._texts = [(display_id, text if display_id == name else old) for display_id, old in self._texts]
        else:
            self._clear_if_pending()
            self._texts.append((name, text))

    def result(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Record the value of the last expression as a display."""
        self.publish(data, metadata, transient={}, update=False)

    def clear(self, *, wait: bool) -> None:
        """Clear the output, at once or before the next output."""
        self._is_clear_pending = True
        if not wait:
            self._clear_if_pending()

    def write(self, stream: str, text: str) -> None:
        """Record text on stdout; text on stderr is ignored."""
        self._clear_if_pending()
        if stream == "stdout":
            self._stdout.append(text)

    def _clear_if_pending(self) -> None:
        if self._is_clear_pending:
            self._stdout, self._texts, self._is_clear_pending = [], [], False

    def output(self, error: str) -> VisibleOutput:
        """The recorded output, with the exception that ended the cell."""
        texts = [text for _, text in self._texts]
        return VisibleOutput(stdout="".join(self._stdout), texts=tuple(texts), error=error)
