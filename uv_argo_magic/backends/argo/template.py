"""The reference shape: a Workflow that names an administrator's WorkflowTemplate and gives it the program, no more.

Rules:
- All of the pod is the template's. What a run asks of it beyond that must be a parameter that the template declares, of
  the setting's name; else it is refused by name before anything is sent.
- Only fields that a controller with `templateReferencing: Secure` lets a user set stand in the Workflow, and these only
  where the user said something: they would win over the administrator's.
"""

from __future__ import annotations

import base64
import gzip
import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import run_metadata, template_manifests
from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Gone
from uv_argo_magic.core.spec.program import PAYLOAD_LIMIT
from uv_argo_magic.core.spec.run_spec import Resources, Settings
from uv_argo_magic.core.spec.settings_parser import FIELDS, format_value
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.uv.interpreters import Interpreter

CARRIED = frozenset(
    {
        "index_url", "only_binary", "allow_urls", "exclude_newer", "prerelease", "resolution", "constraints",
        "overrides", "offline", "run_timeout", "install_timeout", "install_memory", "install_disk", "log_budget",
        "output_lines", "value_limit", "env", "context", "kubeconfig", "namespace", "images", "platform", "panel",
        "history", "template", "gpu_resource", "pod_gc_delay", "locked", "indexes", "server", "executor_patch",
    }
)  # fmt: skip
"""Settings that travel in the program, or mean something here alone."""
DIRECT = frozenset({"labels", "deadline", "ttl", "pod_gc"})
"""Settings that are fields of the Workflow which a user may set beside a reference."""


@dataclass(frozen=True, kw_only=True)
class Offered:
    """What a template declares; `parameters` None: it may not be read, so that nobody knows."""

    name: str
    parameters: frozenset[str] | None = None
    python: str = ""
    platform: str = ""


def look(client: ArgoClient, name: str) -> Offered:
    """What the template of this name offers.

    Raises:
        SpecError: there is none, or it takes no program.
        BackendUnavailable: the API does not answer.
    """
    try:
        made = client.workflow_template(name)
    except Denied:
        return Offered(name=name)
    except Gone as problem:
        raise SpecError(
            f"there is no WorkflowTemplate {name} at {client.location}",
            hint="Name one that an administrator made for cells (deploy/cell-template.yaml): --set template=NAME.",
        ) from problem
    declared = ((made.get("spec") or {}).get("arguments") or {}).get("parameters") or ()
    parameters = frozenset(str(one.get("name")) for one in declared)
    if template_manifests.PROGRAM not in parameters:
        raise SpecError(
            f"the WorkflowTemplate {name} takes no program: it has no parameter {template_manifests.PROGRAM}",
            hint="Name one that an administrator made for cells (deploy/cell-template.yaml).",
        )
    notes = made["metadata"].get("annotations") or {}
    return Offered(
        name=name,
        parameters=parameters,
        python=str(notes.get(template_manifests.PYTHON_NOTE, "")),
        platform=str(notes.get(template_manifests.PLATFORM_NOTE, "")),
    )


def target(offered: Offered, spec: RunSpec) -> Interpreter:
    """The Python of the template's image, as it is declared, or as `--python X.Y.Z` names it.

    Raises:
        SpecError: it is not known, or another one is asked for.
    """
    python = spec.python.strip()
    if spec.settings.image or not offered.python:
        if not re.fullmatch(r"3\.\d+\.\d+", python):
            where = f"the image {spec.settings.image}" if spec.settings.image else f"the template {offered.name}"
            raise SpecError(
                f"which Python {where} has is not known",
                hint="Say it: --python X.Y.Z, as python3 --version prints it there"
                + (
                    "."
                    if spec.settings.image
                    else f"; or have it declared by an annotation {template_manifests.PYTHON_NOTE}."
                ),
            )
        full = python
    elif python and not images.fits(offered.python, python):
        raise SpecError(
            f"the template {offered.name} has Python {offered.python}, not {python}",
            hint="Leave --python out, or name another template.",
        )
    else:
        full = offered.python
    platform = spec.settings.platform
    if offered.platform and platform == Settings().platform:
        platform = offered.platform
    return images.interpreter(full, spec.settings.image or f"of the template {offered.name}", platform)


def build(offered: Offered, program: Program, spec: RunSpec, *, run_id: str, notebook: str = "") -> dict[str, Any]:
    """The Workflow that gives the program to the template.

    Raises:
        SpecError: something is asked for that the template does not offer, or the program is too large.
    """
    parameters = dict(_asked(offered, spec))
    if large(program):
        if template_manifests.LARGE_PROGRAM not in (offered.parameters or ()):
            raise SpecError(
                f"the program takes {len(program.source):,} bytes, and the template {offered.name} takes "
                f"{PAYLOAD_LIMIT:,}: it has no parameter {template_manifests.LARGE_PROGRAM} for larger ones",
                hint="Push less (--push), or have the cell read its data from where it lies.",
            )
        parameters[template_manifests.LARGE_PROGRAM] = "true"
    else:
        parameters[template_manifests.PROGRAM] = packed(program)
    settings, usual = spec.settings, Settings()
    made: dict[str, Any] = {
        "workflowTemplateRef": {"name": offered.name},
        "arguments": {"parameters": [{"name": name, "value": value} for name, value in parameters.items()]},
    }
    if settings.deadline != usual.deadline:
        made["activeDeadlineSeconds"] = math.ceil(settings.deadline)
    if settings.ttl != usual.ttl:
        made["ttlStrategy"] = {"secondsAfterCompletion": math.ceil(settings.ttl)}
    if settings.pod_gc != usual.pod_gc:
        delay = f"{math.ceil(settings.pod_gc_delay)}s"
        made["podGC"] = {"strategy": settings.pod_gc, "deleteDelayDuration": delay}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": run_metadata.metadata(program, spec, run_id, notebook),
        "spec": made,
    }


def packed(program: Program) -> str:
    """The program as the template's parameter: about as long as its source."""
    return base64.b64encode(gzip.compress(program.source.encode("ascii"), mtime=0)).decode()


def large(program: Program) -> bool:
    """Whether it is too large for a parameter, which becomes one variable of a container."""
    return len(packed(program)) > PAYLOAD_LIMIT


def _asked(offered: Offered, spec: RunSpec) -> Iterator[tuple[str, str]]:
    """(parameter, value) of all that the run asks of its pod."""
    wanted = {one.name: getattr(spec.resources, one.name) for one in fields(Resources)}
    wanted = {name: value for name, value in wanted.items() if value}
    usual = Settings()
    for name in sorted(FIELDS.keys() - CARRIED - DIRECT):
        value = getattr(spec.settings, name)
        if value != getattr(usual, name):
            wanted[name] = format_value(value)
    missing = [name for name in wanted if name not in (offered.parameters or ())]
    if missing:
        if offered.parameters is None:
            why, hint = (
                "may not be read by you, so what it offers is not known",
                "Ask for `get` on workflowtemplates, or",
            )
        else:
            has = ", ".join(sorted(offered.parameters - {template_manifests.PROGRAM, template_manifests.LARGE_PROGRAM}))
            why, hint = f"offers {has or 'none of them'}", "Ask its administrator for a parameter of that name, or"
        raise SpecError(
            f"the template {offered.name} decides on its pod, and {', '.join(missing)} cannot be asked for: it {why}",
            hint=f"{hint} leave {', '.join(missing)} out.",
        )
    yield from wanted.items()
