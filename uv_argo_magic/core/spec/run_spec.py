"""The specification of a run: the cell, its requirements and every setting; immutable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace

from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.spec.settings import Resources, Settings

__all__ = ["FILES", "Resources", "RunSpec", "Settings"]

FILES = "the files of its line"
"""`requirements_source` of a line with `-r`."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run to start. `push` holds (name, encoded value) pairs, `line_offset` the number of lines above the cell.

    A `script` runs as a Python file does, with `args` in `sys.argv`; anything else runs as a notebook's cell. `code` is
    a cell with IPython's syntax as Python, line for line; "" if the cell is Python.

    `requirements_source` names where the requirements come from; "" for `--deps`, and where there are none.
    """

    cell: str
    requirements: Requirements = field(default_factory=Requirements)
    requirements_source: str = ""
    python: str = ""
    backend: str = "local"
    push: tuple[tuple[str, str], ...] = ()
    pull: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    settings: Settings = field(default_factory=Settings)
    line_offset: int = 1
    script: bool = False
    args: tuple[str, ...] = ()
    code: str = ""
    session: str = ""
    """Name of the session whose interpreter runs the cell; "": one of its own."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the whole specification."""
        requirements = {
            "items": [item.line for item in self.requirements.items],
            "complete": self.requirements.complete,
        }
        # The source of the requirements does not matter.
        data = asdict(replace(self, requirements_source="")) | {"requirements": requirements}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    @property
    def cell_digest(self) -> str:
        """SHA-256 (hex) of the cell's text alone."""
        return hashlib.sha256(self.cell.encode("utf-8", "surrogatepass")).hexdigest()
