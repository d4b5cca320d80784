"""Every setting with its default and help, and the resources that a cell can request."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting: `--set KEY=VALUE`, `%config ArgoMagics.KEY`, `UV_ARGO_KEY` or a configuration file.

    Times are seconds and sizes bytes; 0 means no limit unless the help differs. The metadata holds the help.
    """

    index_url: str = field(default="", metadata={"help": "package index URL (like `uv --default-index`)"})
    indexes: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "additional indexes, searched before index_url, as NAME=URL"}
    )
    locked: bool = field(
        default=False, metadata={"help": "use only this notebook's stored lock; fail if there is none"}
    )
    only_binary: bool = field(default=True, metadata={"help": "install wheels only, never build from source"})
    allow_urls: bool = field(default=True, metadata={"help": "allow `name @ https://...` requirements"})
    exclude_newer: str = field(
        default="", metadata={"help": 'ignore packages uploaded after a date or within a span ("30 days")'}
    )
    prerelease: str = field(
        default="",
        metadata={"help": "pre-release strategy: allow, disallow, if-necessary or explicit (like `uv --prerelease`)"},
    )
    resolution: str = field(
        default="", metadata={"help": "resolution strategy: highest, lowest or lowest-direct (like `uv --resolution`)"}
    )
    constraints: tuple[str, ...] = field(default=(), metadata={"help": "version constraints (like `uv --constraint`)"})
    overrides: tuple[str, ...] = field(default=(), metadata={"help": "version overrides (like `uv --override`)"})
    offline: bool = field(default=False, metadata={"help": "use only uv's cache, without network access"})
    run_timeout: float = field(default=0.0, metadata={"help": "maximum run time of the cell in seconds (0: no limit)"})
    install_timeout: float = field(
        default=1800.0, metadata={"help": "maximum time of the install in seconds (0: no limit)"}
    )
    install_memory: int = field(default=0, metadata={"help": "maximum memory of the install in bytes (0: no limit)"})
    install_disk: int = field(default=0, metadata={"help": "maximum disk space of the install in bytes (0: no limit)"})
    log_budget: int = field(
        default=8 * MIB, metadata={"help": "maximum log size in bytes; longer logs keep only head and tail"}
    )
    output_lines: int = field(
        default=1000, metadata={"help": "lines of output to show at the start, and at the end (0: none)"}
    )
    value_limit: int = field(default=8 * MIB, metadata={"help": "maximum size of pushed or pulled values in bytes"})
    env: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "environment variables of the cell, as NAME=VALUE"}
    )
    context: str = field(default="", metadata={"help": "kubeconfig context of the cluster"})
    kubeconfig: str = field(
        default="", metadata={"help": "path of the kubeconfig file, instead of KUBECONFIG or ~/.kube/config"}
    )
    namespace: str = field(default="", metadata={"help": "Kubernetes namespace, instead of the context's"})
    server: str = field(default="", metadata={"help": "Argo Server to use instead of the Kubernetes API, as HOST:PORT"})
    image: str = field(
        default="", metadata={"help": "container image (must include uv); give its Python with --python X.Y.Z"}
    )
    base: str = field(
        default="",
        metadata={
            "help": "image whose installed packages the cell can import, or own for those of the Python that runs it"
        },
    )
    images: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "container images by Python version, as X.Y.Z=IMAGE"}
    )
    platform: str = field(
        default="x86_64-manylinux_2_28",
        metadata={"help": "platform of the image (like `uv --python-platform`); selects nodes"},
    )
    template: str = field(
        default="",
        metadata={"help": "WorkflowTemplate to run cells with, from your administrator", "example": "uv-argo-cell"},
    )
    service_account: str = field(default="", metadata={"help": "service account of the pod"})
    service_account_token: bool = field(
        default=False, metadata={"help": "let the cell read the token of the pod's service account"}
    )
    run_as_user: int = field(
        default=1000, metadata={"help": "user ID of the pod (0: chosen by the cluster)", "example": "1000"}
    )
    shape: str = field(
        default="script",
        metadata={
            "help": "how packages are installed: script (with the image's uv), runtime (uv is installed first, for an "
            "image without it) or init (in an init container; the cell's container has neither uv nor credentials)"
        },
    )
    install_image: str = field(
        default="", metadata={"help": "image that installs with shape=init; needs uv and the same Python"}
    )
    index_secrets: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata={
            "help": "Secrets (keys: username, password) of indexes, as INDEX=SECRET; implies shape=init",
            "example": "corp=my-secret",
        },
    )
    store: str = field(
        default="",
        metadata={
            "help": "volume that keeps environments for later runs, as claim/NAME",
            "example": "claim/environments",
        },
    )
    secret_env: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata={"help": "environment variables from Secrets, as NAME=SECRET/KEY", "example": "TOKEN=my-secret/token"},
    )
    secret_files: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "Secrets to mount as folders, as PATH=SECRET", "example": "/etc/keys=my-secret"}
    )
    volumes: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata={
            "help": "volumes to mount, as PATH=claim/NAME, claim/NAME:ro, empty/SIZE or memory/SIZE",
            "example": "/data=claim/data:ro",
        },
    )
    node_selector: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "node labels that the pod requires, as KEY=VALUE", "example": "disk=ssd"}
    )
    tolerations: tuple[str, ...] = field(
        default=(), metadata={"help": "tolerations, as KEY=VALUE:EFFECT", "example": "gpu=true:NoSchedule"}
    )
    image_pull_secrets: tuple[str, ...] = field(
        default=(), metadata={"help": "Secrets for private image registries", "example": "registry-login"}
    )
    labels: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "labels of the workflow and its pods, as KEY=VALUE", "example": "team=blue"}
    )
    gpu_resource: str = field(default="nvidia.com/gpu", metadata={"help": "resource name used for `--resources gpu=`"})
    semaphore: str = field(
        default="", metadata={"help": "limit of concurrent runs, as CONFIGMAP/KEY", "example": "limits/cells"}
    )
    retries: int = field(
        default=0, metadata={"help": "number of retries of a failed cell, each in a new pod", "example": "2"}
    )
    patch: str = field(
        default="", metadata={"help": "YAML or JSON file to merge into the workflow", "example": "patch.yaml"}
    )
    executor_patch: str = field(
        default="auto", metadata={"help": 'Argo sidecars to patch for Pod Security "restricted"'}
    )
    pending_timeout: float = field(
        default=0.0, metadata={"help": "maximum time a pod may be pending, in seconds (0: no limit; Argo 4.1)"}
    )
    start_timeout: float = field(
        default=300.0,
        metadata={"help": "maximum time to wait for a missing image, Secret or claim, in seconds (0: no limit)"},
    )
    deadline: float = field(
        default=86400.0, metadata={"help": "maximum lifetime of a workflow in seconds, including pending"}
    )
    ttl: float = field(default=3600.0, metadata={"help": "time to keep a finished workflow and its log, in seconds"})
    pod_gc: str = field(
        default="never", metadata={"help": "Argo `podGC` strategy; never keeps pods with their workflow"}
    )
    pod_gc_delay: float = field(
        default=600.0, metadata={"help": "time to keep a pod before podGC deletes it, in seconds"}
    )
    panel: str = field(default="auto", metadata={"help": "type of the panel: auto, widget, html, static, text or none"})
    history: int = field(default=200, metadata={"help": "number of runs to keep in the history"})

    @property
    def separate_install(self) -> bool:
        """Whether an init container installs the packages: with shape=init, or to keep credentials from the cell."""
        return self.shape == "init" or bool(self.index_secrets)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """CPU, memory, GPU and disk to request, as Kubernetes quantities ("500m", "2Gi").

    A range ("1Gi..4Gi") is a request and a limit.
    """

    cpu: str = ""
    memory: str = ""
    gpu: str = ""
    disk: str = ""
