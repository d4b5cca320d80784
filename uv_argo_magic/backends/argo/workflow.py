"""Program and RunSpec -> the Workflow that runs it, as a dict: written with Hera, sent as JSON.

Rules:
- Pure but for the import of Hera, which takes a second and happens on first use.
- No user text stands in a manifest: the program is base64 and a fixed bootstrap, because Argo substitutes `{{...}}`
  over the whole template and over the pod.
- Fit for the Pod Security level `restricted`, Argo's own containers included.
- Nothing is tried again but by the setting `retries`: a cell runs at most once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import cluster_features, run_metadata
from uv_argo_magic.backends.argo.hera import hera
from uv_argo_magic.backends.kubernetes import images, pod
from uv_argo_magic.core.spec.program import PAYLOAD_LIMIT
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings

TEMPLATE = "cell"
RESERVED_PATHS = ("/argo", "/argo-bin", "/var/run/argo")
"""Where Argo mounts its own volumes."""
LARGEST = 900 * 1024
"""Bytes of program text that a ConfigMap takes beside its own fields; the API's limit is 1 MiB."""
_OPEN = f"""\
# The program of this cell is too large for a Workflow, and lies in a ConfigMap.
with open("{pod.PROGRAM}/@NAME@", encoding="ascii") as file:
    program = file.read()
exec(compile(program, "{pod.PROGRAM}/@NAME@", "exec"))
"""
CELL, INSTALL = "program.py", "install.py"
"""The texts of a run: what the container main runs, and the one before it, where there is one."""
_PYTHON = ("python3", "-I", "-S")


def build(  # noqa: PLR0913 - what a Workflow hangs on
    program: Program,
    spec: RunSpec,
    *,
    run_id: str,
    image: str,
    notebook: str = "",
    server: cluster_features.Server | None = None,
    patch: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The Workflow of one run in `image`, for such a server, with a user's patch; the API gives it its name.

    Raises:
        SpecError: the program is too large for a Workflow, or a setting cannot be used.
    """
    texts = _texts(program, spec.settings)
    if (size := sum(map(len, texts.values()))) > LARGEST:
        raise SpecError(
            f"the cell and what it pushes take {size:,} bytes, and a cluster takes {LARGEST:,} at most",
            hint="Push less (--push), or have the cell read its data from where it lies.",
        )
    settings = spec.settings
    server = server or cluster_features.Server()
    workflows, models = hera()
    separate_install = INSTALL in texts
    mounts = pod.mounts(settings, spec.resources, separate_install=separate_install, reserved=RESERVED_PATHS)
    if large(program, settings):
        texts = {name: _OPEN.replace("@NAME@", name) for name in texts}
        config_map = {"configMap": {"name": config_map_name(run_id)}}
        mounts += (pod.Mount(name="program", path=pod.PROGRAM, source=config_map, read_only=True),)
    labels = run_metadata.labels(settings, run_id)
    user = settings.run_as_user or None
    made: dict[str, Any] = workflows.Workflow(
        api_version="argoproj.io/v1alpha1",
        generate_name=run_metadata.GENERATE,
        entrypoint=TEMPLATE,
        labels=labels,
        annotations=run_metadata.annotate(program, spec, notebook),
        pod_metadata=models.Metadata(labels=labels),
        service_account_name=settings.service_account or None,
        image_pull_secrets=[models.LocalObjectReference(name=name) for name in settings.image_pull_secrets] or None,
        active_deadline_seconds=_deadline(spec) or None,
        ttl_strategy=models.TTLStrategy(seconds_after_completion=math.ceil(settings.ttl)),
        pod_gc=_pod_gc(settings),
        node_selector={**dict(settings.node_selector), "kubernetes.io/arch": images.architecture(settings)},
        tolerations=[models.Toleration(**one) for one in pod.tolerations(settings)] or None,
        security_context=models.PodSecurityContext(
            run_as_non_root=True,
            run_as_user=user,
            run_as_group=user,
            fs_group=user,
            seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
        ),
        templates=[
            workflows.Script(
                name=TEMPLATE,
                image=image,
                command=list(_PYTHON),
                source=texts[CELL],
                env=[
                    models.EnvVar(**one)
                    for one in (*pod.environment(settings, "run" if separate_install else ""), *pod.secrets(settings))
                ],
                resources=models.ResourceRequirements(
                    **pod.resource_requirements(spec.resources, settings.gpu_resource)
                ),
                volumes=[models.Volume(name=one.name, **one.source) for one in mounts],
                volume_mounts=_mounted(one for one in mounts if one.name != pod.INSTALL_TMP),
                init_containers=[_installing(spec, mounts, texts[INSTALL], image)] if separate_install else None,
                **_container(),
                retry_strategy=_retries(settings),
                synchronization=_synchronization(settings),
                pod_spec_patch=cluster_features.pod_spec_patch(server),
            )
        ],
    ).to_dict()
    if settings.pending_timeout and server.pending_timeout:
        # Younger than Hera's models, which drop what they do not know.
        made["spec"]["templates"][0]["pendingTimeout"] = f"{math.ceil(settings.pending_timeout)}s"
    return cluster_features.patched(made, patch) if patch else made


def _texts(program: Program, settings: Settings) -> dict[str, str]:
    """What each container of ours runs, by the names that these texts have in a ConfigMap."""
    if settings.separate_install and program.install:
        return {INSTALL: program.install_source, CELL: program.cell_source}
    return {CELL: program.source}


def _installing(spec: RunSpec, mounts: tuple[pod.Mount, ...], text: str, image: str) -> Any:
    """The container that makes the environment, and alone has the credentials of the index."""
    _, models = hera()
    settings = spec.settings
    return models.UserContainer(
        name="install",
        image=images.installer(spec.python, settings, image),
        command=[*_PYTHON, "-c", text],
        env=[models.EnvVar(**one) for one in (*pod.environment(settings, "install"), *pod.credentials(settings))],
        resources=models.ResourceRequirements(**pod.resource_requirements(replace(spec.resources, gpu=""), "")),
        volume_mounts=_mounted(pod.install_mounts(mounts)),
        **_container(),
    )


def _container() -> dict[str, Any]:
    """What every container of ours has."""
    _, models = hera()
    return {
        "image_pull_policy": "IfNotPresent",
        "security_context": models.SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=models.Capabilities(drop=["ALL"]),
        ),
    }


def _mounted(mounts: Iterable[pod.Mount]) -> list[Any]:
    _, models = hera()
    return [models.VolumeMount(name=one.name, mount_path=one.path, read_only=one.read_only or None) for one in mounts]


def _retries(settings: Settings) -> Any:
    """A pod for each attempt, whatever ended the one before; None: the cell runs once."""
    if not settings.retries:
        return None
    _, models = hera()
    # No largest duration: Argo would take it for a deadline of the cell itself.
    return models.RetryStrategy(
        limit=str(settings.retries), retry_policy="Always", backoff=models.Backoff(duration="5s", factor=2)
    )


def _synchronization(settings: Settings) -> Any:
    found = _semaphore(settings)
    if found is None:
        return None
    _, models = hera()
    reference = models.ConfigMapKeySelector(name=found[0], key=found[1])
    return models.Synchronization(semaphores=[models.SemaphoreRef(config_map_key_ref=reference)])


def _semaphore(settings: Settings) -> tuple[str, str] | None:
    """(name, key) of the ConfigMap that limits how many cells run.

    Raises:
        SpecError: it names no key of a ConfigMap.
    """
    if not settings.semaphore:
        return None
    name, slash, key = settings.semaphore.partition("/")
    if not (name and slash and key):
        raise SpecError(
            f"semaphore: {settings.semaphore} names no key of a ConfigMap", hint="Write --set semaphore=CONFIGMAP/KEY."
        )
    return name, key


def _pod_gc(settings: Settings) -> Any:
    """When ended pods go before their workflow, with the time that their logs are still read."""
    if settings.pod_gc == "never":
        return None
    _, models = hera()
    delay = f"{math.ceil(settings.pod_gc_delay)}s"
    return models.PodGC(strategy=settings.pod_gc, delete_delay_duration=delay)


def large(program: Program, settings: Settings) -> bool:
    """Whether the program travels in a ConfigMap."""
    return sum(map(len, _texts(program, settings).values())) > PAYLOAD_LIMIT


def companion(program: Program, spec: RunSpec, *, run_id: str, workflow: str = "", uid: str = "") -> dict[str, Any]:
    """The ConfigMap that carries a program too large for the Workflow, which owns it and takes it along.

    It is created after the Workflow: the kubelet retries to mount what is missing. Without a `uid` it has no owner.
    """
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": workflow, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(workflow if spec.settings.template else run_id),
            "labels": {run_metadata.MANAGED_BY: "uv-argo-magic", run_metadata.RUN_LABEL: run_id},
            **({"ownerReferences": [owner]} if uid else {}),
        },
        "data": _texts(program, spec.settings),
    }


def config_map_name(run: str) -> str:
    """The ConfigMap of a large program: by the run's id, or by the workflow's name where a template mounts it."""
    return f"uv-argo-program-{run}"


def _deadline(spec: RunSpec) -> int:
    """Seconds from the workflow's start to its end, whatever the client does; 0: none.

    A limit of the cell or the install is the guest's to keep, which still tells how it ended; this is for what the
    guest cannot end: a pod that never starts, a node that hangs.
    """
    return math.ceil(spec.settings.deadline)
