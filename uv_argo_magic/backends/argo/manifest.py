"""Program and RunSpec -> the Workflow that runs it, as a dict: written with Hera, sent as JSON.

Rules:
- Pure but for the import of Hera, which takes a second and happens on first use.
- No user text stands in a manifest: the program is base64 and a fixed bootstrap, because Argo substitutes `{{...}}`
  over the whole template and over the pod.
- Fit for the Pod Security level `restricted`, Argo's own containers included.
- Nothing is tried again by itself: a cell runs at most once.
"""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import images
from uv_argo_magic.core.program import PAYLOAD_LIMIT
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from uv_argo_magic.core.program import Program
    from uv_argo_magic.core.spec import Resources, RunSpec

RUN_LABEL = "uv-argo-magic/run"
SCHEMA = 1
"""Of what this package writes into a workflow's metadata, by which a run is found again from anywhere."""
SCHEMA_NOTE = "uv-argo-magic/schema"
NONCE_NOTE = "uv-argo-magic/nonce"
CELL_NOTE = "uv-argo-magic/cell"
NOTEBOOK_NOTE = "uv-argo-magic/notebook"
LONGEST_NAME = 1000
"""Characters of a notebook's path that are kept."""
MANAGED_BY = "app.kubernetes.io/managed-by"
TEMPLATE = "cell"
DISK = "10Gi"
"""What /tmp may hold where --resources disk says nothing: cache, tree and working folder of one run."""
LARGEST = 900 * 1024
"""Bytes of program text that a ConfigMap takes beside its own fields; the API's limit is 1 MiB."""
MOUNTED = "/uv-argo"
_OPEN = f"""\
# The program of this cell is too large for a Workflow, and lies in a ConfigMap.
with open("{MOUNTED}/program.py", encoding="ascii") as file:
    program = file.read()
exec(compile(program, "{MOUNTED}/program.py", "exec"))
"""
ENVIRONMENT = {
    # A user id without an entry in the image's passwd has neither of the two.
    "HOME": "/tmp",  # noqa: S108 - a volume of this pod alone
    "USER": "uv-argo",
    "TMPDIR": "/tmp",  # noqa: S108
    "UV_ARGO_STORE": "/tmp/uv-argo-store",  # noqa: S108
    "UV_CACHE_DIR": "/tmp/uv-cache",  # noqa: S108
}
"""What the program finds there besides the image's own."""

_CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Argo makes these two containers itself, and only a patch reaches their security context.
PATCH = json.dumps(
    {
        "initContainers": [{"name": "init", "securityContext": _CONTAINER}],
        "containers": [{"name": "wait", "securityContext": _CONTAINER}],
    }
)


def workflow(program: Program, spec: RunSpec, *, run_id: str, image: str, notebook: str = "") -> dict[str, Any]:
    """The Workflow of one run in `image`; the API gives it its name.

    Raises:
        SpecError: the program is too large for a Workflow, or the platform cannot be read.
    """
    source = program.source
    if len(source) > LARGEST:
        raise SpecError(
            f"the cell and what it pushes take {len(source):,} bytes, and a cluster takes {LARGEST:,} at most",
            hint="Push less (--push), or have the cell read its data from where it lies.",
        )
    settings = spec.settings
    hera, models = _hera()
    volumes = [hera.EmptyDirVolume(name="tmp", mount_path="/tmp", size_limit=spec.resources.disk or DISK)]  # noqa: S108
    if len(source) > PAYLOAD_LIMIT:
        source = _OPEN
        volumes.append(hera.ConfigMapVolume(name=_name(run_id), mount_path=MOUNTED, read_only=True))
    labels = {MANAGED_BY: "uv-argo-magic", RUN_LABEL: run_id}
    deadline = _deadline(spec)
    user = settings.run_as_user or None
    made: dict[str, Any] = hera.Workflow(
        api_version="argoproj.io/v1alpha1",
        generate_name="uv-argo-",
        entrypoint=TEMPLATE,
        labels=labels,
        # On the workflow alone: whoever attaches to the run reads them, and Argo never substitutes anything in them.
        annotations={
            SCHEMA_NOTE: str(SCHEMA),
            NONCE_NOTE: program.nonce,
            CELL_NOTE: spec.cell_digest,
            **({NOTEBOOK_NOTE: notebook[:LONGEST_NAME]} if notebook else {}),
        },
        pod_metadata=models.Metadata(labels=labels),
        service_account_name=settings.service_account or None,
        active_deadline_seconds=deadline or None,
        ttl_strategy=models.TTLStrategy(seconds_after_completion=math.ceil(settings.ttl)),
        node_selector={"kubernetes.io/arch": images.architecture(settings)},
        security_context=models.PodSecurityContext(
            run_as_non_root=True,
            run_as_user=user,
            run_as_group=user,
            fs_group=user,
            seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
        ),
        templates=[
            hera.Script(
                name=TEMPLATE,
                image=image,
                image_pull_policy="IfNotPresent",
                command=["python3", "-I", "-S"],
                source=source,
                env=[models.EnvVar(name=name, value=value) for name, value in ENVIRONMENT.items()],
                resources=models.ResourceRequirements(**_resources(spec.resources)),
                volumes=volumes,
                security_context=models.SecurityContext(
                    allow_privilege_escalation=False,
                    read_only_root_filesystem=True,
                    capabilities=models.Capabilities(drop=["ALL"]),
                ),
                pod_spec_patch=PATCH,
            )
        ],
    ).to_dict()
    return made


def companion(program: Program, *, run_id: str, workflow: str = "", uid: str = "") -> dict[str, Any] | None:
    """The ConfigMap that carries a program too large for the Workflow, which owns it and takes it along; else None.

    It is made after the Workflow: the kubelet tries again to mount what is not there yet. One without a `workflow`
    belongs to nobody.
    """
    if len(program.source) <= PAYLOAD_LIMIT:
        return None
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": workflow, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _name(run_id),
            "labels": {MANAGED_BY: "uv-argo-magic", RUN_LABEL: run_id},
            **({"ownerReferences": [owner]} if workflow else {}),
        },
        "data": {"program.py": program.source},
    }


def _name(run_id: str) -> str:
    return f"uv-argo-{run_id}"


def _deadline(spec: RunSpec) -> int:
    """Seconds from the workflow's start to its end, whatever the client does; 0: none.

    A limit of the cell or the install is the guest's to keep, which still tells how it ended; this is for what the
    guest cannot end: a pod that never starts, a node that hangs.
    """
    return math.ceil(spec.settings.deadline)


def _resources(wanted: Resources) -> dict[str, dict[str, str]]:
    """Requests and limits alike: what is promised is what may be used."""
    amounts = dict(_amounts(wanted))
    return {"requests": amounts, "limits": dict(amounts)} if amounts else {}


def _amounts(wanted: Resources) -> Iterator[tuple[str, str]]:
    names = {"cpu": "cpu", "memory": "memory", "gpu": "nvidia.com/gpu", "disk": "ephemeral-storage"}
    for field, name in names.items():
        if amount := getattr(wanted, field):
            yield name, amount


def _hera() -> tuple[ModuleType, ModuleType]:
    """Hera, and its models; PyYAML is left as it was, for the user's own YAML is written in the same process."""
    if "hera.workflows" not in sys.modules:
        import yaml  # noqa: PLC0415 - only a run on a cluster needs it

        classes = [yaml.Dumper, yaml.SafeDumper, yaml.representer.SafeRepresenter, yaml.representer.Representer]
        before = [(cls, dict(cls.yaml_representers)) for cls in classes]
        import hera.workflows  # noqa: PLC0415 - the same

        for cls, representers in before:
            cls.yaml_representers = representers
    import hera.workflows as hera  # noqa: PLC0415
    from hera.workflows import models  # noqa: PLC0415

    return hera, models
