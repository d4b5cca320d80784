"""How a line of words becomes options: the tokenizer, the expansion of names, and one reader for every verb.

Rules:
- A word that begins with a quote runs to the same quote followed by a blank or the end; what is between is taken as
  it stands. The quote may also follow `--flag=` or `key=`. Every other word keeps its inner quotes.
- A JSON list that begins a word is one word. There are no escapes and no comments.
- The words after an option of kind "words" run on until the next option; a quoted word beside a comparison
  (`python_version < '3.12'`) is a marker's text and keeps its quotes.
- `$name` and `{name}` expand to the caller's value, and only exactly so: `{"a": 1}`, `${HOME}`, `{x.y}` and `$5` stay
  as they are. `$$` is a dollar, `{{name}}` is `{name}`. What comes out is data: it is never read as an option again.
- Nothing prints or exits: a wrong line is a SpecError that names the nearest right word.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from uv_argo_magic.core.suggest import nearest, unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Kind: TypeAlias = Literal["flag", "one", "words", "many"]
"""No value; one value, once; words until the next option, repeats are joined; one value, repeatable."""
FrontEnd: TypeAlias = Literal["notebook", "terminal"]
FRONT_ENDS: tuple[FrontEnd, ...] = ("notebook", "terminal")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, or, without flags, what a verb is given.

    `completer` names who knows its values; a value that begins with one of `private` expands, and is never shown. What
    is `required` may be left out where the option `instead` is given, and must be.
    """

    dest: str
    help: str
    flags: tuple[str, ...] = ()
    example: str = ""
    metavar: str = ""
    kind: Kind = "one"
    completer: str = ""
    required: bool = False
    private: tuple[str, ...] = ()
    instead: str = ""
    places: tuple[FrontEnd, ...] = FRONT_ENDS


@dataclass(frozen=True, kw_only=True)
class Command:
    """One verb: what it does, an example for each place where it can be said, its options and its argument."""

    name: str
    help: str
    notebook: str = ""
    terminal: str = ""
    options: tuple[Option, ...] = ()
    argument: Option | None = None

    def options_in(self, place: FrontEnd) -> tuple[Option, ...]:
        """The options that mean something there."""
        return tuple(option for option in self.options if place in option.places)


@dataclass(frozen=True, kw_only=True)
class Token:
    """One word: its text, the source it was read from, where that stands, and whether it is quoted or a list."""

    text: str
    raw: str
    start: int = 0
    end: int = 0
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A read line: the verb, its argument, (dest, text) in the order given, and what expanded to what."""

    verb: str
    argument: str = ""
    values: tuple[tuple[str, str], ...] = ()
    expanded: tuple[tuple[str, str], ...] = ()

    def each(self, dest: str) -> tuple[str, ...]:
        """Every value given for an option."""
        return tuple(text for name, text in self.values if name == dest)

    def given(self, dest: str) -> bool:
        """Whether the option stands on the line at all."""
        return any(name == dest for name, _ in self.values)

    def text(self, dest: str) -> str:
        """The option's value; several are joined by newlines; "" where none is given."""
        return "\n".join(self.each(dest))


_QUOTE = re.compile(r"""(?:--[A-Za-z][\w-]*=|[A-Za-z_]\w*=)?(?=["'\[])""")
_BLANK = re.compile(r"\s")
_DECODER = json.JSONDecoder()


def words(line: str, *, complete: bool = True) -> tuple[Token, ...]:
    """The words of a line; with `complete=False` an open quote runs to the end instead of being an error.

    Raises:
        SpecError: a quote that is not closed.
    """
    found, position = [], 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        word = _word(line, position, complete=complete)
        found.append(word)
        position = word.end
    return tuple(found)


def _word(line: str, start: int, *, complete: bool) -> Token:
    opening = _QUOTE.match(line, start)
    if opening:
        at = opening.end()
        found = _list(line, at) if line[at] == "[" else _quoted(line, at, complete=complete)
        if found:
            inner, end = found
            return Token(text=opening[0] + inner, raw=line[start:end], start=start, end=end, whole=True)
    blank = _BLANK.search(line, start)
    end = blank.start() if blank else len(line)
    return Token(text=line[start:end], raw=line[start:end], start=start, end=end)


def _quoted(line: str, at: int, *, complete: bool) -> tuple[str, int]:
    """What stands between the quote here and its end, and where the word ends."""
    closing = re.compile(re.escape(line[at]) + r"(?=\s|\Z)").search(line, at + 1)
    if closing:
        return line[at + 1 : closing.start()], closing.end()
    if complete:
        raise SpecError(
            f"the quote at column {at + 1} is not closed: {line[at : at + 30]}",
            hint=f"Close it with {line[at]} and a blank behind it.",
        )
    return line[at + 1 :], len(line)


def _list(line: str, at: int) -> tuple[str, int] | None:
    """The JSON list that begins here, as it stands, and where it ends; None where there is none."""
    try:
        _, end = _DECODER.raw_decode(line, at)
    except (ValueError, RecursionError):
        return None
    return (line[at:end], end) if end == len(line) or line[end].isspace() else None


_NAME = re.compile(
    r"\$\$|\{\{(?P<literal>[A-Za-z_]\w*)\}\}|\$(?P<dollar>[A-Za-z_]\w*)|(?<!\$)\{(?P<brace>[A-Za-z_]\w*)\}"
)


def expand(text: str, names: Mapping[str, object], seen: dict[str, str]) -> str:
    """The text with its names replaced; `seen` takes what became what.

    Raises:
        SpecError: a name that is not defined, or whose value is neither text, a number, a path nor a list of texts.
    """
    match = _NAME.fullmatch(text)
    alone = bool(match and (match["dollar"] or match["brace"]))

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["literal"]:
            return "{" + match["literal"] + "}"
        seen[match[0]] = found = _as_text(match["dollar"] or match["brace"], match[0], names, alone=alone)
        return found

    return _NAME.sub(value, text)


def _as_text(name: str, written: str, names: Mapping[str, object], *, alone: bool) -> str:
    if name not in names:
        best = nearest(name, names)
        literal = "$" + written if written.startswith("$") else "{" + written + "}"
        raise SpecError(
            f"{written} is on the line, but {name} is not defined" + (f"; did you mean {best}?" if best else ""),
            hint=f"Define it in a cell above, or write {literal} for the text itself.",
        )
    value = names[name]
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        # Alone, the unambiguous form; among other words, lines: both are forms of the requirements' grammar.
        return json.dumps(list(value), ensure_ascii=False) if alone else "\n".join(value)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise SpecError(
        f"{written} is a {type(value).__name__}, which cannot stand on the line",
        hint="Text, numbers, paths and lists of texts can.",
    )


_OPTION = re.compile(r"--|-[A-Za-z]")
_COMPARES_BEFORE = re.compile(r"(?:[<>=~!]|(?:\A|\W)in)\Z")
_COMPARES_AFTER = re.compile(r"[<>=~!]|(?:not|in)\Z")


def is_option(word: Token) -> bool:
    """Whether a word is an option rather than a value."""
    return bool(_OPTION.match(word.raw))


@dataclass(frozen=True, kw_only=True)
class Group:
    """One option or one loose word (`option` None) of a line, its flag as written, and the words it was given."""

    option: Option | None
    flag: str = ""
    words: tuple[Token, ...] = ()


def find(options: Sequence[Option], word: str) -> tuple[Option, str, str | None] | None:
    """The option that a word names, its flag, and the value written into the word (`--python=3.12`, `-p3.12`)."""
    flag, equals, value = word.partition("=")
    by_flag = {flag: option for option in options for flag in option.flags}
    if flag in by_flag:
        return by_flag[flag], flag, value if equals else None
    short = by_flag.get(word[:2])
    if short and not word.startswith("--") and short.kind != "flag":
        return short, word[:2], word[2:]
    return None


def groups(options: Sequence[Option], line: Sequence[Token]) -> Iterator[Group]:
    """Each option with its words, in order.

    Raises:
        SpecError: an option that is not known.
    """
    rest = list(line)
    while rest:
        word = rest.pop(0)
        if not is_option(word):
            yield Group(option=None, words=(word,))
            continue
        found = find(options, word.text)
        if not found:
            raise unknown("option", word.text.partition("=")[0], [flag for one in options for flag in one.flags])
        option, flag, value = found
        taken = []
        if value is not None:
            taken.append(Token(text=value, raw=word.raw[len(word.text) - len(value) :], whole=word.whole))
        while rest and not is_option(rest[0]) and (option.kind == "words" or (option.kind != "flag" and not taken)):
            taken.append(rest.pop(0))
        yield Group(option=option, flag=flag, words=tuple(taken))


def read(verb: Command, line: Sequence[Token], place: FrontEnd, names: Mapping[str, object] | None = None) -> Line:
    """One line by a verb's row of the table; without `names` nothing expands.

    Raises:
        SpecError: an option that is not known, lacks its value, or is given twice; a word too many or too few.
    """
    seen: dict[str, str] = {}
    values: list[tuple[str, str]] = []
    argument: str | None = None
    for group in groups(verb.options_in(place), line):
        if group.option:
            fresh: dict[str, str] = {}
            text = _value(group.option, group, names, fresh)
            hidden = bool(group.option.private) and text.startswith(group.option.private)
            seen |= dict.fromkeys(fresh, "(not shown)") if hidden else fresh
            if group.option.kind == "one" and any(dest == group.option.dest for dest, _ in values):
                raise SpecError(f"{group.flag} is given twice", hint="Keep one of them.")
            values.append((group.option.dest, text))
        elif verb.argument and (argument is None or verb.argument.kind == "words"):
            word = _join(group.words, names, seen)
            argument = word if argument is None else f"{argument} {word}"
        else:
            raise _too_many(verb, group.words[0].raw)
    given = {dest for dest, _ in values}
    wanted = verb.argument and verb.argument.required and "help" not in given
    if verb.argument and wanted and verb.argument.instead in given:
        if argument is not None:
            raise SpecError(
                f"{verb.name} takes {verb.argument.metavar} or --{verb.argument.instead}, not both",
                hint="Keep one of them.",
            )
    elif verb.argument and wanted and argument is None:
        raise SpecError(
            f"{verb.name} needs {verb.argument.metavar}: {verb.argument.help}",
            hint=f"For example: {verb.terminal}. Words after --deps belong to it: write {verb.argument.metavar} first.",
        )
    return Line(verb=verb.name, argument=argument or "", values=tuple(values), expanded=tuple(seen.items()))


def _value(option: Option, group: Group, names: Mapping[str, object] | None, seen: dict[str, str]) -> str:
    if option.kind == "flag":
        if group.words:
            raise SpecError(f"{group.flag} takes no value", hint=f"Write {group.flag} alone.")
        return "yes"
    if not group.words:
        raise SpecError(f"{group.flag} needs a value: {option.help}", hint=f"For example: {option.example}")
    return _join(group.words, names, seen)


def _join(taken: Sequence[Token], names: Mapping[str, object] | None, seen: dict[str, str]) -> str:
    pieces = []
    for i, word in enumerate(taken):
        before = taken[i - 1].raw if i else ""
        after = taken[i + 1].raw if i + 1 < len(taken) else ""
        marker = _COMPARES_BEFORE.search(before) or _COMPARES_AFTER.match(after)
        text = word.raw if marker else word.text
        if names is None:
            pieces.append(text)
        elif len(taken) == 1:
            pieces.append(expand(text, names, seen))
        else:
            # A blank in front keeps a list among other words from being taken for the only one.
            pieces.append(expand(" " + text, names, seen)[1:])
    return " ".join(pieces)


def _too_many(verb: Command, word: str) -> SpecError:
    best = nearest(word, [flag.lstrip("-") for option in verb.options for flag in option.flags])
    if best and len(best) > 1:
        return SpecError(f"unexpected word {word}; did you mean --{best}?", hint="Options begin with two dashes.")
    if any(option.dest == "deps" for option in verb.options):
        return SpecError(f"unexpected word {word}", hint=f'If it is a package, write --deps "{word}".')
    return SpecError(f"unexpected word {word}", hint=f"For example: {verb.notebook or verb.terminal}")
