"""The table of commands and options, and the readers of a line.

help.py builds help and completion from the table; run_options.py checks the values of a run's options.

Rules:
- `%%argo`, `%argo COMMAND`, `uv-argo COMMAND`, their help and their completion come from COMMANDS alone.
- The table does not know what a backend supports: see config.refuse_unsupported.
- Nothing here prints or exits; an invalid line raises a SpecError that suggests the nearest valid word.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic.core.commands.parser import Command, FrontEnd, Line, Option, Token, find, is_option, read, tokenize
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELP = Option(dest="help", flags=("-h", "--help"), kind="flag", help="show this help", example="--help")

BACKEND = Option(
    dest="backend", flags=("-b", "--backend"), metavar="NAME", completer="backend",
    help="backend to run on", example="--backend local", also=("executor", "runner"),
)  # fmt: skip

SET = Option(
    dest="set", flags=("--set",), metavar="KEY=VALUE", kind="repeated", completer="setting",
    private=("variables", "index_url", "index-url", "indexes"),
    help="any other setting (repeatable)", example="--set panel=text",
)  # fmt: skip

TO = Option(
    dest="to", flags=("--to",), metavar="FILE", completer="file",
    help="Workflow (.yaml) or script with its dependencies (.py) to write (default: print the script)",
    example="--to cell.yaml",
)  # fmt: skip

RUN_OPTIONS = (
    Option(
        dest="deps", flags=("-d", "--deps"), metavar="REQUIREMENTS", kind="values", completer="package",
        help="requirements of the cell, up to the next option", example='--deps "numpy pandas>=2"',
        also=("dep", "dependencies", "install", "package", "packages", "pip", "with"),
    ),
    Option(
        dest="requirements", flags=("-r", "--requirements"), metavar="FILE", kind="repeated",
        completer="requirements-file",
        help="requirements.txt, pyproject.toml, lock file or environment.yml with the requirements (repeatable)",
        example="-r requirements.txt", also=("file", "reqs"),
    ),
    Option(
        dest="python", flags=("-p", "--python"), metavar="VERSION", completer="python",
        help="Python version or specifier to run on", example="--python 3.12", also=("python-version", "version"),
    ),
    BACKEND,
    Option(
        dest="session", flags=("-s", "--session"), metavar="NAME", kind="name", completer="session", default="main",
        front_ends=("notebook",), example="--session main", also=("kernel",),
        help="run in a session, whose cells share their variables (default name: main)",
    ),
    Option(
        dest="restart", flags=("--restart",), kind="flag", front_ends=("notebook",),
        help="with --session: restart the session first", example="--restart",
    ),
    Option(
        dest="cpu", flags=("--cpu",), metavar="NUMBER", help="CPUs to request", example="--cpu 2",
        also=("cpus", "cores"),
    ),
    Option(
        dest="memory", flags=("--memory",), metavar="SIZE", help="memory to request", example="--memory 8Gi",
        also=("mem", "ram"),
    ),
    Option(
        dest="gpu", flags=("--gpu",), metavar="NUMBER", help="GPUs to request", example="--gpu 1", also=("gpus",),
    ),
    Option(
        dest="resources", flags=("--resources",), metavar="RESOURCE=QUANTITY", kind="values", completer="resource",
        help="CPU, memory, GPU and disk to request; a range is a request and a limit",
        example="--resources memory=1Gi..4Gi disk=20Gi", also=("disk",),
    ),
    Option(
        dest="timeout", flags=("--timeout",), metavar="TIME", help="time limit of the cell (default: none)",
        example="--timeout 10m", also=("time-limit",),
    ),
    Option(
        dest="env_file", flags=("--env-file",), metavar="FILE", kind="repeated", completer="file",
        help="file with environment variables of the cell, as NAME=VALUE lines (repeatable)",
        example="--env-file .env", also=("dotenv",),
    ),
    Option(
        dest="upgrade", flags=("--upgrade",), kind="flag",
        help="upgrade packages, ignoring this notebook's locked versions", example="--upgrade",
    ),
    Option(
        dest="push", flags=("--push",), metavar="NAMES", kind="values", completer="value", front_ends=("notebook",),
        help="notebook variables to send to the cell (auto: those that it reads)", example="--push x,y",
        also=("input", "inputs", "send"),
    ),
    Option(
        dest="pull", flags=("--pull",), metavar="NAMES", kind="values", completer="cell-name", front_ends=("notebook",),
        help="cell variables to bring back to the notebook", example="--pull total",
        also=("output", "outputs", "return"),
    ),
    Option(
        dest="out", flags=("-o", "--out"), metavar="NAME", completer="name", front_ends=("notebook",),
        help="store the run in this variable, even if it fails", example="--out run",
    ),
    Option(
        dest="detach", flags=("--detach",), kind="flag",
        help="return at once while the run continues; in a notebook, its output still appears in the same cell",
        example="--detach",
        also=("async", "background", "bg"),
    ),
    Option(
        dest="write_deps", flags=("--write-deps",), kind="flag", front_ends=("notebook",),
        help="write the notebook's requirements file into this line, without running the cell",
        example="--write-deps",
    ),
    Option(
        dest="dry_run", flags=("--dry-run",), kind="flag",
        help="print what would run, without running it", example="--dry-run",
    ),
    replace(TO, help="with --dry-run: Workflow (.yaml) or script with its dependencies (.py) to write"),
    SET,
    HELP,
)  # fmt: skip

REQUEST = Option(
    dest="request", flags=("--request",), metavar="FILE", completer="file",
    help="JSON request instead of FILE: pythonCode, dependencies, requirementsFile (- for stdin)",
    example="--request request.json",
)  # fmt: skip

_BY_DEST = {option.dest: option for option in RUN_OPTIONS}

RUN = Option(
    dest="run", metavar="RUN", completer="run",
    help="run ID or its first characters, or a workflow name (default: the last run)",
)  # fmt: skip
RUN_OR_FILE = replace(
    RUN, metavar="RUN|FILE",
    help="run ID or its first characters, a workflow name, or a requirements file as for -r (default: the last run)",
)  # fmt: skip
SESSION = Option(
    dest="session", metavar="NAME", completer="session", help="name of the session (default: main)",
)  # fmt: skip
BACKEND_OPTIONS = (BACKEND, SET)
"""The options that name the backend of a run that is not in the history."""

CELL = Command(
    name="%%argo", help="run this cell with its own dependencies, in an isolated process or a pod",
    notebook='%%argo --deps "numpy pandas"', options=RUN_OPTIONS,
)  # fmt: skip

COMMANDS = (
    Command(
        name="run", help="run a Python file with its own dependencies, in an isolated process or a pod",
        terminal='uv-argo run script.py --deps "numpy pandas"', options=(*RUN_OPTIONS[:-1], REQUEST, HELP),
        argument=Option(dest="file", metavar="FILE", completer="file", required=True, instead="request",
                        help="Python file, or - for stdin"),
        rest=Option(dest="args", metavar="-- ARGS", help="arguments of the script"),
    ),
    Command(
        name="runs", help="list recorded runs, or with -b argo those of the cluster, newest first",
        notebook="%argo runs -n 5",
        terminal="uv-argo runs -n 5",
        options=(
            Option(dest="count", flags=("-n", "--count"), metavar="N", help="number of runs to show (default: 20)",
                   example="-n 5"),
            Option(dest="all", flags=("--all",), kind="flag", help="include runs of other notebooks", example="--all",
                   front_ends=("notebook",)),
            *BACKEND_OPTIONS,
            HELP,
        ),
    ),
    Command(
        name="last", help="show a summary of the last run", notebook="%argo last", terminal="uv-argo last",
        options=(HELP,),
    ),
    Command(
        name="logs", help="print a run's full log", notebook="%argo logs", terminal="uv-argo logs",
        options=(
            Option(dest="raw", flags=("--raw",), kind="flag", help="include protocol records", example="--raw"),
            *BACKEND_OPTIONS,
            HELP,
        ),
        argument=RUN,
    ),
    Command(
        name="packages", help="list the packages of a run, or compare two runs",
        notebook="%argo packages", terminal="uv-argo packages",
        options=(HELP,),
        argument=Option(dest="run", metavar="RUN", kind="values", completer="run",
                        help="one run, or two to compare (default: the last run)"),
    ),
    Command(
        name="lock", help="show, export or upgrade the lock of a run or of requirements",
        notebook="%argo lock --to requirements.txt", terminal="uv-argo lock --to pylock.toml",
        options=(
            *(_BY_DEST[dest] for dest in ("deps", "requirements", "python", "backend", "set")),
            replace(TO, help="file to write: pylock.toml, pylock.NAME.toml, or requirements with hashes (.txt)",
                    example="--to pylock.toml"),
            Option(dest="upgrade", flags=("--upgrade",), kind="flag",
                   help="upgrade packages, show the changes and store the new lock", example="--upgrade"),
            Option(dest="dry_run", flags=("--dry-run",), kind="flag", help="store and write nothing",
                   example="--dry-run"),
            HELP,
        ),
        argument=RUN_OR_FILE,
    ),
    Command(
        name="policy", help="show the package policy, check files against it, or explain its effect on a package",
        notebook="%argo policy explain numpy", terminal="uv-argo policy check study.ipynb",
        options=(
            *(_BY_DEST[dest] for dest in ("deps", "requirements", "python", "backend", "set")),
            Option(dest="json", flags=("--json",), kind="flag", help="print JSON", example="--json"),
            HELP,
        ),
        argument=Option(dest="words", metavar="WORDS", kind="values", completer="file",
                        help="show (default), check FILE... (default: this notebook), or explain NAME"),
    ),
    Command(
        name="env", help="list, show, verify, remove or install environments",
        notebook='%argo env warm --deps "numpy pandas"', terminal="uv-argo env prune --older-than 30d",
        options=(
            *(_BY_DEST[dest] for dest in ("deps", "requirements", "python", "backend", "set")),
            Option(dest="older_than", flags=("--older-than",), metavar="TIME", example="--older-than 30d",
                   help="with prune: remove environments that were not used for this time"),
            Option(dest="keep", flags=("--keep",), metavar="N", example="--keep 20",
                   help="with prune: number of most recently used environments to keep"),
            Option(dest="max_size", flags=("--max-size",), metavar="SIZE", example="--max-size 20GB",
                   help="with prune: keep the most recently used environments, up to this total size"),
            Option(dest="cache", flags=("--cache",), kind="flag", example="--cache",
                   help="with prune: also remove uv's cache from the store of a cluster"),
            Option(dest="dry_run", flags=("--dry-run",), kind="flag", help="with prune: remove nothing",
                   example="--dry-run"),
            HELP,
        ),
        argument=Option(dest="words", metavar="WORDS", kind="values",
                        help="list (the default), show KEY, prune [KEY...], verify [KEY...], or warm; show and prune "
                             "also accept the path of a persistent environment"),
    ),
    Command(
        name="bake", help="write a Containerfile for an image with the environment of a run or of requirements",
        notebook="%argo bake -b argo --to Containerfile", terminal="uv-argo bake -b argo --to Containerfile",
        options=(
            *(_BY_DEST[dest] for dest in ("deps", "requirements", "python", "backend", "set")),
            Option(dest="to", flags=("--to",), metavar="FILE", completer="file", example="--to Containerfile",
                   help="Containerfile to write (default: print it)"),
            HELP,
        ),
        argument=RUN_OR_FILE,
    ),
    Command(
        name="verify", help="run a notebook's recorded cells again with the same packages and compare the outputs",
        notebook="%argo verify", terminal="uv-argo verify study.ipynb", options=(*BACKEND_OPTIONS, HELP),
        argument=Option(dest="notebook", metavar="NOTEBOOK", completer="file",
                        help="notebook file (default: this notebook, as saved)"),
    ),
    Command(
        name="stop", help="stop a run, or end a session", notebook="%argo stop", terminal="uv-argo stop",
        options=(*BACKEND_OPTIONS, HELP),
        argument=replace(RUN, metavar="RUN|SESSION",
                         help="run ID or its first characters, a workflow name, or the name of a session (default: the "
                              "newest live run)"),
    ),
    Command(
        name="sessions", help="list the sessions of this machine, or with --all those of all users on a cluster",
        notebook="%argo sessions", terminal="uv-argo sessions",
        options=(
            Option(dest="all", flags=("--all",), kind="flag", example="--all",
                   help="list the sessions of every user in the namespace, the most expensive idle ones first"),
            Option(dest="all_namespaces", flags=("-A", "--all-namespaces"), kind="flag", example="--all-namespaces",
                   help="like --all, but in all namespaces"),
            *BACKEND_OPTIONS,
            Option(dest="take", flags=("--take",), metavar="NAME", completer="session", front_ends=("notebook",),
                   help="take over a session that another kernel uses", example="--take main"),
            HELP,
        ),
    ),
    Command(
        name="vars", help="list the variables of a session", notebook="%argo vars", terminal="uv-argo vars main",
        options=(HELP,), argument=SESSION,
    ),
    Command(
        name="restart", help="restart a session without its variables, and keep its packages",
        notebook="%argo restart", terminal="uv-argo restart main",
        options=(
            Option(dest="clean", flags=("--clean",), kind="flag", help="also drop the packages that cells added",
                   example="--clean"),
            HELP,
        ),
        argument=SESSION,
    ),
    Command(
        name="attach", help="show a run again, live while it is running", notebook="%argo attach",
        terminal="uv-argo attach", options=(*BACKEND_OPTIONS, HELP), argument=RUN,
    ),
    Command(
        name="export", help="write a run as a file that runs without uv-argo-magic",
        notebook="%argo export --to cell.yaml",
        terminal="uv-argo export --to cell.yaml", argument=RUN,
        options=(TO, BACKEND, SET, HELP),
    ),
    Command(
        name="edit", help="edit the notebook's requirements file and check it as you type", notebook="%argo edit",
        terminal="uv-argo edit analysis.ipynb",
        options=(
            Option(dest="cell", flags=("--cell",), kind="flag", front_ends=("notebook",), example="--cell",
                   help="add a cell with these requirements below, without editing"),
            HELP,
        ),
        argument=Option(dest="file", metavar="FILE", completer="file",
                        help="notebook or requirements file (default: this notebook's)"),
    ),
    Command(
        name="doctor", help="check the setup, run a test cell and suggest fixes",
        notebook="%argo doctor", terminal="uv-argo doctor -b argo",
        options=(_BY_DEST["python"], BACKEND, SET, HELP),
    ),
    Command(
        name="help", help="explain a command", notebook="%argo help logs", terminal="uv-argo help run",
        argument=Option(dest="command", metavar="COMMAND", completer="command",
                        help="command to explain (default: list all commands)"),
        options=(HELP,),
    ),
)  # fmt: skip


def commands_in(front_end: FrontEnd) -> dict[str, Command]:
    """The commands of a front end, by name."""
    return {command.name: command for command in COMMANDS if getattr(command, front_end)}


def read_cell(line: str, variables: Mapping[str, object]) -> Line:
    """Parse the `%%argo` line; `variables` are the notebook's.

    Raises:
        SpecError: the line is invalid.
    """
    tokens = tokenize(line, before=len(CELL.name) + 1)
    if tokens and tokens[0].text in commands_in("notebook"):
        name = tokens[0].text
        raise SpecError(f"{name} is a command, not an option of {CELL.name}", hint=f"Write it with one %: %argo {name}")
    return read(CELL, tokens, "notebook", variables)


def read_line(line: str, variables: Mapping[str, object]) -> Line:
    """Parse the `%argo` line; without a command it means help.

    Raises:
        SpecError: the line is invalid.
    """
    return _verb(tokenize(line, before=len("%argo ")), "notebook", variables)


def read_argv(argv: Sequence[str]) -> Line:
    """Parse the arguments of the command line, without expanding variables.

    Raises:
        SpecError: the line is invalid.
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
        return line
    if name in commands_in("terminal"):
        raise SpecError(f"{name} is a command for the terminal", hint=f"In a notebook, write {CELL.name} above a cell.")
    if not is_option(tokens[0]):
        raise unknown("command", name, commands)
    if find(RUN_OPTIONS, name):
        flag, command = name.partition("=")[0], CELL if front_end == "notebook" else COMMANDS[0]
        hint = (
            f"Write it above a cell: {CELL.name} {flag}" if front_end == "notebook" else f"Example: {command.terminal}"
        )
        raise SpecError(f"{flag} is an option of {command.name}", hint=hint)
    raise unknown("option", name, HELP.flags[1:])


def count(line: Line, default: int = 20) -> int:
    """The number of `runs -n`.

    Raises:
        SpecError: it is not an integer above 0.
    """
    text = line.text("count")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text)):
        raise SpecError(f"-n needs an integer, not {text}", hint="Example: runs -n 5")
    return int(text)
