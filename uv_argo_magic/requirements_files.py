"""Read the requirements in the files of other tools (`-r FILE`), and in the notebook's requirements file.

    requirements.txt            with -r and -c, relative to the file that contains them
    pyproject.toml              the project's dependencies; [extra,extra] adds extras, :group,group selects only groups
    pylock.toml                 all pinned packages with their hashes; [extra] and :group if it has any
    uv.lock                     the same, read by `uv export --frozen` in a temporary folder
    environment.yml             the pip section, and the conda packages that a package index has
    script.py                   the `dependencies` and [tool.uv] of its script block
    conda list --export         like environment.yml
    pip list                    the listed versions

Rules:
- The type of a file is detected by its name, else by its content. If another tool must export a file, the hint is the
  command of that tool.
- Nothing is built, and projects are not changed. Requirements that only a build can determine are refused.
- Messages name the file as the user wrote it, or by its name alone, and the line.
- The notebook's requirements file is next to the notebook: analysis.requirements.txt for analysis.ipynb. Only this
  module knows that.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from uv import find_uv_bin

from uv_argo_magic._os import paths
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements import conda_env, parser
from uv_argo_magic.core.requirements.includes import Include, split_includes
from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements, merge
from uv_argo_magic.core.requirements.pep723 import parse_script
from uv_argo_magic.core.requirements.pylock_pins import read_pins
from uv_argo_magic.core.requirements.pyproject import read_pyproject
from uv_argo_magic.core.spec.uv_environ import uv_process_environ
from uv_argo_magic.core.suggest import nearest
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = ".requirements.txt"
MAX_DEPTH = 20
"""Maximum depth of files that include each other."""
MAX_SIZE = 32 * 1024 * 1024
"""Maximum bytes of a file; a lock with the hashes of all platforms is large."""
EXPORT_TIMEOUT = 60.0


def read(reference: str, folder: Path) -> ParsedRequirements:
    """The requirements in a file: a path relative to `folder`, with optional `[extras]` and `:groups`.

    Raises:
        SpecError: the file cannot be read, is invalid, or must be exported by another tool.
    """
    name, extras, groups = _split_reference(reference, folder)
    return _read(_Source(path=folder / paths.expanded(name), name=name, extras=extras, groups=groups), set())


def exists(reference: str, folder: Path) -> bool:
    """Whether `read` would find a file."""
    name, _, _ = _split_reference(reference, folder)
    # Path.is_file raises an error for a name that is too long, or in a folder that cannot be searched.
    return os.path.isfile(folder / paths.expanded(name))  # noqa: PTH113


def notebook_file(notebook: str, folder: Path) -> Path | None:
    """The path of a notebook's requirements file, which may not exist; None if the notebook's path is unknown.

    `notebook` is its path from the front end, absolute or relative to `folder`.
    """
    path = folder / notebook
    # A Jupyter session without a notebook has a name without a suffix instead of a path.
    return path.with_suffix(SUFFIX) if notebook and path.suffix else None


def read_notebook(notebook: str, folder: Path) -> ParsedRequirements | None:
    """The requirements in a notebook's requirements file; None if it does not exist.

    Raises:
        SpecError: the file cannot be read, or is invalid.
    """
    path = notebook_file(notebook, folder)
    return _read(_Source(path=path, name=path.name), set()) if path and path.exists() else None


@frozen
class _Source:
    """A file, its name in messages, the selected extras and groups, and the chain of files that include it.

    `constraint` means that one of these files includes it with `-c`.
    """

    path: Path
    name: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    trail: tuple[Path, ...] = ()
    constraint: bool = False


_REFERENCE = re.compile(r"(.+\.(?:toml|lock))(?:\[([^\[\]]*)\])?(?::([A-Za-z0-9._, -]+))?")


def _split_reference(reference: str, folder: Path) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(path, extras, groups)."""
    match = _REFERENCE.fullmatch(reference)
    # Path.exists raises an error for a name that is too long, or in a folder that cannot be searched.
    if not match or os.path.exists(folder / paths.expanded(reference)):  # noqa: PTH110
        return reference, (), ()
    extras, groups = (tuple(re.findall(r"[^\s,]+", names or "")) for names in match.group(2, 3))
    return match[1], extras, groups


def _read(source: _Source, visited: set[tuple[Path, bool]]) -> ParsedRequirements:
    """The requirements in one file. `visited` are the (file, as constraints) that were read and are skipped."""
    text = _read_text(source)
    return _READERS[_kind(source, text)](source, text, visited)


def _read_text(source: _Source) -> str:
    path, name = source.path, source.name
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        names: list[str] = []
        with contextlib.suppress(OSError):  # the folder may not exist, or not be readable
            names += (entry.name for entry in path.parent.iterdir() if entry.is_file())
        suggestion = nearest(path.name, names)
        base = "file that includes it" if source.trail else "working directory"
        raise SpecError(
            f"cannot read {name}: {error.strerror}" + (f"; did you mean {suggestion}?" if suggestion else ""),
            hint=f"Check the path. A relative path is relative to the {base}.",
        ) from error
    if len(data) > MAX_SIZE:
        raise SpecError(f"{name} is too large for a list of requirements", hint="Name the file that lists them.")
    try:
        # PowerShell writes UTF-16 with a byte order mark.
        return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 text", hint="Save the file as UTF-8.") from error


def _kind(source: _Source, text: str) -> str:
    """The key of the file's reader in _READERS.

    Raises:
        SpecError: another tool must export the file.
    """
    name = source.path.name.lower()
    kind = next((kind for pattern, kind in _NAMES if re.fullmatch(pattern, name)), "")
    kind = kind or next((kind for pattern, kind in _CONTENTS if re.search(pattern, text, re.MULTILINE)), "requirements")
    if kind in _EXPORTS:
        problem, hint = _EXPORTS[kind]
        raise SpecError(f"{source.name} is {problem}", hint=hint)
    if (source.extras or source.groups) and kind not in ("project", "pylock", "uvlock"):
        raise SpecError(f"{source.name} has no extras and no groups", hint="Write only the path of the file.")
    return kind


_NAMES = (
    (r"pyproject\.toml", "project"),
    (r"pylock(?:\.[^.]+)?\.toml", "pylock"),
    (r"uv\.lock", "uvlock"),
    (r"poetry\.lock", "poetry"),
    (r"pdm\.lock", "pdm"),
    (r"pipfile(?:\.lock)?", "pipenv"),
    (r"setup\.(?:py|cfg)", "setuptools"),
    (r".*\.py", "script"),
    (r".*\.ipynb", "notebook"),
    (r".*\.ya?ml", "conda"),
    (r"pixi\.(?:toml|lock)", "pixi"),
)
_CONTENTS = (
    (r"^lock-version\s*=", "pylock"),
    (r"^# This file is automatically @generated by Poetry", "poetry"),
    (r"^# This file is @generated by PDM", "pdm"),
    (r"^\[\[package\]\]", "uvlock"),
    (r"^\[(?:project|dependency-groups|build-system|tool\.poetry)\]", "project"),
    (r"^\[(?:packages|dev-packages)\]|^\s*\"_meta\"", "pipenv"),
    (r"^# /// script$", "script"),
    (r"^dependencies:", "conda"),
    (r"^@EXPLICIT$", "explicit"),
    (r"^# packages in environment at ", "condalist"),
    (r"^[\w.-]+=[^=\s]+=[^=\s]+$", "condaexport"),
    (r"\A\s*Package +Version\b", "piplist"),
)
_EXPORTS = {
    "poetry": (
        "a Poetry lock file",
        "Export it: poetry export -o requirements.txt (with the plugin poetry-plugin-export)",
    ),
    "pdm": ("a PDM lock file", "Export it: pdm export -o requirements.txt"),
    "pipenv": ("a Pipenv file", "Export it: pipenv requirements > requirements.txt"),
    "setuptools": (
        "only readable by building the project, which is not supported",
        "Compile its requirements into a file: uv pip compile setup.py -o requirements.txt",
    ),
    "pixi": ("a pixi project", "Export it: pixi workspace export conda-environment environment.yml"),
    "explicit": ("a list of conda package files", "Export the packages: conda env export > environment.yml"),
    "condalist": ("the output of conda list", "Export the packages: conda env export > environment.yml"),
    "notebook": ("a notebook", "Name its requirements file, or list the packages: --deps NAMES."),
}
"""Type of a refused file -> (problem, hint)."""


def _requirements(source: _Source, text: str, visited: set[tuple[Path, bool]]) -> ParsedRequirements:
    if match := _LOCAL.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise SpecError(
            f"{source.name}, line {line}: {match[1]} was installed from a folder on another machine",
            hint="List the versions instead: pip list --format=freeze > requirements.txt",
        )
    own_lines, includes = split_includes(text)
    listed = ParsedRequirements(requirements=parser.parse(own_lines, source=source.name, file=True))
    return merge(listed, *(_included(source, include, visited) for include in includes))


_LOCAL = re.compile(r"^[ \t]*([\w.-]+) @ file:", re.MULTILINE)
"""The output of `pip freeze` for a package that was built by conda or `pip install .`."""


def _pip_list(source: _Source, text: str, visited: set[tuple[Path, bool]]) -> ParsedRequirements:
    rows = text.splitlines()
    head = next(number for number, row in enumerate(rows) if row.strip())
    first = head + 2  # below the head and a line of dashes
    # Newer versions of pip, and `pip list -v`, have other columns.
    column = rows[head].find("Editable project location")
    if local := [row.split()[0] for row in rows[first:] if column >= 0 and row[column : column + 1].strip()]:
        raise SpecError(
            f"{source.name} lists packages that were installed from folders on another machine: {', '.join(local)}",
            hint="Leave them out: pip list --exclude-editable",
        )
    # Keep the line numbers, because messages contain them.
    pins = [""] * first + ["==".join(row.split()[:2]) for row in rows[first:]]
    return _requirements(source, "\n".join(pins), visited)


def _conda_export(source: _Source, text: str, _visited: object) -> ParsedRequirements:
    lines = [conda_env.Line(number=number, text=line) for number, line in enumerate(text.splitlines(), start=1)]
    return conda_env.read_conda([line for line in lines if line.text[:1] not in ("", "#")], source=source.name)


def _included(source: _Source, include: Include, visited: set[tuple[Path, bool]]) -> ParsedRequirements:
    """The requirements in an included file; if it is included with `-c`, all of them are constraints."""
    where = f"{source.name}, line {include.line}"
    if re.search(r"://|[$\0]", include.name):
        raise SpecError(f"{where}: {include.name} is not a local file", hint="Download it, and use its path.")
    trail = (*source.trail, source.path.resolve())
    path = (source.path.parent / paths.expanded(include.name)).resolve()
    if path in trail:
        raise SpecError(f"{where}: {include.name} includes this file again", hint="Remove one of the two lines.")
    if len(trail) >= MAX_DEPTH:
        raise SpecError(
            f"{where}: files are included more than {MAX_DEPTH} levels deep", hint="Include the last file directly."
        )
    constraint = include.constraint or source.constraint
    if (path, constraint) in visited:
        return ParsedRequirements()
    visited.add((path, constraint))
    name = str(Path(source.name).parent / include.name)
    included = _read(replace(source, path=path, name=name, trail=trail, constraint=constraint), visited)
    if not include.constraint:
        return included
    if any(item.hashes for item in included.requirements.items):
        raise SpecError(
            f"{name}: hashes in a constraints file are not supported",
            hint="Remove the hashes, or include the file with -r.",
        )
    return ParsedRequirements(
        constraints=(*included.requirements.lines, *included.constraints),
        overrides=included.overrides,
        notes=included.notes,
    )


def _project(source: _Source, text: str, _visited: object) -> ParsedRequirements:
    return read_pyproject(text, source=source.name, extras=source.extras, groups=source.groups)


def _pylock(source: _Source, text: str, _visited: object) -> ParsedRequirements:
    systems = tuple(dict.fromkeys(("linux", sys.platform)))
    return read_pins(text, source=source.name, extras=source.extras, groups=source.groups, systems=systems)


def _script(source: _Source, text: str, _visited: object) -> ParsedRequirements:
    try:
        script = parse_script(text)
    except SpecError as error:
        raise SpecError(f"{source.name}: {error.message}", hint=error.hint) from None
    if script is None or script.requirements is None:
        raise SpecError(
            f"{source.name} has no script block with dependencies",
            hint='A block has three parts, each on its own line: # /// script, # dependencies = ["numpy"], # ///',
        )
    python, settings = script.requires_python, dict(script.settings)
    constraints, overrides = (settings.pop(key, ()) for key in ("constraints", "overrides"))
    return ParsedRequirements(
        requirements=script.requirements,
        constraints=constraints,  # type: ignore[arg-type]  # a tuple of lines, from its reader
        overrides=overrides,  # type: ignore[arg-type]  # the same
        requires_python=((python, source.name),) if python else (),
        settings=tuple(settings.items()),
    )


def _uvlock(source: _Source, text: str, _visited: object) -> ParsedRequirements:
    """Export the lock with uv in a temporary folder; uv builds nothing, and needs neither a Python nor an index."""
    command = [find_uv_bin(), "export", "--frozen", "--offline", "--format", "requirements.txt", "--no-emit-local"]
    command += ["--no-header", "--no-annotate", "--no-default-groups", "--preview-features", "frozen-lockfile"]
    command += [f"--extra={name}" for name in source.extras]
    command += [f"--{'group' if source.extras else 'only-group'}={name}" for name in source.groups]
    project = source.path.parent / "pyproject.toml"
    with tempfile.TemporaryDirectory(prefix="uv-argo-") as folder:
        (Path(folder) / "uv.lock").write_text(text, encoding="utf-8")
        if project.is_file():
            (Path(folder) / "pyproject.toml").write_bytes(project.read_bytes())
        try:
            completed = subprocess.run(
                command,
                cwd=folder,
                env=uv_process_environ(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=EXPORT_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SpecError(
                f"uv took more than {EXPORT_TIMEOUT:g} seconds to read {source.name}",
                hint="Export it in the project's folder: uv export -o requirements.txt",
            ) from error
    if completed.returncode:
        errors = [line.strip() for line in completed.stderr.splitlines() if line.startswith(("error:", "  cause:"))]
        raise SpecError(
            f"uv could not read {source.name}: {'; '.join(errors) or f'exit status {completed.returncode}'}",
            hint="Create it again in the project's folder: uv lock",
        )
    exported = parser.parse(completed.stdout, source=f"{source.name} (as uv exports it)", file=True)
    data = tomllib.loads(text)
    python = str(data.get("requires-python", ""))
    return ParsedRequirements(
        requirements=replace(exported, complete=True),
        requires_python=((python, source.name),) if python else (),
        notes=tuple(_local_packages(source.name, data)),
    )


def _local_packages(name: str, data: dict[str, object]) -> list[str]:
    """A note on the lock's packages from folders of the project, which do not exist where the cell runs."""
    packages = data.get("package", [])
    local = [
        str(package.get("name"))
        for package in (packages if isinstance(packages, list) else ())
        if isinstance(package, dict) and isinstance(source := package.get("source"), dict)
        if any(source.get(kind, ".") != "." for kind in ("editable", "virtual", "directory", "path"))
    ]
    return [f"{name}: left out local folders of the project: {', '.join(local)}."] if local else []


def _conda(source: _Source, text: str, visited: set[tuple[Path, bool]]) -> ParsedRequirements:
    lines, pip, notes = _environment(source, text)
    # Keep the line numbers, because messages contain them.
    rows: list[str] = []
    for line in pip:
        rows += [""] * (line.number - 1 - len(rows))
        rows.append(line.text)
    listed = _requirements(source, "\n".join(rows), visited)
    return merge(conda_env.read_conda(lines, source=source.name), listed, ParsedRequirements(notes=tuple(notes)))


def _environment(source: _Source, text: str) -> tuple[list[conda_env.Line], list[conda_env.Line], list[str]]:
    """(conda packages, pip section, notes on ignored parts) of an environment.yml."""
    try:
        import yaml  # noqa: PLC0415 - 12 ms, and only environment.yml needs it
    except ImportError as error:
        raise SpecError(
            f"cannot read {source.name}: PyYAML is not installed", hint='Install it: pip install "uv-argo-magic[conda]"'
        ) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "nested too deeply"
        raise SpecError(
            f"{source.name}{where}: invalid YAML: {problem}",
            hint="List the packages under `dependencies:`, one per line, such as `- numpy=1.26`.",
        ) from None
    keys = {str(key.value): value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    entries = keys.get("dependencies")
    if not isinstance(entries, yaml.SequenceNode):
        raise SpecError(
            f"{source.name} has no list of dependencies",
            hint="List the packages under `dependencies:`, one per line, such as `- numpy=1.26`.",
        )
    lines: tuple[list[conda_env.Line], list[conda_env.Line]] = ([], [])
    for entry in entries.value:
        pip = (
            isinstance(entry, yaml.MappingNode)
            and [key.value for key, _ in entry.value] == ["pip"]
            and isinstance(entry.value[0][1], yaml.SequenceNode)
        )
        for node in entry.value[0][1].value if pip else [entry]:
            number = node.start_mark.line + 1
            if not isinstance(node, yaml.ScalarNode):
                raise SpecError(
                    f"{source.name}, line {number}: expected a package or a pip list",
                    hint="Write `- numpy=1.26`, or `- pip:` with `- rich>=13` below it.",
                )
            lines[pip].append(conda_env.Line(number=number, text=node.value))
    notes = [f"{source.name}: `variables` are ignored; use --set variables=NAME=VALUE."] if "variables" in keys else []
    return *lines, notes


_Reader: TypeAlias = "Callable[[_Source, str, set[tuple[Path, bool]]], ParsedRequirements]"

_READERS: dict[str, _Reader] = {
    "requirements": _requirements,
    "project": _project,
    "pylock": _pylock,
    "uvlock": _uvlock,
    "script": _script,
    "conda": _conda,
    "condaexport": _conda_export,
    "piplist": _pip_list,
}
