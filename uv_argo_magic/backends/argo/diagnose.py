"""The phase of a run, and one sentence on its problem with a hint, from its workflow and its pod.

Rules:
- The functions are pure: they take plain objects of the API and return text. Messages of the API are quoted and
  shortened.
- The pod takes precedence over Argo's node, which is up to ten seconds late and reports only "PodInitializing" for
  Argo's own init containers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo.api_errors import ERRORS, deadline_exceeded
from uv_argo_magic.backends.base import FINAL_PHASES
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes.api_errors import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from uv_argo_magic.backends.kubernetes.diagnose import ApiObject

CONTROLLER_DELAY = 10.0
"""A workflow without a status after this many seconds is probably not processed by any controller."""

_ENDED_BY_DELETION = re.compile(
    r"the (?:workflow was stopped|pod was deleted|cluster evicted the pod)|ended with exit code (?:137|143)"
)
"""Messages of a pod that was deleted."""
DELETED: ApiObject = {
    "gone": True,
    "status": {"phase": "Error", "message": "the workflow was deleted, by a user or by a clean-up; run the cell again"},
}
"""The value for a workflow that no longer exists."""


def is_final(workflow: Mapping[str, Any] | None) -> bool:
    """Whether the workflow has ended."""
    return _status(workflow).get("phase") in FINAL_PHASES


def is_shut_down(workflow: Mapping[str, Any] | None) -> bool:
    """Whether a stop of the workflow was requested."""
    return bool(((workflow or {}).get("spec") or {}).get("shutdown"))


def phase(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None) -> str:
    """The workflow's phase if it has ended, else the pod's."""
    return str(_status(workflow)["phase"]) if is_final(workflow) else pods.phase(pod)


def waiting(
    pod: Mapping[str, Any] | None,
    workflow: Mapping[str, Any] | None,
    events: Sequence[Mapping[str, Any]] = (),
    seconds: float = 0.0,
) -> str:
    """Why the run has not started `seconds` after its submission; "" while it starts normally."""
    if pod is not None:
        problem = None if pods.started(pod) else pods.image_problem(pod)
        if problem and problem.container not in (pods.MAIN, pods.INSTALL):
            return (
                f"cannot pull Argo's own image {problem.image} ({problem.cause}); "
                "ask your administrator to fix the executor image of the controller"
            )
        return pods.waiting(pod, events, errors=ERRORS)
    if explanation := ERRORS.explain_first(_messages(workflow)):
        return explanation
    if seconds > CONTROLLER_DELAY and not _status(workflow).get("phase"):
        return (
            "no workflow controller has processed it; "
            "ask your administrator whether Argo's controller is running and watches this namespace"
        )
    return ""


def ended(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None) -> str:
    """What ended the run, if the program did not report a reason."""
    if is_shut_down(workflow):
        return "the workflow was stopped"
    explanation = pods.ended(pod, errors=ERRORS) if pod is not None and pods.ended_early(pod) else ""
    explanation = explanation or deadline_exceeded(_messages(workflow))
    if not explanation and pod is not None:
        explanation = pods.ended(pod, errors=ERRORS)
    return _with_limit(explanation or ERRORS.explain_first(_messages(workflow)), workflow)


def _with_limit(explanation: str, workflow: Mapping[str, Any] | None) -> str:
    """The explanation, with the workflow's time limit if that was exceeded."""
    if seconds := ((workflow or {}).get("spec") or {}).get("activeDeadlineSeconds"):
        explanation = explanation.replace("exceeded its deadline;", f"exceeded its deadline of {seconds} seconds;")
    if duration := pending_timeout(workflow):
        explanation = explanation.replace("start in time;", f"start within pending_timeout ({duration});")
    return explanation


def pending_timeout(workflow: Mapping[str, Any] | None) -> str:
    """Argo's time limit for the start of the pod ("90s"); "" if there is none."""
    return next((str(level["pendingTimeout"]) for level in template_levels(workflow) if "pendingTimeout" in level), "")


def lost(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None = None) -> str:
    """Why the pod was deleted before the cell ended: by Argo at a deadline, or for another reason."""
    if explanation := deadline_exceeded(_messages(workflow)):
        return _with_limit(explanation, workflow)
    cause = ended(pod, None).partition("; ")[0]
    if _ENDED_BY_DELETION.search(cause):
        cause = ""
    return (
        f"the pod was deleted ({cause})" if cause else "the pod was deleted, by a user or with its node"
    ) + "; the workflow was stopped so that the cell does not run twice; run the cell again"


def session_end(
    pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None, events: Sequence[Mapping[str, Any]] = ()
) -> tuple[str, str]:
    """(cause, advice) for the end of a session's pod, if its worker does not know the cause; ("", "") if unknown.

    `pod` is None once it is deleted; its `events` remain.
    """
    if is_shut_down(workflow):
        return f"its workflow was stopped by {stopped_by(workflow)}", ""
    if pod is None and not is_final(workflow):
        return pods.deleted(None, events), ""
    if pod is not None and pods.is_deleting(pod) and not deadline_exceeded(_messages(workflow)):
        cause, explanation = pods.deleted(pod, events), ended(pod, None)
        if cause != pods.DELETED or not explanation or _ENDED_BY_DELETION.search(explanation):
            return cause, ""
    else:
        explanation = ended(pod, workflow)
    cause, _, advice = explanation.partition("; ")
    # All other advice is about cells without a session.
    return cause, advice if advice.startswith(("request more", "allow more")) else ""


def attempt_limit(workflow: Mapping[str, Any] | None) -> int:
    """The maximum number of attempts: 1 unless the workflow's template has retries; 0 for no limit."""
    for level in template_levels(workflow):
        if (strategy := level.get("retryStrategy")) is not None:
            limit = str(strategy.get("limit") or "")
            return int(limit) + 1 if limit.isdigit() else 0 if not limit else 1
    return 1


def template_levels(workflow: Mapping[str, Any] | None) -> Iterator[ApiObject]:
    """The objects that can set a field of the entrypoint's template, in order of precedence."""
    own_spec = (workflow or {}).get("spec") or {}
    # With a workflowTemplateRef, the status contains the template's spec at the time of the submission.
    for spec in (own_spec, _status(workflow).get("storedWorkflowTemplateSpec") or {}):
        entrypoint = own_spec.get("entrypoint") or spec.get("entrypoint")
        yield from (template for template in spec.get("templates") or [] if template.get("name") == entrypoint)
        yield from (spec.get("templateDefaults") or {}, spec)


def stopped_by(workflow: Mapping[str, Any] | None) -> str:
    """Who requested the stop: the user recorded by an Argo Server, or else the program that wrote the field."""
    metadata = (workflow or {}).get("metadata") or {}
    labels = metadata.get("labels") or {}
    for name in ("actor-preferred-username", "actor-email", "actor"):
        if actor := labels.get(f"workflows.argoproj.io/{name}"):
            return short(str(actor), 60)
    for entry in metadata.get("managedFields") or []:
        if "f:shutdown" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}):
            return f"another client ({short(str(entry.get('manager')), 60)})"
    return "another client"


def has_run(workflow: Mapping[str, Any] | None) -> bool:
    """Whether the pod was ever on a node."""
    nodes = (_status(workflow).get("nodes") or {}).values()
    return any(node.get("type") == "Pod" and node.get("hostNodeName") for node in nodes)


def log_gone(workflow: Mapping[str, Any] | None) -> str:
    """The outcome that Argo reports for a run whose pod and log are deleted."""
    status = _status(workflow)
    message = "" if status.get("phase") == "Succeeded" else ended(None, workflow)
    start, end = status.get("startedAt"), status.get("finishedAt")
    times = f"it ran from {start} to {end}" if start and end else f"it started at {start}"
    details = ", ".join(filter(None, (f"Argo reports {status.get('phase')}", times, message.partition("; ")[0])))
    return f"the pod was deleted with its log ({details}); run the cell again to see its output"


def _status(workflow: Mapping[str, Any] | None) -> ApiObject:
    return (workflow or {}).get("status") or {}


def _messages(workflow: Mapping[str, Any] | None) -> Iterator[str]:
    status = _status(workflow)
    nodes = (status.get("nodes") or {}).values()
    yield from (str(node["message"]) for node in nodes if node.get("message") and node["message"] != "PodInitializing")
    if status.get("message"):
        yield str(status["message"])
