"""Edit a requirements file in a terminal: `$VISUAL` or `$EDITOR` opens a copy, which is checked after each save.

Rules:
- After an error, the editor opens again, with the error as comments at the top. Saving without changes cancels.
- A rejected text is never lost: it is written to a file next to the original, or to a temporary one.
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
"""Number of lines of an error at the top of the copy; it is included in line numbers."""
TRIES = 30
"""Maximum number of times that the editor is opened, because an editor can be a script that never gives up."""


def handle(request: Request) -> Iterator[str]:
    """The `edit` command in a terminal."""
    context = request.context
    yield edit_file(edit.find(request.line.argument, context), context)


def edit_file(path: Path, context: CellContext) -> str:
    """Let the user edit the file until its requirements are valid; the result of the check, as a sentence.

    Raises:
        SpecError: there is no editor, it failed, or its last text is invalid or cannot be saved.
        ResolutionError: the saved requirements cannot be resolved.
    """
    draft = _Draft(path=path, saved=(text := edit.read(path)), text=text)
    try:
        return _edit_until_valid(draft, _command(context.environ), context)
    except ArgoMagicError as error:
        if draft.text == draft.saved:
            raise
        raise SpecError(error.message, hint=f"{path.name} is unchanged. Your text is in {_keep(draft)}.") from None
    except KeyboardInterrupt:
        if draft.text != draft.saved:
            _keep(draft)
        raise


@dataclass
class _Draft:
    """The requirements file, its text when it was last read or written, and the current text of the editor."""

    path: Path
    saved: str
    text: str


def _edit_until_valid(draft: _Draft, command: list[str], context: CellContext) -> str:
    path, remark = draft.path, ""
    with tempfile.TemporaryDirectory(prefix="uv-argo-") as folder:
        copy = Path(folder) / path.name
        for _ in range(TRIES):
            copy.write_text(remark + draft.text, encoding="utf-8")
            _run([*command, str(copy)])
            text = _without_remark(edit.read(copy))
            is_unchanged = bool(remark) and text == draft.text
            draft.text = text
            try:
                # The line numbers in the error include the remark above the text.
                edits.items("#\n" * LINES + text, path.name)
            except SpecError as error:
                if is_unchanged:
                    raise
                remark = _remark(error)
                continue
            if text != draft.saved and not edit.write(path, text, draft.saved):
                raise SpecError(f"{path.name} was changed by another program")
            draft.saved = text
            result = edit.check(path, context)
            if result.lock is not None or result.unreachable:
                return f"{path.name}: {result.sentence()}"
            problem = ResolutionError(result.problem, hint=result.hint, names=result.blamed)
            if is_unchanged:
                raise problem
            remark = _remark(problem)
    raise SpecError(f"the requirements could not be resolved after {TRIES} edits", hint="Run edit again.")


def _command(environ: Mapping[str, str]) -> list[str]:
    configured = next(filter(str.strip, (environ.get(name, "") for name in ("VISUAL", "EDITOR"))), "")
    if configured:
        try:
            return shlex.split(configured, posix=os.name == "posix")
        except ValueError as error:
            raise SpecError(f"invalid EDITOR: {configured}: {error}", hint="Set EDITOR to your editor.") from error
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
        raise SpecError(f"{command[0]} exited with status {status}; its changes were ignored", hint="Run edit again.")


def _remark(error: ArgoMagicError) -> str:
    lines = (error.message, error.hint, "Correct the text and save it; saving without changes cancels.")
    return "".join(f"{MARK}{' '.join(line.split())}\n" for line in lines)


def _without_remark(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(MARK))


def _keep(draft: _Draft) -> str:
    """Write the rejected text to a file next to the original, or else to a temporary file; the name of that file."""
    rejected = draft.path.with_name(f"{draft.path.name}.rejected")
    try:
        edit.write(rejected, draft.text, edit.read(rejected))
    except SpecError:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=f".{rejected.name}", delete=False) as file:
            file.write(draft.text)
        return file.name
    return rejected.name
