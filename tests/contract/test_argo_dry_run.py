"""`--dry-run` on a cluster: the manifest is printed, and the API is asked about it and creates nothing."""

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
from uv_argo_magic.engine.prepare import prepare

HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def server(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        yield server


@pytest.fixture
def described(server):
    def describe(kubeconfig: str = "", cell: str = "print(1)", **more: Any) -> str:
        settings = Settings(kubeconfig=kubeconfig or str(server.kubeconfig), images=((HERE, "none"),), **more)
        backend = ArgoBackend()
        return prepare(RunSpec(cell=cell, settings=settings, backend="argo"), backend).describe(backend)

    return describe


def test_the_manifest_is_printed_and_nothing_is_created(server, described):
    text = described(cell="print('{{workflow.name}}')")
    about, _, manifest = text.partition("\n\napiVersion:")
    assert about.endswith("print('{{workflow.name}}')")
    made = yaml.safe_load(f"apiVersion:{manifest}")
    assert made["kind"] == "Workflow"
    assert "characters of base64" in made["spec"]["templates"][0]["script"]["source"]
    assert "# test, namespace nb: the API would accept this Workflow" in manifest
    calls = [query for _, path, query in server.calls if not path.endswith("/configmaps/uv-argo-policy")]
    assert (calls, server.workflows) == (
        ["labelSelector=workflows.argoproj.io%2Fworkflow&limit=1", "fieldValidation=Strict&dryRun=All"],
        {},
    )


def test_a_cell_of_a_session_has_no_workflow_of_its_own(server):
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    backend = ArgoBackend()
    text = prepare(RunSpec(cell="print(1)", settings=settings, backend="argo", session="main"), backend).describe(
        backend
    )
    assert "\nsession   main, whose worker receives " in text
    assert text.endswith("print(1)")
    assert "kind: Workflow" not in text


@pytest.mark.parametrize(
    ("status", "message", "words"),
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
def test_a_refusal_is_said_in_words(server, described, status, message, words):
    server.fail("POST", status, message)
    last = described().rsplit("\n", 1)[-1]
    assert last.startswith("# The API rejects this Workflow: ")
    assert words in last


def test_without_a_cluster_the_manifest_is_printed_all_the_same(described, tmp_path):
    text = described(kubeconfig=str(tmp_path / "nowhere"))
    assert "kind: Workflow" in text
    assert text.rsplit("\n", 1)[-1].startswith("# The API was not checked: no cluster is configured")


def test_what_argo_does_not_know_is_not_sent(server, described, capsys):
    assert "pendingTimeout: 60s" in described(pending_timeout=60.0)
    server.fields = []
    assert "pendingTimeout" not in described(pending_timeout=60.0)
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),), pending_timeout=60.0)
    backend = ArgoBackend()
    spec = RunSpec(cell="print(1)", settings=settings, backend="argo")
    name = backend.submit(prepare(spec, backend).program, spec, "20260101-000000-abcdef").name
    assert "pendingTimeout" not in server.workflows[name].template
    assert "pending_timeout ignored" in capsys.readouterr().err


def test_a_patch_is_part_of_what_is_sent(described, tmp_path):
    (tmp_path / "patch.yaml").write_text("spec: {priority: 5, templates: [{name: cell, podSpecPatch: {priority: 1}}]}")
    text = described(patch=str(tmp_path / "patch.yaml"))
    assert "priority: 5" in text
    assert '"name": "wait"' in text
    assert '"priority": 1' in text


def test_the_containers_that_argo_adds_are_seen_once(server, described):
    pod = {"metadata": {"uid": "1", "labels": {LABEL: ""}}, "spec": {"containers": [{"name": "supervisor"}]}}
    server.changed("ADDED", pod)
    assert '"name": "supervisor"' in described()


def test_a_large_program_is_said_to_lie_beside_it(described):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    *_, beside, answer = described(cell=f"numbers = {numbers}").split("\n")
    assert re.fullmatch(r"# The program \([\d,]+ bytes\) is in a separate ConfigMap\.", beside)
    assert "would accept" in answer


def test_threads_import_hera_once_and_see_all_of_it():
    code = """
import threading, time
from uv_argo_magic.backends.argo.manifests.hera import hera
made = []
threads = [threading.Thread(target=lambda: made.append(hera()[0].Workflow)) for _ in range(60)]
for thread in threads:
    thread.start()
    time.sleep(0.03)  # while the first one imports it
for thread in threads: thread.join()
print(len(made))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "60\n", done.stderr
