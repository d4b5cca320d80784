"""List sessions from their Workflows: the user, the requested resources and the last use.

Rules:
- Only fields of the workflow are read, so that the list is the same with an Argo Server and the Kubernetes API.
- The client writes the last use into an annotation (`used`), because the cells in a pod do not change its Workflow.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.manifests import run_metadata
from uv_argo_magic.backends.kubernetes.diagnose import GPU
from uv_argo_magic.backends.sessions import RemoteSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SELECTOR = f"{run_metadata.SESSION_LABEL},workflows.argoproj.io/completed!=true"
"""The label selector for sessions that have not ended."""
USED_NOTE = "uv-argo-magic/last-activity"
BUSY_NOTE = "uv-argo-magic/activity"
BUSY, IDLE = "running", "idle"
CREATORS = ("creator-preferred-username", "creator-email", "creator")
"""Labels in which an Argo Server stores the creator of a workflow."""


def used(moment: float, *, is_running: bool) -> dict[str, str]:
    """The annotations for a session that is in use, or was used until `moment` (Unix seconds)."""
    text = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {USED_NOTE: text, BUSY_NOTE: BUSY if is_running else IDLE}


def read_all(workflows: Iterable[Mapping[str, Any]]) -> Iterator[RemoteSession]:
    """The sessions that have not ended."""
    for workflow in workflows:
        if not diagnose.is_final(workflow):
            yield _read(workflow)


def _read(workflow: Mapping[str, Any]) -> RemoteSession:
    metadata = workflow.get("metadata") or {}
    notes, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    creator = next((labels[name] for one in CREATORS if (name := f"workflows.argoproj.io/{one}") in labels), "")
    started_at = run_metadata.seconds(metadata.get("creationTimestamp"))
    requests = _requests(workflow)
    return RemoteSession(
        name=str(notes.get(run_metadata.SESSION_LABEL) or labels.get(run_metadata.SESSION_LABEL) or ""),
        workflow=str(metadata.get("name") or ""),
        namespace=str(metadata.get("namespace") or ""),
        user=str(notes.get(run_metadata.USER_LABEL) or creator),
        notebook=str(notes.get(run_metadata.NOTEBOOK_NOTE) or ""),
        phase=_phase(workflow),
        started_at=started_at,
        used_at=run_metadata.seconds(notes.get(USED_NOTE)) or started_at,
        is_running=notes.get(BUSY_NOTE) == BUSY,
        cpu=requests.get("cpu", ""),
        memory=requests.get("memory", ""),
        gpu=next((amount for name, amount in requests.items() if GPU.search(name)), ""),
    )


def _phase(workflow: Mapping[str, Any]) -> str:
    """The phase of the session's pod, from its node, because Argo reports Running for a workflow with a pending pod."""
    if diagnose.is_shut_down(workflow):
        return "Stopping"
    status = workflow.get("status") or {}
    nodes = [node for node in (status.get("nodes") or {}).values() if node.get("type") == "Pod"]
    return str((nodes[0] if nodes else status).get("phase") or "Pending")


def _requests(workflow: Mapping[str, Any]) -> dict[str, str]:
    """The resource requests of the container, with the template's parameters; {} if the workflow does not show them."""
    parameters = dict(_parameters(workflow))
    for level in diagnose.template_levels(workflow):
        resources = (level.get("script") or level.get("container") or {}).get("resources")
        if not resources:
            continue
        amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        return {
            name: re.sub(
                r"\{\{\s*workflow\.parameters\.([\w-]+)\s*\}\}",
                lambda match: parameters.get(match[1], ""),
                str(amount),
            )
            for name, amount in amounts.items()
        }
    return {}


def _parameters(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value) of the template's parameters, then of those that the workflow sets."""
    stored = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or {}
    for spec in (stored, workflow.get("spec") or {}):
        for parameter in (spec.get("arguments") or {}).get("parameters") or ():
            yield str(parameter.get("name")), str(parameter.get("value") or "")
