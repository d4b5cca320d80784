"""What fits a Workflow to one cluster, and to what a user wants beyond the settings: a merge file.

Rules:
- A field that the cluster's Argo does not know is not sent: it would be dropped there without a word.
- A merge adds and replaces; only null takes away. Lists of named things are merged by their names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.core.spec.run_spec import Settings

_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Argo makes these containers itself, and only a patch reaches their security context. A patch that names one which is
# not there would add it.
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
"""What tells the members of a list apart where that is not their name."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a cluster's Argo is like, as far as a manifest hangs on it.

    `executor` names the containers that Argo adds to a pod: init (and wait), or supervisor alone, as Argo 4.1 may.
    """

    executor: str = "init"
    pending_timeout: bool = True


def look(client: ArgoClient, settings: Settings, known: dict[str, str]) -> Server:
    """What the cluster is like; what is once seen of it is kept in `known`, by place.

    Raises:
        BackendUnavailable: the API does not answer.
    """
    executor = settings.executor_patch
    if executor == "auto" and client.location in known:
        executor = known[client.location]
    elif executor == "auto":
        executor = "init"
        try:
            pod = client.any_pod()
        except Denied:
            pod = None
        if pod is not None:
            names = {one.get("name") for one in pod["spec"].get("containers") or []}
            executor = known[client.location] = "supervisor" if "supervisor" in names else "init"
    return Server(executor=executor, pending_timeout=not settings.pending_timeout or client.has_field("pendingTimeout"))


def pod_spec_patch(server: Server) -> str | None:
    """What makes Argo's own containers fit for the Pod Security level `restricted`."""
    patch = _EXECUTOR[server.executor]
    return json.dumps(patch) if patch else None


def read(path: str) -> dict[str, Any]:
    """A merge file: a part of a Workflow, as YAML or JSON.

    Raises:
        SpecError: it cannot be read, or is not such a part.
    """
    import yaml  # noqa: PLC0415 - comes with hera and kubernetes, and only a merge file needs it

    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise SpecError(
            f"the patch {path} cannot be read: {problem}", hint="Name a file of YAML or JSON: --set patch=FILE."
        ) from problem
    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise SpecError(f"the patch {path} is not YAML: {problem}", hint="Correct it; JSON is YAML too.") from problem
    example = "It looks like: {spec: {priority: 5, templates: [{name: cell, metadata: {annotations: {a: b}}}]}}."
    if not isinstance(said, dict) or not isinstance(said.get("spec", {}), dict):
        raise SpecError(f"the patch {path} is no part of a Workflow", hint=example)
    if other := sorted(str(key) for key in said if key not in _TOP):
        raise SpecError(f"the patch {path} is no part of a Workflow: it has {', '.join(other)}", hint=example)
    return said


def patched(made: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The Workflow with the patch merged into it; its podSpecPatch goes on top of ours, whichever has the same field.

    Raises:
        SpecError: the patch names a template that is not there, or a podSpecPatch that is no object.
    """
    names = {one.get("name") for one in made["spec"].get("templates") or []}
    for template in (patch.get("spec") or {}).get("templates") or []:
        if not isinstance(template, dict) or template.get("name") not in names:
            raise SpecError(
                "the patch has a template that the workflow has not",
                hint=f"A cell's template is named {', '.join(sorted(map(str, names))) or 'by an administrator'}.",
            )
    merged: dict[str, Any] = _merge(made, patch)
    return merged


def _merge(base: Any, patch: Any, key: str = "") -> Any:
    if key == "podSpecPatch":
        return json.dumps(_merge(_parsed(base), _parsed(patch)))
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
    by = _KEYS.get(key, "name")
    if _named(base, by) and _named(patch, by):
        found = {one[by]: one for one in base}
        for one in patch:
            found[one[by]] = _merge(found[one[by]], one) if one[by] in found else one
        return list(found.values())
    return patch


def _named(value: object, by: str) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and isinstance(one.get(by), str) for one in value)


def _parsed(patch: object) -> dict[str, Any]:
    """A podSpecPatch as an object; one may be written as text, as Argo wants it, or as what the text means."""
    import yaml  # noqa: PLC0415 - the same

    try:
        found = yaml.safe_load(patch) if isinstance(patch, str) else patch
    except yaml.YAMLError as problem:
        raise SpecError(f"the podSpecPatch is not YAML: {problem}", hint="Correct it; JSON is YAML too.") from problem
    if found is not None and not isinstance(found, dict):
        raise SpecError("the podSpecPatch is no object", hint="It is a part of a pod's spec: {priority: 5}.")
    return found or {}
