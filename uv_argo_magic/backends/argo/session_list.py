"""The Workflows of sessions -> whose they are, what they request, and when they were last used.

Rules:
- Only fields of the workflow are read, so that an Argo Server lists the same as the Kubernetes API.
- The client notes the last use (`used`): a Workflow does not change while cells run in its pod.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.manifests import run_metadata
from uv_argo_magic.backends.base import RemoteSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SELECTOR = f"{run_metadata.SESSION_LABEL},workflows.argoproj.io/completed!=true"
"""The sessions that Argo has not seen end."""
USED_NOTE = "uv-argo-magic/last-activity"
BUSY_NOTE = "uv-argo-magic/activity"
BUSY, IDLE = "running", "idle"
CREATORS = ("creator-preferred-username", "creator-email", "creator")
"""Labels by which an Argo Server names who created a workflow."""


def used(moment: float, *, is_running: bool) -> dict[str, str]:
    """The annotations for a session that is in use, or was until this moment (Unix seconds)."""
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
        gpu=next((amount for name, amount in requests.items() if re.search(r"gpu|/mig-", name)), ""),
    )


def _phase(workflow: Mapping[str, Any]) -> str:
    """The phase of the session's pod, as its node shows it: Argo calls a workflow Running whose pod is pending."""
    if diagnose.is_shut_down(workflow):
        return "Stopping"
    status = workflow.get("status") or {}
    nodes = [node for node in (status.get("nodes") or {}).values() if node.get("type") == "Pod"]
    return str((nodes[0] if nodes else status).get("phase") or "Pending")


def _requests(workflow: Mapping[str, Any]) -> dict[str, str]:
    """What the container requests, with the parameters of a template; {} if the workflow does not show it."""
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
    """(name, value) of the template's parameters, and then of those that the workflow sets."""
    stored = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or {}
    for spec in (stored, workflow.get("spec") or {}):
        for parameter in (spec.get("arguments") or {}).get("parameters") or ():
            yield str(parameter.get("name")), str(parameter.get("value") or "")
