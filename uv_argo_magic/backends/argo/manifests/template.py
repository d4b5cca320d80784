"""The Workflow of a run with `--set template`: it refers to an administrator's WorkflowTemplate and passes the program.

Rules:
- The template defines the pod. A setting of the pod is allowed only if the template declares a parameter with its name;
  otherwise the cell is refused before anything is sent.
- The Workflow contains only fields that users can set with `templateReferencing: Secure`, and only those that the user
  did set, because they override the administrator's.
"""

from __future__ import annotations

import base64
import gzip
import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.manifests import run_metadata, template_manifests
from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Gone
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.spec.program import PAYLOAD_LIMIT
from uv_argo_magic.core.spec.run_spec import Resources, Settings
from uv_argo_magic.core.spec.settings_parser import FIELDS, OWN, format_value
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.backends.sessions import WorkerOptions
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.uv.interpreters import Interpreter

CARRIED = frozenset(
    {
        "base", "index_url", "only_binary", "allow_urls", "exclude_newer", "prerelease", "resolution", "constraints",
        "overrides", "offline", "run_timeout", "install_timeout", "install_memory", "install_disk", "log_budget",
        "find_links", "torch_backend", "yes", "push", "auto_push_limit", "keep", "gpu_keep", "max_age",
        "max_sessions", "start_timeout", "python_downloads", "output_lines", "value_limit", "variables", "context",
        "kubeconfig", "namespace", "images", "platform", "panel", "history", "template", "gpu_resource",
        "pod_gc_delay", "locked", "indexes", "server", "executor_patch", "early_output",
        "concurrent_builds", "concurrent_downloads", "concurrent_installs",
    }
)  # fmt: skip
"""Settings that are part of the program, or are used only by the client."""
DIRECT = frozenset({"labels", "deadline", "ttl", "pod_gc"})
"""Settings that become fields of the Workflow; users can set them together with a template."""


@frozen
class TemplateInfo:
    """The declarations of a template. `parameters` is None if the user is not allowed to read the template."""

    name: str
    parameters: frozenset[str] | None = None
    python: str = ""
    platform: str = ""
    no_session: str = ""
    """Why the template cannot run a session; "" if it can, or this is unknown."""


def read_template(client: ArgoClient, name: str) -> TemplateInfo:
    """Read the template with this name.

    Raises:
        SpecError: the template does not exist, or does not accept programs.
        BackendUnavailable: the API does not respond.
    """
    try:
        manifest = client.workflow_template(name)
    except Denied:
        return TemplateInfo(name=name)
    except Gone as problem:
        raise SpecError(
            f"WorkflowTemplate {name} not found at {client.location}",
            hint="Use one that an administrator created for cells (deploy/cell-template.yaml): --set template=NAME.",
        ) from problem
    declared = ((manifest.get("spec") or {}).get("arguments") or {}).get("parameters") or ()
    parameters = frozenset(str(parameter.get("name")) for parameter in declared)
    if template_manifests.PROGRAM not in parameters:
        raise SpecError(
            f"the WorkflowTemplate {name} cannot run cells: it has no parameter {template_manifests.PROGRAM}",
            hint="Use one that an administrator created for cells (deploy/cell-template.yaml).",
        )
    annotations = manifest["metadata"].get("annotations") or {}
    return TemplateInfo(
        name=name,
        parameters=parameters,
        python=str(annotations.get(template_manifests.PYTHON_NOTE, "")),
        platform=str(annotations.get(template_manifests.PLATFORM_NOTE, "")),
        no_session=_no_session(manifest["spec"]),
    )


def _no_session(spec: Mapping[str, Any]) -> str:
    """Why the template cannot run a session, which needs one pod with the name of the workflow; "" if it can."""
    workflow = {"spec": {}, "status": {"storedWorkflowTemplateSpec": spec}}
    levels = list(diagnose.template_levels(workflow))
    if not any("script" in level or "container" in level for level in levels):
        return "its entrypoint is not a script or a container"
    if diagnose.attempt_limit(workflow) != 1:
        return "it has a retryStrategy, and a second pod would be another session"
    return ""


def target(template: TemplateInfo, spec: RunSpec) -> Interpreter:
    """The Python of the template's image, as declared by the template or else by `--python X.Y.Z`.

    Raises:
        SpecError: the Python is unknown, or differs from the requested one.
    """
    python = spec.python.strip()
    if spec.settings.image or not template.python:
        if not re.fullmatch(r"3\.\d+\.\d+", python):
            subject = f"the image {spec.settings.image}" if spec.settings.image else f"the template {template.name}"
            annotation = f", or ask for an annotation {template_manifests.PYTHON_NOTE} on the template"
            raise SpecError(
                f"unknown Python version in {subject}",
                hint="Give it with --python X.Y.Z, as python3 --version prints it there"
                + ("." if spec.settings.image else f"{annotation}."),
            )
        full = python
    elif python and not images.fits(template.python, python):
        raise SpecError(
            f"the template {template.name} has Python {template.python}, not {python}",
            hint="Leave --python out, or choose another template.",
        )
    else:
        full = template.python
    platform = spec.settings.platform
    if template.platform and platform == Settings().platform:
        platform = template.platform
    return images.interpreter(full, spec.settings.image or f"of the template {template.name}", platform)


def image(template: TemplateInfo, settings: Settings) -> str:
    """The image set by the user, instead of the template's.

    Raises:
        SpecError: the template determines the image.
    """
    if settings.image and "image" in (template.parameters or ()):
        return settings.image
    raise _refusal(template, "image" if settings.image and settings.image != settings.base else "base")


def build(
    template: TemplateInfo, program: Program, spec: RunSpec, *, run_id: str, notebook: str = ""
) -> dict[str, Any]:
    """The Workflow that passes the program to the template.

    Raises:
        SpecError: the template lacks a parameter for a setting, or the program is too large.
    """
    parameters = dict(_requested_parameters(template, spec))
    if needs_config_map(program):
        if template_manifests.LARGE_PROGRAM not in (template.parameters or ()):
            raise SpecError(
                f"the program has {len(program.source):,} bytes, and the template {template.name} accepts "
                f"{PAYLOAD_LIMIT:,}: it has no parameter {template_manifests.LARGE_PROGRAM} for larger ones",
                hint="Push less (--push), or let the cell read the data itself.",
            )
        parameters[template_manifests.LARGE_PROGRAM] = "true"
    else:
        parameters[template_manifests.PROGRAM] = packed(program.source)
    return _workflow(template, spec, parameters, run_metadata.metadata(program, spec, run_id, notebook))


def build_session(
    template: TemplateInfo, program: Program, spec: RunSpec, options: WorkerOptions, *, worker: str
) -> dict[str, Any]:
    """The Workflow of a session; `worker` are the options of its worker.

    Raises:
        SpecError: the template cannot run sessions, or lacks a parameter for a setting.
    """
    if template.no_session:
        raise SpecError(
            f"the template {template.name} cannot run sessions: {template.no_session}",
            hint="Ask its administrator for one with a single script, or run the cell without --session.",
        )
    parameters = dict(_requested_parameters(template, spec))
    # The program contains the options, because the template defines the variables of the container.
    parameters[template_manifests.PROGRAM] = packed(program.worker_source_with(worker))
    return _workflow(template, spec, parameters, run_metadata.session_metadata(spec.settings, options))


def _workflow(
    template: TemplateInfo, spec: RunSpec, parameters: Mapping[str, str], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    settings, defaults = spec.settings, Settings()
    workflow_spec: dict[str, Any] = {
        "workflowTemplateRef": {"name": template.name},
        "arguments": {"parameters": [{"name": name, "value": value} for name, value in parameters.items()]},
    }
    if settings.deadline != defaults.deadline:
        workflow_spec["activeDeadlineSeconds"] = math.ceil(settings.deadline)
    if settings.ttl != defaults.ttl:
        workflow_spec["ttlStrategy"] = {"secondsAfterCompletion": math.ceil(settings.ttl)}
    if settings.pod_gc != defaults.pod_gc:
        delay = f"{math.ceil(settings.pod_gc_delay)}s"
        workflow_spec["podGC"] = {"strategy": settings.pod_gc, "deleteDelayDuration": delay}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": metadata,
        "spec": workflow_spec,
    }


def packed(source: str) -> str:
    """A program as the value of the template's parameter; it is about as long as the source."""
    return base64.b64encode(gzip.compress(source.encode("ascii"), mtime=0)).decode()


def needs_config_map(program: Program) -> bool:
    """Whether the program is too large for a parameter, which Argo passes in one environment variable."""
    return len(packed(program.source)) > PAYLOAD_LIMIT


def _requested_parameters(template: TemplateInfo, spec: RunSpec) -> Iterator[tuple[str, str]]:
    """(parameter, value) for each setting of the pod that the run sets."""
    requested = {field.name: getattr(spec.resources, field.name) for field in fields(Resources)}
    requested = {name: value for name, value in requested.items() if value}
    defaults = Settings()
    for name in sorted(FIELDS.keys() - OWN.keys() - CARRIED - DIRECT):
        value = getattr(spec.settings, name)
        if value != getattr(defaults, name):
            requested[name] = format_value(value)
    missing = ", ".join(name for name in requested if name not in (template.parameters or ()))
    if missing:
        raise _refusal(template, missing)
    yield from requested.items()


def _refusal(template: TemplateInfo, names: str) -> SpecError:
    """The error for settings for which the template has no parameter."""
    if template.parameters is None:
        reason, request = "you cannot read the template", "Ask for `get` on workflowtemplates"
    else:
        accepted = sorted(template.parameters - {template_manifests.PROGRAM, template_manifests.LARGE_PROGRAM})
        reason = f"its parameters are {', '.join(accepted)}" if accepted else "its only parameter is the program"
        parameter = "image" if names == "base" else "of that name"
        request = f"Ask its administrator for a parameter {parameter}"
    return SpecError(
        f"the template {template.name} does not let you set {names}: {reason}", hint=f"{request}, or leave out {names}."
    )
