"""The client for workflows and their pods through the Kubernetes API."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from uv_argo_magic.backends.argo.role import POLICY, ROLE
from uv_argo_magic.backends.kubernetes import client
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Expired, Gone, TooEarly
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.spec.run_spec import Settings

WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"
ALL_WORKFLOWS = "/apis/argoproj.io/v1alpha1/workflows"
DESCRIPTION = "/openapi/v3/apis/argoproj.io/v1alpha1"
POLICY_KEY = "policy.toml"
"""The key of the package policy in its ConfigMap."""
WORKFLOW_LABEL = "workflows.argoproj.io/workflow"


def pods_of(workflow: str) -> str:
    """The label selector for the pods of a workflow."""
    return f"{WORKFLOW_LABEL}={workflow}"


def connect(settings: Settings) -> ArgoClient:
    """A client for the cluster of the settings, of KUBECONFIG, of this pod, or of ~/.kube/config.

    Raises:
        BackendUnavailable: there is no configuration, or it refers to something that does not exist.
    """
    return client.connect(settings, ArgoClient, rules=ROLE)


def newest_first(workflows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The workflows sorted by creation time, newest first."""
    return sorted(workflows, key=lambda item: str(item["metadata"].get("creationTimestamp") or ""), reverse=True)


@frozen
class ArgoClient(client.Client):
    """A client for one namespace of one cluster with Argo Workflows, as one user."""

    sees_pods: ClassVar[bool] = True
    """Whether `pods` returns the pods of the cluster; otherwise it derives them from the workflow."""

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        """Commands for a terminal that stop a workflow."""
        patch = '{"spec": {"shutdown": "Stop"}}'
        options = [*self.flags, "-n", self.namespace]
        return (
            shlex.join(["kubectl", *options, "patch", "workflow", name, "--type", "merge", "-p", patch]),
            shlex.join(["argo", *options, "stop", name]),
        )

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create the workflow, and return the created object.

        Raises:
            SubmitRejected: the API refused it.
            BackendUnavailable: the API does not respond, or Argo Workflows is not installed.
        """
        # With Strict, the API reports unknown fields instead of dropping them.
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        try:
            return self.transport.request("POST", self._workflows(), query=query, body=manifest)
        except Gone as problem:
            if "namespaces" in str(problem):
                raise SubmitRejected(
                    f"namespace {self.namespace} not found in this cluster",
                    hint="Use another one: --set namespace=NAME.",
                ) from problem
            raise BackendUnavailable(
                f"Argo Workflows is not installed at {self.location}",
                hint="Ask your administrator to install it, or use another cluster: --set context=NAME.",
            ) from problem
        except (Denied, Expired) as problem:
            raise SubmitRejected(str(problem), hint=problem.hint) from problem

    def workflow(self, name: str) -> dict[str, Any]:
        """The workflow as it is now.

        Raises:
            Gone: there is no workflow with this name.
            BackendError: the workflow cannot be read.
        """
        return self.transport.request("GET", f"{self._workflows()}/{quote(name)}")

    def workflows(self, selector: str, *, all_namespaces: bool = False) -> list[dict[str, Any]]:
        """The workflows that match a label selector, newest first.

        Raises:
            BackendError: the workflows cannot be read.
        """
        path = ALL_WORKFLOWS if all_namespaces else self._workflows()
        response = self.transport.request("GET", path, query={"labelSelector": selector})
        return newest_first(response.get("items") or [])

    def workflow_template(self, name: str) -> dict[str, Any]:
        """The current WorkflowTemplate.

        Raises:
            Gone: there is no template with this name.
            Denied: the user is not allowed to read it.
            BackendError: the API does not respond.
        """
        path = self._workflows().removesuffix("workflows") + "workflowtemplates"
        return self.transport.request("GET", f"{path}/{quote(name)}")

    def policy(self) -> str:
        """The text of the namespace's package policy; "" if there is none.

        Raises:
            BackendError: the policy cannot be read.
        """
        path = f"/api/v1/namespaces/{quote(self.namespace)}/configmaps/{POLICY}"
        try:
            config_map = self.transport.request("GET", path)
        except Gone:
            return ""
        return str((config_map.get("data") or {}).get(POLICY_KEY) or "")

    def shutdown(self, name: str, strategy: str) -> None:
        """End the workflow: "Stop" lets exit handlers run, "Terminate" does not. No error if it does not exist.

        Raises:
            BackendError: the API refused the request, or does not respond.
        """
        path = f"{self._workflows()}/{quote(name)}"
        body = {"spec": {"shutdown": strategy}}
        with contextlib.suppress(Gone):
            self.transport.request("PATCH", path, body=body, content_type="application/merge-patch+json")

    def annotate(self, name: str, annotations: Mapping[str, str]) -> None:
        """Add or replace annotations of the workflow. No error if it does not exist.

        Raises:
            BackendError: the API refused the request, or does not respond.
        """
        path = f"{self._workflows()}/{quote(name)}"
        body = {"metadata": {"annotations": dict(annotations)}}
        with contextlib.suppress(Gone):
            self.transport.request("PATCH", path, body=body, content_type="application/merge-patch+json")

    def any_pod(self) -> dict[str, Any] | None:
        """A pod of any workflow in the namespace, or None.

        Raises:
            BackendError: the pods cannot be read.
        """
        pods, _ = self.pods(WORKFLOW_LABEL, limit=1)
        return pods[0] if pods else None

    def has_field(self, field: str) -> bool:
        """Whether Argo's objects have a field with this name, according to the API's schema, which every user can read.

        Raises:
            BackendUnavailable: the API does not respond.
        """
        try:
            return f'"{field}":'.encode() in b"".join(self.transport.stream(DESCRIPTION, {}))
        except (Gone, Denied, TooEarly):
            return False

    def _workflows(self) -> str:
        return WORKFLOWS.format(quote(self.namespace))
