"""`%%argo`, `%argo` and `%config ArgoMagics`: they only parse lines, call the engine, and display results.

Rules:
- The cell's text is passed on unchanged. IPython expands nothing; only our line expands `$name` and `{name}`.
- Every error is one of ours and never a UsageError, which front ends do not treat as an error.
"""

from __future__ import annotations

import functools
import os
import re
import types
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand, output_can_be_silenced
from IPython.display import DisplayHandle, display
from traitlets import TraitError, TraitType

from uv_argo_magic import config, sessions
from uv_argo_magic._os import paths
from uv_argo_magic.commands import registry
from uv_argo_magic.core.commands import cell_text
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.run_options import RunOptions, run_options
from uv_argo_magic.core.commands.table import read_cell, read_line
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.view import tables
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.errors import SpecError
from uv_argo_magic.notebook import completion
from uv_argo_magic.renderers import kernel_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.view.tables import Table
    from uv_argo_magic.history.store import History
    from uv_argo_magic.sessions.registry import SessionEntry

HANDLERS = {
    **registry.COMMANDS,
    "attach": "uv_argo_magic.notebook.line_commands:attach",
    "edit": "uv_argo_magic.notebook.line_commands:edit",
}
"""The handler of each command of `%argo`."""


class Setting(TraitType):  # type: ignore[misc]
    """One key of the configuration; None means not set, so that the next layer is used."""

    allow_none = True
    default_value = None

    def validate(self, obj: object, value: object) -> object:  # noqa: ARG002 - the signature is traitlets'
        """The value converted to the key's type, or a TraitError with our message."""
        if value is None:
            return None
        if not isinstance(self.name, str):
            return value
        try:
            return config.parse_value(self.name, value)
        except SpecError as error:
            raise TraitError(f"{error.message}. {error.hint}") from None


def _traits() -> dict[str, Setting]:
    helps = {key: command_help.setting_help(key) for key in settings_parser.FIELDS} | {
        "python": "Python version of cells that set none",
        "backend": "backend of cells that set none",
        "deps": "requirements of cells that set none",
    }
    return {key: Setting(help=text).tag(config=True) for key, text in helps.items()}


KEYS = tuple(_traits())
_EXPANDS = re.compile(r"[${]")
"""A character in every line that can contain variables."""


def _with_settings() -> Any:
    """A Magics class with a trait for each setting, generated from the table of settings."""
    return types.new_class("ConfiguredMagics", (Magics,), exec_body=lambda body: body.update(_traits()))


@magics_class
class ArgoMagics(_with_settings()):  # type: ignore[misc]
    """Defaults of %%argo; the line and the script block of a cell come first."""

    def __init__(self, **options: Any) -> None:
        self._traits_set: Mapping[str, object] | None = None
        super().__init__(**options)
        self.observe(self._forget_traits)

    @no_var_expand
    @output_can_be_silenced
    @cell_magic("argo")
    def run_cell(self, line: str, cell: str) -> object:
        """Run this cell with its own dependencies, in an isolated process or a pod: %%argo --deps "numpy pandas"."""
        parsed, options = _read(line) if not _EXPANDS.search(line) else _read_now(line, self.shell.user_ns)
        if options.help or not (line or cell.strip()):
            print(command_help.explain("run", "notebook"))
            return None
        from uv_argo_magic.notebook import run_cell  # noqa: PLC0415 - 56 ms of `%load_ext`, which runs nothing

        if options.write_deps:
            run_cell.write_deps(line, cell, self._request(parsed))
            return None
        return run_cell.run_cell(line, cell, options, self._request(parsed))

    @no_var_expand
    @line_magic("argo")
    def run_line(self, line: str) -> object:
        """Show and manage runs, packages and sessions: %argo COMMAND; without a command, list all commands."""
        request = self._request(read_line(line, self.shell.user_ns))
        value: object = None
        handle: DisplayHandle | None = None
        for result in registry.dispatch(request, HANDLERS):
            match result:
                case registry.Value():
                    value = result.value
                case registry.Failure():
                    if result.error:
                        raise result.error
                case registry.TableUpdate():
                    handle = show_update(result, handle, self.shell)
                case _:
                    show(result)
        return value

    def _request(self, line: Line) -> registry.Request:
        return registry.Request(
            line=line, front_end="notebook", get_context=self._context, get_history=self.open_history, shell=self.shell
        )

    def _context(self) -> CellContext:
        """The context of the current cell."""
        names = self.shell.user_ns
        notebook = notebook_name(names)
        return CellContext.current(
            names=names, traits=self._set_traits(), line_offset=1, notebook=notebook, number=self.shell.execution_count,
            is_interactive=is_interactive(self.shell),
        )  # fmt: skip

    def _set_traits(self) -> Mapping[str, object]:
        """The keys set by %config or IPython's configuration, cached until a change."""
        if self._traits_set is None:
            self._traits_set = {key: value for key in KEYS if (value := getattr(self, key)) is not None}
        return self._traits_set

    def _forget_traits(self, _change: object) -> None:
        self._traits_set = None

    def find_session(self, line: str) -> SessionEntry | None:
        """The session of a cell with this line; None if it has none."""
        try:
            _, options = _read(line)
        except SpecError:  # the user is still typing
            return None
        if not options.session:
            return None
        return sessions.registry.Registry.of_this_user().find(
            sessions.registry.SessionKey.of(options.session, self._context().notebook_path)
        )

    def open_history(self) -> History:
        """The history of this machine."""
        from uv_argo_magic.history.store import History  # noqa: PLC0415 - 10 ms of `%load_ext`

        return History(paths.data_dir() / "runs", keep=0)


def _read_now(line: str, variables: Mapping[str, object]) -> tuple[Line, RunOptions]:
    parsed = read_cell(line, variables)
    return parsed, run_options(parsed)


@functools.lru_cache(maxsize=64)
def _read(line: str) -> tuple[Line, RunOptions]:
    """The options of a line without variables."""
    return _read_now(line, {})


# The text of `%%argo?` and `%argo?`, which IPython requests only then.
ArgoMagics.run_cell.getdoc = lambda: command_help.explain("run", "notebook")
ArgoMagics.run_line.getdoc = lambda: command_help.overview("notebook")


def show(result: str | Table) -> None:
    """Print a text or display a table, which is text if the front end does not support HTML."""
    if isinstance(result, str):
        print(result, flush=True)
        return
    display(_bundle(result), raw=True)


def show_update(update: registry.TableUpdate, handle: DisplayHandle | None, shell: object) -> DisplayHandle | None:
    """Replace the previous table with the new one; if the front end cannot replace it, print only the new lines."""
    if getattr(shell, "kernel", None) is None:
        print(update.new, flush=True)
    elif handle is None:
        return display(_bundle(update.table), raw=True, display_id=True)
    else:
        handle.update(_bundle(update.table), raw=True)
    return handle


def _bundle(table: Table) -> dict[str, str]:
    return {"text/plain": tables.text(table), "text/html": tables.html(table)}


def notebook_name(names: Mapping[str, object]) -> str:
    """The notebook's path, if the front end provides it; "" in a terminal."""
    for path in (names.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME"), names.get("__session__")):
        if isinstance(path, str) and path:
            return path
    return ""


def join_line(lines: list[str]) -> list[str]:
    """An input transformer of IPython that gives our cells one `%%argo` line at the top, and a body, even if empty."""
    parts = cell_text.split("".join(lines))
    if not parts or "\n" in parts[0]:
        return lines
    line, body = parts
    if body and body == "".join(lines[1:]):
        return lines  # keep the line unchanged, for the columns in errors
    return [f"{cell_text.MAGIC} {line}".rstrip() + "\n", *(body.splitlines(keepends=True) or ["\n"])]


def is_interactive(shell: Any) -> bool:
    """Whether a person runs the cells; nbclient (nbconvert, papermill, nbval) does not support input."""
    get_parent = getattr(shell, "get_parent", None)
    return get_parent is not None and get_parent().get("content", {}).get("allow_stdin") is not False


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion; loading again replaces them."""
    unload(shell)
    magics = ArgoMagics(shell=shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(completion.matcher(shell, magics.open_history, magics.find_session))
    shell.input_transformers_cleanup.append(join_line)
    kernel_messages.of(shell)  # listen from now on, to know the cells in the queue


def unload(shell: InteractiveShell) -> None:
    """Remove the magics and their completion."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("argo", None)
    shell.configurables[:] = [item for item in shell.configurables if not isinstance(item, ArgoMagics)]
    shell.input_transformers_cleanup[:] = [
        transform for transform in shell.input_transformers_cleanup if transform is not join_line
    ]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [item for item in matchers if getattr(item, "matcher_identifier", "") != completion.IDENTIFIER]
