"""Build the programs that backends run. Only this module calls `core.spec.program.build`."""

from __future__ import annotations

import base64
import functools
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic._os import user
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec import program
from uv_argo_magic.engine import checks
from uv_argo_magic.engine.preparation.guest_archive import (
    cloudpickle_modules,
    guest_archive,
    notebook_modules,
    values_modules,
)
from uv_argo_magic.uv import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec


_MENTIONS = re.compile(r"IPython|__IPYTHON__|get_ipython|ipykernel|matplotlib_inline|importlib|__import__")
"""Text in a cell without packages that may look for IPython."""


@functools.cache
def guest_text(*parts: str) -> str:
    """The guest package with these subpackages, in the form for a program."""
    return base64.b64encode(guest_archive(*parts)).decode()


def _parts(spec: RunSpec) -> Iterator[str]:
    if spec.session:
        yield "session"
    elif lookup.can_send_early(spec):
        yield "early"
    if spec.settings.environment == "persistent":
        yield "persistent"
    if spec.settings.shape == "runtime":
        yield "provision"


def build(
    proposal: checks.Proposal, missing: Resolution | None = None, exchange: str = "", *, has_modules: bool = False
) -> program.Program:
    """The program of one execution, with a new nonce.

    It installs `missing`, the packages that a session lacks, or by default the whole resolution. `exchange` is a folder
    on this machine for files of values, or ""; the worker of a pod has its own. With `has_modules`, the session already
    has the modules for a notebook's cell.

    Raises:
        PolicyError: a check refused it.
    """
    decision = checks.enforce(proposal)
    spec, resolution = proposal.spec, missing or proposal.resolution
    uv = runner.uv_version() if spec.settings.shape == "runtime" else ""
    modules = notebook_modules() if not has_modules and may_use_ipython(spec, resolution) else {}
    built = program.build(
        spec,
        resolution,
        guest=guest_text(*_parts(spec)),
        nonce=os.urandom(8).hex(),
        uv=uv,
        modules=modules,
        installs=proposal.installs,
        values=_values_modules(proposal, exchange),
        exchange=_exchange(spec, exchange) if spec.push or spec.pull else "",
        user=user.name() if proposal.purpose == "run" else "",
    )
    return replace(built, decision=decision) if decision else built


def _exchange(spec: RunSpec, exchange: str) -> str:
    is_here = base.Capability.LOCAL in lookup.load(spec.backend).capabilities
    return exchange if is_here or not exchange else "values"


_DEFINES = re.compile(r"\b(?:class|def|lambda)\b")
"""Text in a cell whose values may need code of the cell."""


_LIBRARIES = {
    "frames.py": ({"pandas"}, ('"pandas.', '"texts"')),
    "arrow.py": ({"polars", "pyarrow"}, ('"polars.', '"pyarrow.', '"pandas.arrow"')),
}
"""Module of guest_values -> (packages whose values it reads, text in an encoded value that needs it)."""


def _values_modules(proposal: checks.Proposal, exchange: str) -> dict[str, str]:
    """Only those modules that the values of a run need, because the size of a template is limited.

    They include cloudpickle if a value may have code of a notebook, and `files` if there is an `exchange` folder.
    """
    spec, resolution = proposal.spec, proposal.resolution
    if not spec.push and not spec.pull:
        return {}
    texts = [item.text for item in spec.push]
    locks = [resolution, *(lock for _, lock in proposal.installs)]
    is_known = isinstance(resolution, Lock) and not spec.settings.base and not spec.session
    names = {package.name for lock in locks if isinstance(lock, Lock) for package in lock.packages}
    modules = {}
    for path, text in values_modules().items():
        file = path.rpartition("/")[2]
        packages, marks = _LIBRARIES.get(file, (names, ()))
        is_sent = any(mark in pushed for mark in marks for pushed in texts)
        if (file == "files.py" and not exchange) or (
            is_known and file in _LIBRARIES and not packages & names and not is_sent
        ):
            continue
        modules[path] = text
    has_code = any(item.python for item in spec.push) or (spec.pull and (spec.session or _DEFINES.search(spec.cell)))
    return {**modules, **(cloudpickle_modules() if has_code else {})}


def may_use_ipython(spec: RunSpec, resolution: Resolution) -> bool:
    """Whether the cell, or a package that it can import, may look for IPython."""
    if spec.script:
        return False
    return bool(spec.code or resolution.lines or spec.settings.base) or bool(_MENTIONS.search(spec.cell))
