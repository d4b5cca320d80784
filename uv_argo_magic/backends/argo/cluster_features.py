"""Adapt a Workflow to the cluster's version of Argo, and merge the user's patch file into it.

Rules:
- Fields that the cluster's Argo does not know are not sent, because Argo would drop them silently.
- A merge adds and replaces fields; null removes a field. Lists of named objects are merged by their names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from uv_argo_magic._os import paths
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.core.spec.run_spec import Settings

_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Argo creates these containers, so that only a patch can set their security context. A patch for a container that does
# not exist would add it.
_EXECUTOR: dict[str, dict[str, Any]] = {
    "init": {
        "initContainers": [{"name": "init", "securityContext": _CONTAINER}],
        "containers": [{"name": "wait", "securityContext": _CONTAINER}],
    },
    "supervisor": {"containers": [{"name": "supervisor", "securityContext": _CONTAINER}]},
    "none": {},
}
_TOP = ("apiVersion", "kind", "metadata", "spec")
_KEYS = {"volumeMounts": "mountPath", "volumeDevices": "devicePath"}
"""The field that identifies the items of a list, if it is not their name."""


@frozen
class Features:
    """The features of the cluster's Argo on which a manifest depends.

    `executor` names the containers that Argo adds to a pod: init (and wait), or only supervisor (possible in Argo 4.1).
    """

    executor: str = "init"
    pending_timeout: bool = True


def detect(client: ArgoClient, settings: Settings, executors: dict[str, str]) -> Features:
    """The features of the cluster's Argo. `executors` caches the containers seen in a pod, by location.

    Raises:
        BackendUnavailable: the API does not respond.
    """
    executor = settings.executor_patch
    if executor == "auto" and client.location in executors:
        executor = executors[client.location]
    elif executor == "auto":
        executor = "init"
        try:
            pod = client.any_pod()
        except Denied:
            pod = None
        if pod is not None:
            names = {container.get("name") for container in pod["spec"].get("containers") or []}
            executor = executors[client.location] = "supervisor" if "supervisor" in names else "init"
    return Features(
        executor=executor, pending_timeout=not settings.pending_timeout or client.has_field("pendingTimeout")
    )


def pod_spec_patch(features: Features) -> str | None:
    """The patch that makes Argo's own containers comply with the Pod Security level `restricted`."""
    patch = _EXECUTOR[features.executor]
    return json.dumps(patch) if patch else None


def read_patch(path: str) -> dict[str, Any]:
    """Read a patch file: a part of a Workflow, as YAML or JSON.

    Raises:
        SpecError: the file cannot be read, or is not part of a Workflow.
    """
    try:
        text = paths.expanded(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise SpecError(
            f"cannot read the patch {path}: {problem}", hint="Name a YAML or JSON file: --set patch=FILE."
        ) from problem
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise SpecError(
            f"invalid YAML in the patch {path}: {problem}", hint="Fix the syntax; JSON is valid YAML too."
        ) from problem
    example = "Example: {spec: {priority: 5, templates: [{name: cell, metadata: {annotations: {a: b}}}]}}."
    if not isinstance(content, dict) or not isinstance(content.get("spec", {}), dict):
        raise SpecError(f"the patch {path} is not part of a Workflow", hint=example)
    if unknown := sorted(str(key) for key in content if key not in _TOP):
        raise SpecError(f"unknown fields in the patch {path}: {', '.join(unknown)}", hint=example)
    return content


def apply_patch(workflow: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The Workflow with the patch merged into it. Fields of the patch's podSpecPatch replace ours.

    Raises:
        SpecError: the patch names an unknown template, or its podSpecPatch is not an object.
    """
    names = {template.get("name") for template in workflow["spec"].get("templates") or []}
    for template in (patch.get("spec") or {}).get("templates") or []:
        if not isinstance(template, dict) or template.get("name") not in names:
            raise SpecError(
                "the patch has a template that is not in the workflow",
                hint=f"The name of the cell's template is {', '.join(sorted(map(str, names)))}."
                if names
                else "Leave out its templates: the administrator's template defines the pod.",
            )
    merged: dict[str, Any] = _merge(workflow, patch)
    return merged


def _merge(base: Any, patch: Any, key: str = "") -> Any:
    if key == "podSpecPatch":
        return json.dumps(_merge(_parse(base), _parse(patch)))
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = dict(base)
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            elif name in base or name == "podSpecPatch":
                merged[name] = _merge(base.get(name), value, name)
            else:
                merged[name] = value
        return merged
    field = _KEYS.get(key, "name")
    if _is_keyed(base, field) and _is_keyed(patch, field):
        by_key = {item[field]: item for item in base}
        for item in patch:
            by_key[item[field]] = _merge(by_key[item[field]], item) if item[field] in by_key else item
        return list(by_key.values())
    return patch


def _is_keyed(value: object, field: str) -> bool:
    """Whether this is a list of objects that each have this field."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and isinstance(item.get(field), str) for item in value
    )


def _parse(patch: object) -> dict[str, Any]:
    """A podSpecPatch as an object; in a patch file it can be text, as Argo requires it, or an object."""
    try:
        content = yaml.safe_load(patch) if isinstance(patch, str) else patch
    except yaml.YAMLError as problem:
        raise SpecError(
            f"invalid YAML in podSpecPatch: {problem}", hint="Fix the syntax; JSON is valid YAML too."
        ) from problem
    if content is not None and not isinstance(content, dict):
        raise SpecError("podSpecPatch is not an object", hint="Write a part of a pod's spec, such as {priority: 5}.")
    return content or {}
