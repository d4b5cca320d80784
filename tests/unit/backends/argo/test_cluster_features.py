"""backends/argo/cluster_features.py: adapting a Workflow to a cluster, and the user's patch file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from uv_argo_magic.backends.argo import cluster_features
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path


class Cluster:
    """A client of a cluster with one pod or none, and with these fields in Argo's objects."""

    def __init__(self, containers: tuple[str, ...] | None = None, fields: tuple[str, ...] = ()) -> None:
        self.location = "here"
        self.containers = containers
        self.fields = fields
        self.requests = 0

    def any_pod(self) -> dict | None:
        self.requests += 1
        return self.containers and {"spec": {"containers": [{"name": name} for name in self.containers]}}

    def has_field(self, field: str) -> bool:
        self.requests += 1
        return field in self.fields


class ClusterWithoutRights(Cluster):
    def any_pod(self) -> dict | None:
        raise Denied("you cannot list pods")


@pytest.mark.parametrize(
    ("cluster", "expected", "cached"),
    [
        (Cluster(), "init", {}),
        (ClusterWithoutRights(), "init", {}),
        (Cluster(("wait", "main")), "init", {"here": "init"}),
        (Cluster(("main", "supervisor")), "supervisor", {"here": "supervisor"}),
    ],
)
def test_executor_is_detected_from_an_existing_pod(cluster, expected, cached):
    known: dict[str, str] = {}
    assert cluster_features.detect(cluster, Settings(), known) == cluster_features.Features(executor=expected)
    assert known == cached


def test_known_features_are_not_queried():
    cluster = Cluster()
    assert cluster_features.detect(cluster, Settings(), {"here": "supervisor"}).executor == "supervisor"
    assert cluster_features.detect(cluster, Settings(executor_patch="none"), {}).executor == "none"
    assert cluster.requests == 0
    assert not cluster_features.detect(cluster, Settings(pending_timeout=60), {}).pending_timeout
    assert cluster_features.detect(
        Cluster(fields=("pendingTimeout",)), Settings(pending_timeout=60), {}
    ).pending_timeout


def test_pod_spec_patch_only_names_existing_containers():
    for executor, names in {"init": ["init", "wait"], "supervisor": ["supervisor"]}.items():
        patch = json.loads(cluster_features.pod_spec_patch(cluster_features.Features(executor=executor)) or "")
        assert [container["name"] for containers in patch.values() for container in containers] == names
    assert cluster_features.pod_spec_patch(cluster_features.Features(executor="none")) is None


WORKFLOW = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {
        "ttlStrategy": {"secondsAfterCompletion": 60},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "templates": [
            {
                "name": "cell",
                "podSpecPatch": cluster_features.pod_spec_patch(cluster_features.Features()),
                "script": {
                    "env": [{"name": "HOME", "value": "/tmp"}],
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                },
            }
        ],
    },
}


def test_patch_merges_lists_by_name():
    template = {
        "name": "cell",
        "metadata": {"annotations": {"b": "2"}},
        "script": {
            "env": [{"name": "A", "value": "B"}, {"name": "HOME", "value": "/home"}],
            "volumeMounts": [{"name": "more", "mountPath": "/more"}],
        },
    }
    patch = {
        "metadata": {"labels": {"c": "3"}},
        "spec": {"priority": 5, "ttlStrategy": None, "tolerations": [{"key": "b"}], "templates": [template]},
    }
    merged = cluster_features.apply_patch(WORKFLOW, patch)
    assert merged["metadata"] == {"labels": {"a": "1", "c": "3"}}
    assert (merged["spec"]["priority"], "ttlStrategy" in merged["spec"]) == (5, False)
    assert merged["spec"]["tolerations"] == [{"key": "b"}]
    (cell,) = merged["spec"]["templates"]
    assert cell["metadata"] == {"annotations": {"b": "2"}}
    assert cell["script"]["env"] == [{"name": "HOME", "value": "/home"}, {"name": "A", "value": "B"}]
    assert [mount["mountPath"] for mount in cell["script"]["volumeMounts"]] == ["/tmp", "/more"]
    assert WORKFLOW["spec"]["ttlStrategy"]


@pytest.mark.parametrize("yaml_text", ["{priorityClassName: low, containers: [{name: wait, resources: {}}]}", None])
def test_pod_spec_patch_overrides_ours(yaml_text):
    pod_spec_patch = yaml_text or {"priorityClassName": "low", "containers": [{"name": "wait", "resources": {}}]}
    merged = cluster_features.apply_patch(
        WORKFLOW, {"spec": {"templates": [{"name": "cell", "podSpecPatch": pod_spec_patch}]}}
    )
    patch = json.loads(merged["spec"]["templates"][0]["podSpecPatch"])
    assert patch["priorityClassName"] == "low"
    assert patch["initContainers"][0]["securityContext"]
    assert patch["containers"][0]["securityContext"]
    assert patch["containers"][0]["resources"] == {}
    merged_patch = cluster_features.apply_patch(WORKFLOW, {"spec": {"podSpecPatch": {"priority": 1}}})
    assert merged_patch["spec"]["podSpecPatch"] == '{"priority": 1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the patch"),
        ("spec: [", "invalid YAML in the patch"),
        ("- 1", "is not part of a Workflow"),
        ("spec: 1", "is not part of a Workflow"),
        ("template: {}\nspec: {}", "unknown fields in the patch .*: template"),
    ],
)
def test_invalid_patch_file_is_rejected(tmp_path: Path, text: str | None, message: str):
    path = tmp_path / "patch.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError, match=message) as exc_info:
        cluster_features.read_patch(str(path))
    assert exc_info.value.hint


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"templates": [{"name": "other"}]}, "a template that is not in the workflow"),
        ({"templates": ["cell"]}, "a template that is not in the workflow"),
        ({"templates": [{"name": "cell", "podSpecPatch": "["}]}, "invalid YAML in podSpecPatch"),
        ({"templates": [{"name": "cell", "podSpecPatch": "[]"}]}, "podSpecPatch is not an object"),
    ],
)
def test_patch_that_does_not_match_is_rejected(patch, message):
    with pytest.raises(SpecError, match=message):
        cluster_features.apply_patch(WORKFLOW, {"spec": patch})


def test_patch_can_be_yaml_or_json(tmp_path: Path):
    path = tmp_path / "patch"
    for text in ("kind: Workflow\nspec: {priority: 5}", '{"kind": "Workflow", "spec": {"priority": 5}}'):
        path.write_text(text)
        assert cluster_features.read_patch(str(path)) == {"kind": "Workflow", "spec": {"priority": 5}}
