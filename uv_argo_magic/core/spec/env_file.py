r"""The parser of `--env-file`: environment variables as NAME=VALUE lines, as Docker, Compose and uv read them.

Rules:
- `export ` in front of a name, blank lines and comments (`#` at the start of a line or after a space) are skipped.
- Single quotes keep the text between them as it is; double quotes allow \n, \t, \", \\ and \$. Both may span lines.
- Nothing is expanded: `$NAME` is literal text. A later line replaces an earlier one with the same name.
- Errors show names and line numbers, but never values.
"""

from __future__ import annotations

import re

from uv_argo_magic.errors import SpecError

_SPACE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z))+")
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_VALUE = re.compile(
    r"'(?P<single>[^']*)'(?P<after>[^\n]*)|\"(?P<double>(?:[^\"\\]|\\.)*)\"(?P<behind>[^\n]*)|(?P<plain>[^\n]*)",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}
_COMMENT = re.compile(r"(?:^|[ \t])#.*")


def parse(text: str, *, source: str) -> tuple[tuple[str, str], ...]:
    """The variables of a file, in the order of their first line; `source` names it in messages.

    Raises:
        SpecError: a line is not NAME=VALUE, or a quote is not closed.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    variables: dict[str, str] = {}
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        where = f"{source}, line {text.count(chr(10), 0, at) + 1}"
        name = _NAME.match(text, at)
        if not name:
            raise SpecError(f"{where}: not a NAME=VALUE line", hint="Example: MODE=test")
        found = _VALUE.match(text, name.end())
        assert found  # noqa: S101 - the last alternative matches any text
        at = found.end()
        variables[name[1]] = _value(found, f"{where}: the value of {name[1]}")
    return tuple(variables.items())


def _value(found: re.Match[str], subject: str) -> str:
    if found["plain"] is not None:
        value = _COMMENT.sub("", found["plain"]).strip()
        if value[:1] in ("'", '"'):
            raise SpecError(f"{subject} has no closing quote", hint=f"Close it with {value[0]}.")
    elif _COMMENT.sub("", found["after"] or found["behind"] or "").strip():
        raise SpecError(f"{subject} has text after its quote", hint="Put the whole value in quotes.")
    elif found["single"] is not None:
        value = found["single"]
    else:
        value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), found["double"], flags=re.DOTALL)
    if "\0" in value:
        raise SpecError(f"{subject} has a null character", hint="Remove it: no environment variable can have one.")
    return value
