"""Build the parts of a pod from the settings: volumes, environment, quantities, tolerations.

Rules:
- A Secret is referenced by name and never read; only the kubelet passes its values to the pod.
- Kubernetes checks names, quantities and labels. This module checks for errors because of which a pod would never
  start.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.spec.run_spec import Resources, Settings

TMP = "/tmp"  # noqa: S108 - a volume that belongs to this pod
STORE = "/uv-argo-store"
"""The mount path of the volume with installed environments."""
CACHE = "/uv-argo-cache"
"""The mount path of the volume with uv's cache."""
PROGRAM = "/uv-argo"
"""The mount path of a program that is too large for the manifest."""
DISK = "10Gi"
"""The default size of /tmp, which contains cache, environment and working folder of one run."""
INSTALL_TMP = "install-tmp"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""The path where Kubernetes mounts the service account token, in each container without another mount at this path."""
_NO_TOKEN = "no-token"  # noqa: S105 - the name of a volume
_OWN_VOLUMES = ("tmp", "store", "cache", INSTALL_TMP, _NO_TOKEN)
_RESERVED = (STORE, CACHE, PROGRAM, "/dev", "/proc", "/sys")
"""Users cannot mount volumes in these folders, nor at / or /tmp."""
_WRITTEN = ("store", "cache")
"""The settings of volumes that the install writes to."""
NOT_TO_DISRUPT = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""The annotations that prevent the cluster autoscaler and Karpenter from moving a pod."""
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@frozen
class Mount:
    """A volume of the pod, as in the manifest, and its path in the cell's container."""

    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = False


def mounts(
    settings: Settings, resources: Resources, *, separate_install: bool = False, reserved: tuple[str, ...] = ()
) -> tuple[Mount, ...]:
    """All volumes of the pod, as mounted in the cell's container.

    `separate_install` means that an init container installs the packages. `reserved` are more paths at which users
    cannot mount volumes.

    Raises:
        SpecError: a volume or path is invalid.
    """
    disk: dict[str, Any] = {"emptyDir": {"sizeLimit": request_and_limit(resources.disk)[1] or DISK}}
    volumes = [Mount(name="tmp", path=TMP, source=disk)]
    if settings.store:
        volumes.append(replace(_written_volume("store", STORE, settings.store), read_only=separate_install))
    elif separate_install:
        volumes.append(Mount(name="store", path=STORE, source=disk, read_only=True))
    if settings.cache:
        volumes.append(_written_volume("cache", CACHE, settings.cache))
    if separate_install:
        # The cell must not see uv's cache, because it contains credentials of the index.
        volumes.append(Mount(name=INSTALL_TMP, path=TMP, source=disk))
    for number, (path, text) in enumerate(settings.volumes):
        volumes.append(_volume("volumes", f"volume-{number}", path, text))
    for number, (path, secret) in enumerate(settings.secret_files):
        if not secret or "/" in secret:
            raise SpecError(
                f"invalid entry in secret_files: {path}={secret}", hint="Write --set secret_files=/etc/keys=SECRET."
            )
        source = {"secret": {"secretName": secret}}
        volumes.append(Mount(name=f"secret-{number}", path=path, source=source, read_only=True))
    if not settings.service_account_token:
        volumes.append(Mount(name=_NO_TOKEN, path=TOKEN, source={"emptyDir": {}}, read_only=True))
        reserved = (*reserved, TOKEN)
    used: set[str] = set()
    for volume in volumes:
        if volume.name not in _OWN_VOLUMES:
            _check_path(volume.path, used, (*_RESERVED, *reserved))
            used.add(volume.path)
    return tuple(volumes)


def disruption(settings: Settings, *, is_session: bool) -> dict[str, str]:
    """The annotations that prevent an autoscaler from moving the pod.

    A session has them by default, because its variables would be lost. It blocks its node for no longer than `keep`.
    """
    prevents = is_session if settings.disruption == "auto" else settings.disruption == "prevent"
    return NOT_TO_DISRUPT if prevents else {}


def install_mounts(mounts: tuple[Mount, ...], settings: Settings) -> Iterator[Mount]:
    """The mounts of the install container: the writable store, its own /tmp, and wheels. It has no token either."""
    for mount in mounts:
        if mount.name in ("store", "cache", INSTALL_TMP, "program", _NO_TOKEN):
            yield replace(mount, read_only=mount.name in ("program", _NO_TOKEN))
        elif any(link == mount.path or link.startswith(f"{mount.path}/") for link in settings.find_links):
            yield replace(mount, read_only=True)


def cell_mounts(mounts: tuple[Mount, ...], *, separate_install: bool) -> Iterator[Mount]:
    """The mounts of the cell's container; with a separate install, it does not need uv's cache."""
    for mount in mounts:
        if mount.name != INSTALL_TMP and not (separate_install and mount.name == "cache"):
            yield mount


def _written_volume(setting: str, path: str, text: str) -> Mount:
    """The volume for claim/NAME or host/PATH, to which the install writes."""
    match = re.fullmatch(r"host(/[\w./-]+)", text)
    if not match or posixpath.normpath(match[1]) != match[1]:
        return _volume(setting, setting, path, text)
    return Mount(name=setting, path=path, source={"hostPath": {"path": match[1], "type": "DirectoryOrCreate"}})


def _volume(setting: str, name: str, path: str, text: str) -> Mount:
    """The volume for claim/NAME, claim/NAME:ro, empty/SIZE or memory/SIZE."""
    match = re.fullmatch(r"(claim)/([a-z0-9][a-z0-9.-]*)(:ro)?|(empty|memory)(?:/(\d+(?:\.\d+)?[kMGTP]?i?))?", text)
    if not match or (setting in _WRITTEN and (not match[1] or match[3])):
        example = (
            "claim/NAME or host/PATH"
            if setting in _WRITTEN
            else "/data=claim/NAME, claim/NAME:ro, empty/5Gi or memory/1Gi"
        )
        raise SpecError(f"invalid volume in {setting}: {text!r}", hint=f"Write --set {setting}={example}.")
    if match[1]:
        # Only the mount is read-only, because others can write to the claim.
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": match[2]}}
    else:
        limit = {"sizeLimit": match[5]} if match[5] else {}
        source = {"emptyDir": limit | ({"medium": "Memory"} if match[4] == "memory" else {})}
    return Mount(name=name, path=path, source=source, read_only=bool(match[3]))


def _check_path(path: str, used: set[str], reserved: tuple[str, ...]) -> None:
    if not path.startswith("/") or posixpath.normpath(path) != path or ":" in path:
        raise SpecError(
            f"invalid mount path: {path!r}",
            hint="Use an absolute path without a trailing slash, such as /data.",
        )
    if path in ("/", TMP):
        raise SpecError(
            f"cannot mount a volume at {path}",
            hint="Choose another path, such as /data; /tmp grows with --resources disk=20Gi.",
        )
    is_shared_memory = path == "/dev/shm"  # noqa: S108 - libraries use it for shared memory; the default size is 64 MiB
    is_reserved = any(path == prefix or path.startswith(f"{prefix}/") for prefix in reserved)
    if path in used or (is_reserved and not is_shared_memory):
        raise SpecError(f"the mount path {path} is in use", hint="Choose another path for the volume, such as /data.")


def venv(settings: Settings, run: str) -> str:
    """The path of the environment of a run with this name.

    Raises:
        SpecError: a persistent environment has no volume, or an invalid path.
    """
    if settings.environment != "persistent":
        return f"{TMP}/venv-{run}"
    folders = [path for path, text in settings.volumes if re.fullmatch("claim/[^:]+", text)]
    if settings.separate_install:
        raise SpecError(
            "a persistent environment needs the cell's container to install it",
            hint="Leave out shape=init and index_secrets, or keep environments in a store: --set store=claim/NAME.",
        )
    if not folders:
        raise SpecError(
            "a persistent environment needs a volume", hint="Add one: --set volumes=/mnt/results=claim/NAME."
        )
    if not settings.venv:
        return f"{folders[0]}/.venv-{run}"
    is_normal = posixpath.normpath(settings.venv) == settings.venv and not re.search(r"[{}]", settings.venv)
    if not is_normal or not any(settings.venv.startswith(f"{folder}/") for folder in folders):
        raise SpecError(
            f"invalid venv: {settings.venv} is on no volume of the pod that cells can write to",
            hint=f"Choose a path below one of {', '.join(folders)}.",
        )
    return settings.venv


def environment(settings: Settings, role: str = "", run: str = "") -> Iterator[dict[str, Any]]:
    """The environment variables of the program, besides the image's; `role`: only those for "install" or "run".

    `run` is the name of the run, or text that the platform replaces by it.

    Raises:
        SpecError: this kind of environment is not possible in a pod.
    """
    if settings.env == "shared" and not settings.store:
        raise SpecError("env=shared needs a store", hint="Add the claim that keeps it: --set store=claim/NAME.")
    # Without an entry in the image's passwd file, a user has no HOME and no USER.
    yield {"name": "HOME", "value": TMP}
    yield {"name": "USER", "value": "uv-argo"}
    yield {"name": "TMPDIR", "value": TMP}
    yield {"name": "UV_ARGO_STORE", "value": STORE if settings.store or role else f"{TMP}/uv-argo-store"}
    if role:
        yield {"name": "UV_ARGO_ROLE", "value": role}
    if role != "install":
        yield {"name": "UV_ARGO_VENV", "value": venv(settings, run)}
    if settings.environment == "persistent":
        yield {"name": "UV_ARGO_NAME", "value": run}
    if role != "run":
        yield {"name": "UV_CACHE_DIR", "value": _cache_folder(settings)}


def _cache_folder(settings: Settings) -> str:
    """The folder of uv's cache: on the file system of the store, unless cells would see credentials in the cache."""
    if settings.cache:
        return f"{CACHE}/uv"
    return f"{STORE}/uv-cache" if settings.store and not settings.index_secrets else f"{TMP}/uv-cache"


def credentials(settings: Settings) -> Iterator[dict[str, Any]]:
    """The variables with uv's credentials for indexes, from Secrets.

    Raises:
        SpecError: an entry has no Secret.
    """
    for name, secret in settings.index_secrets:
        if not secret or "/" in secret or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            raise SpecError(
                f"invalid entry in index_secrets: {name}={secret}",
                hint="Write --set index_secrets=INDEX=SECRET; the Secret needs the keys username and password.",
            )
        for key in ("username", "password"):
            variable = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}_{key.upper()}"
            yield {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def secrets(settings: Settings) -> Iterator[dict[str, Any]]:
    """The variables from `secret_env`.

    Raises:
        SpecError: an entry has no key of a Secret.
    """
    for name, text in settings.secret_env:
        secret, slash, key = text.partition("/")
        if not (secret and slash and key) or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise SpecError(
                f"invalid entry in secret_env: {name}={text}", hint="Write --set secret_env=NAME=SECRET/KEY."
            )
        yield {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def request_and_limit(quantity: str) -> tuple[str, str]:
    """(request, limit) of "2Gi", which means both, or of "1Gi..2Gi"."""
    request, dots, limit = quantity.partition("..")
    return request, limit if dots else request


def resource_requirements(resources: Resources, gpu: str) -> dict[str, dict[str, str]]:
    """Requests and limits of a container; `gpu` is the resource name of the nodes' GPUs."""
    names = {"cpu": "cpu", "memory": "memory", "gpu": gpu, "disk": "ephemeral-storage"}
    quantities = {name: getattr(resources, field) for field, name in names.items()}
    pairs = {name: request_and_limit(quantity) for name, quantity in quantities.items() if quantity}
    if not pairs:
        return {}
    return {
        "requests": {name: request for name, (request, _) in pairs.items()},
        "limits": {name: limit for name, (_, limit) in pairs.items()},
    }


def tolerations(settings: Settings) -> Iterator[dict[str, str]]:
    """Tolerations for taints in the notation of `kubectl taint`: KEY=VALUE:EFFECT, KEY:EFFECT or KEY.

    Raises:
        SpecError: an entry has another form.
    """
    for text in settings.tolerations:
        match = re.fullmatch(r"([\w./-]+)(?:=([\w.-]*))?(?::(\w+))?", text)
        if not match or (match[3] and match[3] not in _EFFECTS):
            raise SpecError(
                f"invalid toleration: {text}",
                hint=f"Write --set tolerations=KEY=VALUE:EFFECT; EFFECT is one of {', '.join(_EFFECTS)}, or omitted.",
            )
        value = {"operator": "Exists"} if match[2] is None else {"operator": "Equal", "value": match[2]}
        yield {"key": match[1], **value, **({"effect": match[3]} if match[3] else {})}
