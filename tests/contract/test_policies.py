"""What users can do with the Role in deploy/users.yaml, and what the example policies stop, on a real API server.

Each case is sent twice, as a user with the Role: to a namespace without policies, which accepts it, and to a namespace
with the policies, which rejects it. Most requests are dry runs: the API server checks them like any other.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from uv_argo_magic.backends.argo import session_list
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.manifests import template_manifests
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import Run, start

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
UNSEEN = "workflows.argoproj.io/controller-instanceid"
"""A label with which no controller takes a workflow."""
ARGO_LABEL = "workflows.argoproj.io/{}"


class Api:
    """The API server, as an administrator or with a token; `user`: as a user in the group notebook-users."""

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
        self.headers = {one["key"]: one["value"] for one in configuration.auth_settings().values() if one["value"]}
        self.headers |= {"authorization": f"Bearer {token}"} if token else {}

    def kubeconfig(self, folder: Path) -> str:
        """A kubeconfig with the token."""
        config = yaml.safe_load(Path(self.path).read_text())
        context = next(one for one in config["contexts"] if one["name"] == config["current-context"])
        config["users"] = [{"name": context["context"]["user"], "user": {"token": self.token}}]
        (folder / "kubeconfig").write_text(yaml.safe_dump(config))
        return str(folder / "kubeconfig")

    def request(self, method: str, path: str, body: Any = None, *, user: bool = False, patch: str = "merge") -> Any:
        """(status, object) of the answer."""
        kind = "application/json" if method != "PATCH" else PATCHES[patch]
        headers = {**self.headers, "Content-Type": kind, **(USER if user else {})}
        text = None if body is None else json.dumps(body)
        answer = self.pool.request(method, self.host + path, body=text, headers=headers, timeout=30.0)
        return answer.status, json.loads(answer.data)

    def create(self, namespace: str, document: dict, *, user: bool = False, dry_run: bool = False) -> tuple[int, dict]:
        path = PATHS[document["kind"]].format(namespace)
        return self.request("POST", path + ("?dryRun=All" if dry_run else ""), document, user=user)

    def apply(self, namespace: str, document: dict) -> dict:
        """Create it as an administrator."""
        status, created = self.create(namespace, document)
        assert status == 201, created
        return created

    def patch(self, namespace: str, name: str, body: Any, *, dry_run: bool = True, patch: str = "merge") -> Any:
        """A user's change of a workflow."""
        path = f"{PATHS['Workflow'].format(namespace)}/{name}"
        return self.request("PATCH", path + ("?dryRun=All" if dry_run else ""), body, user=True, patch=patch)


def documents(name: str) -> list[dict]:
    return [one for one in yaml.safe_load_all((DEPLOY / name).read_text()) if one]


def renamed(document: Any, old: str, new: str) -> Any:
    """The same with another namespace (and, of a policy, another name)."""
    return json.loads(json.dumps(document).replace(f'"{old}"', f'"{new}"'))


def policies(name: str, namespace: str) -> list[dict]:
    """An example's policies, for this namespace and with names of their own: they are not in a namespace."""
    made = [one for one in renamed(documents(name), NAMESPACE, namespace) if "Policy" in one["kind"]]
    for document in made:
        document["metadata"]["name"] += f"-{namespace}"
        if "policyName" in document["spec"]:
            document["spec"]["policyName"] += f"-{namespace}"
    return made


def reference(name: str = template_manifests.CELL, **parameters: str) -> dict:
    """A Workflow as this package sends it."""
    given = parameters or {template_manifests.PROGRAM: "H4sIAAAAAAAA"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "uv-argo-", "labels": {"uv-argo-magic/run": "r1"}},
        "spec": {
            "workflowTemplateRef": {"name": name},
            "arguments": {"parameters": [{"name": key, "value": value} for key, value in given.items()]},
        },
    }


def merged(base: dict, change: dict) -> dict:
    made = copy.deepcopy(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = merged(made[key], value) if both else value
    return made


@pytest.fixture(scope="module")
def api():
    return Api()


@pytest.fixture(scope="module")
def namespaces(api):
    """Two namespaces with the Role of users, the second with the example policies."""
    mark = uuid.uuid4().hex[:6]
    opened, closed = f"uv-argo-open-{mark}", f"uv-argo-closed-{mark}"
    examples = ("examples/only-templates.yaml", "examples/only-listed.yaml", "examples/sessions.yaml")
    rules = [rule for name in examples for rule in policies(name, closed)]
    sessions = [one for one in documents("examples/sessions.yaml") if one["kind"] in ("Role", "RoleBinding")]
    try:
        for namespace in (opened, closed):
            api.apply("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            for document in (
                *documents("users.yaml"),
                *documents("executor.yaml"),
                *documents("cell-template.yaml"),
                *sessions,
            ):
                api.apply(namespace, renamed(document, NAMESPACE, namespace))
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}
            api.apply(namespace, account)
            _wait(lambda at=namespace: api.create(at, pod(), dry_run=True)[0] == 201)
        for document in rules:
            api.apply("", document)
        _wait(lambda: api.create(closed, merged(reference(), {"spec": {"suspend": True}}), user=True)[0] == 422)
        _wait(lambda: api.create(closed, config_map({}, name="x"), user=True, dry_run=True)[0] == 422)
        _wait(lambda: api.create(closed, pod(serviceAccountName="deployer"), dry_run=True)[0] == 422)
        _wait(lambda: forward(api, closed, "database") == 422)
        for namespace in (opened, closed):
            api.apply(namespace, victim())
        _wait(lambda: api.patch(closed, "victim", {"spec": {"suspend": True}})[0] == 422)
        yield opened, closed
    finally:
        for document in reversed(rules):
            api.request("DELETE", f"{PATHS[document['kind']]}/{document['metadata']['name']}")
        for namespace in (opened, closed):
            api.request("DELETE", f"{PATHS['Namespace']}/{namespace}")


def forward(api: Api, namespace: str, pod: str, query: str = "?ports=8471", **headers: str) -> int:
    """The status with which a user's port-forward to a pod that does not exist is answered: 404 if it is allowed."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
    }  # fmt: skip
    path = f"{PATHS['Pod'].format(namespace)}/{pod}/portforward{query}"
    answer = api.pool.request(
        "GET", api.host + path, headers={**api.headers, **upgrade, **USER, **headers}, timeout=30.0
    )
    return answer.status


def _wait(condition, seconds: float = 60.0) -> None:
    """Until it is true: a policy, for one, takes effect some seconds after it was created."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.25)


def refused(answer: tuple[int, dict], words: str) -> None:
    status, body = answer
    assert status == 422, body
    assert words in body["message"]


# What a user can write into a new Workflow.

CREATED = {
    "status": (
        {"status": {"storedWorkflowTemplateSpec": {"templates": [{"name": "cell"}]}}},
        "only the controller can set the status",
    ),
    "templates of others": (
        {"status": {"storedTemplates": {"namespaced/other/cell": {"name": "cell", "suspend": {}}}}},
        "only the controller can set the status",
    ),
    "a start": ({"status": {"startedAt": "2026-01-01T00:00:00Z"}}, "only the controller can set the status"),
    "templates": ({"spec": {"entrypoint": "a", "templates": [{"name": "a", "suspend": {}}]}}, "templates"),
    "another template": ({"spec": {"workflowTemplateRef": {"name": "other"}}}, "must refer to one of these"),
    "a cluster's template": ({"spec": {"workflowTemplateRef": {"clusterScope": True}}}, "must refer to one of these"),
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
    "a parameter from a ConfigMap": (
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
    "a long deadline": ({"spec": {"activeDeadlineSeconds": 999999}}, "activeDeadlineSeconds must be at most 86400"),
    "another controller": ({"metadata": {"labels": {UNSEEN: "other"}}}, f"not allowed in a workflow: {UNSEEN}"),
    "completed": ({"metadata": {"labels": {ARGO_LABEL.format("completed"): "true"}}}, "completed"),
    "of a cron workflow": ({"metadata": {"labels": {ARGO_LABEL.format("cron-workflow"): "x"}}}, "cron-workflow"),
    "annotations of Argo": ({"metadata": {"annotations": {ARGO_LABEL.format("pod-name-format"): "v1"}}}, "pod-name-f"),
    "finalizers": ({"metadata": {"finalizers": ["example.com/never"]}}, "cannot have finalizers or owners"),
    "owners": (
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]}},
        "cannot have finalizers or owners",
    ),
}


@pytest.mark.parametrize("case", CREATED)
def test_a_new_workflow_is_a_template_and_its_parameters(api, namespaces, case):
    opened, closed = namespaces
    change, words = CREATED[case]
    made = merged(reference(), change)
    assert api.create(opened, made, user=True, dry_run=True)[0] == 201
    refused(api.create(closed, made, user=True, dry_run=True), words)


@pytest.mark.parametrize("value", ["{{=sprig.repeat(9, 'x')}}", "{{workflow.uid}}", "x {{ inputs.parameters.a}}=1}}"])
@pytest.mark.parametrize("name", [template_manifests.CELL, template_manifests.PROCESSOR])
def test_the_controller_evaluates_nothing_of_a_user(api, namespaces, name, value):
    opened, closed = namespaces
    parameter = template_manifests.PROGRAM if name == template_manifests.CELL else "pythonCode"
    made = reference(name, **{parameter: value})
    assert api.create(opened, made, user=True, dry_run=True)[0] == 201
    refused(api.create(closed, made, user=True, dry_run=True), "variables or expressions of Argo")


@pytest.mark.parametrize(
    "made",
    [
        reference(),
        reference(largeProgram="true"),
        reference("python-processor-with-deps", pythonCode="print(f'{{x}} {1}', {'a': {}})", dependencies="six"),
        merged(reference(), {"spec": {"activeDeadlineSeconds": 60, "ttlStrategy": {"secondsAfterCompletion": 5}}}),
        merged(reference(), {"spec": {"podGC": {"strategy": "OnWorkflowSuccess", "deleteDelayDuration": "600s"}}}),
        merged(reference(), {"metadata": {"labels": {"team": "blue"}, "annotations": {"uv-argo-magic/nonce": "n"}}}),
        # As `argo submit --from` and an Argo Server send it.
        merged(reference(), {"status": {"storedTemplates": {"namespaced/uv-argo-cell/cell": {"name": "cell"}}}}),
        merged(reference(), {"metadata": {"labels": {ARGO_LABEL.format("workflow-template"): "uv-argo-cell"}}}),
        merged(reference(), {"metadata": {"labels": {ARGO_LABEL.format("creator"): "ana"}}}),
    ],
)
def test_a_run_by_a_template_is_admitted(api, namespaces, made):
    for namespace in namespaces:
        status, answer = api.create(namespace, made, user=True, dry_run=True)
        assert status == 201, answer


# What a user can change of the run of another.


def victim() -> dict:
    return merged(
        reference(),
        {
            "metadata": {"name": "victim", "labels": {UNSEEN: "none"}, "annotations": {"uv-argo-magic/nonce": "n"}},
            "status": {"phase": "Running", "message": "by the controller"},
        },
    )


DEAD = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "11111111-2222-3333-4444-555555555555"}
CHANGED = {
    "a label": ({"metadata": {"labels": {"a": "b"}}}, "label a"),
    "completed": ({"metadata": {"labels": {ARGO_LABEL.format("completed"): "true"}}}, "completed"),
    "another controller": ({"metadata": {"labels": {UNSEEN: "x"}}}, f"label {UNSEEN}"),
    "a label less": ({"metadata": {"labels": {"uv-argo-magic/run": None}}}, "label uv-argo-magic/run"),
    "no labels": ({"metadata": {"labels": None}}, "label uv-argo-magic/run"),
    "an annotation": (
        {"metadata": {"annotations": {"uv-argo-magic/nonce": "other"}}},
        "annotation uv-argo-magic/nonce",
    ),
    "an annotation more": ({"metadata": {"annotations": {ARGO_LABEL.format("x"): "y"}}}, "annotation workflows.argo"),
    "an annotation less": ({"metadata": {"annotations": None}}, "annotation uv-argo-magic/nonce"),
    "owners": ({"metadata": {"ownerReferences": [DEAD]}}, "metadata.ownerReferences"),
    "finalizers": ({"metadata": {"finalizers": ["example.com/never"]}}, "metadata.finalizers"),
    "a deadline": ({"spec": {"activeDeadlineSeconds": 1}}, "spec.activeDeadlineSeconds"),
    "suspended": ({"spec": {"suspend": True}}, "spec.suspend"),
    "a pod patch": ({"spec": {"podSpecPatch": "{}"}}, "spec.podSpecPatch"),
    "parameters": ({"spec": {"arguments": {"parameters": []}}}, "spec.arguments"),
    "another template": ({"spec": {"workflowTemplateRef": {"name": "other"}}}, "spec.workflowTemplateRef"),
    "no template": ({"spec": {"workflowTemplateRef": None}}, "spec.workflowTemplateRef"),
    "deleted after its end": ({"spec": {"ttlStrategy": {"secondsAfterCompletion": 0}}}, "spec.ttlStrategy"),
    "its status": ({"status": {"phase": "Failed"}}, "status"),
    "no status": ({"status": None}, "status"),
    "stopped and relabelled": ({"metadata": {"labels": {"a": "b"}}, "spec": {"shutdown": "Stop"}}, "label a"),
    "an actor without a stop": ({"metadata": {"labels": {ARGO_LABEL.format("actor"): "x"}}}, "can only be set to Stop"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_run_can_only_be_stopped(api, namespaces, case):
    opened, closed = namespaces
    change, words = CHANGED[case]
    status, answer = api.patch(opened, "victim", change)
    assert status == 200, answer
    refused(api.patch(closed, "victim", change), words)


def test_server_side_apply_is_a_change_too(api, namespaces):
    opened, closed = namespaces
    made = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"labels": {"a": "b"}}, "spec": {}}

    def applied(namespace: str) -> tuple[int, dict]:
        path = f"{PATHS['Workflow'].format(namespace)}/victim?fieldManager=x&force=true&dryRun=All"
        return api.request("PATCH", path, made, user=True, patch="apply")

    status, answer = applied(opened)
    assert status == 200, answer
    refused(applied(closed), "label a")


def test_any_run_can_be_stopped(api, namespaces):
    for namespace in namespaces:
        path = PATHS["Workflow"].format(namespace)
        api.apply(namespace, merged(victim(), {"metadata": {"name": "stopped"}}))
        labels = {ARGO_LABEL.format("actor"): "ana", ARGO_LABEL.format("action"): "Stop"}
        status, answer = api.patch(namespace, "stopped", {"metadata": {"labels": labels}, "spec": {"shutdown": "Stop"}})
        assert status == 200, answer
        for strategy in ("Stop", "Terminate"):
            status, answer = api.patch(namespace, "stopped", {"spec": {"shutdown": strategy}}, dry_run=False)
            assert status == 200, answer
        assert api.request("GET", f"{path}/stopped", user=True)[1]["spec"]["shutdown"] == "Terminate"
    opened, closed = namespaces
    for change, words in (({"spec": {"shutdown": None}}, "spec.shutdown"), ({"spec": {"shutdown": "x"}}, "to Stop or")):
        assert api.patch(opened, "stopped", change)[0] == 200
        refused(api.patch(closed, "stopped", change), words)


def test_the_last_use_of_a_session_can_be_noted(api, namespaces):
    for namespace in namespaces:
        notes = session_list.used(1767225600, is_running=True)
        for change in (notes, session_list.used(1767225900, is_running=False)):
            status, answer = api.patch(namespace, "victim", {"metadata": {"annotations": change}})
            assert status == 200, answer


def test_an_owner_that_does_not_exist_deletes_a_run(api, namespaces):
    opened, closed = namespaces
    change = {"metadata": {"ownerReferences": [DEAD]}}
    for namespace in namespaces:
        api.apply(namespace, merged(victim(), {"metadata": {"name": "owned"}}))
    assert api.patch(opened, "owned", change, dry_run=False)[0] == 200
    refused(api.patch(closed, "owned", change, dry_run=False), "metadata.ownerReferences")
    _wait(lambda: api.request("GET", f"{PATHS['Workflow'].format(opened)}/owned")[0] == 404)
    assert api.request("GET", f"{PATHS['Workflow'].format(closed)}/owned")[0] == 200


def test_a_user_deletes_and_reads_nothing_else(api, namespaces):
    for namespace in namespaces:
        for method, path in (
            ("DELETE", f"{PATHS['Workflow'].format(namespace)}/victim"),
            ("GET", PATHS["ConfigMap"].format(namespace)),
            ("GET", f"{PATHS['ConfigMap'].format(namespace)}/uv-argo-no-program"),
            ("GET", PATHS["Secret"].format(namespace)),
            ("POST", PATHS["Pod"].format(namespace)),
            ("POST", PATHS["WorkflowTemplate"].format(namespace)),
        ):
            assert api.request(method, path, {} if method == "POST" else None, user=True)[0] == 403, (method, path)


# What a user can write into a ConfigMap.


def config_map(change: dict, name: str = "uv-argo-program-uv-argo-x") -> dict:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "uv-argo-x", "uid": "1"}
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"uv-argo-magic/run": "r1"}, "ownerReferences": [owner]},
        "data": {"program.py": "print(1)"},
    }
    return merged(made, change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metadata": {"name": "artifact-repositories"}}, "must start with uv-argo-program-"),
        ({"metadata": {"labels": {ARGO_LABEL.format("configmap-type"): "Parameter"}}}, "labels or annotations of Argo"),
        ({"metadata": {"annotations": {ARGO_LABEL.format("x"): "y"}}}, "labels or annotations of Argo"),
        ({"metadata": {"finalizers": ["example.com/never"]}}, "finalizers"),
        ({"metadata": {"ownerReferences": [DEAD]}}, "owners other than workflows"),
        ({"data": {"other": "x"}}, "can only contain program.py"),
        ({"binaryData": {"a": "AA=="}}, "can only contain program.py"),
    ],
)
def test_a_config_map_is_a_program(api, namespaces, change, words):
    opened, closed = namespaces
    assert api.create(opened, config_map(change), user=True, dry_run=True)[0] == 201
    refused(api.create(closed, config_map(change), user=True, dry_run=True), words)
    assert api.create(closed, config_map({}), user=True, dry_run=True)[0] == 201


# What the pod of an arbitrary Workflow can use; the controller creates it.


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
PODS = {
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


@pytest.mark.parametrize("case", PODS)
def test_a_pod_uses_only_what_is_listed(api, namespaces, case):
    opened, closed = namespaces
    made, words = PODS[case]
    status, answer = api.create(opened, made, dry_run=True)
    assert status == 201, answer
    refused(api.create(closed, made, dry_run=True), words)


def test_a_pod_of_a_cell_is_admitted(api, namespaces):
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


# Port-forwards, by which sessions are reached.


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
def test_users_forward_one_port_of_the_pods_of_sessions_only(api, namespaces, pod, query):
    opened, closed = namespaces
    assert forward(api, opened, pod, query) != 422
    assert forward(api, closed, pod, query) == 422


def test_a_session_can_be_reached_and_not_without_the_role(api, namespaces):
    _, closed = namespaces
    assert forward(api, closed, "uv-argo-abc12") == 404
    stranger = {"Impersonate-User": "stranger", "Impersonate-Group": "strangers"}
    assert forward(api, closed, "uv-argo-abc12", **stranger) == 403


# Real runs, by a service account with the Role of users, in the namespace of the kubeconfig.


@pytest.fixture(scope="module")
def cluster(api):
    """The folder deploy/ and its policies in the namespace of the kubeconfig, for one service account; its token."""
    if "UV_ARGO_TEST_IMAGE" not in os.environ:
        pytest.skip("needs an image for cells: set UV_ARGO_TEST_IMAGE")
    python, _, image = os.environ["UV_ARGO_TEST_IMAGE"].partition("=")
    namespace, name = api.namespace, f"uv-argo-test-{uuid.uuid4().hex[:6]}"
    user = f"request.userInfo.username == 'system:serviceaccount:{namespace}:{name}'"
    made = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}]
    for file in ("executor.yaml", "cell-template.yaml", "python-processor-with-deps.yaml"):
        made += renamed(documents(file), NAMESPACE, namespace)
    role, binding = documents("users.yaml")
    role["metadata"]["name"] = binding["metadata"]["name"] = binding["roleRef"]["name"] = name
    binding["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    made += [role, binding, {**config_map({}, name="private"), "data": {"program.py": "print('private')"}}]
    del made[-1]["metadata"]["ownerReferences"]
    for document in policies("examples/only-templates.yaml", namespace):
        text = json.dumps(document).replace("'notebook-users' in request.userInfo.groups", user)
        made.append(json.loads(text))
    for document in made:
        if document["kind"] == "WorkflowTemplate":
            document["metadata"].setdefault("annotations", {})[template_manifests.PYTHON_NOTE] = python
            document["spec"]["templates"][0]["script"]["image"] = image
    made.append(_readable(next(one for one in made if one["metadata"]["name"] == template_manifests.CELL)))
    paths = [f"{PATHS[document['kind']].format(namespace)}/{document['metadata']['name']}" for document in made]
    try:
        for document, path in zip(made, paths, strict=True):
            api.request("DELETE", path)
            _wait(lambda path=path: api.request("GET", path)[0] == 404)
            api.apply(namespace, document)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"{PATHS['ServiceAccount'].format(namespace)}/{name}/token"
        token = api.request("POST", path, request)[1]["status"]["token"]
        server = Api(token)
        _wait(
            lambda: server.create(namespace, merged(reference(), {"spec": {"suspend": True}}), dry_run=True)[0] == 422
        )
        yield server
    finally:
        for path in reversed(paths):
            api.request("DELETE", path)


def _readable(template: dict) -> dict:
    """The template with a parameter for the name of the ConfigMap, and a token for cells."""
    made = copy.deepcopy(template)
    made["metadata"]["name"] = "readable"
    del made["spec"]["automountServiceAccountToken"], made["spec"]["executor"]
    made["spec"]["templates"][0]["volumes"][-1]["configMap"]["name"] = "{{workflow.parameters.largeProgram}}"
    return made


def _pod_of(api: Api, name: str) -> dict:
    path = f"{PATHS['Pod'].format(api.namespace)}/{name}"
    _wait(lambda: api.request("GET", path)[0] == 200)
    return api.request("GET", path)[1]


def test_a_template_mounts_the_config_map_of_its_own_run_only(api, cluster):
    mounted, tokens = {}, {}
    for template, by in (("readable", api), (template_manifests.CELL, cluster)):
        status, created = by.create(api.namespace, reference(template, largeProgram="private", program="H4s"))
        assert status == 201, created
        name = created["metadata"]["name"]
        pod = _pod_of(api, name)
        mounted[template] = [one["configMap"]["name"] for one in pod["spec"]["volumes"] if "configMap" in one]
        (main,) = (one for one in pod["spec"]["containers"] if one["name"] == "main")
        tokens[template] = [one for one in main["volumeMounts"] if one["mountPath"].endswith("/serviceaccount")]
        api.request("DELETE", f"{PATHS['Workflow'].format(api.namespace)}/{name}")
    assert mounted == {"readable": ["private"], template_manifests.CELL: [template_manifests.NO_PROGRAM]}
    assert tokens["readable"]
    assert not tokens[template_manifests.CELL]


CELL = """
import os, pathlib
pathlib.Path("file").write_text("x")
print(os.listdir(), os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"))
"""
"""It prints what its working folder holds, and whether it has a token."""
LARGE = f"numbers = {[i * 7919 % 1_000_003 for i in range(30_000)]}\nprint(len(numbers))"


def test_cells_run_and_stop_by_the_template(cluster, home, tmp_path):
    settings = Settings(kubeconfig=cluster.kubeconfig(tmp_path), template=template_manifests.CELL)
    _run_and_stop(settings)
    run = _begin(LARGE, settings)
    assert (run.wait(120).outcome, run.logs()) == ("Succeeded", "30000\n")


@pytest.mark.skipif("UV_ARGO_TEST_SERVER" not in os.environ, reason="needs an Argo Server: set UV_ARGO_TEST_SERVER")
def test_cells_run_and_stop_through_an_argo_server(cluster, home, monkeypatch):
    monkeypatch.setenv("ARGO_TOKEN", cluster.token)
    monkeypatch.setenv("ARGO_INSECURE_SKIP_VERIFY", "true")
    server = os.environ["UV_ARGO_TEST_SERVER"]
    settings = Settings(server=server, namespace=cluster.namespace, template=template_manifests.CELL)
    name = _run_and_stop(settings)
    # The server notes who stopped it, as the policy allows.
    _, workflow = cluster.request("GET", f"{PATHS['Workflow'].format(cluster.namespace)}/{name}")
    assert workflow["metadata"]["labels"][ARGO_LABEL.format("action")] == "Stop"


@pytest.mark.skipif("UV_ARGO_TEST_ARGO" not in os.environ, reason="needs Argo's command: set UV_ARGO_TEST_ARGO")
def test_argos_own_command_submits_and_shows_the_log(cluster, tmp_path):
    command = [os.environ["UV_ARGO_TEST_ARGO"], "--kubeconfig", cluster.kubeconfig(tmp_path), "-n", cluster.namespace]
    command += ["submit", "--from", f"workflowtemplate/{template_manifests.PROCESSOR}", "--log"]
    done = subprocess.run(
        [*command, "-p", "pythonCode=print(6 * 7)"], capture_output=True, text=True, check=False, timeout=120
    )
    assert "42" in done.stdout, done.stderr


def _begin(cell: str, settings: Settings) -> Run:
    backend = ArgoBackend()
    return start(prepare(RunSpec(cell=cell, settings=settings, backend="argo"), backend), backend=backend)


def _run_and_stop(settings: Settings) -> str:
    """Run a cell, and stop another; the name of its workflow."""
    run = _begin(CELL, settings)
    assert (run.wait(120).outcome, run.logs()) == ("Succeeded", "['file'] False\n")
    run = _begin("import time\nprint('on', flush=True)\ntime.sleep(300)", settings)
    _wait(lambda: "on" in run.logs(), 120)
    run.stop()
    assert run.wait(120).outcome == "Stopped"
    return run.name
