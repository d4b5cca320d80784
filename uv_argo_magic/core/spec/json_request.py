"""The reader of a JSON request: {"pythonCode", "dependencies", "requirementsFile"}.

Rules:
- `dependencies` is a string or a list in the grammar of `--deps`; `requirementsFile` is the text of a requirements
  file. If both are given, they are combined; without them nothing is installed.
- An unknown key is an error, because ignoring it could change what runs.
"""

from __future__ import annotations

import json
from dataclasses import field

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

KEYS = ("pythonCode", "dependencies", "requirementsFile")
HINT = 'Example: {"pythonCode": "print(1)", "dependencies": "numpy pandas>=2", "requirementsFile": ""}'


@frozen
class Request:
    """The code of a request and its requirements."""

    code: str
    requirements: Requirements = field(default_factory=Requirements)


def read(text: str, *, source: str) -> Request:
    """Read a request; `source` names it in messages.

    Raises:
        SpecError: the text is not a JSON object, or has an unknown key or an invalid value.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(
            f"{source} is not JSON: {error.msg} on line {error.lineno}, character {error.colno}", hint=HINT
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets thousands deep
        raise SpecError(f"{source} is not a valid request", hint=HINT) from None
    if not isinstance(data, dict):
        raise SpecError(f"{source} is not a JSON object", hint=HINT)
    for key in data:
        if key not in KEYS:
            problem = unknown("key", key, KEYS)
            raise SpecError(f"{source}: {problem.message}", hint=problem.hint)
    code = data.get("pythonCode")
    if not isinstance(code, str) or not code.strip():
        problem_text = "has no pythonCode" if code in (None, "") else "has a pythonCode that is empty or not a string"
        raise SpecError(f"{source} {problem_text}", hint=HINT)
    return Request(code=code, requirements=parser.merge(_dependencies(data, source), _file(data, source)))


def _dependencies(data: dict[str, object], source: str) -> Requirements:
    value, where = data.get("dependencies"), f"dependencies of {source}"
    match value:
        case None:
            return Requirements()
        case str():
            return parser.parse(value, source=where)
        case list():
            return parser.parse_items(value, source=where)
        case _:
            raise SpecError(
                f"{where} are neither a string nor a list", hint='Write "numpy pandas>=2" or ["numpy", "pandas>=2"].'
            )


def _file(data: dict[str, object], source: str) -> Requirements:
    value, where = data.get("requirementsFile"), f"requirementsFile of {source}"
    if value is None:
        return Requirements()
    if not isinstance(value, str):
        raise SpecError(f"{where} is not a string", hint="Write the text of the file, with \\n between its lines.")
    return parser.parse(value, source=where, file=True)
