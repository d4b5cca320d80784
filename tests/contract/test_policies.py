"""The Role in deploy/users.yaml and the example admission policies, on a real API server.

Each request is sent twice by a user with the Role: to a namespace without policies, which accepts it, and to a
namespace with the policies, which rejects it. Most requests are dry runs, which the API server checks in the same way.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from uv_argo_magic.backends.argo import session_list
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.manifests import template_manifests
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        "UV_ARGO_TEST_KUBECONFIG" not in os.environ, reason="needs a real API server: set UV_ARGO_TEST_KUBECONFIG"
    ),
]

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMESPACE = "uv-argo"
ARGO = "/apis/argoproj.io/v1alpha1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Workflow": f"{ARGO}/namespaces/{{}}/workflows",
    "WorkflowTemplate": f"{ARGO}/namespaces/{{}}/workflowtemplates",
    "ValidatingAdmissionPolicy": f"{ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
}
PATCHES = {"merge": "application/merge-patch+json", "apply": "application/apply-patch+yaml"}
USER = {"Impersonate-User": "uv-argo-test", "Impersonate-Group": "notebook-users"}
INSTANCE_ID = "workflows.argoproj.io/controller-instanceid"
"""With this label, the controller ignores a workflow."""
ARGO_LABEL = "workflows.argoproj.io/{}"


class Api:
    """A client of the API server, as an administrator or with a token; `user`: as a user in group notebook-users."""

    def __init__(self, token: str = "") -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        path = os.environ["UV_ARGO_TEST_KUBECONFIG"]
        config.load_kube_config(config_file=path, client_configuration=configuration)
        _, current = config.list_kube_config_contexts(config_file=path)
        self.namespace = current["context"].get("namespace") or "default"
        self.host = configuration.host
        self.token = token
        self.path = path
        if token:
            configuration.cert_file = configuration.key_file = None
        self.pool = client.ApiClient(configuration).rest_client.pool_manager
        self.headers = {
            setting["key"]: setting["value"] for setting in configuration.auth_settings().values() if setting["value"]
        }
        self.headers |= {"authorization": f"Bearer {token}"} if token else {}

    def kubeconfig(self, folder: Path) -> str:
        """Write a kubeconfig with the token and return its path."""
        config = yaml.safe_load(Path(self.path).read_text())
        context = next(item for item in config["contexts"] if item["name"] == config["current-context"])
        config["users"] = [{"name": context["context"]["user"], "user": {"token": self.token}}]
        (folder / "kubeconfig").write_text(yaml.safe_dump(config))
        return str(folder / "kubeconfig")

    def request(self, method: str, path: str, body: Any = None, *, user: bool = False, patch: str = "merge") -> Any:
        """Return the status and the object of the response."""
        content_type = "application/json" if method != "PATCH" else PATCHES[patch]
        headers = {**self.headers, "Content-Type": content_type, **(USER if user else {})}
        text = None if body is None else json.dumps(body)
        response = self.pool.request(method, self.host + path, body=text, headers=headers, timeout=30.0)
        return response.status, json.loads(response.data)

    def create(self, namespace: str, document: dict, *, user: bool = False, dry_run: bool = False) -> tuple[int, dict]:
        path = PATHS[document["kind"]].format(namespace)
        return self.request("POST", path + ("?dryRun=All" if dry_run else ""), document, user=user)

    def apply(self, namespace: str, document: dict) -> dict:
        """Create an object as the administrator."""
        status, created = self.create(namespace, document)
        assert status == 201, created
        return created

    def patch(self, namespace: str, name: str, body: Any, *, dry_run: bool = True, patch: str = "merge") -> Any:
        """Change a workflow as the user."""
        path = f"{PATHS['Workflow'].format(namespace)}/{name}"
        return self.request("PATCH", path + ("?dryRun=All" if dry_run else ""), body, user=True, patch=patch)


def documents(name: str) -> list[dict]:
    return [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document]


def replace_name(document: Any, old: str, new: str) -> Any:
    """Return the document with another namespace or name."""
    return json.loads(json.dumps(document).replace(f'"{old}"', f'"{new}"'))


def policies(name: str, namespace: str) -> list[dict]:
    """Return the policies of an example for this namespace, with unique names since they are cluster-scoped."""
    result = [item for item in replace_name(documents(name), NAMESPACE, namespace) if "Policy" in item["kind"]]
    for document in result:
        document["metadata"]["name"] += f"-{namespace}"
        if "policyName" in document["spec"]:
            document["spec"]["policyName"] += f"-{namespace}"
    return result


def reference(name: str = template_manifests.CELL, **parameters: str) -> dict:
    """Return a Workflow that this package would submit."""
    values = parameters or {template_manifests.PROGRAM: "H4sIAAAAAAAA"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "uv-argo-", "labels": {"uv-argo-magic/run": "r1"}},
        "spec": {
            "workflowTemplateRef": {"name": name},
            "arguments": {"parameters": [{"name": key, "value": value} for key, value in values.items()]},
        },
    }


def merge(base: dict, change: dict) -> dict:
    result = copy.deepcopy(base)
    for key, value in change.items():
        is_nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if is_nested else value
    return result


@pytest.fixture(scope="module")
def api():
    return Api()


@pytest.fixture(scope="module")
def namespaces(api):
    """Two namespaces with the Role for users; the second one has the example policies."""
    suffix = uuid.uuid4().hex[:6]
    unrestricted, restricted = f"uv-argo-unrestricted-{suffix}", f"uv-argo-restricted-{suffix}"
    examples = ("examples/only-templates.yaml", "examples/only-listed.yaml", "examples/sessions.yaml")
    rules = [rule for name in examples for rule in policies(name, restricted)]
    session_roles = [item for item in documents("examples/sessions.yaml") if item["kind"] in ("Role", "RoleBinding")]
    try:
        for namespace in (unrestricted, restricted):
            api.apply("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            for document in (
                *documents("users.yaml"),
                *documents("executor.yaml"),
                *documents("cell-template.yaml"),
                *session_roles,
            ):
                api.apply(namespace, replace_name(document, NAMESPACE, namespace))
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}
            api.apply(namespace, account)
            _wait_until(lambda at=namespace: api.create(at, pod(), dry_run=True)[0] == 201)
        for document in rules:
            api.apply("", document)
        _wait_until(
            lambda: api.create(restricted, merge(reference(), {"spec": {"suspend": True}}), user=True)[0] == 422
        )
        _wait_until(lambda: api.create(restricted, config_map({}, name="x"), user=True, dry_run=True)[0] == 422)
        _wait_until(lambda: api.create(restricted, pod(serviceAccountName="deployer"), dry_run=True)[0] == 422)
        _wait_until(lambda: forward(api, restricted, "database") == 422)
        for namespace in (unrestricted, restricted):
            api.apply(namespace, running_workflow())
        _wait_until(lambda: api.patch(restricted, "running", {"spec": {"suspend": True}})[0] == 422)
        yield unrestricted, restricted
    finally:
        for document in reversed(rules):
            api.request("DELETE", f"{PATHS[document['kind']]}/{document['metadata']['name']}")
        for namespace in (unrestricted, restricted):
            api.request("DELETE", f"{PATHS['Namespace']}/{namespace}")


def forward(api: Api, namespace: str, pod: str, query: str = "?ports=8471", **headers: str) -> int:
    """Forward a port of a pod that does not exist, as the user; returns the status: 404 if it is allowed."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
    }  # fmt: skip
    path = f"{PATHS['Pod'].format(namespace)}/{pod}/portforward{query}"
    response = api.pool.request(
        "GET", api.host + path, headers={**api.headers, **upgrade, **USER, **headers}, timeout=30.0
    )
    return response.status


def _wait_until(condition, seconds: float = 60.0) -> None:
    """Wait until the condition is true; for example, a policy takes effect some seconds after its creation."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.25)


def check_rejected(response: tuple[int, dict], message: str) -> None:
    status, body = response
    assert status == 422, body
    assert message in body["message"]


# New workflows

REJECTED_WORKFLOWS = {
    "status": (
        {"status": {"storedWorkflowTemplateSpec": {"templates": [{"name": "cell"}]}}},
        "only the controller can set the status",
    ),
    "templates in the status": (
        {"status": {"storedTemplates": {"namespaced/other/cell": {"name": "cell", "suspend": {}}}}},
        "only the controller can set the status",
    ),
    "start time": ({"status": {"startedAt": "2026-01-01T00:00:00Z"}}, "only the controller can set the status"),
    "templates": ({"spec": {"entrypoint": "a", "templates": [{"name": "a", "suspend": {}}]}}, "templates"),
    "another template": ({"spec": {"workflowTemplateRef": {"name": "other"}}}, "must refer to one of these"),
    "cluster template": ({"spec": {"workflowTemplateRef": {"clusterScope": True}}}, "must refer to one of these"),
    "no template": ({"spec": {"workflowTemplateRef": None}}, "must refer to one of these"),
    "service account": ({"spec": {"serviceAccountName": "deployer"}}, "serviceAccountName"),
    "executor": ({"spec": {"executor": {"serviceAccountName": "deployer"}}}, "executor"),
    "token": ({"spec": {"automountServiceAccountToken": True}}, "automountServiceAccountToken"),
    "pod patch": ({"spec": {"podSpecPatch": "{}"}}, "podSpecPatch"),
    "pod metadata": ({"spec": {"podMetadata": {"labels": {"a": "b"}}}}, "podMetadata"),
    "volumes": ({"spec": {"volumes": [{"name": "a", "secret": {"secretName": "s"}}]}}, "volumes"),
    "claims": (
        {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "a"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}},
        "volumeClaimTemplates",
    ),
    "exit handler": ({"spec": {"onExit": "cell"}}, "onExit"),
    "hooks": ({"spec": {"hooks": {"running": {"template": "cell", "expression": "true"}}}}, "hooks"),
    "entrypoint": ({"spec": {"entrypoint": "other"}}, "entrypoint"),
    "defaults": ({"spec": {"templateDefaults": {"serviceAccountName": "deployer"}}}, "templateDefaults"),
    "artifact repository": ({"spec": {"artifactRepositoryRef": {"configMap": "a", "key": "b"}}}, "artifactRepository"),
    "artifact clean-up": ({"spec": {"artifactGC": {"serviceAccountName": "deployer"}}}, "artifactGC"),
    "log archive": ({"spec": {"archiveLogs": True}}, "archiveLogs"),
    "synchronization": ({"spec": {"synchronization": {"mutexes": [{"name": "a"}]}}}, "synchronization"),
    "labels from expressions": (
        {"spec": {"workflowMetadata": {"labelsFrom": {"a": {"expression": "'b'"}}}}},
        "workflowMetadata",
    ),
    "metrics": ({"spec": {"metrics": {"prometheus": [{"name": "a", "help": "b"}]}}}, "metrics"),
    "priority": ({"spec": {"priority": 1000}}, "priority"),
    "pod priority": ({"spec": {"podPriorityClassName": "system-node-critical"}}, "podPriorityClassName"),
    "security context": ({"spec": {"securityContext": {"runAsUser": 0}}}, "securityContext"),
    "host network": ({"spec": {"hostNetwork": True}}, "hostNetwork"),
    "node": ({"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}}, "nodeSelector"),
    "pull secrets": ({"spec": {"imagePullSecrets": [{"name": "s"}]}}, "imagePullSecrets"),
    "retries": ({"spec": {"retryStrategy": {"limit": 3}}}, "retryStrategy"),
    "shutdown": ({"spec": {"shutdown": "Stop"}}, "shutdown"),
    "artifacts": (
        {"spec": {"arguments": {"artifacts": [{"name": "a", "s3": {"accessKeySecret": {"name": "s", "key": "k"}}}]}}},
        "can only be parameters",
    ),
    "parameter from ConfigMap": (
        {
            "spec": {
                "arguments": {
                    "parameters": [
                        {"name": "program", "valueFrom": {"configMapKeyRef": {"name": "private", "key": "token"}}}
                    ]
                }
            }
        },
        "can only have a name and a value",
    ),
    "no deadline": ({"spec": {"activeDeadlineSeconds": 0}}, "activeDeadlineSeconds"),
    "long deadline": ({"spec": {"activeDeadlineSeconds": 999999}}, "activeDeadlineSeconds must be at most 86400"),
    "another controller": (
        {"metadata": {"labels": {INSTANCE_ID: "other"}}},
        f"not allowed in a workflow: {INSTANCE_ID}",
    ),
    "completed": ({"metadata": {"labels": {ARGO_LABEL.format("completed"): "true"}}}, "completed"),
    "cron workflow": ({"metadata": {"labels": {ARGO_LABEL.format("cron-workflow"): "x"}}}, "cron-workflow"),
    "annotations of Argo": ({"metadata": {"annotations": {ARGO_LABEL.format("pod-name-format"): "v1"}}}, "pod-name-f"),
    "finalizers": ({"metadata": {"finalizers": ["example.com/never"]}}, "cannot have finalizers or owners"),
    "owners": (
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]}},
        "cannot have finalizers or owners",
    ),
}


@pytest.mark.parametrize("case", REJECTED_WORKFLOWS)
def test_new_workflow_can_only_set_template_and_parameters(api, namespaces, case):
    unrestricted, restricted = namespaces
    change, message = REJECTED_WORKFLOWS[case]
    workflow = merge(reference(), change)
    assert api.create(unrestricted, workflow, user=True, dry_run=True)[0] == 201
    check_rejected(api.create(restricted, workflow, user=True, dry_run=True), message)


@pytest.mark.parametrize("value", ["{{=sprig.repeat(9, 'x')}}", "{{workflow.uid}}", "x {{ inputs.parameters.a}}=1}}"])
@pytest.mark.parametrize("name", [template_manifests.CELL, template_manifests.PROCESSOR])
def test_expressions_in_parameters_are_rejected(api, namespaces, name, value):
    unrestricted, restricted = namespaces
    parameter = template_manifests.PROGRAM if name == template_manifests.CELL else "pythonCode"
    workflow = reference(name, **{parameter: value})
    assert api.create(unrestricted, workflow, user=True, dry_run=True)[0] == 201
    check_rejected(api.create(restricted, workflow, user=True, dry_run=True), "variables or expressions of Argo")


@pytest.mark.parametrize(
    "workflow",
    [
        reference(),
        reference(largeProgram="true"),
        reference("python-processor-with-deps", pythonCode="print(f'{{x}} {1}', {'a': {}})", dependencies="six"),
        merge(reference(), {"spec": {"activeDeadlineSeconds": 60, "ttlStrategy": {"secondsAfterCompletion": 5}}}),
        merge(reference(), {"spec": {"podGC": {"strategy": "OnWorkflowSuccess", "deleteDelayDuration": "600s"}}}),
        merge(reference(), {"metadata": {"labels": {"team": "blue"}, "annotations": {"uv-argo-magic/nonce": "n"}}}),
        # As sent by `argo submit --from` and an Argo Server.
        merge(reference(), {"status": {"storedTemplates": {"namespaced/uv-argo-cell/cell": {"name": "cell"}}}}),
        merge(reference(), {"metadata": {"labels": {ARGO_LABEL.format("workflow-template"): "uv-argo-cell"}}}),
        merge(reference(), {"metadata": {"labels": {ARGO_LABEL.format("creator"): "ana"}}}),
    ],
)
def test_workflow_from_template_is_admitted(api, namespaces, workflow):
    for namespace in namespaces:
        status, answer = api.create(namespace, workflow, user=True, dry_run=True)
        assert status == 201, answer


# Changes of another user's workflow


def running_workflow() -> dict:
    return merge(
        reference(),
        {
            "metadata": {
                "name": "running",
                "labels": {INSTANCE_ID: "none"},
                "annotations": {"uv-argo-magic/nonce": "n"},
            },
            "status": {"phase": "Running", "message": "by the controller"},
        },
    )


MISSING_OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "11111111-2222-3333-4444-555555555555"}
REJECTED_CHANGES = {
    "label": ({"metadata": {"labels": {"a": "b"}}}, "label a"),
    "completed": ({"metadata": {"labels": {ARGO_LABEL.format("completed"): "true"}}}, "completed"),
    "another controller": ({"metadata": {"labels": {INSTANCE_ID: "x"}}}, f"label {INSTANCE_ID}"),
    "removed label": ({"metadata": {"labels": {"uv-argo-magic/run": None}}}, "label uv-argo-magic/run"),
    "no labels": ({"metadata": {"labels": None}}, "label uv-argo-magic/run"),
    "annotation": (
        {"metadata": {"annotations": {"uv-argo-magic/nonce": "other"}}},
        "annotation uv-argo-magic/nonce",
    ),
    "added annotation": ({"metadata": {"annotations": {ARGO_LABEL.format("x"): "y"}}}, "annotation workflows.argo"),
    "removed annotation": ({"metadata": {"annotations": None}}, "annotation uv-argo-magic/nonce"),
    "owners": ({"metadata": {"ownerReferences": [MISSING_OWNER]}}, "metadata.ownerReferences"),
    "finalizers": ({"metadata": {"finalizers": ["example.com/never"]}}, "metadata.finalizers"),
    "deadline": ({"spec": {"activeDeadlineSeconds": 1}}, "spec.activeDeadlineSeconds"),
    "suspended": ({"spec": {"suspend": True}}, "spec.suspend"),
    "pod patch": ({"spec": {"podSpecPatch": "{}"}}, "spec.podSpecPatch"),
    "parameters": ({"spec": {"arguments": {"parameters": []}}}, "spec.arguments"),
    "another template": ({"spec": {"workflowTemplateRef": {"name": "other"}}}, "spec.workflowTemplateRef"),
    "no template": ({"spec": {"workflowTemplateRef": None}}, "spec.workflowTemplateRef"),
    "deletion after completion": ({"spec": {"ttlStrategy": {"secondsAfterCompletion": 0}}}, "spec.ttlStrategy"),
    "changed status": ({"status": {"phase": "Failed"}}, "status"),
    "no status": ({"status": None}, "status"),
    "stopped and relabelled": ({"metadata": {"labels": {"a": "b"}}, "spec": {"shutdown": "Stop"}}, "label a"),
    "actor without stop": ({"metadata": {"labels": {ARGO_LABEL.format("actor"): "x"}}}, "can only be set to Stop"),
}


@pytest.mark.parametrize("case", REJECTED_CHANGES)
def test_other_changes_of_running_workflow_are_rejected(api, namespaces, case):
    unrestricted, restricted = namespaces
    change, message = REJECTED_CHANGES[case]
    status, answer = api.patch(unrestricted, "running", change)
    assert status == 200, answer
    check_rejected(api.patch(restricted, "running", change), message)


def test_server_side_apply_is_rejected(api, namespaces):
    unrestricted, restricted = namespaces
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"labels": {"a": "b"}},
        "spec": {},
    }

    def apply(namespace: str) -> tuple[int, dict]:
        path = f"{PATHS['Workflow'].format(namespace)}/running?fieldManager=x&force=true&dryRun=All"
        return api.request("PATCH", path, workflow, user=True, patch="apply")

    status, answer = apply(unrestricted)
    assert status == 200, answer
    check_rejected(apply(restricted), "label a")


def test_workflow_of_other_user_can_be_stopped(api, namespaces):
    for namespace in namespaces:
        path = PATHS["Workflow"].format(namespace)
        api.apply(namespace, merge(running_workflow(), {"metadata": {"name": "stopped"}}))
        labels = {ARGO_LABEL.format("actor"): "ana", ARGO_LABEL.format("action"): "Stop"}
        status, answer = api.patch(namespace, "stopped", {"metadata": {"labels": labels}, "spec": {"shutdown": "Stop"}})
        assert status == 200, answer
        for strategy in ("Stop", "Terminate"):
            status, answer = api.patch(namespace, "stopped", {"spec": {"shutdown": strategy}}, dry_run=False)
            assert status == 200, answer
        assert api.request("GET", f"{path}/stopped", user=True)[1]["spec"]["shutdown"] == "Terminate"
    unrestricted, restricted = namespaces
    for change, message in (
        ({"spec": {"shutdown": None}}, "spec.shutdown"),
        ({"spec": {"shutdown": "x"}}, "to Stop or"),
    ):
        assert api.patch(unrestricted, "stopped", change)[0] == 200
        check_rejected(api.patch(restricted, "stopped", change), message)


def test_last_activity_of_session_can_be_recorded(api, namespaces):
    for namespace in namespaces:
        annotations = session_list.used(1767225600, is_running=True)
        for change in (annotations, session_list.used(1767225900, is_running=False)):
            status, answer = api.patch(namespace, "running", {"metadata": {"annotations": change}})
            assert status == 200, answer


def test_deletion_by_missing_owner_is_rejected(api, namespaces):
    unrestricted, restricted = namespaces
    change = {"metadata": {"ownerReferences": [MISSING_OWNER]}}
    for namespace in namespaces:
        api.apply(namespace, merge(running_workflow(), {"metadata": {"name": "owned"}}))
    assert api.patch(unrestricted, "owned", change, dry_run=False)[0] == 200
    check_rejected(api.patch(restricted, "owned", change, dry_run=False), "metadata.ownerReferences")
    _wait_until(lambda: api.request("GET", f"{PATHS['Workflow'].format(unrestricted)}/owned")[0] == 404)
    assert api.request("GET", f"{PATHS['Workflow'].format(restricted)}/owned")[0] == 200


def test_role_grants_no_other_requests(api, namespaces):
    for namespace in namespaces:
        for method, path in (
            ("DELETE", f"{PATHS['Workflow'].format(namespace)}/running"),
            ("GET", PATHS["ConfigMap"].format(namespace)),
            ("GET", f"{PATHS['ConfigMap'].format(namespace)}/uv-argo-no-program"),
            ("GET", PATHS["Secret"].format(namespace)),
            ("POST", PATHS["Pod"].format(namespace)),
            ("POST", PATHS["WorkflowTemplate"].format(namespace)),
        ):
            assert api.request(method, path, {} if method == "POST" else None, user=True)[0] == 403, (method, path)


# ConfigMaps


def config_map(change: dict, name: str = "uv-argo-program-uv-argo-x") -> dict:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "uv-argo-x", "uid": "1"}
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"uv-argo-magic/run": "r1"}, "ownerReferences": [owner]},
        "data": {"program.py": "print(1)"},
    }
    return merge(document, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"name": "artifact-repositories"}}, "must start with uv-argo-program-"),
        ({"metadata": {"labels": {ARGO_LABEL.format("configmap-type"): "Parameter"}}}, "labels or annotations of Argo"),
        ({"metadata": {"annotations": {ARGO_LABEL.format("x"): "y"}}}, "labels or annotations of Argo"),
        ({"metadata": {"finalizers": ["example.com/never"]}}, "finalizers"),
        ({"metadata": {"ownerReferences": [MISSING_OWNER]}}, "owners other than workflows"),
        ({"data": {"other": "x"}}, "can only contain program.py"),
        ({"binaryData": {"a": "AA=="}}, "can only contain program.py"),
    ],
)
def test_config_map_can_only_contain_a_program(api, namespaces, change, message):
    unrestricted, restricted = namespaces
    assert api.create(unrestricted, config_map(change), user=True, dry_run=True)[0] == 201
    check_rejected(api.create(restricted, config_map(change), user=True, dry_run=True), message)
    assert api.create(restricted, config_map({}), user=True, dry_run=True)[0] == 201


# Pods of arbitrary workflows, which the controller creates


def pod(**spec: Any) -> dict:
    container = {"name": "main", "image": "x"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "x-"},
        "spec": {"containers": [container], **spec},
    }


def with_env(**entry: Any) -> dict:
    return pod(initContainers=[{"name": "a", "image": "x", "env": [{"name": "A", "valueFrom": entry}]}])


def with_volume(**source: Any) -> dict:
    return pod(volumes=[{"name": "a", **source}])


KEY = {"name": "private", "key": "k"}
REJECTED_PODS = {
    "service account": (pod(serviceAccountName="deployer"), "service account not allowed: deployer"),
    "variable": (with_env(secretKeyRef=KEY), "Secrets not allowed: private"),
    "variables": (
        pod(containers=[{"name": "main", "image": "x", "envFrom": [{"secretRef": {"name": "private"}}]}]),
        "Secrets not allowed: private",
    ),
    "volume": (with_volume(secret={"secretName": "private"}), "Secrets not allowed: private"),
    "projection": (
        with_volume(projected={"sources": [{"secret": {"name": "private"}}, {"configMap": {"name": "private"}}]}),
        "Secrets not allowed: private",
    ),
    "pull secret": (pod(imagePullSecrets=[{"name": "private"}]), "Secrets not allowed: private"),
    "claim": (with_volume(persistentVolumeClaim={"claimName": "private"}), "claims not allowed: private"),
    "ConfigMap": (with_volume(configMap={"name": "private"}), "ConfigMaps not allowed: private"),
    "ConfigMap variable": (with_env(configMapKeyRef=KEY), "ConfigMaps not allowed: private"),
    "host": (with_volume(hostPath={"path": "/"}), "volumes of a type that is not allowed: a"),
    "driver": (
        with_volume(csi={"driver": "x", "nodePublishSecretRef": {"name": "private"}}),
        "volumes of a type that is not allowed: a",
    ),
}


@pytest.mark.parametrize("case", REJECTED_PODS)
def test_pod_can_only_use_listed_resources(api, namespaces, case):
    unrestricted, restricted = namespaces
    manifest, message = REJECTED_PODS[case]
    status, answer = api.create(unrestricted, manifest, dry_run=True)
    assert status == 201, answer
    check_rejected(api.create(restricted, manifest, dry_run=True), message)


def test_pod_of_cell_is_admitted(api, namespaces):
    volumes = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "program", "configMap": {"name": "uv-argo-program-uv-argo-x"}},
        {"name": "exec-sa-token", "secret": {"secretName": "uv-argo-executor.service-account-token"}},
        {"name": "store", "persistentVolumeClaim": {"claimName": "uv-argo-trees"}},
    ]
    environment = [
        {"name": "A", "value": "b"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    containers = [{"name": "main", "image": "x", "env": environment}]
    for namespace in namespaces:
        status, answer = api.create(namespace, pod(volumes=volumes, containers=containers), dry_run=True)
        assert status == 201, answer


# Port forwarding to sessions


@pytest.mark.parametrize(
    ("pod", "query"),
    [
        ("database", "?ports=8471"),
        ("my-uv-argo-abc12", "?ports=8471"),
        ("uv-argo-abc12", "?ports=5432"),
        ("uv-argo-abc12", "?ports=8471&ports=5432"),
        ("uv-argo-abc12", ""),
    ],
)
def test_only_session_port_can_be_forwarded(api, namespaces, pod, query):
    unrestricted, restricted = namespaces
    assert forward(api, unrestricted, pod, query) != 422
    assert forward(api, restricted, pod, query) == 422


def test_session_port_needs_the_role(api, namespaces):
    _, restricted = namespaces
    assert forward(api, restricted, "uv-argo-abc12") == 404
    stranger = {"Impersonate-User": "stranger", "Impersonate-Group": "strangers"}
    assert forward(api, restricted, "uv-argo-abc12", **stranger) == 403


# Real runs by a service account with the Role for users, in the namespace of the kubeconfig


@pytest.fixture(scope="module")
def cluster(api):
    """The manifests and policies of deploy/ in the namespace of the kubeconfig; a client with a user's token."""
    if "UV_ARGO_TEST_IMAGE" not in os.environ:
        pytest.skip("needs an image for cells: set UV_ARGO_TEST_IMAGE")
    python, _, image = os.environ["UV_ARGO_TEST_IMAGE"].partition("=")
    namespace, name = api.namespace, f"uv-argo-test-{uuid.uuid4().hex[:6]}"
    user = f"request.userInfo.username == 'system:serviceaccount:{namespace}:{name}'"
    manifests = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}]
    for file in ("executor.yaml", "cell-template.yaml", "python-processor-with-deps.yaml"):
        manifests += replace_name(documents(file), NAMESPACE, namespace)
    role, binding = documents("users.yaml")
    role["metadata"]["name"] = binding["metadata"]["name"] = binding["roleRef"]["name"] = name
    binding["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    manifests += [role, binding, {**config_map({}, name="private"), "data": {"program.py": "print('private')"}}]
    del manifests[-1]["metadata"]["ownerReferences"]
    for document in policies("examples/only-templates.yaml", namespace):
        text = json.dumps(document).replace("'notebook-users' in request.userInfo.groups", user)
        manifests.append(json.loads(text))
    for document in manifests:
        if document["kind"] == "WorkflowTemplate":
            document["metadata"].setdefault("annotations", {})[template_manifests.PYTHON_NOTE] = python
            document["spec"]["templates"][0]["script"]["image"] = image
    manifests.append(_readable(next(item for item in manifests if item["metadata"]["name"] == template_manifests.CELL)))
    paths = [f"{PATHS[document['kind']].format(namespace)}/{document['metadata']['name']}" for document in manifests]
    try:
        for document, path in zip(manifests, paths, strict=True):
            api.request("DELETE", path)
            _wait_until(lambda path=path: api.request("GET", path)[0] == 404)
            api.apply(namespace, document)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"{PATHS['ServiceAccount'].format(namespace)}/{name}/token"
        token = api.request("POST", path, request)[1]["status"]["token"]
        server = Api(token)
        _wait_until(
            lambda: server.create(namespace, merge(reference(), {"spec": {"suspend": True}}), dry_run=True)[0] == 422
        )
        yield server
    finally:
        for path in reversed(paths):
            api.request("DELETE", path)


def _readable(template: dict) -> dict:
    """Return the template with a parameter for the name of the ConfigMap and a token for cells."""
    readable = copy.deepcopy(template)
    readable["metadata"]["name"] = "readable"
    del readable["spec"]["automountServiceAccountToken"], readable["spec"]["executor"]
    readable["spec"]["templates"][0]["volumes"][-1]["configMap"]["name"] = "{{workflow.parameters.largeProgram}}"
    return readable


def _pod_of(api: Api, name: str) -> dict:
    path = f"{PATHS['Pod'].format(api.namespace)}/{name}"
    _wait_until(lambda: api.request("GET", path)[0] == 200)
    return api.request("GET", path)[1]


def test_template_only_mounts_config_map_of_its_run(api, cluster):
    mounted, tokens = {}, {}
    for template, client in (("readable", api), (template_manifests.CELL, cluster)):
        status, created = client.create(api.namespace, reference(template, largeProgram="private", program="H4s"))
        assert status == 201, created
        name = created["metadata"]["name"]
        pod = _pod_of(api, name)
        mounted[template] = [volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume]
        (main,) = (container for container in pod["spec"]["containers"] if container["name"] == "main")
        tokens[template] = [mount for mount in main["volumeMounts"] if mount["mountPath"].endswith("/serviceaccount")]
        api.request("DELETE", f"{PATHS['Workflow'].format(api.namespace)}/{name}")
    assert mounted == {"readable": ["private"], template_manifests.CELL: [template_manifests.NO_PROGRAM]}
    assert tokens["readable"]
    assert not tokens[template_manifests.CELL]


LIST = """
import json, os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
host = os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
path = "/apis/argoproj.io/v1alpha1/namespaces/" + open(folder + "namespace").read() + "/workflows"
authorization = {"Authorization": "Bearer " + open(folder + "token").read()}
request = urllib.request.Request("https://" + host + path, headers=authorization)
open(os.path.join(os.environ["HOME"], "file"), "w").close()
assert json.load(urllib.request.urlopen(request, context=ssl._create_unverified_context()))["items"]
"""
"""Lists the workflows of the namespace, with the pod's permissions."""


def test_warm_example_complies_and_has_its_permissions(api, cluster):
    """Run its workflow with another program, and submit its pod to a namespace with the strictest level."""
    strict = f"uv-argo-strict-{uuid.uuid4().hex[:6]}"
    (namespace,) = documents("namespace.yaml")
    role, _ = documents("users.yaml")
    account, binding, cron = replace_name(documents("examples/warm.yaml"), NAMESPACE, api.namespace)
    spec = cron["spec"]["workflowSpec"]
    image = os.environ["UV_ARGO_TEST_IMAGE"].partition("=")[2]
    spec["templates"][0]["container"] |= {"image": image, "command": ["python3", "-c", LIST], "args": []}
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "warm"}, "spec": spec}
    created = [role, account, binding, workflow]
    paths = [f"{PATHS[item['kind']].format(api.namespace)}/{item['metadata']['name']}" for item in created]
    try:
        api.apply("", {**namespace, "metadata": {**namespace["metadata"], "name": strict}})
        api.apply(strict, account)
        for document in created:
            api.apply(api.namespace, document)
        workflow_pod = _pod_of(api, "warm")
        del workflow_pod["spec"]["nodeName"]
        copied = {**workflow_pod, "metadata": {"name": "warm"}}
        _wait_until(lambda: api.create(strict, copied, dry_run=True)[0] == 201)
        _wait_until(lambda: "finishedAt" in (api.request("GET", paths[-1])[1].get("status") or {}))
        status = api.request("GET", paths[-1])[1]["status"]
        assert (status["phase"], status.get("message", "")) == ("Succeeded", "")
    finally:
        for path in (f"{PATHS['Namespace']}/{strict}", *reversed(paths)):
            api.request("DELETE", path)


CELL = """
import os, pathlib
pathlib.Path("file").write_text("x")
print(os.listdir(), os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"))
"""
"""Prints the files in the working folder, and whether there is a service account token."""
LARGE = f"numbers = {[i * 7919 % 1_000_003 for i in range(30_000)]}\nprint(len(numbers))"


def test_cells_from_template_run_and_stop(cluster, home, tmp_path):
    settings = Settings(kubeconfig=cluster.kubeconfig(tmp_path), template=template_manifests.CELL)
    _run_and_stop(settings)
    run = _begin(LARGE, settings)
    assert (run.wait(120).outcome, run.logs()) == ("Succeeded", "30000\n")


@pytest.mark.skipif("UV_ARGO_TEST_SERVER" not in os.environ, reason="needs an Argo Server: set UV_ARGO_TEST_SERVER")
def test_cells_run_and_stop_through_argo_server(cluster, home, monkeypatch):
    monkeypatch.setenv("ARGO_TOKEN", cluster.token)
    monkeypatch.setenv("ARGO_INSECURE_SKIP_VERIFY", "true")
    server = os.environ["UV_ARGO_TEST_SERVER"]
    settings = Settings(server=server, namespace=cluster.namespace, template=template_manifests.CELL)
    name = _run_and_stop(settings)
    # The server adds a label for the action, which the policy allows.
    _, workflow = cluster.request("GET", f"{PATHS['Workflow'].format(cluster.namespace)}/{name}")
    assert workflow["metadata"]["labels"][ARGO_LABEL.format("action")] == "Stop"


@pytest.mark.skipif("UV_ARGO_TEST_ARGO" not in os.environ, reason="needs the argo command: set UV_ARGO_TEST_ARGO")
def test_argo_command_submits_template_and_shows_log(cluster, tmp_path):
    command = [os.environ["UV_ARGO_TEST_ARGO"], "--kubeconfig", cluster.kubeconfig(tmp_path), "-n", cluster.namespace]
    command += ["submit", "--from", f"workflowtemplate/{template_manifests.PROCESSOR}", "--log"]
    completed = subprocess.run(
        [*command, "-p", "pythonCode=print(6 * 7)"], capture_output=True, text=True, check=False, timeout=120
    )
    assert "42" in completed.stdout, completed.stderr


def _begin(cell: str, settings: Settings) -> Run:
    backend = ArgoBackend()
    return start(prepare(RunSpec(cell=cell, settings=settings, backend="argo"), backend), backend=backend)


def _run_and_stop(settings: Settings) -> str:
    """Run a cell, stop another one, and return the name of its workflow."""
    run = _begin(CELL, settings)
    assert (run.wait(120).outcome, run.logs()) == ("Succeeded", "['file'] False\n")
    run = _begin("import time\nprint('on', flush=True)\ntime.sleep(300)", settings)
    _wait_until(lambda: "on" in run.logs(), 120)
    run.stop()
    assert run.wait(120).outcome == "Stopped"
    return run.name
