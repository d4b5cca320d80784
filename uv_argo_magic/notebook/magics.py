"""`%%argo`, `%argo` and `%config ArgoMagics`: parse, call, display; nothing else happens here.

Rules:
- The cell's text is captured unchanged; IPython expands nothing, and only our own line expands `$name` and `{name}`.
- Every error is one of ours, never a UsageError: no front end sees that as an error.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand, output_can_be_silenced
from IPython.display import display
from traitlets import TraitError, TraitType

from uv_argo_magic import cell_syntax, config
from uv_argo_magic._os import paths
from uv_argo_magic.commands import runs
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.table import read_cell, read_line, run_options
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import output_metadata, settings_parser
from uv_argo_magic.core.view import messages, tables
from uv_argo_magic.errors import SpecError, VerifyFailed
from uv_argo_magic.history.store import History
from uv_argo_magic.notebook import completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from uv_argo_magic.core.commands.parser import Line
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.core.view.tables import Table
    from uv_argo_magic.engine.spec_builder import CellContext


class Setting(TraitType):  # type: ignore[misc]
    """One key of the configuration; None: nothing is set here, and the next place in the order says."""

    allow_none = True
    default_value = None

    def validate(self, obj: object, value: object) -> object:  # noqa: ARG002 - the signature is traitlets'
        """The value as the key's type has it, or a TraitError with our sentence."""
        if value is None:
            return None
        if not isinstance(self.name, str):
            return value
        try:
            return config.checked(self.name, value)
        except SpecError as error:
            raise TraitError(f"{error.message}. {error.hint}") from None


def _traits() -> dict[str, Setting]:
    defaults = config.defaults()
    helps = {key: field.metadata["help"] for key, field in settings_parser.FIELDS.items()}
    helps |= {
        "python": "the Python where a cell says none",
        "backend": "where a cell runs that does not say it",
        "deps": "what a cell needs that says nothing about it",
    }
    return {
        key: Setting(help=f"{text}; not set: {defaults[key] or 'nothing'}").tag(config=True)
        for key, text in helps.items()
    }


# One trait a key: written out, they could drift from the table of settings.
_Configured: Any = type(Magics)("_Configured", (Magics,), _traits())


@magics_class
class ArgoMagics(_Configured):  # type: ignore[misc]
    """Defaults of %%argo; what a cell's own line or script block says comes first."""

    @no_var_expand
    @output_can_be_silenced
    @cell_magic("argo")
    def run_cell(self, line: str, cell: str) -> object:
        """Run this cell with its own dependencies, elsewhere: %%argo --deps "numpy pandas"."""
        from uv_argo_magic.commands import export  # noqa: PLC0415 - loading the extension stays light
        from uv_argo_magic.engine import run as engine  # noqa: PLC0415
        from uv_argo_magic.engine.spec_builder import specify  # noqa: PLC0415
        from uv_argo_magic.notebook import background  # noqa: PLC0415
        from uv_argo_magic.remote_traceback import rebuild  # noqa: PLC0415
        from uv_argo_magic.renderers.cell_output import result_object  # noqa: PLC0415
        from uv_argo_magic.renderers.choose import renderers  # noqa: PLC0415

        parsed = read_cell(line, self.shell.user_ns)
        options = run_options(parsed)
        if options.help:
            print(command_help.explain("run", "notebook"))
            return None
        if options.write_deps:
            from uv_argo_magic.commands import edit  # noqa: PLC0415

            # While a cell runs, a front end puts this in the cell's own place, and in no other.
            self.shell.set_next_input(f"{edit.written_into(line, self._context())}\n{cell}", replace=True)
            return None
        cell_syntax.refuse_ipython(cell, 1)
        context = self._context()
        spec, configuration = specify(cell, options, context)
        name = rebuild.find_cell_name(self.shell, line, cell)
        self._check_syntax(name, cell, spec.python)
        prepared = engine.prepare(
            spec, notebook=context.notebook, upgrade=options.upgrade, say=None if options.dry_run else show_note
        )
        if isinstance(prepared.resolution, Lock):
            self._check_syntax(name, cell, prepared.resolution.target.minor)
        blocked = background.why_not(self.shell, spec.settings)
        show_notes(
            parsed, configuration, spec, blocked if options.detach else "", *messages.warnings(prepared.resolution)
        )
        if options.dry_run:
            print(export.export_prepared(prepared, options.to) if options.to else prepared.describe())
            return None
        run = engine.start(
            prepared, history=self.open_history(spec.settings.history), notebook=context.notebook, warm=True
        )
        run.rebuild = lambda remote, state: rebuild.rebuild(remote, state=state, cell_name=name)
        run.bind = self.shell.push
        if options.out:
            self.shell.push({options.out: run})
        metadata = functools.partial(
            output_metadata.metadata, cell_digest=spec.cell_digest, resolution=prepared.resolution,
            image=prepared.interpreter.image,
        )  # fmt: skip
        if options.detach and not blocked:
            background.show(run, self.shell, spec.settings, metadata=metadata)
            return run
        background.RUNS[run.id] = run
        sink = None if blocked else background.SwitchingSink(self.shell)
        views = renderers(
            spec.settings, ip=self.shell, on_stop=lambda: run.ask_to_stop("the Stop button"), metadata=metadata,
            sink=sink, full_log=f"%argo logs {run.id}", lock=run.lock,
        )  # fmt: skip
        hand_over = None if sink is None else functools.partial(background.follow_later, run, sink, views)
        try:
            state = run.follow(*views, hand_over=hand_over)
        except KeyboardInterrupt:
            raise rebuild.Interrupted(messages.sentence(run.state)) from None
        rebuild.show_groups(self.shell)
        run.raise_for_state()
        if options.pull:
            self.shell.push(run.values())
        return result_object(state)

    @no_var_expand
    @line_magic("argo")
    def run_line(self, line: str) -> object:
        """Ask about runs: %argo runs, last, logs, packages, lock, edit, stop, attach; alone it prints all of them."""
        parsed = read_line(line, self.shell.user_ns)
        if parsed.command == "attach":
            from uv_argo_magic.notebook import background  # noqa: PLC0415

            return background.attach(
                parsed.argument,
                self.shell,
                self.open_history(),
                notebook_name(self.shell.user_ns),
                self._configuration(parsed),
            )
        name = notebook_name(self.shell.user_ns)
        if parsed.command == "export":
            from uv_argo_magic.commands import export  # noqa: PLC0415

            show(export.export_run(parsed, self.open_history(), name))
        elif parsed.command == "doctor":
            from uv_argo_magic.commands import doctor  # noqa: PLC0415
            from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415

            context = CellContext.current(names=self.shell.user_ns, traits=self._set_traits(), line_offset=1)
            for check in doctor.examine(parsed, context):
                print(doctor.text(check), flush=True)
        elif parsed.command == "lock":
            from uv_argo_magic.commands import lock  # noqa: PLC0415 - it may load a backend

            show(lock.answer(parsed, self.open_history(), self._context()))
        elif parsed.command == "verify":
            from uv_argo_magic.commands import verify  # noqa: PLC0415

            table, same = verify.answer(parsed, self._context())
            show(table)
            if not same:
                raise VerifyFailed(
                    "not everything came out the same", hint="The table says what differs, cell by cell."
                )
        elif parsed.command == "edit":
            from uv_argo_magic.notebook import editor  # noqa: PLC0415

            editor.open_editor(parsed, self.shell, self._context, self.open_history())
        else:
            show(runs.answer(parsed, self.open_history(), "notebook", name, self._configuration(parsed)))
        return None

    def _context(self) -> CellContext:
        """Where a cell stands now."""
        from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415 - loading the extension stays light

        names = self.shell.user_ns
        return CellContext.current(names=names, traits=self._set_traits(), line_offset=1, notebook=notebook_name(names))

    def _configuration(self, parsed: Line) -> config.Config:
        """Where to ask about a run: what the line says, then what is configured here."""
        return config.configure(config.layers(config.line_values(run_options(parsed)), {}, self._set_traits()))

    def _set_traits(self) -> dict[str, object]:
        """The keys that are set by %config or IPython's own configuration."""
        values = {key: getattr(self, key) for key in (*settings_parser.FIELDS, *config.OPTIONS)}
        return {key: value for key, value in values.items() if value is not None}

    def open_history(self, keep: int = 0) -> History:
        """The runs kept on this machine; `keep` bounds them when a run ends."""
        return History(paths.data_dir() / "runs", keep=keep)

    def _check_syntax(self, name: str, cell: str, python: str) -> None:
        """Refuse a cell that is no Python, where the Python that would run it has this one's minor version."""
        if ".".join(python.split(".")[:2]) == ".".join(map(str, sys.version_info[:2])):
            cell_syntax.refuse_invalid_python(name, cell)


def show(answer: str | Table) -> None:
    """Print text; show a table as one, and as text where a front end has no other form."""
    if isinstance(answer, str):
        print(answer)
    else:
        display({"text/plain": tables.text(answer), "text/html": tables.html(answer)}, raw=True)


def show_note(text: str) -> None:
    """Show a sentence of ours, marked as such: it is no output of the cell."""
    display({"text/plain": text}, raw=True, metadata={output_metadata.KEY: {"schema": output_metadata.SCHEMA}})


def show_notes(parsed: Line, configuration: config.Config, spec: RunSpec, *warnings: str) -> None:
    """Show what the line expanded to and what somebody should know, apart from what the cell prints."""
    lines = (
        [f"{name} = {text}" for name, text in parsed.expanded]
        + list(configuration.notes)
        + list(spec.requirements.warnings)
    )
    lines += filter(None, warnings)
    if lines:
        show_note("\n".join(lines))


def notebook_name(names: Mapping[str, object]) -> str:
    """The notebook's path, as far as the front end tells; "" in a terminal."""
    for path in (names.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME"), names.get("__session__")):
        if isinstance(path, str) and path:
            return path
    return ""


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion; loading again replaces them."""
    unload(shell)
    magics = ArgoMagics(shell=shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(completion.matcher(shell, magics.open_history))


def unload(shell: InteractiveShell) -> None:
    """Take the magics and their completion away."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("argo", None)
    shell.configurables[:] = [item for item in shell.configurables if not isinstance(item, ArgoMagics)]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [item for item in matchers if getattr(item, "matcher_identifier", "") != completion.IDENTIFIER]
