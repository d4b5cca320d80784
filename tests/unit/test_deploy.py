"""deploy/ and containers/: the manifests for administrators match the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from uv_argo_magic.backends.argo import role
from uv_argo_magic.backends.argo.manifests import template_manifests, workflow
from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.core.commands.run_options import run_options
from uv_argo_magic.core.commands.table import read_argv
from uv_argo_magic.core.spec.run_spec import Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "administrators.md").read_text()
RESOURCES = [*yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]]


def documents(name: str) -> list[dict]:
    return [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document]


def rules(name: str) -> set[tuple[str, str, tuple[str, ...]]]:
    (role,) = (document for document in documents(name) if document["kind"] == "Role")
    return {
        (group, resource, tuple(rule["verbs"]))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_role_of_users_has_the_rights_of_the_client():
    allowed = {(group, resource, verb) for group, resource, verbs in rules("users.yaml") for verb in verbs}
    assert allowed == {
        (group, resource, verb) for group, resource, verbs, _ in (*role.ROLE, *role.SERVER_ROLE) for verb in verbs
    }


def test_executor_can_only_report_results():
    assert rules("executor.yaml") == {("argoproj.io", "workflowtaskresults", ("create", "patch"))}
    (binding,) = (document for document in documents("executor.yaml") if document["kind"] == "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == [template_manifests.EXECUTOR, "default"]
    (secret,) = (document for document in documents("executor.yaml") if document["kind"] == "Secret")
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == template_manifests.EXECUTOR


def test_every_file_is_listed_and_documented():
    files = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*.yaml")} - {"kustomization.yaml"}
    assert set(RESOURCES) == {name for name in files if not name.startswith("examples/")}
    assert [name for name in files if name not in PAGE] == []
    namespaces = {
        document["metadata"]["namespace"]
        for name in RESOURCES
        for document in documents(name)
        if "namespace" in document["metadata"]
    }
    # The overlay sets the namespace of all manifests.
    assert namespaces == set()


def test_warm_example_uses_the_claim_of_the_example():
    (*_, cron), (claim,) = documents("examples/warm.yaml"), documents("examples/claim.yaml")
    container = cron["spec"]["workflowSpec"]["templates"][0]["container"]
    line = read_argv([*container["command"][1:], *container["args"]])
    assert (line.command, line.arguments) == ("env", ("warm",))
    options = run_options(line)
    assert (options.backend, options.deps) == ("argo", "numpy pandas")
    assert dict(options.sets) == {"store": f"claim/{claim['metadata']['name']}"}


def test_documented_objects_exist():
    (semaphore,) = documents("semaphore.yaml")
    assert set(semaphore["data"]) == {"cells"}
    assert f"{semaphore['metadata']['name']}/cells" in PAGE
    (claim,) = documents("examples/claim.yaml")
    assert f"store=claim/{claim['metadata']['name']}" in PAGE


def test_admission_policies_allow_our_workflows():
    policy = documents("examples/only-templates.yaml")[0]["spec"]
    values = {document["name"]: document["expression"] for document in policy["variables"]}
    allowed = set(re.findall(r"'(\w+)'", values["allowed"]))
    assert allowed == {"workflowTemplateRef", "arguments", "activeDeadlineSeconds", "ttlStrategy", "podGC"}
    assert set(re.findall(r"'([\w-]+)'", values["templates"])) == {
        template_manifests.CELL,
        template_manifests.PROCESSOR,
    }
    assert values["maxSeconds"] == f"{Settings().deadline:.0f}"
    listed = documents("examples/only-listed.yaml")[0]["spec"]
    values = {document["name"]: document["expression"] for document in listed["variables"]}
    assert f"'{template_manifests.EXECUTOR}.service-account-token'" in values["secrets"]
    assert f"'{template_manifests.NO_PROGRAM}'" in values["configMaps"]
    assert f"startsWith('{workflow.config_map_name('')}')" in values["otherConfigMaps"]


@pytest.mark.parametrize("pattern", [r"^ARG PYTHON=([\d.]+)$", r"^FROM docker\.io/library/python:\$\{PYTHON\}-slim"])
def test_containerfile_pins_versions_and_is_not_root(pattern):
    text = (ROOT / "containers" / "Containerfile").read_text()
    match = re.search(pattern, text, re.MULTILINE)
    assert match
    assert all(version in images.IMAGES for version in match.groups())
    assert re.search(r"^ARG UV=\d+\.\d+\.\d+$", text, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
