"""Hints for a cell that lacks a package, or a file or variable that the notebook has.

Rules:
- For a module in the notebook's folder, the hint is never `--deps NAME`, because anyone can publish a package of that
  name on the index.
- Libraries report missing optional dependencies in different words; only names of known packages are taken from them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from uv_argo_magic.core.humanize import LONGEST
from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.requirements import import_names
from uv_argo_magic.core.spec.run_spec import FILES
from uv_argo_magic.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uv_argo_magic.core.protocol.events import LocalName
    from uv_argo_magic.core.protocol.remote_error import RemoteError
    from uv_argo_magic.core.protocol.state import RunState


def names(error_text: str) -> tuple[str, ...]:
    """The names that the exception is about, to look up in the notebook."""
    try:
        error = remote_error.parse(error_text)
    except ProtocolError:
        return ()
    undefined = _undefined(error)
    return tuple(dict.fromkeys([*(module.partition(".")[0] for module in _modules(error)), *filter(None, [undefined])]))


def hint(state: RunState) -> str:
    """The hint for an exception about something that is missing in the cell."""
    try:
        error = remote_error.parse(state.error)
    except ProtocolError:
        return ""
    local = {item.name: item for item in state.found_here}
    if "MemoryError" in error.mro:
        return "The cell ran out of memory. Raise --memory if it is set, or process the data in parts."
    if (name := _undefined(error)) in local:
        return _how_to_send(local[name])
    if {"ImportError", "AttributeError"} & set(error.mro):
        return _about_packages(error, state, local)
    file = error.attribute_values().get("filename")
    if "FileNotFoundError" in error.mro and isinstance(file, str) and file and not file.startswith(("/", "~")):
        return (
            "The cell runs in an empty folder, without the files next to the notebook. "
            "Send the data with --push, or create the file in the cell."
        )
    return ""


def _undefined(error: RemoteError) -> str:
    """The name of a NameError, or ""."""
    name = error.attribute_values().get("name")
    return name if "NameError" in error.mro and isinstance(name, str) else ""


def _how_to_send(item: LocalName) -> str:
    match item.kind:
        case "variable":
            return f"{item.name} exists in the notebook: add --push {item.name}."
        case "module":
            alias = "" if item.detail == item.name else f" as {item.name}"
            return f"{item.name} is imported in the notebook only. Add to the cell: import {item.detail}{alias}."
        case "definition":
            return f"{item.name} is defined in the notebook: add --push {item.name}, or define it in this cell."
        case _:
            return f"{item.detail} and was not sent. Move the code that the cell needs into the cell."


def _about_packages(error: RemoteError, state: RunState, local: dict[str, LocalName]) -> str:
    """The hint for a failed import, or for a call that needs an optional dependency."""
    installed = {import_names.canonical(name) for name, _ in state.installed.packages} if state.installed else set()
    modules = _modules(error)
    tops = dict.fromkeys(module.partition(".")[0] for module in modules)
    files = [local[top] for top in tops if top in local and local[top].kind == "file"]
    local_names = {item.name for item in files}
    others = [
        module
        for module in modules
        if module.partition(".")[0] not in local_names and not import_names.in_standard_library(module)
    ]
    packages = [package for module in others if (package := import_names.package_of(module))]
    unknown = [module for module in others if not import_names.package_of(module)]
    packages += () if modules else _named_in(error.evalue)
    missing = [name for name in dict.fromkeys(packages) if import_names.canonical(name) not in installed]
    sentences = [f"{item.detail} and was not sent." for item in files]
    if files:
        sentences.append("Move the code that the cell needs into the cell.")
    elif (missing and modules) or unknown:
        sentences.append("The cell does not see the notebook's packages.")
    if missing:
        sentences.append(_how_to_add(missing, state))
    elif unknown:
        sentences.append(f"Add the package that provides {unknown[0]} to the requirements, for example with --deps.")
    return " ".join(sentences)


_NOT_IN_NAMESPACE = re.compile(r"cannot import name '(\w+)' from '([\w.]+)' \(unknown location\)")
"""The message if a namespace that packages share exists, but not this module."""


def _modules(error: RemoteError) -> tuple[str, ...]:
    """The modules that were not found: by the exception, by its causes, and by the cell's other imports."""
    if not {"ImportError", "AttributeError"} & set(error.mro):
        return ()
    found = [
        name
        for item in _chain(error)
        if "ModuleNotFoundError" in item.mro and isinstance(name := item.attribute_values().get("name"), str)
    ]
    found += error.missing
    found += [f"{match[2]}.{match[1]}" for match in [_NOT_IN_NAMESPACE.match(error.evalue)] if match]
    # For `import google.cloud.storage`, the exception names only google.
    return tuple(name for name in dict.fromkeys(found) if not any(other.startswith(f"{name}.") for other in found))


def _chain(error: RemoteError | None) -> Iterator[RemoteError]:
    while error is not None:
        yield error
        error = error.cause or error.context


_PACKAGE = r"([A-Za-z][\w.-]*\w(?:\[[\w,-]+\])?)"
_INSTALL = re.compile(rf"""\b(?:pip3?|conda) install (?:-\S+ )*["'`]?{_PACKAGE}""")
_NOT_PACKAGES = frozenset(
    {"a", "an", "as", "from", "it", "one", "or", "that", "the", "them", "this", "to", "using", "with"}
)
"""Words after "pip install" in a sentence that are not packages."""
_OPTIONAL = tuple(
    re.compile(pattern)
    for pattern in (
        rf"optional dependency ['\"`]{_PACKAGE}",
        rf"tried using:? ['\"`]?{_PACKAGE}",
        (
            rf"\b{_PACKAGE}['\"`]? (?:library |package |module )?(?:is|are|was|must be|has to be|not) (?:not )?"
            "(?:required|needed|installed|found|missing)"
        ),
        rf"(?:requires?|needs?|without|install|No module named) (?:the )?['\"`]?{_PACKAGE}",
    )
)


def _named_in(message: str) -> tuple[str, ...]:
    """The packages that a message asks to install, or else a known package that it names."""
    named = [word for word in _INSTALL.findall(message) if word not in _NOT_PACKAGES]
    if named:
        return (named[0],)
    for pattern in _OPTIONAL:
        for word in pattern.findall(message):
            package = import_names.known_package(word)
            if package:
                return (package,)
    return ()


def _how_to_add(packages: Iterable[str], state: RunState) -> str:
    """How to add packages to the source of the cell's requirements."""
    added = tuple(packages)
    if state.requirements_source and state.requirements_source != FILES:
        return f"Add {' '.join(added)} to {state.requirements_source}."
    listed = (*(() if state.requirements_source else state.requirements), *added)
    quoted = any('"' in line for line in listed)
    value = added[0] if len(listed) == 1 else json.dumps([*listed]) if quoted else f'"{" ".join(listed)}"'
    if not state.requirements or state.requirements_source or len(value) > LONGEST:
        alone = added[0] if len(added) == 1 else f'"{" ".join(added)}"'
        return f"Add --deps {alone}."
    return f"Use --deps {value}."
