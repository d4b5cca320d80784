"""What this package writes into the metadata of a workflow, and the run that is found again by it."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.base import RemoteRun
from uv_argo_magic.backends.kubernetes.transport import Gone
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings

RUN_LABEL = "uv-argo-magic/run"
SCHEMA = 1
"""Of what this package writes into a workflow's metadata, by which a run is found again from anywhere."""
SCHEMA_NOTE = "uv-argo-magic/schema"
NONCE_NOTE = "uv-argo-magic/nonce"
CELL_NOTE = "uv-argo-magic/cell"
NOTEBOOK_NOTE = "uv-argo-magic/notebook"
LONGEST_NAME = 1000
"""Characters of a notebook's path that are kept."""
CONTROLLER = "workflows.argoproj.io/controller-instanceid"
"""The one label of Argo's own that is a user's to set: which of several controllers looks after the workflow."""
MANAGED_BY = "app.kubernetes.io/managed-by"
GENERATE = "uv-argo-"
LONGEST_LABEL = 63


def metadata(program: Program, spec: RunSpec, run_id: str, notebook: str) -> dict[str, Any]:
    """The metadata of a run's Workflow, whatever its shape.

    Raises:
        SpecError: a label that cannot be set.
    """
    return {
        "generateName": GENERATE,
        "labels": labels(spec.settings, run_id),
        "annotations": annotate(program, spec, notebook),
    }


def annotate(program: Program, spec: RunSpec, notebook: str) -> dict[str, str]:
    """On the workflow alone: whoever attaches to the run reads them, and Argo never substitutes anything in them."""
    return {
        SCHEMA_NOTE: str(SCHEMA),
        NONCE_NOTE: program.nonce,
        CELL_NOTE: spec.cell_digest,
        **({NOTEBOOK_NOTE: notebook[:LONGEST_NAME]} if notebook else {}),
    }


def labels(settings: Settings, run_id: str) -> dict[str, str]:
    """On the workflow and its pods: ours, and the user's.

    Raises:
        SpecError: a label that cannot be set.
    """
    ours = {MANAGED_BY: "uv-argo-magic", RUN_LABEL: run_id}
    for name, _ in settings.labels:
        if name in ours or ("argoproj.io/" in name and name != CONTROLLER):
            raise SpecError(f"labels: {name} is not yours to set", hint="Choose another name for the label.")
    return {**dict(settings.labels), **ours}


def find(client: ArgoClient, name: str) -> RemoteRun | None:
    """The run whose workflow has this name, or whose id this is; None where there is none.

    Raises:
        BackendError: it cannot be asked for.
        SpecError: the workflow is not of this package, or of a newer one.
    """
    with contextlib.suppress(Gone):
        return read(client.workflow(name), client.location)
    labelled = client.workflows(f"{RUN_LABEL}={name}") if len(name) <= LONGEST_LABEL else []
    return read(labelled[0], client.location) if labelled else None


def read(workflow: dict[str, Any], location: str) -> RemoteRun:
    """What its metadata says.

    Raises:
        SpecError: it is not of this package, or of a newer one.
    """
    about = workflow.get("metadata") or {}
    notes, labels = about.get("annotations") or {}, about.get("labels") or {}
    name, run = str(about.get("name")), labels.get(RUN_LABEL)
    schema = str(notes.get(SCHEMA_NOTE) or "")
    if not run or not schema.isdigit():
        raise SpecError(
            f"the workflow {name} is no run of uv-argo-magic", hint=f"Argo's own command shows it: argo logs {name}"
        )
    if int(schema) > SCHEMA:
        raise SpecError(
            f"{name} was begun by a newer uv-argo-magic", hint="Upgrade: pip install --upgrade uv-argo-magic"
        )
    status = workflow.get("status") or {}
    return RemoteRun(
        name=name,
        run=str(run),
        nonce=str(notes.get(NONCE_NOTE) or ""),
        location=location,
        phase=diagnose.phase(None, workflow) if diagnose.is_final(workflow) else "Running",
        started_at=_seconds(about.get("creationTimestamp")),
        ended_at=_seconds(status.get("finishedAt")),
        cell=str(notes.get(CELL_NOTE) or ""),
        notebook=str(notes.get(NOTEBOOK_NOTE) or ""),
    )


def _seconds(stamp: object) -> float:
    """Unix seconds of a time as the API writes it; 0.0 where there is none."""
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(stamp).timestamp()  # type: ignore[arg-type]
    return 0.0
