"""The labels and annotations that this package writes into a workflow, and reads to find the run again."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.base import RemoteRun
from uv_argo_magic.backends.kubernetes.transport import Gone
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.backends.sessions import WorkerOptions
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings

RUN_LABEL = "uv-argo-magic/run"
SESSION_LABEL = "uv-argo-magic/session"
USER_LABEL = "uv-argo-magic/user"
SCHEMA = 1
"""Version of the metadata that this package writes into a workflow."""
SCHEMA_NOTE = "uv-argo-magic/schema"
NONCE_NOTE = "uv-argo-magic/nonce"
CELL_NOTE = "uv-argo-magic/cell"
NOTEBOOK_NOTE = "uv-argo-magic/notebook"
DECISION_NOTE = "uv-argo-magic/policy"
MAX_PATH = 1000
"""Maximum characters of a notebook's path."""
CONTROLLER = "workflows.argoproj.io/controller-instanceid"
"""The only label of Argo that a user can set; it selects one of several controllers."""
MANAGED_BY = "app.kubernetes.io/managed-by"
GENERATE = "uv-argo-"
MAX_LABEL = 63


def metadata(program: Program, spec: RunSpec, run_id: str, notebook: str) -> dict[str, Any]:
    """The metadata of a run's Workflow.

    Raises:
        SpecError: a label is reserved.
    """
    return {
        "generateName": GENERATE,
        "labels": labels(spec.settings, run_id),
        "annotations": annotate(program, spec, notebook),
    }


def annotate(program: Program, spec: RunSpec, notebook: str) -> dict[str, str]:
    """Annotations of a run's workflow, by which another client attaches. Argo does not expand `{{...}}` in them."""
    return {
        SCHEMA_NOTE: str(SCHEMA),
        NONCE_NOTE: program.nonce,
        CELL_NOTE: spec.cell_digest,
        **({DECISION_NOTE: program.decision} if program.decision else {}),
        **({NOTEBOOK_NOTE: notebook[:MAX_PATH]} if notebook else {}),
    }


def labels(settings: Settings, run_id: str) -> dict[str, str]:
    """Labels of the workflow and its pods: ours and the user's.

    Raises:
        SpecError: a label is reserved.
    """
    return _with_users(settings, {MANAGED_BY: "uv-argo-magic", RUN_LABEL: run_id})


def session_metadata(settings: Settings, options: WorkerOptions) -> dict[str, Any]:
    """The metadata of a session's Workflow.

    Raises:
        SpecError: a label is reserved.
    """
    return {
        "generateName": GENERATE,
        "labels": session_labels(settings, options),
        "annotations": annotate_session(options),
    }


def session_labels(settings: Settings, options: WorkerOptions) -> dict[str, str]:
    """Labels of a session's workflow and pod: ours and the user's.

    Raises:
        SpecError: a label is reserved.
    """
    user = label_value(options.user)
    ours = {MANAGED_BY: "uv-argo-magic", SESSION_LABEL: label_value(options.name)}
    return _with_users(settings, {**ours, **({USER_LABEL: user} if user else {})})


def label_value(text: str) -> str:
    """The text as a valid label value: at most 63 characters, without most special characters; can be ""."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text).strip("-_.")[:MAX_LABEL].strip("-_.")


def annotate_session(options: WorkerOptions) -> dict[str, str]:
    """Annotations of a session's workflow: the names of the session, the notebook and the user."""
    return {SCHEMA_NOTE: str(SCHEMA), **_owner(options)}


def annotate_pod(options: WorkerOptions) -> dict[str, str]:
    """Annotations of a session's pod, without `{{...}}`, which Argo would expand."""
    return {name: re.sub(r"\{(?=\{)", "{ ", text) for name, text in _owner(options).items()}


def _owner(options: WorkerOptions) -> dict[str, str]:
    owner = {SESSION_LABEL: options.name, USER_LABEL: options.user, NOTEBOOK_NOTE: options.notebook[:MAX_PATH]}
    return {name: text for name, text in owner.items() if text}


def _with_users(settings: Settings, ours: dict[str, str]) -> dict[str, str]:
    for name, _ in settings.labels:
        if name in ours or ("argoproj.io/" in name and name != CONTROLLER):
            raise SpecError(f"the label {name} is reserved", hint="Choose another name for it.")
    return {**dict(settings.labels), **ours}


def find(client: ArgoClient, name: str) -> RemoteRun | None:
    """The run with this id, or whose workflow has this name; None if there is none.

    Raises:
        BackendError: the workflow cannot be read.
        SpecError: this package did not create the workflow, or a newer version did.
    """
    with contextlib.suppress(Gone):
        return read(client.workflow(name), client.location)
    labelled = client.workflows(f"{RUN_LABEL}={name}") if len(name) <= MAX_LABEL else []
    return read(labelled[0], client.location) if labelled else None


def read(workflow: dict[str, Any], location: str) -> RemoteRun:
    """The run of a workflow, from its metadata.

    Raises:
        SpecError: this package did not create the workflow, or a newer version did.
    """
    metadata = workflow.get("metadata") or {}
    notes, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    name, run = str(metadata.get("name")), labels.get(RUN_LABEL)
    schema = str(notes.get(SCHEMA_NOTE) or "")
    if not run or not schema.isdigit():
        raise SpecError(
            f"workflow {name} was not created by uv-argo-magic",
            hint=f"Read its log with Argo's client: argo logs {name}.",
        )
    if int(schema) > SCHEMA:
        raise SpecError(
            f"{name} was created by a newer version of uv-argo-magic", hint="Upgrade: pip install -U uv-argo-magic."
        )
    status = workflow.get("status") or {}
    return RemoteRun(
        name=name,
        run=str(run),
        nonce=str(notes.get(NONCE_NOTE) or ""),
        location=location,
        phase=diagnose.phase(None, workflow) if diagnose.is_final(workflow) else "Running",
        started_at=seconds(metadata.get("creationTimestamp")),
        ended_at=seconds(status.get("finishedAt")),
        cell=str(notes.get(CELL_NOTE) or ""),
        notebook=str(notes.get(NOTEBOOK_NOTE) or ""),
        was_stopped=diagnose.is_shut_down(workflow),
    )


def read_all(workflows: Iterable[dict[str, Any]], location: str) -> Iterator[RemoteRun]:
    """The runs of the workflows, without those that this version of the package cannot read."""
    for workflow in workflows:
        with contextlib.suppress(SpecError):
            yield read(workflow, location)


def seconds(timestamp: object) -> float:
    """A timestamp of the API as Unix seconds; 0.0 if there is none."""
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(timestamp).timestamp()  # type: ignore[arg-type]
    return 0.0
