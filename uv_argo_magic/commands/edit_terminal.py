"""The same edit in a terminal: `$VISUAL` or `$EDITOR` on a copy of the file, read and resolved when it is saved.

Rules:
- A mistake opens the editor again with the error as comments on top; saving without changes cancels.
- A rejected text is never lost: it is written next to the file.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.commands import edit
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.errors import ArgoMagicError, ResolutionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.engine.context import CellContext

MARK = "# uv-argo: "
LINES = 3
"""Lines of a remark, so that a message can count those of the whole."""
TRIES = 30
"""How often the editor is opened: an editor that is a script would never give up."""


def handle(request: Request) -> Iterator[str]:
    """The `edit` command in a terminal."""
    context = request.context
    yield edit_file(edit.find(request.line.argument, context), context)


def edit_file(path: Path, context: CellContext) -> str:
    """Have the user's editor change the file until it is right; what a cell would get from it.

    Raises:
        SpecError: there is no editor, it failed, or what was written last cannot be read or saved.
        ResolutionError: it is saved, and cannot be resolved.
    """
    work = _Work(path=path, saved=(text := edit.read(path)), body=text)
    try:
        return _until_right(work, _command(context.environ), context)
    except ArgoMagicError as error:
        if work.body == work.saved:
            raise
        raise SpecError(error.message, hint=f"{path.name} is unchanged. Your text is in {_keep(work)}.") from None
    except KeyboardInterrupt:
        if work.body != work.saved:
            _keep(work)
        raise


@dataclass
class _Work:
    """The file, what it says as far as we know, and what was typed last."""

    path: Path
    saved: str
    body: str


def _until_right(work: _Work, command: list[str], context: CellContext) -> str:
    path, remark = work.path, ""
    with tempfile.TemporaryDirectory(prefix="uv-argo-") as folder:
        draft = Path(folder) / path.name
        for _ in range(TRIES):
            draft.write_text(remark + work.body, encoding="utf-8")
            _run([*command, str(draft)])
            text = _without_remark(edit.read(draft))
            unchanged = bool(remark) and text == work.body
            work.body = text
            try:
                # Numbered as it will be seen, below a remark.
                edits.items("#\n" * LINES + text, path.name)
            except SpecError as error:
                if unchanged:
                    raise
                remark = _remark(error)
                continue
            if text != work.saved and not edit.write(path, text, work.saved):
                raise SpecError(f"{path.name} was changed by another program")
            work.saved = text
            verdict = edit.check(path, context)
            if verdict.lock is not None or verdict.unreachable:
                return f"{path.name}: {verdict.sentence()}"
            problem = ResolutionError(verdict.problem, hint=verdict.hint, names=verdict.blamed)
            if unchanged:
                raise problem
            remark = _remark(problem)
    raise SpecError(f"the requirements could not be resolved after {TRIES} edits", hint="Run edit again.")


def _command(environ: Mapping[str, str]) -> list[str]:
    configured = environ.get("VISUAL") or environ.get("EDITOR")
    if configured:
        return shlex.split(configured, posix=os.name == "posix")
    editor = next(filter(None, map(shutil.which, ("nano", "vi", "notepad"))), None)
    if not editor:
        raise SpecError("no editor found", hint="Set EDITOR, for example: export EDITOR=vim")
    return [editor]


def _run(command: list[str]) -> None:
    try:
        status = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise SpecError(f"cannot run {command[0]}: {error.strerror}", hint="Set EDITOR to your editor.") from error
    if status:
        raise SpecError(f"{command[0]} exited with status {status}; its changes are not used", hint="Run edit again.")


def _remark(error: ArgoMagicError) -> str:
    lines = (error.message, error.hint, "Correct the text and save it; saving without changes cancels.")
    return "".join(f"{MARK}{' '.join(line.split())}\n" for line in lines)


def _without_remark(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(MARK))


def _keep(work: _Work) -> str:
    """Write what could not be saved beside the file; the name of that."""
    beside = work.path.with_name(f"{work.path.name}.rejected")
    edit.write(beside, work.body, edit.read(beside))
    return beside.name
