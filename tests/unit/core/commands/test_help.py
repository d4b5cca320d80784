"""core/commands/help.py: the help of every command, and completion of lines."""

from __future__ import annotations

import re

import pytest
from support.cases import each

from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands import table
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.errors import SpecError


def test_help_lists_all_commands_and_options():
    for front_end in ("notebook", "terminal"):
        text = command_help.overview(front_end)
        for command in table.commands_in(front_end).values():
            assert command.help in " ".join(text.split())
            assert re.search(rf"^  {command.name} ", text, re.MULTILINE)
            explained = command_help.explain(command.name, front_end)
            assert command.help in explained
            assert f"Example: {getattr(command, front_end)}\n" in explained
        assert max(map(len, text.splitlines())) <= 80
    run = command_help.explain("run", "notebook")
    for option in table.RUN_OPTIONS:
        assert all(flag in run for flag in option.flags)
        assert option.kind == "flag" or option.example in " ".join(run.split())
    assert "(default: 8 MiB)" in " ".join(run.split())
    assert "--push" not in command_help.explain("run", "terminal")
    assert "FILE" in command_help.explain("run", "terminal")
    assert max(map(len, run.splitlines())) <= 80
    with pytest.raises(SpecError, match="unknown command lgos; did you mean logs"):
        command_help.explain("lgos", "terminal")


def test_only_help_of_run_lists_settings():
    assert "Common settings:" in command_help.explain("run", "terminal")
    assert "Common settings:" not in command_help.explain("logs", "terminal")
    assert command_help.explain("logs", "terminal").endswith("For a list of the settings: uv-argo help run")
    assert command_help.explain("logs", "notebook").endswith("For a list of the settings: %argo help run")
    assert "Settings" not in command_help.explain("vars", "notebook")


def test_help_of_settings_has_their_defaults_unless_empty():
    assert command_help.setting_help("ttl") == "time to keep a finished workflow and its log (default: 1 hour)"
    assert command_help.setting_help("run_timeout") == "time limit of the cell (like --timeout; default: none)"
    assert command_help.setting_help("constraints") == "version constraints (like `uv --constraint`)"
    assert command_help.setting_help("context") == "kubeconfig context of the cluster"


def test_help_of_run_and_cell_magic_is_the_same():
    texts = {command_help.explain(name, "notebook") for name in ("run", "%%argo")}
    assert len(texts) == 1
    assert texts.pop().startswith("%%argo: run this cell")


def test_settings_are_grouped_and_sorted():
    settings = command_help.explain("run", "terminal").partition("Settings:")[2]
    groups = dict(re.findall(r"^(\w+) settings:\n(.*?)(?:\n\n|\Z)", settings, re.MULTILINE | re.DOTALL))
    names = {group: re.findall(r"^  (\w+)", text, re.MULTILINE) for group, text in groups.items()}
    assert list(names) == ["Common", "Install", "Cluster", "Advanced"]
    assert sorted(name for group in names.values() for name in group) == sorted(settings_parser.FIELDS)
    assert all(group == sorted(group) for group in names.values())


CELL_LINES = [
    ("--de", ("--deps", "--detach"), ""),
    ("--dry-run --dr", (), ""),
    ("--deps numpy --py", ("--python",), ""),
    ("--python ", (), "python"),
    ("--python 3.", (), "python"),
    ("--python=3.", (), "python"),
    ("-b lo", (), "backend"),
    ("-r req", (), "requirements-file"),
    ("--set pan", ("panel=",), ""),
    ("--set panel=st", ("static",), ""),
    ("--set offline=", ("true", "false"), ""),
    ("--set=panel=st", ("static",), ""),
    ("--resources cp", ("cpu=",), ""),
    ("--push al", (), "value"),
    ("--pull x,", (), "cell-name"),
    ("--out r", (), "name"),
    ("--nope x", (), ""),
    ("word", (), ""),
    ('--deps "num', (), "package"),
    ("--weird=x", (), ""),
]


@each(("line", "candidates", "completer"), CELL_LINES)
def test_expected_completes_a_cell_line(line, candidates, completer):
    completion = command_help.expected(line, "notebook", cell=True)
    assert (completion.candidates, completion.completer) == (candidates, completer)


def test_expected_excludes_given_options():
    completion = command_help.expected('--deps "numpy, pandas sci', "notebook", cell=True)
    assert (completion.fragment, completion.given) == ("sci", ("numpy", "pandas"))
    completion = command_help.expected("--push a b,c,d", "notebook", cell=True)
    assert (completion.fragment, completion.given) == ("d", ("a", "b", "c"))
    assert "--python" not in command_help.expected("--python 3.12 ", "notebook", cell=True).candidates
    assert "--set" in command_help.expected("--set a=1 ", "notebook", cell=True).candidates
    assert "--python" in command_help.expected("--deps numpy ", "notebook", cell=True).candidates
    assert "--deps" in command_help.expected("", "notebook", cell=True).candidates


def test_expected_completes_a_command_line():
    assert command_help.expected("", "notebook").candidates == (*table.commands_in("notebook"), "--help")
    assert command_help.expected("lo", "notebook").candidates == ("logs", "lock")
    assert command_help.expected("run", "terminal").candidates == ("run", "runs")
    assert command_help.expected("nope x", "notebook").candidates == ()
    assert command_help.expected("logs ", "notebook").completer == "run"
    assert command_help.expected("logs 2", "notebook").completer == "run"
    assert command_help.expected("logs abc ", "notebook").candidates == ("--raw", "--backend", "--set", "--help")
    assert command_help.expected("packages abc ", "notebook").completer == "run"
    assert command_help.expected("help lo", "notebook").completer == "command"
    assert command_help.expected("last ", "notebook").candidates == ("--help",)
