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
    helps = {key: one.metadata["help"] for key, one in settings_parser.FIELDS.items()}
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

        read = read_cell(line, self.shell.user_ns)
        options = run_options(read)
        if options.help:
            print(command_help.explain("run", "notebook"))
            return None
        if options.write_deps:
            from uv_argo_magic.commands import edit  # noqa: PLC0415

            # While a cell runs, a front end puts this in the cell's own place, and in no other.
            self.shell.set_next_input(f"{edit.written_into(line, self._around())}\n{cell}", replace=True)
            return None
        cell_syntax.refuse_ipython(cell, 1)
        around = self._around()
        spec, made = specify(cell, options, around)
        name = rebuild.find_cell_name(self.shell, line, cell)
        self._check_syntax(name, cell, spec.python)
        prepared = engine.prepare(
            spec, notebook=around.notebook, upgrade=options.upgrade, say=None if options.dry_run else say
        )
        if isinstance(prepared.resolution, Lock):
            self._check_syntax(name, cell, prepared.resolution.target.minor)
        blocked = background.why_not(self.shell, spec.settings)
        tell(read, made, spec, blocked if options.detach else "", *messages.warnings(prepared.resolution))
        if options.dry_run:
            print(export.prepared(prepared, options.to) if options.to else prepared.describe())
            return None
        run = engine.start(prepared, history=self.kept(spec.settings.history), notebook=around.notebook, warm=True)
        run.rebuild = lambda remote, state: rebuild.rebuild(remote, state=state, cell_name=name)
        run.bind = self.shell.push
        if options.out:
            self.shell.push({options.out: run})
        about = functools.partial(
            output_metadata.metadata, cell_digest=spec.cell_digest, resolution=prepared.resolution,
            image=prepared.interpreter.image,
        )  # fmt: skip
        if options.detach and not blocked:
            background.show(run, self.shell, spec.settings, metadata=about)
            return run
        background.KNOWN[run.id] = run
        to = None if blocked else background.SwitchingSink(self.shell)
        shown = renderers(
            spec.settings, ip=self.shell, on_stop=lambda: run.ask_to_stop("the Stop button"), metadata=about, to=to,
            whole=f"%argo logs {run.id}", lock=run.lock,
        )  # fmt: skip
        hand_over = None if to is None else functools.partial(background.go_on, run, to, shown)
        try:
            state = run.follow(*shown, hand_over=hand_over)
        except KeyboardInterrupt:
            raise rebuild.Interrupted(messages.sentence(run.state)) from None
        rebuild.show_groups(self.shell)
        run.raise_for_state()
        if options.pull:
            self.shell.push(run.values())
        return result_object(state)

    @no_var_expand
    @line_magic("argo")
    def say(self, line: str) -> object:
        """Ask about runs: %argo runs, last, logs, packages, lock, edit, stop, attach; alone it prints all of them."""
        read = read_line(line, self.shell.user_ns)
        if read.command == "attach":
            from uv_argo_magic.notebook import background  # noqa: PLC0415

            return background.attach(
                read.argument, self.shell, self.kept(), notebook_name(self.shell.user_ns), self.asked(read)
            )
        name = notebook_name(self.shell.user_ns)
        if read.command == "export":
            from uv_argo_magic.commands import export  # noqa: PLC0415

            show(export.kept(read, self.kept(), name))
        elif read.command == "doctor":
            from uv_argo_magic.commands import doctor  # noqa: PLC0415
            from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415

            around = CellContext.here(names=self.shell.user_ns, traits=self.said(), line_offset=1)
            for check in doctor.examine(read, around):
                print(doctor.text(check), flush=True)
        elif read.command == "lock":
            from uv_argo_magic.commands import lock  # noqa: PLC0415 - it may load a backend

            show(lock.answer(read, self.kept(), self._around()))
        elif read.command == "verify":
            from uv_argo_magic.commands import verify  # noqa: PLC0415

            table, same = verify.answer(read, self._around())
            show(table)
            if not same:
                raise VerifyFailed(
                    "not everything came out the same", hint="The table says what differs, cell by cell."
                )
        elif read.command == "edit":
            from uv_argo_magic.notebook import editor  # noqa: PLC0415

            editor.open_editor(read, self.shell, self._around, self.kept())
        else:
            show(runs.answer(read, self.kept(), "notebook", name, self.asked(read)))
        return None

    def _around(self) -> CellContext:
        """Where a cell stands now."""
        from uv_argo_magic.engine.spec_builder import CellContext  # noqa: PLC0415 - loading the extension stays light

        names = self.shell.user_ns
        return CellContext.here(names=names, traits=self.said(), line_offset=1, notebook=notebook_name(names))

    def asked(self, read: Line) -> config.Config:
        """Where to ask about a run: what the line says, then what is configured here."""
        return config.configure(config.layers(config.line_values(run_options(read)), {}, self.said()))

    def said(self) -> dict[str, object]:
        """The keys that are set by %config or IPython's own configuration."""
        found = {key: getattr(self, key) for key in (*settings_parser.FIELDS, *config.OPTIONS)}
        return {key: value for key, value in found.items() if value is not None}

    def kept(self, keep: int = 0) -> History:
        """The runs kept on this machine; `keep` bounds them when a run ends."""
        return History(paths.data_dir() / "runs", keep=keep)

    def _check_syntax(self, name: str, cell: str, python: str) -> None:
        """Refuse a cell that is no Python, where the Python that would run it has this one's minor version."""
        if ".".join(python.split(".")[:2]) == ".".join(map(str, sys.version_info[:2])):
            cell_syntax.refuse_no_python(name, cell)


def show(answer: str | Table) -> None:
    """Print text; show a table as one, and as text where a front end has no other form."""
    if isinstance(answer, str):
        print(answer)
    else:
        display({"text/plain": tables.text(answer), "text/html": tables.html(answer)}, raw=True)


def say(text: str) -> None:
    """Show a sentence of ours, marked as such: it is no output of the cell."""
    display({"text/plain": text}, raw=True, metadata={output_metadata.KEY: {"schema": output_metadata.SCHEMA}})


def tell(read: Line, made: config.Config, spec: RunSpec, *more: str) -> None:
    """Show what the line expanded to and what somebody should know, apart from what the cell prints."""
    said = [f"{name} = {text}" for name, text in read.expanded] + list(made.notes) + list(spec.requirements.warnings)
    said += filter(None, more)
    if said:
        say("\n".join(said))


def notebook_name(names: Mapping[str, object]) -> str:
    """The notebook's path, as far as the front end tells; "" in a terminal."""
    for said in (names.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME"), names.get("__session__")):
        if isinstance(said, str) and said:
            return said
    return ""


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion; loading again replaces them."""
    unload(shell)
    made = ArgoMagics(shell=shell)
    shell.register_magics(made)
    shell.Completer.custom_matchers.append(completion.matcher(shell, made.kept))


def unload(shell: InteractiveShell) -> None:
    """Take the magics and their completion away."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("argo", None)
    shell.configurables[:] = [one for one in shell.configurables if not isinstance(one, ArgoMagics)]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", "") != completion.IDENTIFIER]
