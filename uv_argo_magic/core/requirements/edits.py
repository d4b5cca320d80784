"""Edit the text of a requirements file without changing anything else in it.

Rules:
- An added requirement replaces one with the same name and marker; otherwise it is appended as the last line.
- Removing a requirement also removes the comment after it; comments on separate lines stay.
- Lines with options (`-r`, `-c`) stay; `option_lines` lists them.
- An invalid text cannot be edited, only replaced as a whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements.parser import locate, parse
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.core.requirements.model import LocatedRequirement, Requirement

OPTION = re.compile(r"^[ \t]*-(?!-hash=)[^\n]*", re.MULTILINE)
SPACE = " \t"
DEPTH = 200
"""Maximum number of changes that can be undone."""


def normalize(text: str) -> str:
    """The text with LF line ends and without a byte order mark; the other functions expect this form."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def option_lines(text: str) -> tuple[str, ...]:
    """The lines with options, such as `-r base.txt`."""
    return tuple(match.group().strip() for match in OPTION.finditer(text))


def items(text: str, source: str) -> tuple[Requirement, ...]:
    """The requirements in the text itself, in order and without duplicates.

    Raises:
        SpecError: the text is not a list of requirements.
    """
    return parse(_without_options(text), source=source, file=True).items


def add(text: str, added: str, source: str) -> str:
    """The text with one or several more requirements, written as for `--deps`.

    Raises:
        SpecError: one of the texts is not a list of requirements.
    """
    items(text, source)
    for new in parse(added, source="input").items:
        text = _add(_lines(text, source), new, source)
    return text


def remove(text: str, removed: Requirement, source: str) -> str:
    """The text without any occurrence of this requirement.

    Raises:
        SpecError: the text is not a list of requirements.
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
    """Remove `text[start:end]`: whole lines if nothing else is on them, otherwise with one separator."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    before, after = text[first:start], text[end:last]
    rest = re.sub(r"(?:^|[ \t])#.*", "", after)
    if not (before + rest).strip(SPACE + ",\\"):
        return text[:first] + text[last + 1 :]
    separator = re.match(r"[ \t]*,?[ \t]*", after)
    if rest.strip(SPACE + ",\\") and separator:
        return text[:start] + text[end + separator.end() :]
    return text[:first] + before.rstrip(SPACE + ",") + text[end:]


def _lines(text: str, source: str) -> str:
    """The text as lines; a JSON list becomes one requirement per line."""
    return _to_text(items(text, source), "") if text.lstrip(" \t\n").startswith("[") else text


def _places(text: str, source: str) -> tuple[LocatedRequirement, ...]:
    return locate(_without_options(text), source=source, file=True)


def _without_options(text: str) -> str:
    """The text with its option lines replaced by spaces, which keeps all positions."""
    return OPTION.sub(lambda match: " " * len(match.group()), text)


def _reads_as(text: str, expected: tuple[Requirement, ...], source: str) -> bool:
    """Whether an edited text is valid and has these requirements."""
    try:
        return items(text, source) == expected
    except SpecError:
        return False


def _to_text(requirements: tuple[Requirement, ...], text: str) -> str:
    """These requirements, one per line, after the option lines of the text."""
    return "".join(f"{line}\n" for line in (*option_lines(text), *(requirement.line for requirement in requirements)))


@frozen
class Edits:
    """A text with its history, for undo and redo."""

    text: str
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()

    def change(self, text: str) -> Edits:
        """Change the text; an unchanged text adds no step to undo."""
        if text == self.text:
            return self
        return Edits(text=text, past=(*self.past, self.text)[-DEPTH:])

    def undo(self) -> Edits:
        """Undo the last change."""
        if not self.past:
            return self
        return Edits(text=self.past[-1], past=self.past[:-1], future=(self.text, *self.future))

    def redo(self) -> Edits:
        """Redo the last undone change."""
        if not self.future:
            return self
        return Edits(text=self.future[0], past=(*self.past, self.text), future=self.future[1:])
