"""`--dry-run` on a cluster: prints the manifest and checks it with a dry run of the API."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from support.argo_server import LABEL, ArgoServer

from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare

HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def server(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        yield server


@pytest.fixture
def describe(server):
    def describe(kubeconfig: str = "", cell: str = "print(1)", **settings: Any) -> str:
        backend = ArgoBackend()
        kubeconfig = kubeconfig or str(server.kubeconfig)
        spec = RunSpec(
            cell=cell,
            settings=Settings(kubeconfig=kubeconfig, images=((HERE, "none"),), **settings),
            backend="argo",
        )
        return prepare(spec, backend, dry_run=True).describe(backend)

    return describe


def test_manifest_is_printed_and_not_created(server, describe):
    text = describe(cell="print('{{workflow.name}}')")
    summary, _, manifest = text.partition("\n\napiVersion:")
    assert summary.endswith("print('{{workflow.name}}')")
    workflow = yaml.safe_load(f"apiVersion:{manifest}")
    assert workflow["kind"] == "Workflow"
    assert "characters of base64" in workflow["spec"]["templates"][0]["script"]["source"]
    assert "# test, namespace nb: the API would accept this Workflow" in manifest
    calls = [query for _, path, query in server.calls if not path.endswith("/configmaps/uv-argo-policy")]
    assert (calls, server.workflows) == (
        ["labelSelector=workflows.argoproj.io%2Fworkflow&limit=1", "fieldValidation=Strict&dryRun=All"],
        {},
    )


def test_session_cell_prints_no_workflow(server):
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    backend = ArgoBackend()
    text = prepare(RunSpec(cell="print(1)", settings=settings, backend="argo", session="main"), backend).describe(
        backend
    )
    assert "\nsession   main, whose worker receives " in text
    assert text.endswith("print(1)")
    assert "kind: Workflow" not in text


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (
            422,
            "workflows.argoproj.io is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "Change the setting that the cluster's policy names",
        ),
        (
            403,
            'User "u" cannot create resource "workflows" in API group "argoproj.io" in the namespace "nb"',
            "you cannot create workflows in the namespace nb. Ask your administrator for a Role with this rule:",
        ),
        (403, 'workflows.argoproj.io "x" is forbidden: exceeded quota: q', "Request less with --resources"),
        (
            400,
            'strict decoding error: unknown field "spec.priorty", unknown field "spec.templates[0].x"',
            "unknown fields at test, namespace nb: spec.priorty, spec.templates[0].x. Remove them from the patch",
        ),
    ],
)
def test_rejected_manifest_is_explained(server, describe, status, message, expected):
    server.fail("POST", status, message)
    last = describe().rsplit("\n", 1)[-1]
    assert last.startswith("# The API would reject this Workflow: ")
    assert expected in last


def test_manifest_is_printed_without_a_cluster(describe, tmp_path):
    text = describe(kubeconfig=str(tmp_path / "nowhere"))
    assert "kind: Workflow" in text
    assert text.rsplit("\n", 1)[-1].startswith("# Not validated by the API: no cluster is configured")


def test_unsupported_field_is_not_sent(server, describe, capsys):
    assert "pendingTimeout: 60s" in describe(pending_timeout=60.0)
    server.fields = []
    assert "pendingTimeout" not in describe(pending_timeout=60.0)
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),), pending_timeout=60.0)
    backend = ArgoBackend()
    spec = RunSpec(cell="print(1)", settings=settings, backend="argo")
    name = backend.submit(prepare(spec, backend).program, spec, "20260101-000000-abcdef").name
    assert "pendingTimeout" not in server.workflows[name].template
    assert "pending_timeout ignored" in capsys.readouterr().err


def test_manifest_contains_patch(describe, tmp_path):
    (tmp_path / "patch.yaml").write_text("spec: {priority: 5, templates: [{name: cell, podSpecPatch: {priority: 1}}]}")
    text = describe(patch=str(tmp_path / "patch.yaml"))
    assert "priority: 5" in text
    assert '"name": "wait"' in text
    assert '"priority": 1' in text


def test_containers_added_by_argo_are_patched(server, describe):
    pod = {"metadata": {"uid": "1", "labels": {LABEL: ""}}, "spec": {"containers": [{"name": "supervisor"}]}}
    server.changed("ADDED", pod)
    assert '"name": "supervisor"' in describe()


def test_large_program_is_in_separate_config_map(describe):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    *_, note, answer = describe(cell=f"numbers = {numbers}").split("\n")
    assert re.fullmatch(r"# The program \([\d,]+ bytes\) is in a separate ConfigMap\.", note)
    assert "would accept" in answer


def test_threads_can_import_hera_concurrently():
    code = """
import threading, time
from uv_argo_magic.backends.argo.manifests.hera import hera
classes = []
threads = [threading.Thread(target=lambda: classes.append(hera()[0].Workflow)) for _ in range(60)]
for thread in threads:
    thread.start()
    time.sleep(0.03)  # while the first thread imports hera
for thread in threads: thread.join()
print(len(classes))
"""
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "60\n", completed.stderr
