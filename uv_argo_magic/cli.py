"""`uv-argo VERB`: the same table in a terminal. Exit status: 0 ok, 1 the run failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic import answers, places
from uv_argo_magic.core import events as ev
from uv_argo_magic.core.state import Gap, Restarted
from uv_argo_magic.core.verbs import read_argv, run_options
from uv_argo_magic.errors import ArgoMagicError, PolicyError, ResolutionError, SpecError
from uv_argo_magic.history import History

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from uv_argo_magic.core.options import Line
    from uv_argo_magic.core.state import Output, RunState


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the words ask; the exit status."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again when it flushes at exit.
        sys.stdout = None
        return 1
    except ArgoMagicError as error:
        print("\n".join(error._render_traceback_()), file=sys.stderr)
        return 2 if isinstance(error, SpecError | ResolutionError | PolicyError) else 1


def _main(argv: Sequence[str]) -> int:
    line = read_argv(argv)
    if line.verb == "run":
        return _run(line)
    print(answers.answer(line, History(places.data_dir() / "runs", keep=0), "terminal"), flush=True)
    return 0


def _run(line: Line) -> int:
    from uv_argo_magic import run as engine  # noqa: PLC0415 - the other verbs answer without it
    from uv_argo_magic.notebook import traceback  # noqa: PLC0415
    from uv_argo_magic.specify import Surroundings, specify  # noqa: PLC0415

    around = Surroundings.here(names={}, traits={}, line_offset=0)
    spec, made = specify(_source(line.argument), run_options(line), around)
    for note in (*made.notes, *spec.requirements.warnings):
        print(note, file=sys.stderr)
    prepared = engine.prepare(spec)
    if line.given("dry_run"):
        print(prepared.describe())
        return 0
    history = History(places.data_dir() / "runs", keep=spec.settings.history)
    run = engine.start(prepared, history=history, notebook="")
    run.follow(Streamer(sys.stdout, sys.stderr))
    # The file's own name: a traceback shows its lines as they are here.
    name = "<stdin>" if line.argument == "-" else line.argument
    run.rebuild = lambda remote, state: traceback.rebuild(remote, state=state, cell_name=name)
    run.raise_for_state()
    return 0


def _source(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 text", hint="Save the file as UTF-8.") from error
    except OSError as error:
        raise SpecError(
            f"{name} cannot be read: {error.strerror}", hint="Name a Python file, or - for stdin."
        ) from error


class Streamer:
    """A renderer that passes on what is new: the cell's output to one stream, all about it to the other."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._outputs = 0
        self._installed = 0

    def update(self, state: RunState) -> None:
        """Print what came since the last time."""
        for text in state.install_log[self._installed :]:
            self._err.write(text if text.endswith("\n") else text + "\n")
        for output in state.outputs[self._outputs :]:
            self._print(output)
        self._installed, self._outputs = len(state.install_log), len(state.outputs)
        self._out.flush()
        self._err.flush()

    def _print(self, output: Output) -> None:
        match output:
            case ev.Lines():
                self._out.write(output.text)
            case ev.Text():
                (self._out if output.stream == "stdout" else self._err).write(output.text)
            case ev.Display():
                self._out.write(answers.plain(output.data) + "\n")
            case Gap() | Restarted() | ev.Skipped():
                self._err.write(answers.remark(output))
            case ev.Result() | ev.ClearOutput():
                pass  # a script's last expression prints nothing, and a terminal keeps what it showed
