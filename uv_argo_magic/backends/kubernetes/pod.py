"""Settings -> the parts of a pod: volumes, environment, amounts, tolerations; each text is checked before it is sent.

Rules:
- A Secret is named and never read: its values reach the pod by the kubelet alone.
- What Kubernetes checks well by itself (names, quantities, labels) is left to it; what it would only say of a pod that
  never starts is refused here.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.spec.run_spec import Resources, Settings

TMP = "/tmp"  # noqa: S108 - a volume of this pod alone
STORE = "/uv-argo-store"
"""Where a claim with installed trees is mounted."""
PROGRAM = "/uv-argo"
"""Where a program too large for the workflow is mounted."""
DISK = "10Gi"
"""What /tmp may hold where --resources disk says nothing: cache, tree and working folder of one run."""
INSTALL_TMP = "install-tmp"
_OURS = ("tmp", "store", INSTALL_TMP)
_TAKEN = ("/", TMP, STORE, PROGRAM, "/argo", "/argo-bin", "/var/run/argo", "/dev", "/proc", "/sys")
"""Paths where nothing of a user's can be mounted: ours, Argo's and the system's."""
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One volume of the pod, as its manifest has it, and where the cell's container finds it."""

    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = False


def mounts(settings: Settings, resources: Resources, *, apart: bool = False) -> tuple[Mount, ...]:
    """Every volume of the pod, as the cell's container has it; `apart`: a container of its own installs.

    Raises:
        SpecError: a volume or a path that cannot be.
    """
    disk: dict[str, Any] = {"emptyDir": {"sizeLimit": amounts(resources.disk)[1] or DISK}}
    found = [Mount(name="tmp", path=TMP, source=disk)]
    if settings.store:
        found.append(replace(_volume("store", "store", STORE, settings.store), read_only=apart))
    elif apart:
        found.append(Mount(name="store", path=STORE, source=disk, read_only=True))
    if apart:
        # Its own: uv's cache and whatever it was told of the index stay out of the cell's sight.
        found.append(Mount(name=INSTALL_TMP, path=TMP, source=disk))
    for number, (path, text) in enumerate(settings.volumes):
        found.append(_volume("volumes", f"volume-{number}", path, text))
    for number, (path, secret) in enumerate(settings.secret_files):
        if not secret or "/" in secret:
            raise SpecError(
                f"secret_files: {path}={secret} names no Secret", hint="Write --set secret_files=/etc/keys=SECRET."
            )
        source = {"secret": {"secretName": secret}}
        found.append(Mount(name=f"secret-{number}", path=path, source=source, read_only=True))
    seen: set[str] = set()
    for mount in found:
        if mount.name not in _OURS:
            _check_path(mount, seen)
            seen.add(mount.path)
    return tuple(found)


def installing(mounts: tuple[Mount, ...]) -> Iterator[Mount]:
    """Of those, what the container that installs has: the store to write into, and a /tmp of its own."""
    for mount in mounts:
        if mount.name in ("store", INSTALL_TMP, "program"):
            yield replace(mount, read_only=mount.name == "program")


def _volume(setting: str, name: str, path: str, text: str) -> Mount:
    """A volume as written: claim/NAME, claim/NAME:ro, empty/SIZE or memory/SIZE."""
    match = re.fullmatch(r"(claim)/([a-z0-9][a-z0-9.-]*)(:ro)?|(empty|memory)(?:/(\d+(?:\.\d+)?[kMGTP]?i?))?", text)
    if not match or (setting == "store" and (not match[1] or match[3])):
        example = "claim/NAME" if setting == "store" else "/data=claim/NAME, claim/NAME:ro, empty/5Gi or memory/1Gi"
        raise SpecError(f"{setting}: {text or 'nothing'} is no volume", hint=f"Write --set {setting}={example}.")
    if match[1]:
        # A claim itself stays writable for others: only this mount is not.
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": match[2]}}
    else:
        limit = {"sizeLimit": match[5]} if match[5] else {}
        source = {"emptyDir": limit | ({"medium": "Memory"} if match[4] == "memory" else {})}
    return Mount(name=name, path=path, source=source, read_only=bool(match[3]))


def _check_path(mount: Mount, seen: set[str]) -> None:
    path = mount.path
    if not path.startswith("/") or posixpath.normpath(path) != path or ":" in path:
        raise SpecError(
            f"nothing can be mounted at {path!r}",
            hint="A volume's path is absolute, such as /data, and ends without /.",
        )
    shared = path == "/dev/shm"  # noqa: S108 - what libraries share memory by; a node gives 64 MiB of it
    if path in seen or (not shared and any(path == one or path.startswith(f"{one}/") for one in _TAKEN[2:])):
        raise SpecError(f"something else lies at {path}", hint="Choose another path for the volume, such as /data.")
    if path in _TAKEN:
        raise SpecError(
            f"nothing can be mounted at {path}",
            hint="Choose another path, such as /data; /tmp grows with --resources disk=20Gi.",
        )


def surroundings(settings: Settings, role: str = "") -> Iterator[dict[str, Any]]:
    """What a program finds there besides the image's own environment; `role` install or run: only this part of it."""
    # A user id without an entry in the image's passwd has neither of the first two.
    yield {"name": "HOME", "value": TMP}
    yield {"name": "USER", "value": "uv-argo"}
    yield {"name": "TMPDIR", "value": TMP}
    yield {"name": "UV_ARGO_STORE", "value": STORE if settings.store or role else f"{TMP}/uv-argo-store"}
    if role:
        yield {"name": "UV_ARGO_ROLE", "value": role}
    if role != "run":
        yield {"name": "UV_CACHE_DIR", "value": f"{TMP}/uv-cache"}


def credentials(settings: Settings) -> Iterator[dict[str, Any]]:
    """The variables by which uv knows who asks an index, from Secrets.

    Raises:
        SpecError: one that names no Secret.
    """
    for name, secret in settings.index_secrets:
        if not secret or "/" in secret or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            raise SpecError(
                f"index_secrets: {name}={secret} names no Secret",
                hint="Write --set index_secrets=INDEX=SECRET; the Secret has the keys username and password.",
            )
        for key in ("username", "password"):
            variable = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}_{key.upper()}"
            yield {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def secrets(settings: Settings) -> Iterator[dict[str, Any]]:
    """The variables that come from Secrets.

    Raises:
        SpecError: one that names no key of a Secret.
    """
    for name, text in settings.secret_env:
        secret, slash, key = text.partition("/")
        if not (secret and slash and key) or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise SpecError(
                f"secret_env: {name}={text} names no key of a Secret", hint="Write --set secret_env=NAME=SECRET/KEY."
            )
        yield {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def amounts(quantity: str) -> tuple[str, str]:
    """(promised, allowed) of "2Gi", which is both, or "1Gi..2Gi"."""
    promised, dots, allowed = quantity.partition("..")
    return promised, allowed if dots else promised


def resources(wanted: Resources, gpu: str) -> dict[str, dict[str, str]]:
    """Requests and limits of a container; `gpu` is what the nodes call one."""
    names = {"cpu": "cpu", "memory": "memory", "gpu": gpu, "disk": "ephemeral-storage"}
    asked = {name: amounts(getattr(wanted, field)) for field, name in names.items() if getattr(wanted, field)}
    if not asked:
        return {}
    return {
        "requests": {name: promised for name, (promised, _) in asked.items()},
        "limits": {name: allowed for name, (_, allowed) in asked.items()},
    }


def tolerations(settings: Settings) -> Iterator[dict[str, str]]:
    """Tolerations as `kubectl taint` writes taints: KEY=VALUE:EFFECT, KEY:EFFECT or KEY.

    Raises:
        SpecError: it is none of these.
    """
    for text in settings.tolerations:
        match = re.fullmatch(r"([\w./-]+)(?:=([\w.-]*))?(?::(\w+))?", text)
        if not match or (match[3] and match[3] not in _EFFECTS):
            raise SpecError(
                f"tolerations: {text} is none",
                hint=f"Write --set tolerations=KEY=VALUE:EFFECT; EFFECT is {', '.join(_EFFECTS)}, or left out.",
            )
        value = {"operator": "Exists"} if match[2] is None else {"operator": "Equal", "value": match[2]}
        yield {"key": match[1], **value, **({"effect": match[3]} if match[3] else {})}
