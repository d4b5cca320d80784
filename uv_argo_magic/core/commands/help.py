"""Help and completion, from the table of commands."""

from __future__ import annotations

import re
import textwrap
from dataclasses import fields
from typing import TYPE_CHECKING

from uv_argo_magic.core.commands.parser import Command, FrontEnd, Group, Option, Token, groups, tokenize
from uv_argo_magic.core.commands.table import CELL, HELP, commands_in
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import GROUPS, Resources
from uv_argo_magic.core.spec.settings_parser import FIELDS
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence


def overview(front_end: FrontEnd) -> str:
    """Every command with its help."""
    prefix = "%argo" if front_end == "notebook" else "uv-argo"
    lines = ["uv-argo: run Python with its own dependencies, in isolated processes or Argo", "Workflows pods.", ""]
    if front_end == "notebook":
        lines += [f"Usage: {CELL.notebook}", f"       {CELL.help}", "       (options: %argo help run)", ""]
    lines += [f"Usage: {prefix} COMMAND [OPTIONS]", "", "Commands:"]
    for command in commands_in(front_end).values():
        lines += _row(command.name, command.help, NAMES)
    return "\n".join([*lines, "", f"For the options of a command and an example: {prefix} help COMMAND"])


def explain(name: str, front_end: FrontEnd) -> str:
    """The help of one command: an example, its argument and its options; for a run also every setting, by group.

    Raises:
        SpecError: there is no such command.
    """
    commands = explained(front_end)
    if name not in commands:
        raise unknown("command", name, commands)
    command = commands[name]
    lines = [f"{command.name}: {command.help}", "", f"Example: {getattr(command, front_end)}", ""]
    if command.argument:
        lines += _row(command.argument.metavar, command.argument.help)
    if command.rest:
        lines += _row(command.rest.metavar, command.rest.help)
    for option in command.options_in(front_end):
        synopsis = " ".join(filter(None, (", ".join(option.flags), option.metavar)))
        example = "" if option.kind == "flag" else f"; example: {option.example}"
        lines += _row(synopsis, option.help + example)
    if any(option.dest == "set" for option in command.options):
        lines += ["", "Settings: --set KEY=VALUE, %config ArgoMagics.KEY, UV_ARGO_KEY or uv-argo.toml"]
        if command.name in ("run", CELL.name):
            lines += _settings()
        else:
            lines.append(f"For a list of the settings: {'%argo' if front_end == 'notebook' else 'uv-argo'} help run")
    return "\n".join(lines)


def _settings() -> list[str]:
    """The lines of every setting, by group."""
    lines = []
    settings_parser.complete()
    for group in (*GROUPS, *dict.fromkeys(settings_parser.OWN.values())):
        lines += ["", f"{group.capitalize()} settings:"]
        for key in sorted(key for key, setting in FIELDS.items() if setting.metadata["group"] == group):
            lines += _row(key, setting_help(key))
    return lines


def explained(front_end: FrontEnd) -> dict[str, Command]:
    """The commands that `explain` accepts, by name; in a notebook, `run` is `%%argo`."""
    cell = {"run": CELL, CELL.name: CELL} if front_end == "notebook" else {}
    return {**commands_in(front_end), **cell}


def setting_help(key: str) -> str:
    """The help of a setting with its default in the brackets at its end, unless the setting is empty by default."""
    text: str = FIELDS[key].metadata["help"]
    default = settings_parser.default_text(key)
    if FIELDS[key].default in ((), ""):
        return text
    return f"{text[:-1]}; default: {default})" if text.endswith(")") else f"{text} (default: {default})"


INDENT = 26
NAMES = 12
"""Columns of a synopsis in the help of a command, and of a name in the list of commands."""
WIDTH = 80


def _row(synopsis: str, text: str, indent: int = INDENT) -> list[str]:
    """The lines of one entry; a long synopsis has a line of its own."""
    head = f"  {synopsis}"
    own_line = [head] if len(head) > indent - 2 else []
    first = " " * indent if own_line else head.ljust(indent)
    return own_line + textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


@frozen
class Expected:
    """The completions of a line: `candidates` are the words of the table that begin with `fragment`, the text so far.

    `completer` names the completer of all other values. `given` are the values that the option already has, or the
    part of the word before the fragment (`panel=`).
    """

    fragment: str
    candidates: tuple[str, ...] = ()
    completer: str = ""
    given: tuple[str, ...] = ()


def expected(line: str, front_end: FrontEnd, *, cell: bool = False) -> Expected:
    """The completions of a line without its `%%argo` (`cell`), `%argo` or `uv-argo`."""
    tokens = tokenize(line, complete=False)
    open_token = tokens[-1] if tokens and tokens[-1].end == len(line) and not line[-1:].isspace() else None
    complete_tokens = tokens[:-1] if open_token else tokens
    fragment = open_token.text if open_token else ""
    if cell:
        return _expected(CELL, complete_tokens, fragment, front_end)
    commands = commands_in(front_end)
    if not complete_tokens:
        return _offer(fragment, (*commands, *HELP.flags[1:]))
    if complete_tokens[0].text not in commands:
        return Expected(fragment=fragment)
    return _expected(commands[complete_tokens[0].text], complete_tokens[1:], fragment, front_end)


def _expected(command: Command, complete_tokens: Sequence[Token], fragment: str, front_end: FrontEnd) -> Expected:
    options = command.options_in(front_end)
    try:
        groups_so_far = list(groups(options, complete_tokens))
    except SpecError:
        return Expected(fragment=fragment)
    flags = tuple(
        flag for option in options for flag in option.flags if flag.startswith("--") and _open(option, groups_so_far)
    )
    if fragment.startswith("-"):
        flag, equals, value = fragment.partition("=")
        by_flag = {flag: option for option in options for flag in option.flags}
        return _within(by_flag[flag], value, ()) if equals and flag in by_flag else _offer(fragment, flags)
    last_group = groups_so_far[-1] if groups_so_far else None
    if (
        last_group
        and last_group.option
        and (last_group.option.kind == "values" or (last_group.option.kind != "flag" and not last_group.tokens))
    ):
        given = tuple(token.text for token in last_group.tokens)
        is_optional = bool(given or last_group.option.default)
        return _within(last_group.option, fragment, given, flags if is_optional and not fragment else ())
    if command.argument and (
        command.argument.kind == "values" or not any(group.option is None for group in groups_so_far)
    ):
        return _within(command.argument, fragment, (), () if fragment else flags)
    return _offer(fragment, flags)


def _open(option: Option, groups_so_far: Sequence[Group]) -> bool:
    """Whether the option can be given once more."""
    return option.kind in ("repeated", "values") or all(group.option is not option for group in groups_so_far)


def _offer(fragment: str, candidates: Sequence[str]) -> Expected:
    return Expected(fragment=fragment, candidates=tuple(word for word in candidates if word.startswith(fragment)))


def _within(option: Option, fragment: str, given: tuple[str, ...], flags: tuple[str, ...] = ()) -> Expected:
    if option.completer == "setting":
        key, equals, value = fragment.partition("=")
        if equals:
            values = tuple(word for word in settings_parser.suggested_values(key) if word.startswith(value))
            return Expected(fragment=value, candidates=values, given=(key + "=",))
        settings_parser.complete()
        return _offer(fragment, tuple(f"{key}=" for key in FIELDS))
    if option.completer == "resource":
        return _offer(fragment, tuple(f"{field.name}=" for field in fields(Resources)))
    if option.kind == "values" and (separator := re.search(r"[\s,][^\s,]*\Z", fragment)):
        # The fragment is a list: `a,b`, or text in a quote that is still open.
        given = (*given, *re.split(r"[\s,]+", fragment[: separator.start()]))
        fragment = fragment[separator.start() + 1 :]
        flags = ()
    return Expected(fragment=fragment, candidates=flags, completer=option.completer, given=given)
