"""Every setting with its default and help, and the resources that a cell can request."""

from __future__ import annotations

from dataclasses import field, fields, replace
from typing import Any, TypeVar

from uv_argo_magic.core.frozen import frozen

MIB = 1024 * 1024
GROUPS = ("common", "install", "cluster", "advanced")
"""The groups of the settings, in the order of the help."""
Group = TypeVar("Group")


def _setting(
    default: object, group: str, text: str, *, example: str = "", unit: str = "", private: bool = False
) -> Any:
    """A dataclass field for a setting, with its group and help.

    `unit` is "bytes" for sizes, `example` a value for error messages. The value of a `private` setting can be a secret,
    and is not part of a `repr`.
    """
    metadata = {"group": group, "help": text, "unit": unit} | ({"example": example} if example else {})
    return field(default=default, metadata=metadata, repr=not private)


@frozen
class Settings:
    """Every setting: `--set KEY=VALUE`, `%config ArgoMagics.KEY`, `UV_ARGO_KEY` or a configuration file.

    Times are seconds and sizes bytes; 0 means no limit unless the help differs.
    """

    variables: tuple[tuple[str, str], ...] = _setting(
        (), "common", "environment variables of the cell, as NAME=VALUE", example="MODE=test", private=True
    )
    keep: float = _setting(
        1800.0, "common", "time without a cell after which a session ends (0: with the kernel)", example="2h"
    )
    gpu_keep: float = _setting(
        300.0, "common", "like keep, for sessions in pods with a GPU whose cells do not set keep (0: same as keep)"
    )
    max_age: float = _setting(0.0, "common", "time after which a session ends", example="12h")
    max_sessions: int = _setting(20, "advanced", "maximum number of live sessions on this machine")
    output_lines: int = _setting(1000, "common", "lines of long output to show from its start and from its end")
    panel: str = _setting("auto", "common", "type of the panel: auto, widget, html, static, text or none")
    push: str = _setting("", "common", "auto sends the variables that cells read and do not define", example="auto")
    auto_push_limit: int = _setting(MIB, "advanced", "maximum size of each variable of push=auto", unit="bytes")
    run_timeout: float = _setting(0.0, "common", "time limit of the cell (like --timeout)")
    value_limit: int = _setting(1024 * MIB, "common", "maximum size of pushed or pulled values", unit="bytes")

    yes: bool = _setting(False, "common", "answer yes to the questions of a package policy")

    allow_urls: bool = _setting(True, "install", "allow `name @ https://...` requirements")
    base: str = _setting(
        "", "install", 'image whose packages the cell can import, or "own" for those of the Python that runs the cell'
    )
    constraints: tuple[str, ...] = _setting((), "install", "version constraints (like `uv --constraint`)")
    env: str = _setting(
        "",
        "install",
        "kind of environment: ephemeral (removed with the run), persistent (a venv that stays) or shared (in the "
        "store, for all runs with the same lock); the default is shared if there is a store, else ephemeral",
    )
    exclude_newer: str = _setting("", "install", 'ignore packages uploaded after a date or within a span ("30 days")')
    find_links: tuple[str, ...] = _setting(
        (), "install", "folders or pages with wheels (like `uv --find-links`)", example="/wheels"
    )
    index_url: str = _setting("", "install", "package index URL (like `uv --default-index`)", private=True)
    indexes: tuple[tuple[str, str], ...] = _setting(
        (), "install", "additional indexes, searched before index_url, as NAME=URL", private=True
    )
    install_timeout: float = _setting(1800.0, "install", "time limit of the install")
    locked: bool = _setting(False, "install", "use only this notebook's stored lock; fail if there is none")
    offline: bool = _setting(False, "install", "use only uv's cache, without network access")
    only_binary: bool = _setting(True, "install", "install wheels only, never build from source")
    overrides: tuple[str, ...] = _setting((), "install", "version overrides (like `uv --override`)")
    prerelease: str = _setting(
        "", "install", "pre-release strategy: allow, disallow, if-necessary or explicit (like `uv --prerelease`)"
    )
    python_downloads: str = _setting(
        "never",
        "install",
        "whether to install a Python that is not on this machine: never or automatic (like `uv python install`)",
    )
    resolution: str = _setting(
        "", "install", "resolution strategy: highest, lowest or lowest-direct (like `uv --resolution`)"
    )

    torch_backend: str = _setting(
        "", "install", "PyTorch build: cpu, cu128, rocm6.4 and so on (like `uv --torch-backend`)", example="cu128"
    )
    venv: str = _setting(
        "",
        "install",
        "path of a persistent environment to use or create; implies env=persistent",
        example="/data/.venv",
    )

    cache: str = _setting(
        "",
        "cluster",
        "volume that keeps uv's cache for later installs, as claim/NAME or host/PATH",
        example="claim/uv-cache",
    )
    context: str = _setting("", "cluster", "kubeconfig context of the cluster")
    image: str = _setting("", "cluster", "container image (must include uv); give its Python with --python X.Y.Z")
    images: tuple[tuple[str, str], ...] = _setting((), "cluster", "container images by Python version, as X.Y.Z=IMAGE")
    index_secrets: tuple[tuple[str, str], ...] = _setting(
        (),
        "cluster",
        "Secrets (keys: username, password) of indexes, as INDEX=SECRET; implies shape=init",
        example="corp=my-secret",
    )
    kubeconfig: str = _setting("", "cluster", "path of the kubeconfig file, instead of KUBECONFIG or ~/.kube/config")
    labels: tuple[tuple[str, str], ...] = _setting(
        (), "cluster", "labels of the workflow and its pods, as KEY=VALUE", example="team=blue"
    )
    namespace: str = _setting("", "cluster", "Kubernetes namespace, instead of the context's")
    node_selector: tuple[tuple[str, str], ...] = _setting(
        (), "cluster", "node labels that the pod requires, as KEY=VALUE", example="disk=ssd"
    )
    retries: int = _setting(0, "cluster", "number of retries of a failed cell, each in a new pod", example="2")
    secret_env: tuple[tuple[str, str], ...] = _setting(
        (), "cluster", "environment variables from Secrets, as NAME=SECRET/KEY", example="TOKEN=my-secret/token"
    )
    secret_files: tuple[tuple[str, str], ...] = _setting(
        (), "cluster", "Secrets to mount as folders, as PATH=SECRET", example="/etc/keys=my-secret"
    )
    server: str = _setting("", "cluster", "Argo Server to use instead of the Kubernetes API, as HOST:PORT")
    service_account: str = _setting("", "cluster", "service account of the pod")
    service_account_token: bool = _setting(False, "cluster", "let the cell read the token of the pod's service account")
    shape: str = _setting(
        "script",
        "cluster",
        "how packages are installed: script (with the image's uv), runtime (uv is installed first, for an image "
        "without it) or init (in an init container; the cell's container needs no uv and has no index credentials)",
    )
    store: str = _setting(
        "",
        "cluster",
        "volume that keeps environments for later runs, as claim/NAME or host/PATH",
        example="claim/environments",
    )
    template: str = _setting(
        "", "cluster", "WorkflowTemplate to run cells with, from your administrator", example="uv-argo-cell"
    )
    tolerations: tuple[str, ...] = _setting(
        (), "cluster", "tolerations, as KEY=VALUE:EFFECT", example="gpu=true:NoSchedule"
    )
    volumes: tuple[tuple[str, str], ...] = _setting(
        (),
        "cluster",
        "volumes to mount, as PATH=claim/NAME, claim/NAME:ro, empty/SIZE or memory/SIZE",
        example="/data=claim/data:ro",
    )

    concurrent_builds: int = _setting(
        0, "advanced", "maximum number of packages that uv builds at once (0: chosen by uv)", example="1"
    )
    concurrent_downloads: int = _setting(
        0, "advanced", "maximum number of downloads of uv at once (0: chosen by uv)", example="4"
    )
    concurrent_installs: int = _setting(
        0, "advanced", "number of threads with which uv installs and unpacks (0: chosen by uv)", example="2"
    )
    deadline: float = _setting(86400.0, "advanced", "maximum lifetime of a workflow, including the time it is pending")
    early_output: bool = _setting(
        True, "advanced", "read the first output of a cell through a port-forward, if allowed"
    )
    executor_patch: str = _setting(
        "auto", "advanced", 'Argo containers to patch for Pod Security "restricted": auto, init, supervisor or none'
    )
    disruption: str = _setting(
        "auto",
        "advanced",
        "whether autoscalers may move the pod to another node: allow, prevent or auto (prevent for sessions)",
    )
    gpu_resource: str = _setting("nvidia.com/gpu", "advanced", "resource name used for --gpu")
    history: int = _setting(200, "advanced", "number of runs to keep in the history")
    image_pull_secrets: tuple[str, ...] = _setting(
        (), "advanced", "Secrets for private image registries", example="registry-login"
    )
    install_disk: int = _setting(0, "advanced", "maximum size of the installed packages", unit="bytes")
    install_image: str = _setting("", "advanced", "image that installs with shape=init; needs uv and the same Python")
    install_memory: int = _setting(0, "advanced", "memory limit of the install", unit="bytes")
    log_budget: int = _setting(
        8 * MIB, "advanced", "maximum log size; longer logs keep only head and tail", unit="bytes"
    )
    patch: str = _setting("", "advanced", "YAML or JSON file to merge into the workflow", example="patch.yaml")
    pending_timeout: float = _setting(0.0, "advanced", "maximum time a pod may be pending (Argo 4.1)")
    platform: str = _setting(
        "x86_64-manylinux_2_28", "advanced", "platform of the image and its nodes (like `uv --python-platform`)"
    )
    pod_gc: str = _setting("never", "advanced", 'Argo `podGC` strategy, or "never" to keep pods with their workflow')
    pod_gc_delay: float = _setting(600.0, "advanced", "time to keep a pod before podGC deletes it")
    run_as_user: int = _setting(1000, "advanced", "user ID of the pod (0: chosen by the cluster)", example="1000")
    semaphore: str = _setting("", "advanced", "limit of concurrent runs, as CONFIGMAP/KEY", example="limits/cells")
    start_timeout: float = _setting(300.0, "advanced", "maximum time to wait for a missing image, Secret or claim")
    ttl: float = _setting(3600.0, "advanced", "time to keep a finished workflow and its log")

    own: tuple[tuple[str, object], ...] = ()
    """(name, value) of the settings declared by backends of other packages; see `of`."""

    def of(self, group: type[Group]) -> Group:
        """The settings that a backend declared with the dataclass `group`."""
        names = {field.name for field in fields(group)}  # type: ignore[arg-type]  # a TypeVar cannot say "a dataclass"
        return group(**{name: value for name, value in self.own if name in names})

    @property
    def for_own_cell(self) -> Settings:
        """The settings for a cell of this package: where and how its pod runs, without what is for the user's cells."""
        return replace(
            self, env="", venv="", shape="script", cache="", index_secrets=(), push="", variables=(), secret_env=(),
            secret_files=(), volumes=(), retries=0, run_timeout=0.0, log_budget=0,
        )  # fmt: skip

    @property
    def separate_install(self) -> bool:
        """Whether an init container installs the packages: with shape=init, or to hide credentials from the cell."""
        return self.shape == "init" or bool(self.index_secrets)

    @property
    def environment(self) -> str:
        """The kind of environment; "" if the backend chooses."""
        return "persistent" if self.venv else self.env


@frozen
class Resources:
    """CPU, memory, GPU and disk to request, as Kubernetes quantities ("500m", "2Gi").

    A range ("1Gi..4Gi") is a request and a limit.
    """

    cpu: str = ""
    memory: str = ""
    gpu: str = ""
    disk: str = ""
