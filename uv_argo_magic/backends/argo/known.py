"""A workflow -> the run that it is: what this package wrote into its metadata, read again by whoever looks for it."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose, manifest
from uv_argo_magic.backends.argo.wire import Gone
from uv_argo_magic.backends.base import Found
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.backends.argo.client import Client


def find(client: Client, name: str) -> Found | None:
    """The run whose workflow has this name, or whose id this is; None where there is none.

    Raises:
        BackendError: it cannot be asked for.
        SpecError: the workflow is not of this package, or of a newer one.
    """
    with contextlib.suppress(Gone):
        return read(client.workflow(name), client.place)
    labelled = client.workflows(f"{manifest.RUN_LABEL}={name}") if len(name) <= LONGEST_LABEL else []
    return read(labelled[0], client.place) if labelled else None


LONGEST_LABEL = 63


def read(workflow: dict[str, Any], place: str) -> Found:
    """What its metadata says.

    Raises:
        SpecError: it is not of this package, or of a newer one.
    """
    about = workflow.get("metadata") or {}
    notes, labels = about.get("annotations") or {}, about.get("labels") or {}
    name, run = str(about.get("name")), labels.get(manifest.RUN_LABEL)
    schema = str(notes.get(manifest.SCHEMA_NOTE) or "")
    if not run or not schema.isdigit():
        raise SpecError(
            f"the workflow {name} is no run of uv-argo-magic", hint=f"Argo's own command shows it: argo logs {name}"
        )
    if int(schema) > manifest.SCHEMA:
        raise SpecError(
            f"{name} was begun by a newer uv-argo-magic", hint="Upgrade: pip install --upgrade uv-argo-magic"
        )
    status = workflow.get("status") or {}
    return Found(
        name=name,
        run=str(run),
        nonce=str(notes.get(manifest.NONCE_NOTE) or ""),
        place=place,
        phase=diagnose.phase(None, workflow) if status.get("phase") in diagnose.FINAL else "Running",
        begun=_seconds(about.get("creationTimestamp")),
        ended=_seconds(status.get("finishedAt")),
        cell=str(notes.get(manifest.CELL_NOTE) or ""),
        notebook=str(notes.get(manifest.NOTEBOOK_NOTE) or ""),
    )


def _seconds(stamp: object) -> float:
    """Unix seconds of a time as the API writes it; 0.0 where there is none."""
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(stamp).timestamp()  # type: ignore[arg-type]
    return 0.0
