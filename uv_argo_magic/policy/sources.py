"""Where package policies come from. All that are found hold together, and none can allow what another one forbids.

Rules:
- This module imports next to nothing: most users have no policy, and for them a run only looks for files.
- A file that exists and cannot be read is an error: its rules would silently not hold. A cluster that does not answer
  is not: its runs fail anyway.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic.backends import base
from uv_argo_magic.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.policy.model import Policy
    from uv_argo_magic.core.spec.run_spec import Settings

SYSTEM = Path("/etc/uv-argo/policy.toml")
"""The policy of this machine."""
VARIABLE = "UV_ARGO_POLICY"
"""The variable with the path of one more policy."""
FILE = "uv-argo-policy.toml"
"""The policy of a notebook's folder."""


def files(document: str = "", environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The policy files that hold for a notebook or file (its path; "": none), in the order of the documentation.

    Raises:
        PolicyError: a file that must exist does not.
    """
    found = [SYSTEM] if _is_there(SYSTEM) else []
    named = (os.environ if environ is None else environ).get(VARIABLE, "")
    if named:
        path = Path(named).expanduser().absolute()
        if not _is_there(path):
            raise PolicyError(
                f"the package policy {path} does not exist", hint=f"Correct or remove the variable {VARIABLE}."
            )
        found.append(path)
    folders = {Path.cwd(), *([Path(document).absolute().parent] if document else [])}
    found += [folder / FILE for folder in sorted(folders) if _is_there(folder / FILE)]
    return tuple(dict.fromkeys(found))


def _is_there(path: Path) -> bool:
    """Whether there is something of this name, even if it cannot be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def find(document: str = "", backend: base.Backend | None = None, settings: Settings | None = None) -> Policy | None:
    """All policies that hold for a notebook or file, and for runs of this backend; None if there are none.

    Raises:
        PolicyError: a policy cannot be read, or is invalid.
    """
    paths = files(document)
    shared = base.policy(backend, settings) if backend and settings else None
    if not paths and not (shared and shared.text):
        return None
    from uv_argo_magic.core.policy import model, reader  # noqa: PLC0415 - only where there is a policy

    texts = [(str(path), _text(path)) for path in paths]
    if shared and shared.text:
        texts.append((shared.origin, shared.text))
    return model.merged(reader.read(text, origin) for origin, text in texts)


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
