"""The one table of commands and options, and how a line is read by it; help.py makes help and completion of it.

Rules:
- `%%argo`, `%argo VERB`, `uv-argo VERB`, their help and their completion are generated from VERBS; what is not in the
  table does not exist.
- The table says what can be asked for. What a backend can do is the backend's word: see config.refuse.
- Nothing prints or exits; a wrong line is a SpecError with the nearest right word.
"""

from __future__ import annotations

import json
import keyword
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic.core.commands.parser import Command, FrontEnd, Line, Option, Token, is_option, read, tokenize
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import Resources
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELP = Option(dest="help", flags=("-h", "--help"), kind="flag", help="show this", example="--help")

BACKEND = Option(
    dest="backend", flags=("-b", "--backend"), metavar="NAME", completer="backend",
    help="where it runs", example="--backend local",
)  # fmt: skip

SET = Option(
    dest="set", flags=("--set",), metavar="KEY=VALUE", kind="repeated", completer="setting",
    private=("env", "index_url", "index-url", "indexes"),
    help="any other setting; may be repeated", example="--set run_timeout=5m",
)  # fmt: skip

TO = Option(
    dest="to", flags=("--to",), metavar="FILE", completer="file",
    help="a Workflow (.yaml), or a script with its dependencies (.py); else the script is printed",
    example="--to cell.yaml",
)  # fmt: skip

RUN_OPTIONS = (
    Option(
        dest="deps", flags=("-d", "--deps"), metavar="REQUIREMENTS", kind="values",
        help="what the cell needs, up to the next option", example='--deps "numpy pandas>=2"',
    ),
    Option(
        dest="requirements", flags=("-r", "--requirements"), metavar="FILE", kind="repeated", completer="file",
        help="the same from a file: requirements, pyproject.toml, a lock, environment.yml; may be repeated",
        example="-r requirements.txt",
    ),
    Option(
        dest="python", flags=("-p", "--python"), metavar="VERSION", completer="python",
        help="the Python that runs it", example="--python 3.12",
    ),
    BACKEND,
    Option(
        dest="upgrade", flags=("--upgrade",), kind="flag",
        help="choose the packages' versions anew, not those that this notebook has had", example="--upgrade",
    ),
    Option(
        dest="push", flags=("--push",), metavar="NAMES", kind="values", completer="name", front_ends=("notebook",),
        help="variables of the notebook that the cell gets", example="--push x,y",
    ),
    Option(
        dest="pull", flags=("--pull",), metavar="NAMES", kind="values", completer="cell-name", front_ends=("notebook",),
        help="variables of the cell that the notebook gets", example="--pull total",
    ),
    Option(
        dest="out", flags=("-o", "--out"), metavar="NAME", completer="name", front_ends=("notebook",),
        help="a name for the run itself, failed or not", example="--out run",
    ),
    Option(
        dest="detach", flags=("--detach",), kind="flag", front_ends=("notebook",),
        help="return at once with the run; its output goes on in this cell", example="--detach",
    ),
    Option(
        dest="write_deps", flags=("--write-deps",), kind="flag", front_ends=("notebook",),
        help="write what the notebook's requirements file asks for on this line, and run nothing",
        example="--write-deps",
    ),
    Option(
        dest="dry_run", flags=("--dry-run",), kind="flag",
        help="print what would run, and run nothing", example="--dry-run",
    ),
    replace(TO, help="with --dry-run, write it: a Workflow (.yaml), or a script with its dependencies (.py)"),
    Option(
        dest="resources", flags=("--resources",), metavar="WHAT=QUANTITY", kind="values", completer="resource",
        help="what the cell asks of its place", example="--resources cpu=2 memory=1Gi..4Gi",
    ),
    SET,
    HELP,
)  # fmt: skip

REQUEST = Option(
    dest="request", flags=("--request",), metavar="FILE", completer="file",
    help="instead of FILE a request as JSON: pythonCode, dependencies, requirementsFile; - for stdin",
    example="--request request.json",
)  # fmt: skip

_BY_DEST = {option.dest: option for option in RUN_OPTIONS}

RUN = Option(
    dest="run", metavar="RUN", completer="run", help="a run's id, its beginning, or its workflow; else the last run"
)
BACKEND_OPTIONS = (BACKEND, SET)
"""Where to ask about a run that is not kept on this machine."""

CELL = Command(
    name="%%argo", help="run this cell with its own dependencies, elsewhere",
    notebook='%%argo --deps "numpy pandas"', options=RUN_OPTIONS,
)  # fmt: skip

COMMANDS = (
    Command(
        name="run", help="run a Python file with its own dependencies, elsewhere",
        terminal='uv-argo run script.py --deps "numpy pandas"', options=(*RUN_OPTIONS[:-1], REQUEST, HELP),
        argument=Option(dest="file", metavar="FILE", completer="file", required=True, instead="request",
                        help="a Python file, or - for stdin"),
    ),
    Command(
        name="runs", help="list the runs that are kept, newest first", notebook="%argo runs -n 5",
        terminal="uv-argo runs -n 5",
        options=(
            Option(dest="count", flags=("-n", "--count"), metavar="N", help="how many; else 20", example="-n 5"),
            Option(dest="all", flags=("--all",), kind="flag", help="those of other notebooks too", example="--all",
                   front_ends=("notebook",)),
            HELP,
        ),
    ),
    Command(
        name="last", help="say how the last run went", notebook="%argo last", terminal="uv-argo last",
        options=(HELP,),
    ),
    Command(
        name="logs", help="print a run's whole log", notebook="%argo logs", terminal="uv-argo logs",
        options=(
            Option(dest="raw", flags=("--raw",), kind="flag", help="with the records between", example="--raw"),
            *BACKEND_OPTIONS,
            HELP,
        ),
        argument=RUN,
    ),
    Command(
        name="packages", help="list the packages that a run had, and what differs from another run's",
        notebook="%argo packages", terminal="uv-argo packages",
        options=(HELP,),
        argument=Option(dest="run", metavar="RUN", kind="values", completer="run",
                        help="one run, or two to compare; else the last run"),
    ),
    Command(
        name="lock", help="show the lock of a run or of requirements, write it to a file, or renew it",
        notebook="%argo lock --to requirements.txt", terminal="uv-argo lock --to pylock.toml",
        options=(
            *(_BY_DEST[dest] for dest in ("deps", "requirements", "python", "backend", "set")),
            replace(TO, help="write it: pylock.toml, pylock.NAME.toml, or requirements with hashes (.txt)",
                    example="--to pylock.toml"),
            Option(dest="upgrade", flags=("--upgrade",), kind="flag",
                   help="choose the versions anew, show what changes, and keep that", example="--upgrade"),
            Option(dest="dry_run", flags=("--dry-run",), kind="flag", help="keep and write nothing",
                   example="--dry-run"),
            HELP,
        ),
        argument=RUN,
    ),
    Command(
        name="verify", help="run again what a notebook says it ran, with the same packages, and compare",
        notebook="%argo verify", terminal="uv-argo verify study.ipynb", options=(*BACKEND_OPTIONS, HELP),
        argument=Option(dest="notebook", metavar="NOTEBOOK", completer="file",
                        help="a notebook's file; else this one, as it was saved"),
    ),
    Command(
        name="stop", help="stop a run", notebook="%argo stop", terminal="uv-argo stop",
        options=(*BACKEND_OPTIONS, HELP), argument=RUN,
    ),
    Command(
        name="attach", help="show a run again, live while it runs, whoever began it", notebook="%argo attach",
        terminal="uv-argo attach", options=(*BACKEND_OPTIONS, HELP), argument=RUN,
    ),
    Command(
        name="export", help="write a run as a file that runs without this package",
        notebook="%argo export --to cell.yaml",
        terminal="uv-argo export --to cell.yaml", argument=RUN,
        options=(TO, BACKEND, SET, HELP),
    ),
    Command(
        name="edit", help="edit the notebook's requirements file, checked as it changes", notebook="%argo edit",
        terminal="uv-argo edit analysis.ipynb",
        options=(
            Option(dest="cell", flags=("--cell",), kind="flag", front_ends=("notebook",), example="--cell",
                   help="edit nothing: put a cell that asks for what the file does below this one"),
            HELP,
        ),
        argument=Option(dest="file", metavar="FILE", completer="file",
                        help="a notebook, or a requirements file; else this notebook's"),
    ),
    Command(
        name="doctor", help="look at what runs need, run a small one, and say what to do where something fails",
        notebook="%argo doctor", terminal="uv-argo doctor -b argo",
        options=(_BY_DEST["python"], BACKEND, SET, HELP),
    ),
    Command(
        name="help", help="explain a verb", notebook="%argo help logs", terminal="uv-argo help run",
        argument=Option(dest="verb", metavar="VERB", completer="command", help="a verb; else all of them"),
        options=(HELP,),
    ),
)  # fmt: skip


def commands_in(front_end: FrontEnd) -> dict[str, Command]:
    """The verbs that can be said there, by name."""
    return {command.name: command for command in COMMANDS if getattr(command, front_end)}


def read_cell(line: str, variables: Mapping[str, object]) -> Line:
    """The `%%argo` line; `names` are the notebook's variables.

    Raises:
        SpecError: the line is wrong.
    """
    return read(CELL, tokenize(line), "notebook", variables)


def read_line(line: str, variables: Mapping[str, object]) -> Line:
    """The `%argo` line; without a verb it is help.

    Raises:
        SpecError: the line is wrong.
    """
    return _verb(tokenize(line), "notebook", variables)


def read_argv(argv: Sequence[str]) -> Line:
    """The words of the command line, as the shell gave them; nothing expands.

    Raises:
        SpecError: the line is wrong.
    """
    return _verb([Token(text=word, raw=word) for word in argv], "terminal", None)


def _verb(tokens: Sequence[Token], front_end: FrontEnd, variables: Mapping[str, object] | None) -> Line:
    commands = commands_in(front_end)
    if not tokens or tokens[0].text in HELP.flags:
        return Line(command="help")
    name = tokens[0].text
    if name in commands:
        line = read(commands[name], tokens[1:], front_end, variables)
        if line.has("help"):
            return Line(command="help", argument=name)
        if name == "help" and line.argument and line.argument not in commands:
            raise unknown("verb", line.argument, commands)
        return line
    if name in commands_in("terminal"):
        raise SpecError(f"{name} is for the terminal", hint=f"Here, write {CELL.name} above a cell.")
    raise unknown("option" if is_option(tokens[0]) else "verb", name, HELP.flags if is_option(tokens[0]) else commands)


Sets: TypeAlias = tuple[tuple[str, settings_parser.Value], ...]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a line asks of a run; "" and () where it says nothing. `deps` None: not even an empty list was given."""

    deps: str | None = None
    requirements: tuple[str, ...] = ()
    python: str = ""
    backend: str = ""
    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()
    out: str = ""
    upgrade: bool = False
    detach: bool = False
    dry_run: bool = False
    write_deps: bool = False
    to: str = ""
    resources: Resources = field(default_factory=Resources)
    sets: Sets = ()
    help: bool = False


def run_options(line: Line) -> RunOptions:
    """The options of a run, read and checked.

    Raises:
        SpecError: a value that does not fit its option.
    """
    if line.has("to") and not line.has("dry_run") and line.command != "lock":
        raise SpecError(
            "--to belongs to --dry-run", hint="Write --dry-run --to FILE; %argo export writes what has run."
        )
    return RunOptions(
        deps=line.text("deps") if line.has("deps") else None,
        requirements=line.each("requirements"),
        python=_python(line.text("python")),
        backend=line.text("backend"),
        push=_names("--push", line.text("push")),
        pull=_names("--pull", line.text("pull")),
        out=_name("--out", line.text("out")) if line.has("out") else "",
        upgrade=line.has("upgrade"),
        detach=line.has("detach"),
        dry_run=line.has("dry_run"),
        write_deps=line.has("write_deps"),
        to=line.text("to"),
        resources=_resources(line.text("resources")),
        sets=settings_parser.parse_assignments(line.each("set")),
        help=line.has("help"),
    )


def count(line: Line, default: int = 20) -> int:
    """The number of `runs -n`.

    Raises:
        SpecError: it is no whole number above 0.
    """
    text = line.text("count")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text)):
        raise SpecError(f"-n needs a whole number, not {text}", hint="For example: runs -n 5")
    return int(text)


_PYTHON = re.compile(r"(?:python|cpython-?)?(3(?:\.\d+){0,2}t?)")


def _python(text: str) -> str:
    if not text:
        return ""
    match = _PYTHON.fullmatch(text.strip().lower())
    if not match:
        raise SpecError(f"--python cannot be {text}", hint="Write a version such as 3.12 or 3.12.4.")
    return match[1]


def _names(flag: str, text: str) -> tuple[str, ...]:
    if text.startswith("["):
        try:
            names = json.loads(text)
        except ValueError:
            names = [text]
    else:
        names = re.split(r"[\s,]+", text)
    return tuple(dict.fromkeys(_name(flag, str(name)) for name in names if name))


def _name(flag: str, text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise SpecError(f"{flag} needs a variable's name, not {text}", hint=f"For example: {flag} total")
    return text


_QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:m|[kMGTPE]i?|Ki)?")
_RANGE = re.compile(rf"{_QUANTITY.pattern}(?:\.\.{_QUANTITY.pattern})?")


def _resources(text: str) -> Resources:
    kinds = [field_.name for field_ in fields(Resources)]
    quantities = {}
    for word in re.split(r"[\s,]+", text.strip()) if text else ():
        kind, _, quantity = word.partition("=")
        if kind not in kinds:
            raise unknown("resource", kind, kinds)
        if not _RANGE.fullmatch(quantity):
            raise SpecError(
                f"{kind} needs a quantity, not {quantity or 'nothing'}",
                hint="For example: cpu=500m memory=4Gi, or memory=1Gi..4Gi: what is promised, and what may be used.",
            )
        quantities[kind] = quantity
    return Resources(**quantities)
