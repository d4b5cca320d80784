"""The files with package policies. All of them apply together: none can allow what another forbids.

Rules:
- This module imports very little, because most users have no policy, and then a run only checks for files.
- A file that exists but cannot be read is an error, because its rules would silently not apply.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic._os import paths
from uv_argo_magic.errors import PolicyError

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.model import Policy

SYSTEM = Path("/etc/uv-argo/policy.toml")
"""The policy of this machine."""
VARIABLE = "UV_ARGO_POLICY"
"""The variable with the path of one more policy."""
FILE = "uv-argo-policy.toml"
"""The policy of a notebook's folder."""


def find(document: str = "") -> tuple[Path, ...]:
    """The policy files that apply to a notebook or file (its path, or ""), in the order of the documentation.

    Raises:
        PolicyError: a required file does not exist.
    """
    found = [SYSTEM] if _is_there(SYSTEM) else []
    named = os.environ.get(VARIABLE, "")
    if named:
        path = paths.expanded(named).absolute()
        if not _is_there(path):
            raise PolicyError(
                f"the package policy {path} does not exist", hint=f"Correct or remove the variable {VARIABLE}."
            )
        found.append(path)
    found += [path.absolute() for path in _folder_candidates(document) if _is_there(path)]
    return tuple(dict.fromkeys(found))


@functools.lru_cache(maxsize=16)
def _folder_candidates(document: str) -> tuple[Path, ...]:
    """The possible paths of a folder's policy: next to the notebook, and in the working directory."""
    return (Path(document).parent / FILE, Path(FILE)) if document else (Path(FILE),)


def _is_there(path: Path) -> bool:
    """Whether this path exists, even if it cannot be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read(document: str = "") -> Policy | None:
    """The policies of all files that apply to a notebook or file; None if there are none.

    Raises:
        PolicyError: a policy cannot be read, or is invalid.
    """
    found = find(document)
    if not found:
        return None
    from uv_argo_magic.core.policy import model, reader  # noqa: PLC0415 - 15 ms, and only if there is a policy

    return model.merged(reader.read(_text(path), str(path)) for path in found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(
            f"cannot read the package policy {path}: {error.strerror}",
            hint="Ask your administrator to make it readable.",
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"the package policy {path} is not UTF-8 text", hint="Ask your administrator to correct it."
        ) from error
