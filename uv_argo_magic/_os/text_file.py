"""Read a text file that the user names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, name: str, *, hint: str, encoding: str = "utf-8") -> str:
    """The text of a file; `name` and `hint` are for the error if it cannot be opened.

    Raises:
        SpecError: the file cannot be read, or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding=encoding)
    except OSError as error:
        raise SpecError(f"cannot read {name}: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 text", hint="Save it as UTF-8.") from error
