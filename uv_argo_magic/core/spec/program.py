"""The Program of a run: the Python source that runs the cell, the same bytes for every backend.

Rule: user text is data. It is sent as base64(gzip(json)) inside a fixed bootstrap, so that no shell, Python or YAML
interprets it, and it cannot contain a template tag (`{{...}}`) of Argo.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution.lock import Lock, Resolution
from uv_argo_magic.core.spec import indexes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.core.spec.run_spec import Pushed, RunSpec, Settings

GUEST_NAME = "uv_argo_guest"
"""Import name of the guest package in the process that runs the cell."""

PAYLOAD_LIMIT = 96 * 1024
"""Maximum bytes of program text in a Workflow's template, which Argo passes in one environment variable."""

_BOOTSTRAP = """\
# A notebook cell, its environment and the small supervisor that runs both; made by uv-argo-magic.
import binascii, os, sys
archive = "@ARCHIVE@"
payload = binascii.a2b_base64("@PAYLOAD@")
store = os.environ.get("UV_ARGO_STORE")
if not store:
    import tempfile
    store = os.path.join(tempfile.gettempdir(), "uv-argo-store")
guest = os.path.join(store, "guest", "@DIGEST@")
import json, zlib
for name, text in json.loads(zlib.decompress(binascii.a2b_base64(archive))).items():
    path = os.path.join(guest, name)
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                continue
    except (OSError, ValueError):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError as problem:
            sys.exit("Cannot write to the store: %s. User %d needs write access to it." % (problem, os.getuid()))
    aside = "%s.%s" % (path, binascii.hexlify(os.urandom(8)).decode())
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(aside, 0o444)
    os.replace(aside, path)
sys.path.append(guest)
@MAIN@
"""

_RUN = "from @GUEST@ import supervisor\nsupervisor.main(payload, guest)"
_WORK = "from @GUEST@.session import worker\nworker.main(guest)"

_OPTIONS = """\
import base64, os
os.environ["UV_ARGO_SESSION"] = base64.b64decode("@OPTIONS@").decode()
"""

_CELL_BOOTSTRAP = """\
# A notebook cell; the container before this one has put its packages, and the supervisor that runs it, into the store.
import binascii, os, sys
payload = binascii.a2b_base64("@PAYLOAD@")
guest = os.path.join(os.environ["UV_ARGO_STORE"], "guest", "@DIGEST@")
sys.path.append(guest)
from @GUEST@ import supervisor
supervisor.main(payload, guest)
"""


@frozen
class Program:
    """The program that a backend runs: the guest and the payload, both in base64, and the nonce of its records.

    `install` is the part of the payload that builds the environment, for a separate install; "" without packages. A
    cell of a session has an `order` instead of a payload: the same data as JSON, which a client sends to the worker.
    `decision` is the decision of the package policy as JSON; "" without a policy.
    """

    guest: str
    payload: str
    nonce: str
    install: str = ""
    order: str = ""
    decision: str = ""

    @property
    def digest(self) -> str:
        """Digest of the guest; the name of its folder in a store."""
        return _digest(self.guest)

    @property
    def source(self) -> str:
        """The whole program, for Python 3.8 or newer."""
        return _fill(_BOOTSTRAP, self.guest, self.payload)

    @property
    def install_source(self) -> str:
        """Only the install, for a process with UV_ARGO_ROLE=install."""
        return _fill(_BOOTSTRAP, self.guest, self.install)

    @property
    def cell_source(self) -> str:
        """Only the cell, for a process with UV_ARGO_ROLE=run and the store of the install."""
        return _fill(_CELL_BOOTSTRAP, self.guest, self.payload)

    @property
    def prestart_source(self) -> str:
        """Only the guest, for a pre-started process that reads its payload from stdin."""
        return _fill(_BOOTSTRAP, self.guest, "")

    @property
    def worker_source(self) -> str:
        """The worker of a session, which receives payloads from clients."""
        return _fill(_BOOTSTRAP, self.guest, "", _WORK)

    def worker_source_with(self, options: str) -> str:
        """The worker including its options (JSON), for a container whose environment variables are fixed."""
        text = base64.b64encode(options.encode()).decode()
        return f"{_OPTIONS.replace('@OPTIONS@', text)}{self.worker_source}"


def _digest(guest: str) -> str:
    return hashlib.sha256(base64.b64decode(guest)).hexdigest()[:32]


def _fill(bootstrap: str, guest: str, payload: str, main: str = _RUN) -> str:
    digest = _digest(guest)
    text = bootstrap.replace("@MAIN@", main).replace("@GUEST@", GUEST_NAME).replace("@DIGEST@", digest)
    return text.replace("@ARCHIVE@", guest).replace("@PAYLOAD@", payload)


def build(  # noqa: PLR0913 - the parts of a program, by keyword
    spec: RunSpec,
    resolution: Resolution,
    *,
    guest: str,
    nonce: str,
    uv: str = "",
    modules: Mapping[str, str] | None = None,
    installs: tuple[tuple[str, Lock], ...] = (),
    values: Mapping[str, str] | None = None,
    exchange: str = "",
    user: str = "",
) -> Program:
    """Build the program: `guest` is the zip of the guest package in base64, `nonce` random letters and digits.

    `uv` is the version to install in an image without uv, or "". `modules` are Python files that the cell can import
    (path -> text), and `values` the modules that push and pull need. `installs` maps the text of each `%pip` line to
    the packages that it installs. `exchange` is a folder for files of values that the run shares with this machine.
    `user` is the name that the environment store shows as its last user.
    """
    whole = payload(spec, resolution, nonce, uv, exchange, user) | {
        "modules": dict(modules or {}),
        "values": dict(values or {}),
        "installs": [[argument, lock.key, list(lock.lines)] for argument, lock in installs],
    }
    order = json.dumps(whole, sort_keys=True)
    must_install = bool(resolution.lines) or any(lock.lines for _, lock in installs)
    return Program(
        guest=guest,
        payload="" if spec.session else _pack(order),
        nonce=nonce,
        order=order if spec.session else "",
        install=_pack(json.dumps(_install(whole), sort_keys=True)) if must_install else "",
    )


def _install(whole: dict[str, Any]) -> dict[str, Any]:
    """The part of a payload that is needed to install its packages."""
    settings = {key: value for key, value in whole["settings"].items() if key.startswith(("install_", "environment"))}
    return {key: whole[key] for key in ("v", "nonce", "lock", "installs", "uv", "provision")} | {"settings": settings}


GZIP = 31
"""zlib's `wbits` for the gzip format; the header has no time."""


def _pack(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9, GZIP)).decode()


FILE_SIZE = 64 * 1024
"""A pushed value with at least this many bytes of text is sent as a file, if there is an exchange folder."""


def pushed_file(item: Pushed, number: int) -> str:
    """The name of the file in which a pushed value is sent; "" if the payload contains it."""
    return f"pushed-{number}" if item.buffers or len(item.text) > FILE_SIZE else ""


def _pushed(item: Pushed, number: int, exchange: str) -> dict[str, str]:
    if exchange and (name := pushed_file(item, number)):
        return {"name": item.name, "file": name}
    text = item.whole_text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {"name": item.name, "text": text, "digest": digest}


def payload(
    spec: RunSpec, resolution: Resolution, nonce: str, uv: str = "", exchange: str = "", user: str = ""
) -> dict[str, Any]:
    """The JSON object that the guest reads (docs/protocol.md)."""
    settings = spec.settings
    if isinstance(resolution, Lock):
        target = {"python": resolution.target.python, "abi": resolution.target.abi}
        lock: dict[str, object] = {"lines": list(resolution.lines), "key": resolution.key, "target": target}
    else:
        lock = {"lines": list(resolution.lines), "key": "", "target": None, "bounds": remote_constraints(spec)}
    return {
        "v": 1,
        "nonce": nonce,
        "cell": spec.cell,
        "code": spec.code,
        "script": spec.script,
        "args": list(spec.args),
        "modules": {},
        "installs": [],
        "offset": spec.line_offset,
        "lock": lock,
        "push": [_pushed(item, number, exchange) for number, item in enumerate(spec.push)],
        "pull": list(spec.pull),
        "values": {},
        "exchange": exchange,
        "reads": {
            "libraries": list(spec.reads.libraries),
            "classes": {name: list(names) for name, names in spec.reads.classes},
        },
        "uv": uv_environment(settings),
        "provision": uv,
        "settings": {
            "base": bool(settings.base),
            "environment": settings.environment,
            "environment_user": user,
            "run_timeout": settings.run_timeout,
            "install_timeout": settings.install_timeout,
            "install_memory": settings.install_memory,
            "install_disk": settings.install_disk,
            "log_budget": settings.log_budget,
            "value_limit": settings.value_limit,
            "env": dict(settings.variables),
            "secrets": [name for name, _ in settings.secret_env],
        },
    }


def remote_constraints(spec: RunSpec) -> dict[str, object]:
    """The constraints for a resolution in the pod, besides the requirements."""
    hashes: dict[str, list[str]] = {}
    for item in spec.requirements.items:
        hashes.setdefault(item.name, []).extend(item.hashes)
    return {
        "constraints": list(spec.settings.constraints),
        "overrides": list(spec.settings.overrides),
        "complete": spec.requirements.complete,
        "hashes": {name: values for name, values in hashes.items() if values},
    }


def uv_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables of uv, without credentials; the same on this machine and in a pod."""
    variables = {
        **indexes.environment(settings),
        "UV_CONCURRENT_BUILDS": str(settings.concurrent_builds or ""),
        "UV_CONCURRENT_DOWNLOADS": str(settings.concurrent_downloads or ""),
        "UV_CONCURRENT_INSTALLS": str(settings.concurrent_installs or ""),
        "UV_EXCLUDE_NEWER": settings.exclude_newer,
        "UV_FIND_LINKS": ",".join(settings.find_links),
        "UV_PRERELEASE": settings.prerelease,
        "UV_RESOLUTION": settings.resolution,
        "UV_TORCH_BACKEND": settings.torch_backend,
        "UV_NO_BUILD": "1" if settings.only_binary else "",
        "UV_OFFLINE": "1" if settings.offline else "",
    }
    return {name: value for name, value in variables.items() if value}
