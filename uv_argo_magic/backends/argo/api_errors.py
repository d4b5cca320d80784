"""Translate Argo's messages into one sentence with a hint; kubernetes/api_errors.py does so for those of Kubernetes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uv_argo_magic.backends.kubernetes.api_errors import ADMISSION_RULES, POD_RULES, ErrorTable, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

_RULES = (
    Rule(
        pattern=r"ontainers\[\d+\]\.image: Required value",
        sentence=(
            "this cluster's Argo adds other containers to a pod than expected; use --set executor_patch=supervisor "
            "(or init, or none)"
        ),
    ),
    Rule(
        pattern=r"workflows must use workflowTemplateRef",
        sentence="this cluster only allows workflows from templates; use one with --set template=NAME",
    ),
    Rule(
        pattern=r"fields \[(?P<what>[^\]]+)\] are not permitted",
        sentence="the templates of this cluster define {what}; remove the setting for it",
    ),
    Rule(
        pattern=r"invalid spec: (?P<what>.*)",
        sentence="Argo cannot use the workflow: {what}; fix the setting that it names",
    ),
    Rule(
        pattern=r"failed to initialize semaphore (?P<what>\S+)",
        sentence="semaphore {what} not found; create its ConfigMap, or remove --set semaphore",
    ),
    Rule(
        pattern=r"Waiting for (?P<what>\S+) lock\.(?: Lock status: (?P<why>\S+))?",
        sentence="waiting for the semaphore {what} ({why} free); the run starts when others finish",
    ),
    Rule(
        pattern=r"too many workflows are already running",
        sentence="waiting: Argo's limit of parallel workflows is reached; the run starts when others finish",
    ),
    Rule(
        pattern=r"workflowtaskresults\S* is forbidden: User \"(?P<what>[^\"]+)\"",
        sentence=(
            "the pod's {what} cannot report to Argo: in its namespace, it needs a RoleBinding to a Role with create "
            "and patch on workflowtaskresults (argoproj.io); or use another one with --set service_account=NAME"
        ),
    ),
    Rule(
        pattern=r"Pod failed before main container starts",
        sentence=(
            "the pod ended before the cell's container started, often because the install exceeded its memory limit; "
            "request more with --memory SIZE"
        ),
    ),
    Rule(
        pattern=r"pod deleted",
        sentence="the pod was deleted, by a user or with its node; run the cell again",
    ),
    Rule(
        pattern=r"Stopped with strategy '(?P<what>\w+)'|workflow shutdown with strategy:\s*(?P<why>\w+)",
        sentence="the workflow was stopped",
    ),
    Rule(
        pattern=r"(?:^|execution: )timeout$",
        sentence="the run did not start in time; allow more with --set pending_timeout=SECONDS",
    ),
    Rule(
        pattern=r"Step exceeded its deadline",
        sentence="the run exceeded its deadline; allow more with --set deadline=SECONDS",
    ),
)
ERRORS = ErrorTable((*ADMISSION_RULES, *_RULES, *POD_RULES))
_DEADLINE = r"(?:^|execution: )timeout$|exceeded its deadline|longer than the specified deadline"


def deadline_exceeded(messages: Iterable[str]) -> str:
    """The explanation of the first message about a deadline; "" if there is none."""
    return next((ERRORS.explain(message) for message in messages if re.search(_DEADLINE, message)), "")
