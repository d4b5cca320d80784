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

from uv_argo_magic.core.commands.parser import Command, FrontEnd, Line, Option, Token, is_option, read, words
from uv_argo_magic.core.spec import settings_parser as keys
from uv_argo_magic.core.spec.run_spec import Resources
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
    dest="set", flags=("--set",), metavar="KEY=VALUE", kind="many", completer="setting",
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
        dest="deps", flags=("-d", "--deps"), metavar="REQUIREMENTS", kind="words",
        help="what the cell needs, up to the next option", example='--deps "numpy pandas>=2"',
    ),
    Option(
        dest="requirements", flags=("-r", "--requirements"), metavar="FILE", kind="many", completer="file",
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
        dest="push", flags=("--push",), metavar="NAMES", kind="words", completer="name", places=("notebook",),
        help="variables of the notebook that the cell gets", example="--push x,y",
    ),
    Option(
        dest="pull", flags=("--pull",), metavar="NAMES", kind="words", completer="cell-name", places=("notebook",),
        help="variables of the cell that the notebook gets", example="--pull total",
    ),
    Option(
        dest="out", flags=("-o", "--out"), metavar="NAME", completer="name", places=("notebook",),
        help="a name for the run itself, failed or not", example="--out run",
    ),
    Option(
        dest="detach", flags=("--detach",), kind="flag", places=("notebook",),
        help="return at once with the run; its output goes on in this cell", example="--detach",
    ),
    Option(
        dest="write_deps", flags=("--write-deps",), kind="flag", places=("notebook",),
        help="write what the notebook's requirements file asks for on this line, and run nothing",
        example="--write-deps",
    ),
    Option(
        dest="dry_run", flags=("--dry-run",), kind="flag",
        help="print what would run, and run nothing", example="--dry-run",
    ),
    replace(TO, help="with --dry-run, write it: a Workflow (.yaml), or a script with its dependencies (.py)"),
    Option(
        dest="resources", flags=("--resources",), metavar="WHAT=QUANTITY", kind="words", completer="resource",
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
ELSEWHERE = (BACKEND, SET)
"""Where to ask about a run that is not kept on this machine."""

CELL = Command(
    name="%%argo", help="run this cell with its own dependencies, elsewhere",
    notebook='%%argo --deps "numpy pandas"', options=RUN_OPTIONS,
)  # fmt: skip

VERBS = (
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
                   places=("notebook",)),
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
            *ELSEWHERE,
            HELP,
        ),
        argument=RUN,
    ),
    Command(
        name="packages", help="list the packages that a run had, and what differs from another run's",
        notebook="%argo packages", terminal="uv-argo packages",
        options=(HELP,),
        argument=Option(dest="run", metavar="RUN", kind="words", completer="run",
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
        notebook="%argo verify", terminal="uv-argo verify study.ipynb", options=(*ELSEWHERE, HELP),
        argument=Option(dest="notebook", metavar="NOTEBOOK", completer="file",
                        help="a notebook's file; else this one, as it was saved"),
    ),
    Command(
        name="stop", help="stop a run", notebook="%argo stop", terminal="uv-argo stop", options=(*ELSEWHERE, HELP),
        argument=RUN,
    ),
    Command(
        name="attach", help="show a run again, live while it runs, whoever began it", notebook="%argo attach",
        terminal="uv-argo attach", options=(*ELSEWHERE, HELP), argument=RUN,
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
            Option(dest="cell", flags=("--cell",), kind="flag", places=("notebook",), example="--cell",
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
        argument=Option(dest="verb", metavar="VERB", completer="verb", help="a verb; else all of them"),
        options=(HELP,),
    ),
)  # fmt: skip


def verbs_in(place: FrontEnd) -> dict[str, Command]:
    """The verbs that can be said there, by name."""
    return {verb.name: verb for verb in VERBS if getattr(verb, place)}


def read_cell(line: str, names: Mapping[str, object]) -> Line:
    """The `%%argo` line; `names` are the notebook's variables.

    Raises:
        SpecError: the line is wrong.
    """
    return read(CELL, words(line), "notebook", names)


def read_line(line: str, names: Mapping[str, object]) -> Line:
    """The `%argo` line; without a verb it is help.

    Raises:
        SpecError: the line is wrong.
    """
    return _verb(words(line), "notebook", names)


def read_argv(argv: Sequence[str]) -> Line:
    """The words of the command line, as the shell gave them; nothing expands.

    Raises:
        SpecError: the line is wrong.
    """
    return _verb([Token(text=word, raw=word) for word in argv], "terminal", None)


def _verb(line: Sequence[Token], place: FrontEnd, names: Mapping[str, object] | None) -> Line:
    known = verbs_in(place)
    if not line or line[0].text in HELP.flags:
        return Line(verb="help")
    name = line[0].text
    if name in known:
        found = read(known[name], line[1:], place, names)
        if found.given("help"):
            return Line(verb="help", argument=name)
        if name == "help" and found.argument and found.argument not in known:
            raise unknown("verb", found.argument, known)
        return found
    if name in verbs_in("terminal"):
        raise SpecError(f"{name} is for the terminal", hint=f"Here, write {CELL.name} above a cell.")
    raise unknown("option" if is_option(line[0]) else "verb", name, HELP.flags if is_option(line[0]) else known)


Sets: TypeAlias = tuple[tuple[str, keys.Value], ...]


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
    if line.given("to") and not line.given("dry_run") and line.verb != "lock":
        raise SpecError(
            "--to belongs to --dry-run", hint="Write --dry-run --to FILE; %argo export writes what has run."
        )
    return RunOptions(
        deps=line.text("deps") if line.given("deps") else None,
        requirements=line.each("requirements"),
        python=_python(line.text("python")),
        backend=line.text("backend"),
        push=_names("--push", line.text("push")),
        pull=_names("--pull", line.text("pull")),
        out=_name("--out", line.text("out")) if line.given("out") else "",
        upgrade=line.given("upgrade"),
        detach=line.given("detach"),
        dry_run=line.given("dry_run"),
        write_deps=line.given("write_deps"),
        to=line.text("to"),
        resources=_resources(line.text("resources")),
        sets=keys.sets(line.each("set")),
        help=line.given("help"),
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
            found = json.loads(text)
        except ValueError:
            found = [text]
    else:
        found = re.split(r"[\s,]+", text)
    return tuple(dict.fromkeys(_name(flag, str(name)) for name in found if name))


def _name(flag: str, text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise SpecError(f"{flag} needs a variable's name, not {text}", hint=f"For example: {flag} total")
    return text


_QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:m|[kMGTPE]i?|Ki)?")
_RANGE = re.compile(rf"{_QUANTITY.pattern}(?:\.\.{_QUANTITY.pattern})?")


def _resources(text: str) -> Resources:
    known = [one.name for one in fields(Resources)]
    found = {}
    for word in re.split(r"[\s,]+", text.strip()) if text else ():
        what, _, quantity = word.partition("=")
        if what not in known:
            raise unknown("resource", what, known)
        if not _RANGE.fullmatch(quantity):
            raise SpecError(
                f"{what} needs a quantity, not {quantity or 'nothing'}",
                hint="For example: cpu=500m memory=4Gi, or memory=1Gi..4Gi: what is promised, and what may be used.",
            )
        found[what] = quantity
    return Resources(**found)
