"""Every setting with its default and help, and the resources that a cell can request."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting but the options of daily use; `--set KEY=VALUE`, `%config ArgoMagics.KEY`, `UV_ARGO_KEY`.

    Times are seconds, sizes bytes; 0 means no limit unless said otherwise. The field's metadata carries its help.
    """

    index_url: str = field(default="", metadata={"help": "the package index, instead of uv's default"})
    indexes: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "more indexes, asked before index_url, NAME=URL"}
    )
    locked: bool = field(default=False, metadata={"help": "run only what is locked for this notebook already"})
    only_binary: bool = field(default=True, metadata={"help": "wheels only: nothing of a package runs at install"})
    allow_urls: bool = field(default=True, metadata={"help": "allow `name @ https://...` requirements"})
    exclude_newer: str = field(default="", metadata={"help": 'ignore files newer than a date or a span ("30 days")'})
    prerelease: str = field(default="", metadata={"help": "uv's --prerelease: allow, disallow, if-necessary, explicit"})
    resolution: str = field(default="", metadata={"help": "uv's --resolution: highest, lowest, lowest-direct"})
    constraints: tuple[str, ...] = field(default=(), metadata={"help": "versions to keep to, where a package is used"})
    overrides: tuple[str, ...] = field(default=(), metadata={"help": "requirements that replace what packages ask for"})
    offline: bool = field(default=False, metadata={"help": "use uv's cache only"})
    run_timeout: float = field(default=0.0, metadata={"help": "seconds that the cell may run"})
    install_timeout: float = field(default=1800.0, metadata={"help": "seconds that the install may take"})
    install_memory: int = field(default=0, metadata={"help": "bytes of memory that the install may use"})
    install_disk: int = field(default=0, metadata={"help": "bytes of disk that the install may use"})
    log_budget: int = field(default=8 * MIB, metadata={"help": "bytes of log; beyond it, head and tail"})
    output_lines: int = field(
        default=1000, metadata={"help": "lines of text shown at the head, and at the tail (0: none)"}
    )
    value_limit: int = field(default=8 * MIB, metadata={"help": "bytes that pushed or pulled values may take"})
    env: tuple[tuple[str, str], ...] = field(default=(), metadata={"help": "environment variables, NAME=VALUE"})
    context: str = field(default="", metadata={"help": "the cluster: a context of the kubeconfig"})
    kubeconfig: str = field(
        default="", metadata={"help": "the kubeconfig file, instead of KUBECONFIG or the usual one"}
    )
    namespace: str = field(default="", metadata={"help": "the namespace, instead of the context's"})
    server: str = field(default="", metadata={"help": "an Argo Server, HOST:PORT, instead of the Kubernetes API"})
    image: str = field(default="", metadata={"help": "an image with uv in it; its Python is named by --python X.Y.Z"})
    base: str = field(
        default="",
        metadata={
            "help": "see the packages of this image, or of the Python that runs the cell (own), and keep to them"
        },
    )
    images: tuple[tuple[str, str], ...] = field(default=(), metadata={"help": "images by their Python, X.Y.Z=IMAGE"})
    platform: str = field(
        default="x86_64-manylinux_2_28", metadata={"help": "the images' platform, as uv names it; chooses the nodes"}
    )
    template: str = field(
        default="", metadata={"help": "an administrator's WorkflowTemplate to run cells by", "example": "uv-argo-cell"}
    )
    service_account: str = field(default="", metadata={"help": "the pod's service account"})
    run_as_user: int = field(
        default=1000, metadata={"help": "the pod's user id; 0: the cluster chooses", "example": "1000"}
    )
    shape: str = field(
        default="script",
        metadata={
            "help": "what installs: script (the image's own uv), runtime (a uv that is installed first, for an image "
            "without one), or init (a container before the cell's, which sees neither uv nor credentials)"
        },
    )
    install_image: str = field(
        default="", metadata={"help": "shape init: the image that installs, with the same Python and uv"}
    )
    index_secrets: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata={
            "help": "a Secret (keys username, password) for the index of that name; the shape is then init",
            "example": "corp=my-secret",
        },
    )
    store: str = field(
        default="", metadata={"help": "a claim that keeps installed trees for later runs", "example": "claim/trees"}
    )
    secret_env: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "variables from Secrets, NAME=SECRET/KEY", "example": "TOKEN=my-secret/token"}
    )
    secret_files: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "folders with a Secret's keys as files", "example": "/etc/keys=my-secret"}
    )
    volumes: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata={
            "help": "PATH=claim/NAME, claim/NAME:ro, empty/SIZE or memory/SIZE, mounted in the pod",
            "example": "/data=claim/data:ro",
        },
    )
    node_selector: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "labels that the node must have", "example": "disk=ssd"}
    )
    tolerations: tuple[str, ...] = field(
        default=(), metadata={"help": "taints to bear, KEY=VALUE:EFFECT", "example": "gpu=true:NoSchedule"}
    )
    image_pull_secrets: tuple[str, ...] = field(
        default=(), metadata={"help": "Secrets for the images' registry", "example": "registry-login"}
    )
    labels: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"help": "labels of the workflow and its pods", "example": "team=blue"}
    )
    gpu_resource: str = field(default="nvidia.com/gpu", metadata={"help": "what --resources gpu= asks the nodes for"})
    semaphore: str = field(
        default="", metadata={"help": "a key of a ConfigMap that limits how many run", "example": "limits/cells"}
    )
    retries: int = field(
        default=0, metadata={"help": "how often a cell that failed runs again, in another pod", "example": "2"}
    )
    patch: str = field(
        default="", metadata={"help": "a YAML or JSON file, merged into the workflow", "example": "patch.yaml"}
    )
    executor_patch: str = field(
        default="auto", metadata={"help": "which containers of Argo are made fit for Pod Security restricted"}
    )
    pending_timeout: float = field(
        default=0.0, metadata={"help": "seconds that a pod may wait for its start (Argo 4.1)"}
    )
    deadline: float = field(default=86400.0, metadata={"help": "seconds that a workflow may live, waiting included"})
    ttl: float = field(default=3600.0, metadata={"help": "seconds that an ended workflow and its log are kept"})
    pod_gc: str = field(
        default="never", metadata={"help": "when an ended pod goes before its workflow: never, or Argo's word"}
    )
    pod_gc_delay: float = field(default=600.0, metadata={"help": "seconds that such a pod's log is kept"})
    panel: str = field(default="auto", metadata={"help": "auto, widget, html, static, text or none"})
    history: int = field(default=200, metadata={"help": "runs kept in the history"})

    @property
    def separate_install(self) -> bool:
        """Whether, on a cluster, a container of its own installs: asked for, or for the sake of credentials."""
        return self.shape == "init" or bool(self.index_secrets)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the cell asks of the place it runs in: quantities as Kubernetes writes them ("500m", "2Gi").

    Two of them with ".." between are what is promised and what may be used ("1Gi..4Gi").
    """

    cpu: str = ""
    memory: str = ""
    gpu: str = ""
    disk: str = ""
