"""The parser of a line: the tokenizer, the expansion of variables, and one reader for every command.

This is not argparse, because that cannot read `--deps numpy pandas>=2 --push x`, JSON lists and notebook variables.

Rules:
- A token that begins with a quote ends at the same quote followed by a space or the end, and is taken literally. The
  quote may also follow `--flag=` or `key=`. Every other token keeps its inner quotes.
- A list of strings at the start of a token is one token, as JSON. There are no escapes and no comments.
- Typographic quotes are read as quotes, and a long dash before a name as `--`.
- The tokens after an option of kind "values" belong to it, up to the next option. A quoted token next to a comparison
  (`python_version < '3.12'`) is part of a marker and keeps its quotes.
- Only `$name`, `{name}`, `{name.attribute}` and `{name[0]}` expand to the caller's value; `{"a": 1}`, `${HOME}`,
  `{{x.y}}` and `$5` stay as they are. `$$` is a dollar, `{{name}}` is `{name}`. An expanded value is data: it is never
  read as an option.
- Nothing here prints or exits; an invalid line raises a SpecError that suggests the nearest valid word.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from uv_argo_magic.core import string_list
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.string_list import OPENING
from uv_argo_magic.core.suggest import SHORTEST_PREFIX, nearest
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Kind: TypeAlias = Literal["flag", "value", "values", "repeated", "name"]
"""The values that an option takes.

- flag: none
- value: one; the option can be given once
- values: all up to the next option; if the option is repeated, they are joined
- repeated: one; the option can be repeated
- name: one, which can be omitted; the option can be given once
"""
FrontEnd: TypeAlias = Literal["notebook", "terminal"]
FRONT_ENDS: tuple[FrontEnd, ...] = ("notebook", "terminal")


@frozen
class Option:
    """One option, or, without flags, the argument of a command.

    `completer` names the completer of its values. `also` are the names of the option in other tools. `default` is the
    value of an option of kind "name" that is given without one. Values that begin with one of `private` are expanded
    but never shown. A command takes either its `required` argument or the option `instead`, not both.
    """

    dest: str
    help: str
    flags: tuple[str, ...] = ()
    example: str = ""
    metavar: str = ""
    kind: Kind = "value"
    completer: str = ""
    also: tuple[str, ...] = ()
    required: bool = False
    default: str = ""
    private: tuple[str, ...] = ()
    instead: str = ""
    front_ends: tuple[FrontEnd, ...] = FRONT_ENDS


@frozen
class Command:
    """One command: its help, an example for each front end that has it, its options and its argument."""

    name: str
    help: str
    notebook: str = ""
    terminal: str = ""
    options: tuple[Option, ...] = ()
    argument: Option | None = None
    rest: Option | None = None
    """The argument after `--`, if the command has one."""

    def options_in(self, front_end: FrontEnd) -> tuple[Option, ...]:
        """The options that this front end has."""
        return tuple(option for option in self.options if front_end in option.front_ends)


@frozen
class Token:
    """One token: its text, and its source `raw` at `line[start:end]`. `literal` tokens are quoted, or a list."""

    text: str
    raw: str
    start: int = 0
    end: int = 0
    literal: bool = False


@frozen
class Line:
    """A parsed line: the command, its argument, the options as (dest, text) in order, and the expanded variables.

    `arguments` are the words of an argument of kind "values", `rest` those after `--`. `columns` has the position of
    each text that the line contains unchanged.
    """

    command: str
    argument: str = ""
    arguments: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    expanded: tuple[tuple[str, str], ...] = ()
    rest: tuple[str, ...] = ()
    columns: tuple[tuple[str, int], ...] = ()

    def each(self, dest: str) -> tuple[str, ...]:
        """Every value given for an option."""
        return tuple(text for name, text in self.values if name == dest)

    def has(self, dest: str) -> bool:
        """Whether the option is given."""
        return any(name == dest for name, _ in self.values)

    def text(self, dest: str) -> str:
        """The option's value; several are joined by newlines; "" if none is given."""
        return "\n".join(self.each(dest))


REST = "--"
"""Ends the options of a command."""

_QUOTE = re.compile(rf"(?:--[A-Za-z][\w-]*=|[A-Za-z_]\w*=)?(?=[{OPENING}\[])")
_LONG_DASH = re.compile(r"-?[\u2013\u2014]-?(?=[A-Za-z](?P<more>[A-Za-z])?)")
_BLANK = re.compile(r"\s")


def tokenize(line: str, *, complete: bool = True, before: int = 0) -> tuple[Token, ...]:
    """Split a line into tokens; with `complete=False` an open quote runs to the end of the line.

    `before` is the number of characters in front of the line, for the column in an error.

    Raises:
        SpecError: a quote is not closed.
    """
    tokens, position = [], 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        token = _word(line, position, complete=complete, before=before)
        tokens.append(token)
        position = token.end
    return tuple(tokens)


def _word(line: str, start: int, *, complete: bool, before: int) -> Token:
    opening = _QUOTE.match(line, start)
    if opening:
        at = opening.end()
        literal = _list(line, at) if line[at] == "[" else _quoted(line, at, complete=complete, before=before)
        if literal:
            inner, end = literal
            return Token(text=opening[0] + inner, raw=line[start:end], start=start, end=end, literal=True)
    blank = _BLANK.search(line, start)
    end = blank.start() if blank else len(line)
    dash = _LONG_DASH.match(line, start, end)
    word = f"{'--' if dash['more'] else '-'}{line[dash.end() : end]}" if dash else line[start:end]
    return Token(text=word, raw=word, start=start, end=end)


def _quoted(line: str, at: int, *, complete: bool, before: int) -> tuple[str, int]:
    """The text between the quote at `at` and its closing quote, and the end of the token."""
    closing = re.compile(rf"[{string_list.closing(line[at])}](?=\s|\Z)").search(line, at + 1)
    if closing:
        return line[at + 1 : closing.start()], closing.end()
    if complete:
        raise SpecError(
            f"the quote at character {at + 1 + before} of the line is not closed: {line[at : at + 30]}",
            hint=f"Close it with {line[at]} followed by a space.",
        )
    return line[at + 1 :], len(line)


def _list(line: str, at: int) -> tuple[str, int] | None:
    """The JSON text of the list at `at` and its end; None if there is none."""
    found = string_list.find(line, at)
    return found if found and (found[1] == len(line) or line[found[1]].isspace()) else None


_NAME = re.compile(
    r"""\$\$|\{\{(?P<literal>[A-Za-z_]\w*)\}\}|\$(?P<dollar>[A-Za-z_]\w*)|(?<!\$)\{(?P<brace>[A-Za-z_]\w*)\}"""
    # Not between double braces, as in the templates of Argo: {{workflow.name}}
    r"""|(?<![${])\{(?P<base>[A-Za-z_]\w*)(?P<path>(?:\.[A-Za-z_]\w*|\[(?:-?\d+|'[^'\s]*'|"[^"\s]*")\])+)\}(?!\})"""
)
_STEP = re.compile(r"\.(?P<attribute>\w+)|\[(?P<key>[^\]'\"]+|'[^']*'|\"[^\"]*\")\]")


def expand(text: str, variables: Mapping[str, object], expanded: dict[str, str]) -> str:
    """The text with its variables replaced; `expanded` collects each replacement.

    Raises:
        SpecError: a variable is not defined or lacks the attribute or item, or the value is neither a string, a number,
            a path nor a list of strings.
    """
    match = _NAME.fullmatch(text)
    alone = bool(match and (match["dollar"] or match["brace"] or match["base"]))

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["literal"]:
            return "{" + match["literal"] + "}"
        found = _value_of(match["dollar"] or match["brace"] or match["base"], match, variables)
        expanded[match[0]] = value_text = _as_text(found, match[0], alone=alone)
        return value_text

    return _NAME.sub(value, text)


def _value_of(name: str, match: re.Match[str], variables: Mapping[str, object]) -> Any:
    """The value of a variable, or of its attribute or item, as in `{run.id}` and `{names[0]}`."""
    written = match[0]
    if name not in variables:
        best = nearest(name, variables)
        literal = "$" + written if written.startswith("$") else "{" + written + "}"
        raise SpecError(
            f"{written} is on the line, but {name} is not defined" + (f"; did you mean {best}?" if best else ""),
            hint="Define it in a cell above"
            + ("." if match["base"] else f", or write {literal} for the literal text."),
        )
    value: Any = variables[name]
    for step in _STEP.finditer(match["path"] or ""):
        try:
            value = getattr(value, step["attribute"]) if step["attribute"] else value[_key(step["key"])]
        except Exception as error:
            raise SpecError(
                f"{written} is on the line, but {type(error).__name__}: {error}",
                hint="Assign the value to a variable in a cell above, and write its name in the braces.",
            ) from error
    return value


def _key(text: str) -> str | int:
    return text[1:-1] if text[0] in "'\"" else int(text)


def _as_text(value: object, written: str, *, alone: bool) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        # A list on its own becomes JSON, which is unambiguous; among other words it becomes lines.
        return json.dumps(list(value), ensure_ascii=False) if alone else "\n".join(value)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise SpecError(
        f"{written} is a {type(value).__name__}, which cannot be used on this line",
        hint="Use a string, a number, a path or a list of strings.",
    )


_OPTION = re.compile(r"--|-[A-Za-z]")
_COMPARES_BEFORE = re.compile(r"(?:[<>=~!]|(?:\A|\W)in)\Z")
_COMPARES_AFTER = re.compile(r"[<>=~!]|(?:not|in)\Z")


def is_option(token: Token) -> bool:
    """Whether a token is an option rather than a value."""
    return bool(_OPTION.match(token.raw))


@frozen
class Group:
    """One option, its flag as written and its tokens; or one token without an option (`option` is None)."""

    option: Option | None
    flag: str = ""
    tokens: tuple[Token, ...] = ()


def find(options: Sequence[Option], word: str) -> tuple[Option, str, str | None] | None:
    """The option of a token, its flag, and the value in the token, if any (`--python=3.12`, `-p3.12`)."""
    flag, equals, value = word.partition("=")
    by_flag = {flag: option for option in options for flag in option.flags}
    if flag in by_flag:
        return by_flag[flag], flag, value if equals else None
    short = by_flag.get(word[:2])
    # `-p3.12` has its value; `-python` and `-deps` lack a dash.
    if short and not word.startswith("--") and short.kind != "flag" and not _long_flag(word[1:], options):
        return short, word[:2], word[2:]
    return None


def _long_flag(word: str, options: Sequence[Option]) -> str:
    """The long flag that is a prefix of this word, or begins with it; "" if there is none."""
    stem = re.match(r"[A-Za-z-]*", word)
    name = stem[0] if stem else ""
    for option in options:
        for flag in option.flags:
            if len(name) >= SHORTEST_PREFIX and flag.startswith(f"--{name}"):
                return flag
    return ""


def _unknown_option(word: str, options: Sequence[Option]) -> SpecError:
    """The error for an unknown option, which suggests a similar option or setting."""
    name = word.lstrip("-")
    names = {flag.lstrip("-"): flag for option in options for flag in option.flags if flag.startswith("--")}
    also = {other: option.flags[-1] for option in options for other in option.also}
    settings = settings_parser.FIELDS if any(option.dest == "set" for option in options) else ()
    suggestion = (
        _long_flag(name, options)
        or also.get(name.lower())
        or names.get(nearest(name, names))
        or also.get(nearest(name, also), "")
    )
    setting = "" if suggestion else nearest(name, settings)
    if setting:
        suggestion = f"--set {setting}={settings_parser.example(setting)}"
    question = f"; did you mean {suggestion}?" if suggestion else ""
    return SpecError(f"unknown option {word}{question}", hint=f"Choose from: {', '.join(sorted(names.values()))}.")


def groups(options: Sequence[Option], tokens: Sequence[Token]) -> Iterator[Group]:
    """Each option with its tokens, in order.

    Raises:
        SpecError: an option is unknown.
    """
    remaining = list(tokens)
    while remaining:
        token = remaining.pop(0)
        if not is_option(token):
            yield Group(option=None, tokens=(token,))
            continue
        match = find(options, token.text)
        if not match:
            raise _unknown_option(token.text.partition("=")[0], options)
        option, flag, value = match
        values = []
        if value is not None:
            cut = len(token.text) - len(value)
            values.append(
                Token(text=value, raw=token.raw[cut:], start=token.start + cut, end=token.end, literal=token.literal)
            )
        while (
            remaining
            and not is_option(remaining[0])
            and (option.kind == "values" or (option.kind != "flag" and not values))
        ):
            values.append(remaining.pop(0))
        yield Group(option=option, flag=flag, tokens=tuple(values))


def read(
    command: Command, tokens: Sequence[Token], front_end: FrontEnd, variables: Mapping[str, object] | None = None
) -> Line:
    """Parse the tokens of a command; without `variables` nothing is expanded.

    Raises:
        SpecError: an option is unknown, lacks its value or is given twice, or an argument is unexpected or missing.
    """
    expanded: dict[str, str] = {}
    values: list[tuple[str, str]] = []
    columns: list[tuple[str, int]] = []
    argument: str | None = None
    rest: tuple[str, ...] = ()
    words: list[str] = []
    texts = [token.text for token in tokens]
    if command.rest and REST in texts:
        at = texts.index(REST)
        tokens, rest = tokens[:at], tuple(texts[at + 1 :])
    all_groups = tuple(groups(command.options_in(front_end), tokens))
    for number, group in enumerate(all_groups):
        if group.option:
            replaced: dict[str, str] = {}
            text = _value(group.option, group, variables, replaced)
            hidden = bool(group.option.private) and text.startswith(group.option.private)
            expanded |= dict.fromkeys(replaced, "(not shown)") if hidden else replaced
            if group.option.kind in ("value", "name") and any(dest == group.option.dest for dest, _ in values):
                raise SpecError(f"{group.flag} is given twice", hint="Keep one of them.")
            values.append((group.option.dest, text))
            if not replaced and (column := _column(group.tokens)) is not None:
                columns.append((group.option.dest, column))
        elif command.argument and (argument is None or command.argument.kind == "values"):
            word = _join(group.tokens, variables, expanded)
            argument = word if argument is None else f"{argument} {word}"
            words.append(word)
        else:
            following = itertools.takewhile(lambda group: group.option is None, all_groups[number:])
            raise _too_many(command, [group.tokens[0].raw for group in following])
    dests = {dest for dest, _ in values}
    needs_argument = command.argument and command.argument.required and "help" not in dests
    if command.argument and needs_argument and command.argument.instead in dests:
        if argument is not None:
            raise SpecError(
                f"{command.name} takes {command.argument.metavar} or --{command.argument.instead}, not both",
                hint="Keep one of them.",
            )
    elif command.argument and needs_argument and argument is None:
        raise SpecError(
            f"{command.name} needs {command.argument.metavar}: {command.argument.help}",
            hint=f"Example: {command.terminal}. Write {command.argument.metavar} before --deps.",
        )
    return Line(
        command=command.name, argument=argument or "", arguments=tuple(words), values=tuple(values),
        expanded=tuple(expanded.items()), rest=rest, columns=tuple(columns),
    )  # fmt: skip


def _column(tokens: Sequence[Token]) -> int | None:
    """The column of the text of these tokens; None if the line does not contain it unchanged."""
    if len(tokens) == 1 and tokens[0].text in tokens[0].raw:
        return tokens[0].start + tokens[0].raw.index(tokens[0].text)
    is_verbatim = all(not token.literal for token in tokens)
    is_joined = all(left.end + 1 == right.start for left, right in itertools.pairwise(tokens))
    return tokens[0].start if tokens and is_verbatim and is_joined else None


def _value(option: Option, group: Group, variables: Mapping[str, object] | None, expanded: dict[str, str]) -> str:
    if option.kind == "flag":
        if group.tokens:
            raise SpecError(f"{group.flag} takes no value", hint=f"Write {group.flag} alone.")
        return "yes"
    if not group.tokens and option.default:
        return option.default
    if not group.tokens:
        raise SpecError(f"{group.flag} needs a value: {option.help}", hint=f"Example: {option.example}")
    return _join(group.tokens, variables, expanded)


def _join(tokens: Sequence[Token], variables: Mapping[str, object] | None, expanded: dict[str, str]) -> str:
    pieces = []
    for i, token in enumerate(tokens):
        before = tokens[i - 1].raw if i else ""
        after = tokens[i + 1].raw if i + 1 < len(tokens) else ""
        marker = _COMPARES_BEFORE.search(before) or _COMPARES_AFTER.match(after)
        text = token.raw if marker else token.text
        if variables is None:
            pieces.append(text)
        elif len(tokens) == 1:
            pieces.append(expand(text, variables, expanded))
        else:
            # With a space before it, a list is expanded as one of several words.
            pieces.append(expand(" " + text, variables, expanded)[1:])
    return " ".join(pieces)


def _too_many(command: Command, words: Sequence[str]) -> SpecError:
    """The error for arguments that the command does not take."""
    best = nearest(words[0], [flag.lstrip("-") for option in command.options for flag in option.flags])
    if best and len(best) > 1:
        return SpecError(
            f"unexpected argument {words[0]}; did you mean --{best}?", hint="Options begin with two dashes."
        )
    if command.rest:
        return SpecError(
            f"unexpected argument {words[0]}", hint=f"Write -- before the script's arguments: -- {' '.join(words)}"
        )
    if any(option.dest == "deps" for option in command.options):
        packages = " ".join(words)
        quote = "'" if '"' in packages else '"'
        those = "they are packages" if len(words) > 1 else "it is a package"
        return SpecError(f"unexpected argument {words[0]}", hint=f"If {those}, write --deps {quote}{packages}{quote}.")
    return SpecError(f"unexpected argument {words[0]}", hint=f"Example: {command.notebook or command.terminal}")
