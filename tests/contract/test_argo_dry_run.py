"""`--dry-run` on a cluster: the manifest is printed, and the API is asked about it and creates nothing."""

from __future__ import annotations

import sys

import pytest
import yaml
from argo_server import ArgoServer

from uv_argo_magic.backends.argo import ArgoBackend
from uv_argo_magic.core.spec import RunSpec, Settings
from uv_argo_magic.run import prepare

HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def server(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        yield server


@pytest.fixture
def described(server):
    def describe(kubeconfig: str = "", cell: str = "print(1)") -> str:
        settings = Settings(kubeconfig=kubeconfig or str(server.kubeconfig), images=((HERE, "none"),))
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
    assert ([query for _, _, query in server.calls], server.workflows) == (["dryRun=All"], {})


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (
            422,
            "workflows.argoproj.io is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "A rule of this cluster forbids it",
        ),
        (
            403,
            'User "u" cannot create resource "workflows" in API group "argoproj.io" in the namespace "nb"',
            "you may not create workflows in the namespace nb. Ask an administrator for a Role with this rule:",
        ),
        (403, 'workflows.argoproj.io "x" is forbidden: exceeded quota: q', "Ask for less with --resources"),
    ],
)
def test_a_refusal_is_said_in_words(server, described, status, message, words):
    server.fail("POST", status, message)
    last = described().rsplit("\n", 1)[-1]
    assert last.startswith("# The API refuses this Workflow: ")
    assert words in last


def test_without_a_cluster_the_manifest_is_printed_all_the_same(described, tmp_path):
    text = described(kubeconfig=str(tmp_path / "nowhere"))
    assert "kind: Workflow" in text
    assert text.rsplit("\n", 1)[-1].startswith("# The API was not asked: no cluster is configured here")
