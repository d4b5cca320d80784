"""core/commands/table.py: the table of commands, and reading their lines."""

from __future__ import annotations

import itertools

import pytest
from support.cases import each

from uv_argo_magic.core.commands import table
from uv_argo_magic.core.commands.parser import Line
from uv_argo_magic.core.commands.run_options import RunOptions, run_options
from uv_argo_magic.core.spec.run_spec import Resources
from uv_argo_magic.errors import SpecError


def options(line, **names):
    return run_options(table.read_cell(line, names))


def test_table_is_consistent():
    for command in (*table.COMMANDS, table.CELL):
        assert command.help
        assert command.notebook or command.terminal
        flags = list(itertools.chain.from_iterable(option.flags for option in command.options))
        assert len(flags) == len(set(flags))
        dests = [option.dest for option in command.options]
        assert len(dests) == len(set(dests))
        assert all(option.help and option.example for option in command.options)
    everywhere = {
        "runs",
        "last",
        "logs",
        "packages",
        "lock",
        "policy",
        "verify",
        "stop",
        "attach",
        "export",
        "edit",
        "doctor",
    }
    everywhere |= {"bake", "env", "help", "sessions", "vars", "restart"}
    assert set(table.commands_in("notebook")) == everywhere
    assert set(table.commands_in("terminal")) == {*everywhere, "run"}


def test_all_examples_are_valid():
    for command in table.COMMANDS:
        if command.notebook:
            assert table.read_line(command.notebook.removeprefix("%argo "), {}).command == command.name
        if command.terminal:
            argv = command.terminal.removeprefix("uv-argo ").replace('"', "").split()
            assert table.read_argv(argv).command == command.name
    assert options(table.CELL.notebook.removeprefix("%%argo ")).deps == "numpy pandas"
    for option in table.RUN_OPTIONS:
        assert table.read_cell(option.example, {}).has(option.dest)


def test_run_options_are_read():
    found = options(
        '-d numpy -r r.txt -p cpython3.12 -b local --push x,y z --pull ["total"] -o run --detach --dry-run '
        "--resources cpu=500m..2 memory=4Gi --set panel=html"
    )
    assert found == RunOptions(
        deps="numpy",
        requirements=("r.txt",),
        python="3.12",
        backend="local",
        push=("x", "y", "z"),
        pull=("total",),
        out="run",
        detach=True,
        dry_run=True,
        resources=Resources(cpu="500m..2", memory="4Gi"),
        sets=(("panel", "html"),),
    )
    assert options("") == RunOptions()
    assert options('--python ">=3.11, <3.13"').python == ">=3.11,<3.13"
    assert options("--python ~=3.12").python == "~=3.12"
    assert options("--python 3.13t").python == "3.13t"
    assert options('--deps ""').deps == ""
    assert options("--help").help
    assert options("--cpu 2 --memory 8GiB --gpu 1 --resources disk=20Gi").resources == Resources(
        cpu="2", memory="8Gi", gpu="1", disk="20Gi"
    )
    assert options("--timeout 10m --set panel=html").sets == (("panel", "html"), ("run_timeout", 600.0))
    assert options("--env-file .env --env-file b.env").env_files == (".env", "b.env")
    assert options("--push $names", names=["a", "b", "a"]).push == ("a", "b")


@each(
    ("line", "message"),
    [
        ("--python new", "invalid Python version: new"),
        ('--python ">=3.12,"', "invalid Python version: >=3.12,"),
        ('--python "3.12 3.13"', "invalid Python version: 3.12 3.13"),
        ("--out class", "--out needs a variable name, not class"),
        ("--push 1x", "--push needs a variable name, not 1x"),
        ("--push [x", "--push needs a variable name, not [x"),
        ("--pull a.b", "--pull needs a variable name, not a.b"),
        ('--out ""', "--out needs a variable name, not an empty string"),
        ("--resources cpus=1", "unknown resource cpus; did you mean cpu?"),
        ("--resources cpu", "cpu needs a quantity, not nothing"),
        ("--resources memory=lots", "memory needs a quantity, not lots"),
        ("--resources memory=1Gi..", "memory needs a quantity, not 1Gi.."),
        ("--memory 1Gi --resources memory=2Gi", "memory is given twice"),
        ("--memory 8", "memory needs a quantity with a unit, not 8"),
        ("--timeout soon", "--timeout needs a time, not soon"),
        ('--timeout ""', "--timeout needs a time, not nothing"),
        ("--timeout 5 --set run_timeout=5", "--timeout and --set run_timeout are the same setting"),
        ("--set pannel=x", "unknown setting pannel; did you mean panel?"),
    ],
)
def test_invalid_values_are_rejected(line, message):
    with pytest.raises(SpecError) as exc_info:
        options(line)
    assert str(exc_info.value) == message
    assert exc_info.value.hint


@pytest.mark.parametrize("line", ["", "help", "--help", "-h"])
def test_empty_line_shows_help(line):
    assert table.read_line(line, {}) == Line(command="help")
    assert table.read_argv(line.split()) == Line(command="help")


def test_help_of_a_command():
    assert table.read_line("logs --help", {}) == Line(command="help", argument="logs")
    assert table.read_line("help logs", {}).argument == "logs"
    assert table.read_argv(["run", "--help"]) == Line(command="help", argument="run")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rnus", "unknown command rnus; did you mean runs?"),
        ("run x.py", "run is a command for the terminal"),
        ("--hepl", "unknown option --hepl; did you mean --help?"),
        ("runs --cuont 3", "unknown option --cuont; did you mean --count?"),
    ],
)
def test_invalid_commands_are_rejected(line, message):
    with pytest.raises(SpecError) as exc_info:
        table.read_line(line, {})
    assert str(exc_info.value) == message


def test_count_option():
    assert table.count(table.read_argv(["runs"])) == 20
    assert table.count(table.read_argv(["runs", "-n", "5"])) == 5
    for invalid in ("0", "x", "-1.5", "²"):
        with pytest.raises(SpecError, match="-n needs an integer"):
            table.count(Line(command="runs", values=(("count", invalid),)))


@each(
    ("line", "message", "hint"),
    [
        ("-deps numpy", "unknown option -deps; did you mean --deps?", "Choose from: --backend"),
        ("-push x", "unknown option -push; did you mean --push?", "--push"),
        ("--dpes x", "unknown option --dpes; did you mean --deps?", "--deps"),
        ("--packages x", "unknown option --packages; did you mean --deps?", "--deps"),
        ("--pacages x", "unknown option --pacages; did you mean --deps?", "--deps"),
        ("--gpus 1", "unknown option --gpus; did you mean --gpu?", "--gpu"),
        ("--req x", "unknown option --req; did you mean --requirements?", "--requirements"),
        ("--image x", "unknown option --image; did you mean --set image=VALUE?", "--set"),
        ("--tll x", "unknown option --tll; did you mean --set ttl=5m?", "--set"),
        ("--zzz", "unknown option --zzz", "--set"),
        ("numpy", "unexpected argument numpy", 'If it is a package, write --deps "numpy".'),
        (
            "numpy pandas>=2 -p 3.12",
            "unexpected argument numpy",
            'If they are packages, write --deps "numpy pandas>=2".',
        ),
        ('"rich; os_name == "posix""', 'unexpected argument "rich; os_name == "posix""', "write --deps '"),
        ("push x", "unexpected argument push; did you mean --push?", "two dashes"),
        ("runs", "runs is a command, not an option of %%argo", "%argo runs"),
        ("--set timeout=5m", "timeout is an option, not a setting", "Write --timeout 5m."),
        ("--set env_file=.env", "env_file is an option, not a setting", "Write --env-file .env."),
        ("--set pannel=x", "unknown setting pannel; did you mean panel?", "Similar"),
    ],
)
def test_similar_names_are_suggested_for_a_cell(line, message, hint):
    with pytest.raises(SpecError) as exc_info:
        options(line)
    assert str(exc_info.value) == message
    assert hint in exc_info.value.hint


@pytest.mark.parametrize("line", ["-p3.12", "-dnumpy", "-rreq.txt", "-blocal"])
def test_short_option_can_be_joined_with_its_value(line):
    assert len(table.read_cell(line, {}).values) == 1


@pytest.mark.parametrize(
    ("front_end", "line", "message"),
    [
        ("notebook", "bogus", "unknown command bogus"),
        ("notebook", "--deps x", "--deps is an option of %%argo"),
        ("notebook", "-d=x", "-d is an option of %%argo"),
        ("terminal", "--deps x", "--deps is an option of run"),
    ],
)
def test_similar_names_are_suggested_for_a_command(front_end, line, message):
    with pytest.raises(SpecError) as exc_info:
        table.read_argv(line.split()) if front_end == "terminal" else table.read_line(line, {})
    assert str(exc_info.value) == message
    assert exc_info.value.hint


def test_restart_requires_a_session():
    assert options("-s --restart").restart
    with pytest.raises(SpecError, match="--restart needs --session"):
        options("--restart")


@each("name", ["my-model", "2nd", "my-session.1", "größe", "_x"])
def test_session_name_is_one_word(name):
    assert options(f"--session {name}").session == name


@each(
    ("line", "shown"),
    [("--session=", "an empty string"), ('-s "my model"', "my model"), ("-s a/b", "a/b"), ("-s .a", ".a")],
)
def test_invalid_session_name_is_refused(line, shown):
    with pytest.raises(SpecError, match=f"^invalid session name: {shown}$") as caught:
        options(line)
    assert caught.value.hint.endswith("for example --session my-model.")


@each(
    ("line", "column"),
    [
        ("-d numpy", 10),
        ('--deps "numpy pandas"', 15),
        ("--deps=numpy", 14),
        ('--deps="numpy pandas"', 15),
        ("-p 3.12 --deps numpy pandas>=2", 22),
        ("--deps numpy  pandas", 0),
        ('--deps numpy "pandas"', 0),
        ("--deps $names", 0),
        ("--deps numpy --deps pandas", 0),
        ("-p 3.12", 0),
        ("--deps ['numpy']", 0),
    ],
)
def test_deps_column_is_the_position_of_the_requirements(line, column):
    run_options = options(line, names="numpy")
    assert run_options.deps_column == column
    if column:
        assert f"%%argo {line}"[column:].startswith("numpy")


def test_push_accepts_a_python_list():
    assert options("--push ['a', 'b']").push == ("a", "b")


def test_arguments_after_two_dashes_belong_to_the_script():
    line = table.read_argv(["run", "script.py", "--timeout", "5m", "--", "-b", "two words", "--"])
    assert (line.argument, line.rest) == ("script.py", ("-b", "two words", "--"))
    assert run_options(line).args == line.rest
    with pytest.raises(SpecError, match="unexpected argument one") as exc_info:
        table.read_argv(["run", "script.py", "one", "two"])
    assert exc_info.value.hint == "Write -- before the script's arguments: -- one two"
    with pytest.raises(SpecError, match="unknown option --"):
        table.read_argv(["runs", "--", "x"])
