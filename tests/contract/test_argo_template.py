"""The reference shape: what a WorkflowTemplate offers decides, and the Workflow holds a reference and arguments."""

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
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import start
from uv_argo_magic.errors import BackendUnavailable, SpecError, SubmitRejected

HERE = ".".join(map(str, sys.version_info[:3]))
ALLOWED = {"workflowTemplateRef", "arguments", "activeDeadlineSeconds", "ttlStrategy", "podGC"}
"""Fields of a Workflow that `templateReferencing: Secure` lets a user set, of those that we send."""
DENIED = (
    'workflowtemplates.argoproj.io "cell" is forbidden: User "u" cannot get resource "workflowtemplates" in API group '
    '"argoproj.io" in the namespace "nb"'
)


@pytest.fixture
def server(tmp_path, home):
    with ArgoServer(tmp_path) as server:
        made = template_manifests.cell()
        made["metadata"]["annotations"][template_manifests.PYTHON_NOTE] = HERE
        server.templates["cell"] = made
        yield server


@pytest.fixture
def wanted(server):
    def wanted(cell="print('hi')", python="", resources=None, **settings):
        made = Settings(kubeconfig=str(server.kubeconfig), **{"template": "cell", **settings})
        return RunSpec(cell=cell, python=python, settings=made, backend="argo", resources=resources or Resources())

    return wanted


def begin(spec):
    backend = ArgoBackend()
    return start(prepare(spec, backend), backend=backend)


def test_a_cell_runs_by_the_template(server, wanted):
    one = begin(wanted("print('{{workflow.name}}')"))
    assert (one.wait(60).outcome, one.logs()) == ("Succeeded", "{{workflow.name}}\n")
    (workflow,) = server.workflows.values()
    assert set(workflow.made["spec"]) == {"workflowTemplateRef", "arguments"}
    assert [one["name"] for one in workflow.made["spec"]["arguments"]["parameters"]] == ["program"]
    assert workflow.made["metadata"]["annotations"]["uv-argo-magic/nonce"]
    one._is_read.wait(60)


def test_a_large_program_lies_in_a_config_map(server, wanted):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    one = begin(wanted(f"numbers = {numbers}\nprint(sum(numbers))"))
    assert (one.wait(60).outcome, one.logs()) == ("Succeeded", f"{sum(numbers)}\n")
    (workflow,) = server.workflows.values()
    assert workflow.made["spec"]["arguments"]["parameters"] == [{"name": "largeProgram", "value": "true"}]
    config_map = server.config_maps[f"uv-argo-program-{workflow.name}"]
    assert config_map["metadata"]["ownerReferences"][0]["name"] == workflow.name
    one._is_read.wait(60)
    server.templates["cell"]["spec"]["arguments"]["parameters"].pop()
    with pytest.raises(SpecError, match="has no parameter largeProgram for larger ones"):
        begin(wanted(f"numbers = {numbers}"))


def test_a_config_map_that_another_user_created_first_ends_the_run(server, wanted):
    server.fail("configmaps?", 409, 'configmaps "uv-argo-program-x" already exists')
    with pytest.raises(SubmitRejected, match="already exists"):
        begin(wanted(f"numbers = {[i * 7919 % 1_000_003 for i in range(30_000)]}"))
    (workflow,) = server.workflows.values()
    assert workflow.made["spec"]["shutdown"] == "Terminate"


def test_only_what_the_user_says_wins_over_the_template(wanted):
    spec = wanted(deadline=60.5, ttl=5.0, pod_gc="OnWorkflowSuccess", labels=(("team", "blue"),))
    offered = template.TemplateInfo(name="cell", parameters=frozenset({"program"}))
    made = template.build(offered, prepare(spec, ArgoBackend()).program, spec, run_id="r1")
    assert set(made["spec"]) == ALLOWED
    assert (made["spec"]["activeDeadlineSeconds"], made["spec"]["podGC"]["deleteDelayDuration"]) == (61, "600s")
    assert made["metadata"]["labels"]["team"] == "blue"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"resources": Resources(memory="2Gi", cpu="1")}, "cpu, memory"),
        ({"image": "example.com/other:1", "python": HERE}, "image"),
        ({"service_account": "x", "volumes": (("/data", "claim/x"),)}, "service_account, volumes"),
        ({"secret_env": (("A", "s/k"),)}, "secret_env"),
    ],
)
def test_what_the_template_does_not_offer_is_refused_by_name(server, wanted, fields, named):
    with pytest.raises(SpecError, match=f"does not let you set {named}: its only parameter is the program"):
        begin(wanted(**fields))
    assert all(method == "GET" for method, _, _ in server.calls)
    server.templates["cell"]["spec"]["arguments"]["parameters"] += [
        {"name": name, "value": "x"} for name in named.split(", ")
    ]
    one = begin(wanted(**fields))
    assert one.wait(60).outcome == "Succeeded"
    (workflow,) = server.workflows.values()
    assert {one["name"] for one in workflow.made["spec"]["arguments"]["parameters"]} == {"program", *named.split(", ")}
    one._is_read.wait(60)


@pytest.mark.parametrize(
    ("settings", "named"), [({"image": "example.com/x:1"}, "image"), ({"base": "own"}, "base"),
                            ({"base": "example.com/x:1", "image": "example.com/x:1"}, "base")],
)  # fmt: skip
def test_an_image_that_the_template_does_not_offer_is_not_inspected(server, wanted, settings, named):
    with pytest.raises(SpecError, match=f"does not let you set {named}: its only parameter is the program"):
        begin(wanted(**settings))
    assert all(method == "GET" for method, _, _ in server.calls)
    server.templates["cell"]["spec"]["arguments"]["parameters"].append({"name": "image", "value": "x"})
    if "image" in settings:
        assert ArgoBackend().image(wanted(**settings)) == "example.com/x:1"


def test_a_template_that_may_not_be_read_gets_a_program_and_no_more(server, wanted):
    server.fail("workflowtemplates", 403, DENIED, times=100)
    with pytest.raises(SpecError, match="unknown Python version in the template cell") as caught:
        begin(wanted())
    assert "--python X.Y.Z" in caught.value.hint
    with pytest.raises(SpecError, match="you cannot read the template"):
        begin(wanted(python=HERE, resources=Resources(memory="2Gi")))
    one = begin(wanted(python=HERE))
    assert one.wait(60).outcome == "Succeeded"
    one._is_read.wait(60)


def test_templates_that_do_not_fit(server, wanted):
    with pytest.raises(SpecError, match="there is no WorkflowTemplate nope at test, namespace nb"):
        begin(wanted(template="nope"))
    with pytest.raises(SpecError, match=f"has Python {HERE}, not 3.8"):
        begin(wanted(python="3.8"))
    server.templates["cell"]["spec"]["arguments"] = {}
    with pytest.raises(SpecError, match="cannot run cells"):
        begin(wanted())
    server.fail("workflowtemplates", 503)
    with pytest.raises(BackendUnavailable):
        begin(wanted())


def test_the_platform_is_the_templates_where_nobody_names_another(server, wanted):
    server.templates["cell"]["metadata"]["annotations"][template_manifests.PLATFORM_NOTE] = "aarch64-manylinux_2_31"
    backend = ArgoBackend()
    assert backend.target(wanted()).target.platform == "aarch64-manylinux_2_31"
    assert backend.target(wanted(platform="x86_64-manylinux_2_36")).target.platform == "x86_64-manylinux_2_36"


def test_a_dry_run_prints_the_reference(server, wanted):
    backend = ArgoBackend()
    text = prepare(wanted(), backend).describe(backend)
    assert "workflowTemplateRef:\n    name: cell" in text
    assert "characters of base64>" in text
    assert server.workflows == {}


def test_a_file_names_the_workflow_so_that_the_template_finds_its_config_map(wanted):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    spec = wanted(f"print({numbers})")
    backend = ArgoBackend()
    config_map, workflow = yaml.safe_load_all(backend.manifest(prepare(spec, backend).program, spec))
    assert config_map["metadata"]["name"] == f"uv-argo-program-{workflow['metadata']['name']}"
    assert "generateName" not in workflow["metadata"]


def test_every_setting_has_its_place():
    assert FIELDS.keys() >= template.CARRIED | template.DIRECT
    assert not template.CARRIED & template.DIRECT


def test_nothing_of_the_user_stands_in_the_workflow_as_text(wanted):
    spec = wanted("secret = 'in the cell'", variables=(("A", "in a variable"),))
    offered = template.TemplateInfo(name="cell", parameters=frozenset({"program"}))
    made = template.build(offered, prepare(spec, ArgoBackend()).program, spec, run_id="r1")
    assert "in the cell" not in json.dumps(made)
    assert "in a variable" not in json.dumps(made)
