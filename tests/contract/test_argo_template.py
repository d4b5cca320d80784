"""Runs from a WorkflowTemplate: the Workflow contains only a reference to it and arguments."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from support.argo_server import ArgoServer

from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.manifests import template, template_manifests
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings
from uv_argo_magic.core.spec.settings_parser import FIELDS
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import BackendUnavailable, SpecError, SubmitRejected

HERE = ".".join(map(str, sys.version_info[:3]))
ALLOWED = {"workflowTemplateRef", "arguments", "activeDeadlineSeconds", "ttlStrategy", "podGC"}
"""The fields that this package sets and that Argo's `templateReferencing: Secure` allows."""
DENIED = (
    'workflowtemplates.argoproj.io "cell" is forbidden: User "u" cannot get resource "workflowtemplates" in API group '
    '"argoproj.io" in the namespace "nb"'
)


@pytest.fixture
def server(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        manifest = template_manifests.cell()
        manifest["metadata"]["annotations"][template_manifests.PYTHON_NOTE] = HERE
        server.templates["cell"] = manifest
        yield server


@pytest.fixture
def make_spec(server):
    def make_spec(cell="print('hi')", python="", resources=None, **settings):
        run_settings = Settings(kubeconfig=str(server.kubeconfig), **{"template": "cell", **settings})
        return RunSpec(
            cell=cell, python=python, settings=run_settings, backend="argo", resources=resources or Resources()
        )

    return make_spec


def begin(spec):
    backend = ArgoBackend()
    return start(prepare(spec, backend), backend=backend)


def test_cell_runs_from_template(server, make_spec):
    run = begin(make_spec("print('{{workflow.name}}')"))
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "{{workflow.name}}\n")
    (workflow,) = server.workflows.values()
    assert set(workflow.manifest["spec"]) == {"workflowTemplateRef", "arguments"}
    assert [parameter["name"] for parameter in workflow.manifest["spec"]["arguments"]["parameters"]] == ["program"]
    assert workflow.manifest["metadata"]["annotations"]["uv-argo-magic/nonce"]
    run._is_read.wait(60)


def test_large_program_is_in_config_map(server, make_spec):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    run = begin(make_spec(f"numbers = {numbers}\nprint(sum(numbers))"))
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", f"{sum(numbers)}\n")
    (workflow,) = server.workflows.values()
    assert workflow.manifest["spec"]["arguments"]["parameters"] == [{"name": "largeProgram", "value": "true"}]
    config_map = server.config_maps[f"uv-argo-program-{workflow.name}"]
    assert config_map["metadata"]["ownerReferences"][0]["name"] == workflow.name
    run._is_read.wait(60)
    server.templates["cell"]["spec"]["arguments"]["parameters"].pop()
    with pytest.raises(SpecError, match="has no parameter largeProgram for larger ones"):
        begin(make_spec(f"numbers = {numbers}"))


def test_existing_config_map_terminates_run(server, make_spec):
    server.fail("configmaps?", 409, 'configmaps "uv-argo-program-x" already exists')
    with pytest.raises(SubmitRejected, match="already exists"):
        begin(make_spec(f"numbers = {[i * 7919 % 1_000_003 for i in range(30_000)]}"))
    (workflow,) = server.workflows.values()
    assert workflow.manifest["spec"]["shutdown"] == "Terminate"


def test_only_user_settings_override_the_template(make_spec):
    spec = make_spec(deadline=60.5, ttl=5.0, pod_gc="OnWorkflowSuccess", labels=(("team", "blue"),))
    info = template.TemplateInfo(name="cell", parameters=frozenset({"program"}))
    workflow = template.build(info, prepare(spec, ArgoBackend()).program, spec, run_id="r1")
    assert set(workflow["spec"]) == ALLOWED
    assert (workflow["spec"]["activeDeadlineSeconds"], workflow["spec"]["podGC"]["deleteDelayDuration"]) == (61, "600s")
    assert workflow["metadata"]["labels"]["team"] == "blue"


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("fields", "rejected"),
    [
        ({"resources": Resources(memory="2Gi", cpu="1")}, "cpu, memory"),
        ({"image": "example.com/other:1", "python": HERE}, "image"),
        ({"service_account": "x", "volumes": (("/data", "claim/x"),)}, "service_account, volumes"),
        ({"secret_env": (("A", "s/k"),)}, "secret_env"),
    ],
)
def test_settings_without_template_parameter_are_refused(server, make_spec, fields, rejected):
    with pytest.raises(SpecError, match=f"does not let you set {rejected}: its only parameter is the program"):
        begin(make_spec(**fields))
    assert all(method == "GET" for method, _, _ in server.calls)
    server.templates["cell"]["spec"]["arguments"]["parameters"] += [
        {"name": name, "value": "x"} for name in rejected.split(", ")
    ]
    run = begin(make_spec(**fields))
    assert run.wait(60).outcome == "Succeeded"
    (workflow,) = server.workflows.values()
    parameters = workflow.manifest["spec"]["arguments"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {"program", *rejected.split(", ")}
    run._is_read.wait(60)


@pytest.mark.parametrize(
    ("settings", "rejected"), [({"image": "example.com/x:1"}, "image"), ({"base": "own"}, "base"),
                            ({"base": "example.com/x:1", "image": "example.com/x:1"}, "base")],
)  # fmt: skip
def test_image_without_template_parameter_is_not_inspected(server, make_spec, settings, rejected):
    with pytest.raises(SpecError, match=f"does not let you set {rejected}: its only parameter is the program"):
        begin(make_spec(**settings))
    assert all(method == "GET" for method, _, _ in server.calls)
    server.templates["cell"]["spec"]["arguments"]["parameters"].append({"name": "image", "value": "x"})
    if "image" in settings:
        assert ArgoBackend().image(make_spec(**settings)) == "example.com/x:1"


def test_unreadable_template_accepts_only_the_program(server, make_spec):
    server.fail("workflowtemplates", 403, DENIED, times=100)
    with pytest.raises(SpecError, match="unknown Python version in the template cell") as caught:
        begin(make_spec())
    assert "--python X.Y.Z" in caught.value.hint
    with pytest.raises(SpecError, match="you cannot read the template"):
        begin(make_spec(python=HERE, resources=Resources(memory="2Gi")))
    run = begin(make_spec(python=HERE))
    assert run.wait(60).outcome == "Succeeded"
    run._is_read.wait(60)


def test_unsuitable_templates_are_refused(server, make_spec):
    with pytest.raises(SpecError, match="WorkflowTemplate nope not found at test, namespace nb"):
        begin(make_spec(template="nope"))
    with pytest.raises(SpecError, match=f"has Python {HERE}, not 3.8"):
        begin(make_spec(python="3.8"))
    server.templates["cell"]["spec"]["arguments"] = {}
    with pytest.raises(SpecError, match="cannot run cells"):
        begin(make_spec())
    server.fail("workflowtemplates", 503)
    with pytest.raises(BackendUnavailable):
        begin(make_spec())


def test_platform_defaults_to_that_of_the_template(server, make_spec):
    server.templates["cell"]["metadata"]["annotations"][template_manifests.PLATFORM_NOTE] = "aarch64-manylinux_2_31"
    backend = ArgoBackend()
    assert backend.target(make_spec()).target.platform == "aarch64-manylinux_2_31"
    assert backend.target(make_spec(platform="x86_64-manylinux_2_36")).target.platform == "x86_64-manylinux_2_36"


def test_dry_run_prints_template_reference(server, make_spec):
    backend = ArgoBackend()
    text = prepare(make_spec(), backend).describe(backend)
    assert "workflowTemplateRef:\n    name: cell" in text
    assert "characters of base64>" in text
    assert server.workflows == {}


def test_exported_workflow_has_the_name_of_its_config_map(make_spec):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    spec = make_spec(f"print({numbers})")
    backend = ArgoBackend()
    config_map, workflow = yaml.safe_load_all(backend.manifest(prepare(spec, backend).program, spec))
    assert config_map["metadata"]["name"] == f"uv-argo-program-{workflow['metadata']['name']}"
    assert "generateName" not in workflow["metadata"]


def test_settings_are_either_sent_or_set_in_the_workflow():
    assert FIELDS.keys() >= template.CARRIED | template.DIRECT
    assert not template.CARRIED & template.DIRECT


def test_workflow_does_not_contain_user_text(make_spec):
    spec = make_spec("secret = 'in the cell'", variables=(("A", "in a variable"),))
    info = template.TemplateInfo(name="cell", parameters=frozenset({"program"}))
    workflow = template.build(info, prepare(spec, ArgoBackend()).program, spec, run_id="r1")
    assert "in the cell" not in json.dumps(workflow)
    assert "in a variable" not in json.dumps(workflow)
