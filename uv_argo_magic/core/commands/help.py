"""What the table of verbs offers a reader: its help, and what could come next at a line's end."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from uv_argo_magic.core.commands.parser import Command, FrontEnd, Group, Option, Token, groups, words
from uv_argo_magic.core.commands.table import CELL, HELP, verbs_in
from uv_argo_magic.core.spec import settings_parser as keys
from uv_argo_magic.core.spec.run_spec import Resources
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence


def overview(place: FrontEnd) -> str:
    """All verbs with what they do, and an example each."""
    known = verbs_in(place)
    lines = ["uv-argo: a cell with its own dependencies, elsewhere, as if it had run here.", ""]
    if place == "notebook":
        lines += [f"  {CELL.notebook}", f"      {CELL.help}; %argo help run explains its options", ""]
    for verb in known.values():
        lines += [f"  {getattr(verb, place)}", f"      {verb.help}"]
    return "\n".join(lines)


def explain(name: str, place: FrontEnd) -> str:
    """One verb: what it does, an example, its argument and options with an example each; settings where it takes them.

    Raises:
        SpecError: there is no such verb.
    """
    known = {**verbs_in(place), **({"run": CELL, CELL.name: CELL} if place == "notebook" else {})}
    if name not in known:
        raise unknown("verb", name, known)
    verb = known[name]
    lines = [f"{verb.name}: {verb.help}", "", f"  {getattr(verb, place)}", ""]
    if verb.argument:
        lines += [_row(verb.argument.metavar, verb.argument.help)]
    for option in verb.options_in(place):
        what = " ".join(filter(None, (", ".join(option.flags), option.metavar)))
        example = "" if option.kind == "flag" else f" ({option.example})"
        lines.append(_row(what, option.help + example))
    if any(option.dest == "set" for option in verb.options):
        lines += ["", "Settings (--set KEY=VALUE, %config ArgoMagics.KEY, UV_ARGO_KEY, uv-argo.toml):"]
        for key, one in keys.FIELDS.items():
            default = keys.written(one.default)
            lines.append(_row(key, one.metadata["help"] + (f" [{default}]" if default else "")))
    return "\n".join(lines)


def _row(what: str, text: str) -> str:
    return textwrap.fill(text, 110, initial_indent=f"  {what:<32} ", subsequent_indent=" " * 35)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What could stand at a line's end: `fragment` is there already, `words` the table's own answers to it.

    `completer` names who knows the rest (verb and option answers are in `words`); `before` is what stands ahead of the
    fragment in its word (`panel=`), or the words that the option was given already.
    """

    fragment: str
    words: tuple[str, ...] = ()
    completer: str = ""
    before: tuple[str, ...] = ()


def expected(line: str, place: FrontEnd, *, cell: bool = False) -> Expected:
    """What could come at the end of a line without its command: `%%argo` (`cell`), else `%argo` or `uv-argo`."""
    read_so_far = words(line, complete=False)
    open_word = (
        read_so_far[-1] if read_so_far and read_so_far[-1].end == len(line) and not line[-1:].isspace() else None
    )
    done = read_so_far[:-1] if open_word else read_so_far
    fragment = open_word.text if open_word else ""
    if cell:
        return _expected(CELL, done, fragment, place)
    known = verbs_in(place)
    if not done:
        return _offer(fragment, (*known, *HELP.flags[1:]))
    if done[0].text not in known:
        return Expected(fragment=fragment)
    return _expected(known[done[0].text], done[1:], fragment, place)


def _expected(verb: Command, done: Sequence[Token], fragment: str, place: FrontEnd) -> Expected:
    options = verb.options_in(place)
    try:
        so_far = list(groups(options, done))
    except SpecError:
        return Expected(fragment=fragment)
    flags = tuple(
        flag for option in options for flag in option.flags if flag.startswith("--") and _open(option, so_far)
    )
    if fragment.startswith("-"):
        flag, equals, value = fragment.partition("=")
        by_flag = {flag: option for option in options for flag in option.flags}
        return _within(by_flag[flag], value, ()) if equals and flag in by_flag else _offer(fragment, flags)
    last = so_far[-1] if so_far else None
    if last and last.option and (last.option.kind == "words" or (last.option.kind != "flag" and not last.words)):
        given = tuple(word.text for word in last.words)
        return _within(last.option, fragment, given, () if fragment or not given else flags)
    if verb.argument and (verb.argument.kind == "words" or not any(group.option is None for group in so_far)):
        return _within(verb.argument, fragment, (), () if fragment else flags)
    return _offer(fragment, flags)


def _open(option: Option, so_far: Sequence[Group]) -> bool:
    """Whether an option may still be given."""
    return option.kind in ("many", "words") or all(group.option is not option for group in so_far)


def _offer(fragment: str, offered: Sequence[str]) -> Expected:
    return Expected(fragment=fragment, words=tuple(word for word in offered if word.startswith(fragment)))


def _within(option: Option, fragment: str, given: tuple[str, ...], more: tuple[str, ...] = ()) -> Expected:
    if option.completer == "setting":
        key, equals, value = fragment.partition("=")
        if equals:
            values = tuple(one for one in keys.values_of(key) if one.startswith(value))
            return Expected(fragment=value, words=values, before=(key + "=",))
        return _offer(fragment, tuple(f"{key}=" for key in keys.FIELDS))
    if option.completer == "resource":
        return _offer(fragment, tuple(f"{one.name}=" for one in fields(Resources)))
    if option.completer in ("name", "cell-name") and option.kind == "words" and "," in fragment:
        before, _, fragment = fragment.rpartition(",")
        given = (*given, *before.split(","))
    return Expected(fragment=fragment, words=more, completer=option.completer, before=given)
