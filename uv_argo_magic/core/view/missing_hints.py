"""The next step after a cell missed a package or a file that the notebook has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from uv_argo_magic.core.humanize import LONGEST
from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.requirements import import_names
from uv_argo_magic.core.spec.run_spec import FILES
from uv_argo_magic.errors import ProtocolError

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.state import RunState


def hint(state: RunState) -> str:
    """The next step after an exception caused by a package or file that only the notebook has."""
    try:
        error = remote_error.parse(state.error)
    except ProtocolError:
        return ""
    attributes = error.attribute_values()
    name = attributes.get("name")
    if "MemoryError" in error.mro:
        return "The cell ran out of memory. Raise --memory if it is set, or process the data in parts."
    if "ModuleNotFoundError" in error.mro and isinstance(name, str):
        top = name.partition(".")[0]
        package = import_names.package_of(top)
        installed = {installed_name for installed_name, _ in state.installed.packages} if state.installed else set()
        if import_names.in_standard_library(top) or canonicalize_name(package) in installed:
            return ""
        return f"The cell does not see the notebook's packages. {_how_to_add(package, state)}"
    file = attributes.get("filename")
    if "FileNotFoundError" in error.mro and isinstance(file, str) and file and not file.startswith(("/", "~")):
        return (
            "The cell runs in an empty folder, without the files next to the notebook. "
            "Send the data with --push, or create the file in the cell."
        )
    return ""


def _how_to_add(package: str, state: RunState) -> str:
    """How to add a package where the cell's requirements are written."""
    if state.requirements_source and state.requirements_source != FILES:
        return f"Add {package} to {state.requirements_source}."
    quoted = any('"' in line for line in state.requirements)
    all_requirements = (
        json.dumps([*state.requirements, package]) if quoted else f'"{" ".join((*state.requirements, package))}"'
    )
    if not state.requirements or state.requirements_source or len(all_requirements) > LONGEST:
        return f"Add --deps {package}."
    return f"Use --deps {all_requirements}."
