"""A Lock: the packages that uv resolved for one Python on one platform, with hashes and sizes, without an index host.

Rule: `Lock.key` identifies an environment by its content: equal keys mean equal environments on every machine.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict
from typing import Any, TypeAlias

from uv_argo_magic.core.frozen import frozen

RECIPE = "1"
"""Version of the procedure that installs a lock (guest/install/environment.py); part of every key."""


@frozen
class Target:
    """The Python and platform that an environment is for.

    `python` is a full version ("3.12.1"), `abi` the ABI of a wheel tag ("cp312", "cp313t"). `platform` is a value of
    `uv --python-platform` ("x86_64-manylinux_2_28"), or "" for the machine where uv runs.
    """

    python: str
    implementation: str = "cpython"
    abi: str = ""
    platform: str = ""

    @property
    def minor(self) -> str:
        """The Python's "X.Y"."""
        return ".".join(self.python.split(".")[:2])


@frozen
class Package:
    """One distribution: its canonical name and version, and the name, SHA-256 (hex) and bytes (0: unknown) of its file.

    `uploaded` is the upload time of the file (ISO 8601 with a time zone; "": unknown). `url` is set only for a direct
    `name @ https://...` requirement. `index` names an index other than the default one. `requested` packages are named
    by a requirement; `via` are the packages that depend on this one. `annotate` sets both.
    """

    name: str
    version: str
    sha256: str = ""
    size: int = 0
    file: str = ""
    uploaded: str = ""
    url: str = ""
    index: str = ""
    requested: bool = False
    via: tuple[str, ...] = ()

    def line(self) -> str:
        """This package as one line of a requirements file with its hash."""
        pin = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return f"{pin} --hash=sha256:{self.sha256}" if self.sha256 else pin


@frozen
class Lock:
    """The packages of one environment, sorted by name, and their target.

    `warnings` are sentences for the user. `uv` is the version of uv, and `created_at` the time of the resolution (Unix
    seconds; 0: unknown). None of these is part of `key`, and neither is a package's index. With --set base,
    `base_digest` is the digest of the BaseEnvironment. `base_packages` are (name, version) of its packages that the
    cell uses; they are not installed.
    """

    packages: tuple[Package, ...]
    target: Target
    warnings: tuple[str, ...] = ()
    uv: str = ""
    created_at: float = 0.0
    base_digest: str = ""
    base_packages: tuple[tuple[str, str], ...] = ()

    @classmethod
    def empty(cls, target: Target, base_digest: str = "") -> Lock:
        """The lock without packages."""
        return cls(packages=(), target=target, base_digest=base_digest)

    @functools.cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines of a requirements file for `uv pip install --no-deps --require-hashes -r`."""
        return tuple(package.line() for package in self.packages)

    @property
    def size(self) -> int:
        """Total bytes of the files whose size is known."""
        return sum(package.size for package in self.packages)

    @property
    def is_annotated(self) -> bool:
        """Whether the packages that depend on each package are known."""
        # One package is enough, since a package that only the base environment needs has no dependents in the lock.
        return not self.packages or any(package.requested or package.via for package in self.packages)

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 (hex, 32 characters) over packages, target and recipe: the environment key."""
        target = [self.target.minor, self.target.implementation, self.target.abi, self.target.platform]
        text = json.dumps([RECIPE, target, self.lines, *filter(None, [self.base_digest])])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """This lock as JSON, keys sorted."""
        return self._json

    @functools.cached_property
    def _json(self) -> str:
        data = _stored(asdict(self))
        data["packages"] = [_stored(package) for package in data["packages"]]
        return json.dumps(data, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Read a lock written by `to_json` or by the guest.

        Raises:
            ValueError: the text is not a lock.
        """
        data = json.loads(text)
        try:
            return cls(
                packages=tuple(sorted(map(_package, data["packages"]), key=lambda package: package.name)),
                target=Target(**data["target"]),
                warnings=tuple(str(warning) for warning in data.get("warnings", ())),
                uv=str(data.get("uv", "")),
                created_at=float(data.get("made", 0.0)),
                base_digest=str(data.get("base", "")),
                base_packages=tuple((str(name), str(version)) for name, version in data.get("own", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a lock: {error!r}") from error


_STORED_KEYS = {"created_at": "made", "base_digest": "base", "base_packages": "own", "requested": "asked"}
"""Field -> its key in JSON, if they differ. The keys are old, so that stored locks remain readable."""


def _stored(data: dict[str, Any]) -> dict[str, Any]:
    return {_STORED_KEYS.get(name, name): value for name, value in data.items()}


def _package(data: dict[str, object]) -> Package:
    fields = {"requested" if key == "asked" else key: value for key, value in data.items()}
    return Package(**fields | {"via": tuple(map(str, data.get("via", ())))})  # type: ignore[arg-type, call-overload]


@frozen
class Unresolved:
    """The reason why the requirements could not be resolved on this machine, and what to do about it.

    A pod resolves them itself. A run on this machine cannot start. The history does not store `hint`.
    """

    lines: tuple[str, ...]
    reason: str
    hint: str = ""


Resolution: TypeAlias = Lock | Unresolved
