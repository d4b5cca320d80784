"""The context of a cell: the front end's information on it, in addition to its line and text."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping


@functools.lru_cache(maxsize=4)
def _folder(path: str) -> Path:
    return Path(path)


@frozen
class CellContext:
    """The variables, traits, environment, folder and notebook of a cell.

    `notebook` is its path, if known, absolute or relative to `folder`. `line_offset` is the number of lines above the
    first line of the cell; 0 for a script. `number` is the number of the cell in the notebook; 0 if it has none.
    `is_interactive` means that a person runs the cells, who can answer questions and continue after a kernel restart.
    """

    names: Mapping[str, object]
    traits: Mapping[str, object]
    environ: Mapping[str, str]
    folder: Path
    notebook: str = ""
    line_offset: int = 1
    number: int = 0
    is_interactive: bool = False

    @property
    def notebook_path(self) -> str:
        """The absolute path of the notebook, or ""."""
        return str(self.folder / self.notebook) if self.notebook else ""

    @property
    def is_script(self) -> bool:
        """Whether the text is a script instead of a notebook's cell."""
        return not self.line_offset

    @classmethod
    def current(
        cls,
        *,
        names: Mapping[str, object],
        traits: Mapping[str, object],
        line_offset: int,
        notebook: str = "",
        number: int = 0,
        is_interactive: bool = False,
    ) -> CellContext:
        """The context of a cell in this process, with its environment and working directory.

        Raises:
            SpecError: the working directory was removed.
        """
        try:
            folder = os.getcwd()  # noqa: PTH109 - the Path is cached
        except FileNotFoundError:
            raise SpecError(
                "the working directory does not exist any more", hint="Change to another one: %cd in a notebook."
            ) from None
        return cls(
            names=names,
            traits=traits,
            environ=os.environ,
            folder=_folder(folder),
            notebook=notebook,
            line_offset=line_offset,
            number=number,
            is_interactive=is_interactive,
        )
