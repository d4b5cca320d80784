"""The WorkflowTemplates that an administrator applies (deploy/), with the same pod as a run without a template.

Rules:
- Users set parameters, which become environment variables. In the source of a script, their text could run as code.
- Users cannot change anything else in the pod: no parameter is part of a patch, a path, a command or a volume's name.
- Cells have no service account token; only Argo's own containers have one (deploy/executor.yaml).
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from uv_argo_magic.backends.argo.manifests import run_metadata, workflow
from uv_argo_magic.backends.kubernetes import images, pod
from uv_argo_magic.core.spec.program import Program
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings

PYTHON = "3.12.12"
CELL = "uv-argo-cell"
PROCESSOR = "python-processor-with-deps"
PYTHON_NOTE = "uv-argo-magic/python"
PLATFORM_NOTE = "uv-argo-magic/platform"
PROGRAM = "program"
"""The parameter with a run's program: base64 of its gzip."""
LARGE_PROGRAM = "largeProgram"
"""The parameter that is "true" if the program is in the run's ConfigMap."""
NO_PROGRAM = "uv-argo-no-program"
"""An empty ConfigMap, which is mounted if the program is small, because a pod waits for a missing ConfigMap."""
PROGRAM_VOLUME = (
    f"{{{{=workflow.parameters.{LARGE_PROGRAM} == 'true' "
    f"? '{workflow.config_map_name('')}' + workflow.name : '{NO_PROGRAM}'}}}}"
)
"""The ConfigMap that Argo mounts: the run's, or the empty one. A user cannot select another one."""
EXECUTOR = "uv-argo-executor"
"""The service account of Argo's own containers."""
VARIABLE = "UV_ARGO_PROGRAM"
AMOUNTS = Resources(cpu="100m..2", memory="512Mi..4Gi", disk=f"1Gi..{pod.DISK}")
NO_POD_TOKEN = Settings(service_account_token=True)
"""The templates mount the token only in Argo's containers, so that no volume is needed to hide it."""

_OPEN = f"""\
# Runs the program of a notebook cell (uv-argo-magic), from a parameter, or from a ConfigMap if it is large.
import base64, gzip, os
program = os.environ.pop("{VARIABLE}")
if program:
    program = gzip.decompress(base64.b64decode(program)).decode("ascii")
else:
    with open("{pod.PROGRAM}/program.py", encoding="ascii") as file:
        program = file.read()
exec(compile(program, "program.py", "exec"))
"""


def cell() -> dict[str, Any]:
    """The template for cells: it runs any program in a pod that the administrator defines."""
    manifest = _template(CELL, _OPEN, {PROGRAM: "", LARGE_PROGRAM: "false"})
    manifest["metadata"]["annotations"] = {PYTHON_NOTE: PYTHON, PLATFORM_NOTE: Settings().platform}
    template = manifest["spec"]["templates"][0]
    template["script"]["env"].append({"name": VARIABLE, "value": f"{{{{workflow.parameters.{PROGRAM}}}}}"})
    template["script"]["volumeMounts"].append({"mountPath": pod.PROGRAM, "name": "program", "readOnly": True})
    template["volumes"].append({"name": "program", "configMap": {"name": PROGRAM_VOLUME}})
    return manifest


def no_program() -> dict[str, Any]:
    """The empty ConfigMap for small programs."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NO_PROGRAM}, "data": {}}


def processor(settings: Settings = NO_POD_TOKEN) -> dict[str, Any]:
    """The template with the parameters pythonCode, dependencies and requirementsFile, for use without this package."""
    source = (
        files("uv_argo_magic.backends.argo.manifests").joinpath("processor_template.py").read_text(encoding="utf-8")
    )
    names = {"pythonCode": "PYTHON_CODE", "dependencies": "DEPENDENCIES", "requirementsFile": "REQUIREMENTS_FILE"}
    parameters = {name: None if name == "pythonCode" else "" for name in names}
    manifest = _template(PROCESSOR, source, parameters, settings)
    template = manifest["spec"]["templates"][0]
    # The packages are resolved in the pod, so any node can run it.
    del manifest["spec"]["nodeSelector"]
    # With inputs, a step of another workflow can use the template too.
    template["inputs"] = {"parameters": manifest["spec"]["arguments"]["parameters"]}
    template["script"]["env"] = [
        variable for variable in template["script"]["env"] if not variable["name"].startswith("UV_ARGO_")
    ]
    template["script"]["env"] += [
        {"name": variable, "value": f"{{{{inputs.parameters.{name}}}}}"} for name, variable in names.items()
    ]
    template["script"]["env"] += [
        {"name": "WORKFLOW", "value": "{{workflow.name}}"},
        # Only wheels, so that no code of a package runs during the install.
        {"name": "UV_NO_BUILD", "value": "1"},
    ]
    return manifest


def processor_workflow() -> dict[str, Any]:
    """The same program as a Workflow, for `argo submit FILE -p` without an installed template."""
    manifest = processor(Settings())
    # The service account is part of deploy/, which may not have been applied.
    del manifest["spec"]["automountServiceAccountToken"], manifest["spec"]["executor"]
    return manifest | {"kind": "Workflow", "metadata": {"generateName": f"{PROCESSOR}-"}}


def _template(
    name: str, source: str, parameters: dict[str, str | None], settings: Settings = NO_POD_TOKEN
) -> dict[str, Any]:
    spec = RunSpec(cell="", resources=AMOUNTS, settings=settings)
    program = Program(guest="", payload="", nonce="")
    manifest = workflow.build(program, spec, run_id="", image=images.IMAGES[PYTHON])
    manifest["kind"] = "WorkflowTemplate"
    manifest["metadata"] = {"name": name, "labels": {run_metadata.MANAGED_BY: "uv-argo-magic"}}
    manifest["spec"]["podMetadata"] = {"labels": {run_metadata.MANAGED_BY: "uv-argo-magic"}}
    manifest["spec"] |= {"automountServiceAccountToken": False, "executor": {"serviceAccountName": EXECUTOR}}
    manifest["spec"]["arguments"] = {
        "parameters": [
            {"name": parameter, **({} if default is None else {"value": default})}
            for parameter, default in parameters.items()
        ]
    }
    template = manifest["spec"]["templates"][0]
    template["script"]["source"] = source
    # Users can change the workflow's deadline, but not this one.
    template["activeDeadlineSeconds"] = manifest["spec"]["activeDeadlineSeconds"]
    return manifest


FILES = {
    "cell-template.yaml": (no_program, cell),
    f"{PROCESSOR}.yaml": (processor,),
    f"examples/{PROCESSOR}.workflow.yaml": (processor_workflow,),
}
"""File in deploy/ -> the functions that create its documents."""
