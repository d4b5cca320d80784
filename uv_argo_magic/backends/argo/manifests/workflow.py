"""Build the Workflow that runs a Program, as a dict; it is written with Hera and sent as JSON.

Rules:
- The functions are pure except for the import of Hera, which takes a second and happens on first use.
- A manifest contains no text of the user, because Argo expands `{{...}}` in the whole template and in the pod. The
  program is base64 and a fixed bootstrap.
- A Workflow complies with the Pod Security level `restricted`, including Argo's own containers.
- A cell runs at most once; Argo retries it only with the setting `retries`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import cluster_features
from uv_argo_magic.backends.argo.manifests import run_metadata
from uv_argo_magic.backends.argo.manifests.hera import hera
from uv_argo_magic.backends.kubernetes import images, pod
from uv_argo_magic.core.spec.program import PAYLOAD_LIMIT
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.backends.sessions import WorkerOptions
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings

TEMPLATE = "cell"
NAME = "{{workflow.name}}"
"""Argo replaces this by the name of the workflow, which the API server chooses."""
RESERVED_PATHS = ("/argo", "/argo-bin", "/var/run/argo")
"""The mount paths of Argo's own volumes."""
MAX_SIZE = 900 * 1024
"""Maximum size of the program in bytes: a ConfigMap can have 1 MiB including its other fields."""
_OPEN = f"""\
# The program of this cell is too large for a Workflow: it is in a ConfigMap.
with open("{pod.PROGRAM}/@NAME@", encoding="ascii") as file:
    program = file.read()
exec(compile(program, "{pod.PROGRAM}/@NAME@", "exec"))
"""
CELL, INSTALL = "program.py", "install.py"
"""The files with the sources of the main container and of the install container, if there is one."""
_PYTHON = ("python3", "-I", "-S")


def build_session(  # noqa: PLR0913 - everything that a Workflow depends on
    program: Program,
    spec: RunSpec,
    options: WorkerOptions,
    *,
    worker: str,
    image: str,
    features: cluster_features.Features | None = None,
    patch: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The Workflow of a session; `worker` is the value of UV_ARGO_SESSION in its container.

    Raises:
        SpecError: a setting is invalid.
    """
    return _build(
        # A second pod would be another session.
        replace(spec, settings=replace(spec.settings, retries=0)),
        {CELL: program.worker_source},
        labels=run_metadata.session_labels(spec.settings, options),
        annotations=run_metadata.annotate_session(options),
        pod_annotations={**run_metadata.annotate_pod(options), **pod.disruption(spec.settings, is_session=True)},
        image=image,
        more_variables=({"name": "UV_ARGO_SESSION", "value": worker},),
        features=features,
        patch=patch,
    )


def build(  # noqa: PLR0913 - everything that a Workflow depends on
    program: Program,
    spec: RunSpec,
    *,
    run_id: str,
    image: str,
    notebook: str = "",
    early: str = "",
    features: cluster_features.Features | None = None,
    patch: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The Workflow of one run in `image`, for an Argo with these features, with the user's patch; the API names it.

    `early` is the value of UV_ARGO_EARLY in the container; "" for no early output.

    Raises:
        SpecError: the program is too large, or a setting is invalid.
    """
    sources = _container_sources(program, spec.settings)
    if (size := sum(map(len, sources.values()))) > MAX_SIZE:
        raise SpecError(
            f"the cell and its pushed values have {size:,} bytes; the maximum on a cluster is {MAX_SIZE:,}",
            hint="Push less (--push), or let the cell read the data itself.",
        )
    labels = run_metadata.labels(spec.settings, run_id)
    annotations = run_metadata.annotate(program, spec, notebook)
    program_volume: tuple[pod.Mount, ...] = ()
    if needs_config_map(program, spec.settings):
        sources = {name: _OPEN.replace("@NAME@", name) for name in sources}
        config_map = {"configMap": {"name": config_map_name(run_id)}}
        program_volume = (pod.Mount(name="program", path=pod.PROGRAM, source=config_map, read_only=True),)
    return _build(
        spec, sources, labels=labels, annotations=annotations, image=image, more_mounts=program_volume,
        more_variables=({"name": "UV_ARGO_EARLY", "value": early},) if early else (),
        pod_annotations=pod.disruption(spec.settings, is_session=False), features=features, patch=patch,
    )  # fmt: skip


def _build(  # noqa: PLR0913 - as above
    spec: RunSpec,
    sources: Mapping[str, str],
    *,
    labels: dict[str, str],
    annotations: dict[str, str],
    pod_annotations: dict[str, str],
    image: str,
    more_mounts: tuple[pod.Mount, ...] = (),
    more_variables: tuple[dict[str, Any], ...] = (),
    features: cluster_features.Features | None,
    patch: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The Workflow whose containers run these sources."""
    settings = spec.settings
    features = features or cluster_features.Features()
    workflows, models = hera()
    manifest: dict[str, Any] = workflows.Workflow(
        api_version="argoproj.io/v1alpha1",
        generate_name=run_metadata.GENERATE,
        entrypoint=TEMPLATE,
        labels=labels,
        annotations=annotations,
        pod_metadata=models.Metadata(labels=labels, annotations=pod_annotations or None),
        service_account_name=settings.service_account or None,
        image_pull_secrets=[models.LocalObjectReference(name=name) for name in settings.image_pull_secrets] or None,
        active_deadline_seconds=_deadline(spec) or None,
        ttl_strategy=models.TTLStrategy(seconds_after_completion=math.ceil(settings.ttl)),
        pod_gc=_pod_gc(settings),
        node_selector={**dict(settings.node_selector), "kubernetes.io/arch": images.architecture(settings)},
        tolerations=[models.Toleration(**toleration) for toleration in pod.tolerations(settings)] or None,
        security_context=_pod_security(settings),
        templates=[_template(spec, sources, image, more_mounts, more_variables, features)],
    ).to_dict()
    if settings.pending_timeout and features.pending_timeout:
        # Hera's models do not know this field yet, and would drop it.
        manifest["spec"]["templates"][0]["pendingTimeout"] = f"{math.ceil(settings.pending_timeout)}s"
    return cluster_features.apply_patch(manifest, patch) if patch else manifest


def _pod_security(settings: Settings) -> Any:
    _, models = hera()
    user = settings.run_as_user or None
    return models.PodSecurityContext(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=user,
        fs_group=user,
        seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
    )


def _template(
    spec: RunSpec,
    sources: Mapping[str, str],
    image: str,
    more_mounts: tuple[pod.Mount, ...],
    more_variables: tuple[dict[str, Any], ...],
    features: cluster_features.Features,
) -> Any:
    """The pod with the containers that run these sources, and its volumes."""
    settings = spec.settings
    workflows, models = hera()
    separate_install = INSTALL in sources
    mounts = pod.mounts(settings, spec.resources, separate_install=separate_install, reserved=RESERVED_PATHS)
    mounts += more_mounts
    variables = (
        *pod.environment(settings, "run" if separate_install else "", NAME),
        *pod.secrets(settings),
        *more_variables,
    )
    return workflows.Script(
        name=TEMPLATE,
        image=image,
        command=list(_PYTHON),
        source=sources[CELL],
        env=[models.EnvVar(**variable) for variable in variables],
        resources=models.ResourceRequirements(**pod.resource_requirements(spec.resources, settings.gpu_resource)),
        volumes=[models.Volume(name=mount.name, **mount.source) for mount in mounts],
        volume_mounts=_volume_mounts(pod.cell_mounts(mounts, separate_install=separate_install)),
        init_containers=[_install_container(spec, mounts, sources[INSTALL], image)] if separate_install else None,
        **_container_defaults(),
        retry_strategy=_retry_strategy(settings),
        synchronization=_synchronization(settings),
        pod_spec_patch=cluster_features.pod_spec_patch(features),
    )


def _container_sources(program: Program, settings: Settings) -> dict[str, str]:
    """The source of each of our containers, by its key in a ConfigMap."""
    if settings.separate_install and program.install:
        return {INSTALL: program.install_source, CELL: program.cell_source}
    return {CELL: program.source}


def _install_container(spec: RunSpec, mounts: tuple[pod.Mount, ...], source: str, image: str) -> Any:
    """The container that builds the environment; it is the only one with the index's credentials."""
    _, models = hera()
    settings = spec.settings
    return models.UserContainer(
        name="install",
        image=images.installer(spec.python, settings, image),
        command=[*_PYTHON, "-c", source],
        env=[models.EnvVar(**one) for one in (*pod.environment(settings, "install"), *pod.credentials(settings))],
        resources=models.ResourceRequirements(**pod.resource_requirements(replace(spec.resources, gpu=""), "")),
        volume_mounts=_volume_mounts(pod.install_mounts(mounts, settings)),
        **_container_defaults(),
    )


def _container_defaults() -> dict[str, Any]:
    """The fields that all our containers have."""
    _, models = hera()
    return {
        "image_pull_policy": "IfNotPresent",
        "security_context": models.SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=models.Capabilities(drop=["ALL"]),
        ),
    }


def _volume_mounts(mounts: Iterable[pod.Mount]) -> list[Any]:
    _, models = hera()
    return [
        models.VolumeMount(name=mount.name, mount_path=mount.path, read_only=mount.read_only or None)
        for mount in mounts
    ]


def _retry_strategy(settings: Settings) -> Any:
    """A new pod for each attempt, whatever ended the last one; None if the cell is not retried."""
    if not settings.retries:
        return None
    _, models = hera()
    # No maxDuration, because Argo would apply it to the cell as well.
    return models.RetryStrategy(
        limit=str(settings.retries), retry_policy="Always", backoff=models.Backoff(duration="5s", factor=2)
    )


def _synchronization(settings: Settings) -> Any:
    semaphore = _semaphore(settings)
    if semaphore is None:
        return None
    _, models = hera()
    reference = models.ConfigMapKeySelector(name=semaphore[0], key=semaphore[1])
    return models.Synchronization(semaphores=[models.SemaphoreRef(config_map_key_ref=reference)])


def _semaphore(settings: Settings) -> tuple[str, str] | None:
    """(name, key) of the ConfigMap that limits the number of running cells.

    Raises:
        SpecError: the setting is not CONFIGMAP/KEY.
    """
    if not settings.semaphore:
        return None
    name, slash, key = settings.semaphore.partition("/")
    if not (name and slash and key):
        raise SpecError(f"invalid semaphore: {settings.semaphore}", hint="Write --set semaphore=CONFIGMAP/KEY.")
    return name, key


def _pod_gc(settings: Settings) -> Any:
    """When Argo deletes ended pods before their workflow, with a delay for reading their logs."""
    if settings.pod_gc == "never":
        return None
    _, models = hera()
    delay = f"{math.ceil(settings.pod_gc_delay)}s"
    return models.PodGC(strategy=settings.pod_gc, delete_delay_duration=delay)


def needs_config_map(program: Program, settings: Settings) -> bool:
    """Whether the program is too large for the Workflow itself."""
    return sum(map(len, _container_sources(program, settings).values())) > PAYLOAD_LIMIT


def config_map(program: Program, spec: RunSpec, *, run_id: str, workflow: str = "", uid: str = "") -> dict[str, Any]:
    """The ConfigMap with a program that is too large for the Workflow, which owns it: both are deleted together.

    It is created after the Workflow, since the kubelet retries a missing mount. Without a `uid` it has no owner.
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
        "data": _container_sources(program, spec.settings),
    }


def config_map_name(run: str) -> str:
    """The name of the ConfigMap of a large program, from the run's id, or with a template from the workflow's name."""
    return f"uv-argo-program-{run}"


def _deadline(spec: RunSpec) -> int:
    """Seconds after which Argo ends the workflow, whatever the client does; 0 for no limit.

    The guest enforces and reports the limits of the cell and the install. This limit covers the cases in which the
    guest cannot: a pod that never starts, or a node that hangs.
    """
    return math.ceil(spec.settings.deadline)
