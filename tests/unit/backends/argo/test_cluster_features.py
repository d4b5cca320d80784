"""What fits a Workflow to a cluster, and a user's merge file."""

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
    """A client that knows a pod or none, and the fields of Argo's objects."""

    def __init__(self, containers: tuple[str, ...] | None = None, fields: tuple[str, ...] = ()) -> None:
        self.location = "here"
        self.containers = containers
        self.fields = fields
        self.asked = 0

    def any_pod(self) -> dict | None:
        self.asked += 1
        return self.containers and {"spec": {"containers": [{"name": name} for name in self.containers]}}

    def has_field(self, field: str) -> bool:
        self.asked += 1
        return field in self.fields


class Closed(Cluster):
    def any_pod(self) -> dict | None:
        raise Denied("you cannot list pods")


@pytest.mark.parametrize(
    ("cluster", "expected", "kept"),
    [
        (Cluster(), "init", {}),
        (Closed(), "init", {}),
        (Cluster(("wait", "main")), "init", {"here": "init"}),
        (Cluster(("main", "supervisor")), "supervisor", {"here": "supervisor"}),
    ],
)
def test_a_pod_tells_which_containers_argo_adds(cluster, expected, kept):
    known: dict[str, str] = {}
    assert cluster_features.detect(cluster, Settings(), known) == cluster_features.Features(executor=expected)
    assert known == kept


def test_what_is_known_or_said_is_not_asked_for():
    cluster = Cluster()
    assert cluster_features.detect(cluster, Settings(), {"here": "supervisor"}).executor == "supervisor"
    assert cluster_features.detect(cluster, Settings(executor_patch="none"), {}).executor == "none"
    assert cluster.asked == 0
    assert not cluster_features.detect(cluster, Settings(pending_timeout=60), {}).pending_timeout
    assert cluster_features.detect(
        Cluster(fields=("pendingTimeout",)), Settings(pending_timeout=60), {}
    ).pending_timeout


def test_no_container_is_named_that_is_not_there():
    for executor, names in {"init": ["init", "wait"], "supervisor": ["supervisor"]}.items():
        patch = json.loads(cluster_features.pod_spec_patch(cluster_features.Features(executor=executor)) or "")
        assert [one["name"] for part in patch.values() for one in part] == names
    assert cluster_features.pod_spec_patch(cluster_features.Features(executor="none")) is None


MADE = {
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


def test_a_patch_is_merged_by_names():
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
    merged = cluster_features.apply_patch(MADE, patch)
    assert merged["metadata"] == {"labels": {"a": "1", "c": "3"}}
    assert (merged["spec"]["priority"], "ttlStrategy" in merged["spec"]) == (5, False)
    assert merged["spec"]["tolerations"] == [{"key": "b"}]
    (cell,) = merged["spec"]["templates"]
    assert cell["metadata"] == {"annotations": {"b": "2"}}
    assert cell["script"]["env"] == [{"name": "HOME", "value": "/home"}, {"name": "A", "value": "B"}]
    assert [one["mountPath"] for one in cell["script"]["volumeMounts"]] == ["/tmp", "/more"]
    assert MADE["spec"]["ttlStrategy"]


@pytest.mark.parametrize("written", ["{priorityClassName: low, containers: [{name: wait, resources: {}}]}", None])
def test_a_pod_spec_patch_goes_on_top_of_ours(written):
    asked = written or {"priorityClassName": "low", "containers": [{"name": "wait", "resources": {}}]}
    merged = cluster_features.apply_patch(MADE, {"spec": {"templates": [{"name": "cell", "podSpecPatch": asked}]}})
    patch = json.loads(merged["spec"]["templates"][0]["podSpecPatch"])
    assert patch["priorityClassName"] == "low"
    assert patch["initContainers"][0]["securityContext"]
    assert patch["containers"][0]["securityContext"]
    assert patch["containers"][0]["resources"] == {}
    whole = cluster_features.apply_patch(MADE, {"spec": {"podSpecPatch": {"priority": 1}}})
    assert whole["spec"]["podSpecPatch"] == '{"priority": 1}'


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
def test_a_file_that_is_no_patch(tmp_path: Path, text: str | None, message: str):
    path = tmp_path / "patch.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        cluster_features.read_patch(str(path))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"templates": [{"name": "other"}]}, "a template that is not in the workflow"),
        ({"templates": ["cell"]}, "a template that is not in the workflow"),
        ({"templates": [{"name": "cell", "podSpecPatch": "["}]}, "invalid YAML in podSpecPatch"),
        ({"templates": [{"name": "cell", "podSpecPatch": "[]"}]}, "podSpecPatch is not an object"),
    ],
)
def test_a_patch_that_fits_nothing(patch, message):
    with pytest.raises(SpecError, match=message):
        cluster_features.apply_patch(MADE, {"spec": patch})


def test_a_patch_is_yaml_or_json(tmp_path: Path):
    path = tmp_path / "patch"
    for text in ("kind: Workflow\nspec: {priority: 5}", '{"kind": "Workflow", "spec": {"priority": 5}}'):
        path.write_text(text)
        assert cluster_features.read_patch(str(path)) == {"kind": "Workflow", "spec": {"priority": 5}}
