"""The options of a run, read from a parsed line and checked.

Rule: an invalid value raises a SpecError with an example.
"""

from __future__ import annotations

import json
import keyword
import re
from dataclasses import field, fields
from typing import TYPE_CHECKING, TypeAlias

from uv_argo_magic.core import string_list
from uv_argo_magic.core.commands.parser import find
from uv_argo_magic.core.commands.table import CELL, RUN_OPTIONS
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec import quantity, settings_parser
from uv_argo_magic.core.spec.settings import Resources
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uv_argo_magic.core.commands.parser import Line

TIMEOUT = "run_timeout"
"""The setting of `--timeout`."""
Sets: TypeAlias = tuple[tuple[str, settings_parser.Value], ...]


@frozen
class RunOptions:
    """The options of a run. An option that is not given is "" or (), and None for `deps`."""

    deps: str | None = None
    deps_column: int = field(default=0, compare=False)
    """The column of `deps` in the `%%argo` line; 0 if it is not part of one."""
    requirements: tuple[str, ...] = ()
    python: str = ""
    backend: str = ""
    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()
    out: str = ""
    session: str = ""
    restart: bool = False
    upgrade: bool = False
    detach: bool = False
    dry_run: bool = False
    write_deps: bool = False
    to: str = ""
    resources: Resources = field(default_factory=Resources)
    env_files: tuple[str, ...] = ()
    sets: Sets = ()
    args: tuple[str, ...] = ()
    help: bool = False


def run_options(line: Line) -> RunOptions:
    """The options of a run, read and checked.

    Raises:
        SpecError: an option has an invalid value.
    """
    if line.has("to") and not line.has("dry_run") and line.command not in ("lock", "bake"):
        raise SpecError(
            "--to needs --dry-run", hint="Write --dry-run --to FILE, or use %argo export to write a finished run."
        )
    if line.has("restart") and not line.has("session"):
        raise SpecError("--restart needs --session", hint="Write --session main --restart.")
    return RunOptions(
        deps=line.text("deps") if line.has("deps") else None,
        deps_column=_deps_column(line),
        requirements=line.each("requirements"),
        python=_python(line.text("python")),
        backend=line.text("backend"),
        push=_names("--push", line.text("push")),
        pull=_names("--pull", line.text("pull")),
        out=_name("--out", line.text("out")) if line.has("out") else "",
        session=_session(line.text("session")) if line.has("session") else "",
        restart=line.has("restart"),
        upgrade=line.has("upgrade"),
        detach=line.has("detach"),
        dry_run=line.has("dry_run"),
        write_deps=line.has("write_deps"),
        to=line.text("to"),
        resources=_resources(line),
        env_files=line.each("env_file"),
        sets=_sets(line),
        args=line.rest,
        help=line.has("help"),
    )


def _deps_column(line: Line) -> int:
    columns = [column for dest, column in line.columns if dest == "deps"]
    return columns[0] + len(CELL.name) + 1 if line.command == CELL.name and len(columns) == 1 else 0


_PYTHON = re.compile(r"(?:python|cpython-?)?(3(?:\.\d+){0,2}t?)")
_SPECIFIERS = re.compile(r"(?:(?:[~=!]=|[<>]=?)\d+(?:\.\d+)*(?:\.\*)?(?:,(?!$)|$))+")


def _python(text: str) -> str:
    if not text:
        return ""
    match = _PYTHON.fullmatch(text.strip().lower())
    if match:
        return match[1]
    specifiers = "".join(text.split())
    if _SPECIFIERS.fullmatch(specifiers):
        return specifiers
    raise SpecError(f"invalid Python version: {text}", hint='Use a version such as 3.12 or 3.12.4, or ">=3.12".')


def _names(flag: str, text: str) -> tuple[str, ...]:
    if text.startswith("["):
        found = string_list.find(text, 0)
        names = json.loads(found[0]) if found and found[1] == len(text) else [text]
    else:
        names = re.split(r"[\s,]+", text)
    return tuple(dict.fromkeys(_name(flag, str(name)) for name in names if name))


def _name(flag: str, text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise SpecError(f"{flag} needs a variable name, not {text or 'an empty string'}", hint=f"Example: {flag} total")
    return text


_SESSION = re.compile(r"\w[\w.-]*")


def is_session_name(text: str) -> bool:
    """Whether a session can have this name."""
    return bool(_SESSION.fullmatch(text))


def _session(text: str) -> str:
    if not is_session_name(text):
        raise SpecError(
            f"invalid session name: {text or 'an empty string'}",
            hint="Use letters, digits, hyphens, underscores and periods, for example --session my-model.",
        )
    return text


def _sets(line: Line) -> Sets:
    """The settings given by `--set`, and by options such as `--timeout`."""
    for text in line.each("set"):
        key, _, value = text.partition("=")
        flag = f"--{key.strip().replace('_', '-')}"
        if key.strip() not in settings_parser.FIELDS and find(RUN_OPTIONS, flag):
            raise SpecError(f"{key} is an option, not a setting", hint=f"Write {flag} {value}".rstrip() + ".")
    sets = settings_parser.parse_assignments(line.each("set"))
    if not line.has("timeout"):
        return sets
    if any(key == TIMEOUT for key, _ in sets):
        raise SpecError(f"--timeout and --set {TIMEOUT} are the same setting", hint="Keep one of them.")
    try:
        return (*sets, (TIMEOUT, settings_parser.parse_setting(TIMEOUT, line.text("timeout"))))
    except SpecError:
        text = line.text("timeout")
        raise SpecError(f"--timeout needs a time, not {text or 'nothing'}", hint="Example: --timeout 10m") from None


def _resources(line: Line) -> Resources:
    listed = line.text("resources").strip()
    words = [word.partition("=")[::2] for word in re.split(r"[\s,]+", listed)] if listed else []
    kinds = [field_.name for field_ in fields(Resources) if line.has(field_.name)]
    return resources((*words, *((kind, line.text(kind)) for kind in kinds)))


def resources(pairs: Iterable[tuple[str, str]]) -> Resources:
    """The resources of (kind, quantity) pairs, checked.

    Raises:
        SpecError: a kind is unknown or given twice, or a quantity is invalid.
    """
    kinds = [field_.name for field_ in fields(Resources)]
    quantities: dict[str, str] = {}
    for kind, text in pairs:
        if kind not in kinds:
            raise unknown("resource", kind, kinds)
        if kind in quantities:
            raise SpecError(f"{kind} is given twice", hint="Keep one of them.")
        quantities[kind] = quantity.parse(kind, text)
    return Resources(**quantities)
