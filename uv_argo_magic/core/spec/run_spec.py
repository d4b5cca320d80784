"""The immutable specification of a run: the cell, its requirements and all settings."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING, Literal

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.requirements.model import Requirements
from uv_argo_magic.core.spec.settings import Resources, Settings

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.values import Raw

__all__ = ["FILES", "Pushed", "Resources", "RunSpec", "Settings"]

FILES = "the files of its line"
"""The `requirements_source` of a line with `-r`."""


@frozen
class Pushed:
    """An encoded value for the cell: its text and its buffers (guest/values.py).

    `type` and `size` (bytes) are for messages. `form` is the encoding, `python` the minor version that its code needs,
    or "". The `text` is empty if the value is not kept.
    """

    name: str
    text: str
    buffers: tuple[Raw, ...] = field(default=(), compare=False, repr=False)
    type: str = ""
    form: Literal["plain", "pickled", "sealed"] = "plain"
    python: str = ""

    @property
    def size(self) -> int:
        """Bytes of the encoded value."""
        return len(self.text) + sum(map(len, self.buffers))

    @property
    def whole_text(self) -> str:
        """The text including the buffers as base64."""
        if not self.buffers:
            return self.text

        def fill(tree: dict[str, object]) -> object:
            if tree.get("@") != "buffer":
                return tree
            return base64.b64encode(self.buffers[int(str(tree["v"]))]).decode("ascii")

        return json.dumps(json.loads(self.text, object_hook=fill), separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole text."""
        return hashlib.sha256(self.whole_text.encode("utf-8", "surrogatepass")).hexdigest()


@frozen
class Reads:
    """The values that the notebook can decode: its libraries, and its dataclasses and enums with their fields."""

    libraries: tuple[str, ...] = ("builtins",)
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()


@frozen
class RunSpec:
    """One run to start. `push` are the values for the cell, `line_offset` is the number of lines above the cell.

    A `script` runs like a Python file, with `args` in `sys.argv`; anything else runs like a cell of a notebook. If the
    cell uses IPython's syntax, `code` is the equivalent Python, line by line; otherwise it is "".

    `requirements_source` is the name of the requirements' source; "" for `--deps` or without requirements.
    """

    cell: str
    requirements: Requirements = field(default_factory=Requirements)
    requirements_source: str = ""
    python: str = ""
    backend: str = "local"
    push: tuple[Pushed, ...] = ()
    pull: tuple[str, ...] = ()
    reads: Reads = field(default_factory=Reads)
    resources: Resources = field(default_factory=Resources)
    settings: Settings = field(default_factory=Settings)
    line_offset: int = 1
    script: bool = False
    args: tuple[str, ...] = ()
    code: str = ""
    session: str = ""
    """Name of the session that runs the cell, or ""."""

    @property
    def sent(self) -> tuple[tuple[str, str, int, str], ...]:
        """(name, type, bytes, form) of each pushed value."""
        return tuple((item.name, item.type, item.size, item.form) for item in self.push)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the whole specification."""
        requirements = {
            "items": [item.line for item in self.requirements.items],
            "complete": self.requirements.complete,
        }
        # The source of the requirements is not part of the digest.
        push = [(item.name, item.digest, item.size) for item in self.push]
        data = asdict(replace(self, requirements_source="", push=())) | {"requirements": requirements, "push": push}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    @property
    def cell_digest(self) -> str:
        """SHA-256 (hex) of the cell's text alone."""
        return hashlib.sha256(self.cell.encode("utf-8", "surrogatepass")).hexdigest()
