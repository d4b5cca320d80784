"""A requirements file as it is edited: one change gives another text, and what nobody changed stays as it was written.

Rules:
- What is added takes the place of what stands there under the same name and marker; else it becomes the last line.
- What is removed takes the comment behind it along; comments on lines of their own stay.
- Lines with options (`-r`, `-c`) are nobody's requirement here: they are kept, and named by `options`.
- A text that cannot be read is not changed, only replaced as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from uv_argo_magic.core.requirements.model import LocatedRequirement, Requirement, locate, parse
from uv_argo_magic.errors import SpecError

OPTION = re.compile(r"^[ \t]*-(?!-hash=)[^\n]*", re.MULTILINE)
SPACE = " \t"
DEPTH = 200
"""Changes that can be taken back: more than anybody makes before the cell runs."""


def normalize(text: str) -> str:
    """The text with plain line ends and without a byte order mark, as everything here reads it."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def option_lines(text: str) -> tuple[str, ...]:
    """The lines with options, such as `-r base.txt`."""
    return tuple(match.group().strip() for match in OPTION.finditer(text))


def items(text: str, source: str) -> tuple[Requirement, ...]:
    """The requirements that stand in the text itself, in its order, repeated ones once.

    Raises:
        SpecError: the text is no list of requirements.
    """
    return parse(_without_options(text), source=source, file=True).items


def add(text: str, added: str, source: str) -> str:
    """The text with what somebody typed: one requirement or several, as on the cell's line.

    Raises:
        SpecError: one of the two is no list of requirements.
    """
    items(text, source)
    for new in parse(added, source="what was typed").items:
        text = _add(_lines(text, source), new, source)
    return text


def remove(text: str, removed: Requirement, source: str) -> str:
    """The text without this requirement, wherever it stands.

    Raises:
        SpecError: the text is no list of requirements.
    """
    before = items(text, source)
    text = _lines(text, source)
    remaining = tuple(item for item in before if str(item) != str(removed))
    edited = text
    for item in reversed(_places(text, source)):
        if str(item.requirement) == str(removed):
            edited = _cut(edited, item.start, item.end)
    return edited if _reads_as(edited, remaining, source) else _to_text(remaining, text)


def _add(text: str, new: Requirement, source: str) -> str:
    before = _places(text, source)
    for existing in before:
        if (existing.requirement.name, existing.requirement.marker) == (new.name, new.marker):
            if str(existing.requirement) == str(new):
                return text
            return text[: existing.start] + new.line + text[existing.end :]
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}{new.line}\n"


def _cut(text: str, start: int, end: int) -> str:
    """Without `text[start:end]`: its whole lines where nothing else stands there, else it and one separator."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    before, behind = text[first:start], text[end:last]
    rest = re.sub(r"(?:^|[ \t])#.*", "", behind)
    if not (before + rest).strip(SPACE + ",\\"):
        return text[:first] + text[last + 1 :]
    separator = re.match(r"[ \t]*,?[ \t]*", behind)
    if rest.strip(SPACE + ",\\") and separator:
        return text[:start] + text[end + separator.end() :]
    return text[:first] + before.rstrip(SPACE + ",") + text[end:]


def _lines(text: str, source: str) -> str:
    """The text as lines: a JSON list has no place for a comment, and none for one more line either."""
    return _to_text(items(text, source), "") if text.lstrip(" \t\n").startswith("[") else text


def _places(text: str, source: str) -> tuple[LocatedRequirement, ...]:
    return locate(_without_options(text), source=source, file=True)


def _without_options(text: str) -> str:
    """The text with blanks instead of its options, so that everything else keeps its place."""
    return OPTION.sub(lambda match: " " * len(match.group()), text)


def _reads_as(text: str, expected: tuple[Requirement, ...], source: str) -> bool:
    """Whether a text that was cut still reads, and says this."""
    try:
        return items(text, source) == expected
    except SpecError:
        return False


def _to_text(requirements: tuple[Requirement, ...], text: str) -> str:
    """These requirements, a line each, below the options that the text had."""
    return "".join(f"{line}\n" for line in (*option_lines(text), *(requirement.line for requirement in requirements)))


@dataclass(frozen=True, kw_only=True)
class Edits:
    """A text with the way back to what it was, and forward again."""

    text: str
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()

    def change(self, text: str) -> Edits:
        """Another text; the same one changes nothing."""
        if text == self.text:
            return self
        return Edits(text=text, past=(*self.past, self.text)[-DEPTH:])

    def undo(self) -> Edits:
        """As before the last change."""
        if not self.past:
            return self
        return Edits(text=self.past[-1], past=self.past[:-1], future=(self.text, *self.future))

    def redo(self) -> Edits:
        """As before the last undo."""
        if not self.future:
            return self
        return Edits(text=self.future[0], past=(*self.past, self.text), future=self.future[1:])
