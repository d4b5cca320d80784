"""Threads that follow a workflow: those for its pods, and one that reads the workflow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.client import pods_of
from uv_argo_magic.backends.kubernetes.transport import Gone
from uv_argo_magic.backends.kubernetes.watchers import LOG_POLL, LOG_WAIT, PodClient, PodMessage, PodWatchers

if TYPE_CHECKING:
    from uv_argo_magic.backends.kubernetes.diagnose import ApiObject

EXECUTOR_LINES = re.compile(r'time=.* argo=true|Error: exit status \d+$|.*"argo":true')
"""Lines that Argo's executor writes to the log. The guest sends similar lines of the user as records."""


@dataclass(frozen=True)
class WorkflowSeen:
    """The current workflow, or diagnose.DELETED."""

    workflow: ApiObject


@dataclass(frozen=True)
class EarlyText:
    """New lines of the early copy of the log; "" at its end."""

    text: str


Message: TypeAlias = PodMessage | WorkflowSeen


class WorkflowClient(PodClient, Protocol):
    """The part of client.ArgoClient that is needed to follow a workflow."""

    sees_pods: ClassVar[bool]

    def workflow(self, name: str) -> ApiObject: ...
    def shutdown(self, name: str, strategy: str) -> None: ...


class WorkflowWatchers(PodWatchers[WorkflowSeen | EarlyText]):
    """The threads that follow one workflow."""

    def __init__(self, client: WorkflowClient, name: str) -> None:
        # The state of a pod that is derived from its workflow is late.
        log_wait = LOG_WAIT if client.sees_pods else LOG_POLL
        super().__init__(client, pods_of(name), omit=EXECUTOR_LINES, log_wait=log_wait)
        self._workflows = client
        self._name = name

    def watch(self) -> None:
        """Start watching the pods and the workflow."""
        super().watch()
        self.start(lambda: self.poll(self._look), "workflow")

    def workflow_now(self) -> ApiObject:
        """The workflow, or diagnose.DELETED.

        Raises:
            BackendError: the workflow cannot be read.
        """
        try:
            return self._workflows.workflow(self._name)
        except Gone:
            return diagnose.DELETED

    def _look(self) -> bool:
        workflow = self.workflow_now()
        self.messages.put(WorkflowSeen(workflow))
        if diagnose.is_final(workflow):
            return True
        self.request_events()
        return False
