"""What uv resolved, for one Python on one platform: packages with versions, hashes and sizes, and no index host.

Rule: `Lock.key` names an environment by its content, so equal keys are equal trees, on any machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TypeAlias

RECIPE = "1"
"""Version of the way a tree is built from a lock (guest/environment.py); part of every key."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The Python and platform that an environment is for.

    `python` is a full version ("3.12.1"), `abi` a wheel tag's ABI ("cp312", "cp313t"), `platform` what uv calls a
    python-platform ("x86_64-manylinux_2_28"), or "" for the machine where uv runs.
    """

    python: str
    implementation: str = "cpython"
    abi: str = ""
    platform: str = ""

    @property
    def minor(self) -> str:
        """The Python's "X.Y"."""
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, kw_only=True)
class Package:
    """One distribution: canonical name, version, the file's SHA-256 (hex), its bytes (0: not known) and its name.

    `url` is set for a direct `name @ https://...` requirement only.
    """

    name: str
    version: str
    sha256: str = ""
    size: int = 0
    file: str = ""
    url: str = ""

    def line(self) -> str:
        """This package as one line of a requirements file with its hash."""
        what = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return f"{what} --hash=sha256:{self.sha256}" if self.sha256 else what


@dataclass(frozen=True, kw_only=True)
class Lock:
    """The packages of one environment, sorted by name, and what they are for.

    `warnings` are whole sentences of uv that a person should see; they are no part of `key`.
    """

    packages: tuple[Package, ...]
    target: Target
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What `uv pip install --no-deps --require-hashes -r` reads."""
        return tuple(package.line() for package in self.packages)

    @property
    def key(self) -> str:
        """SHA-256 (hex, 32 characters) over packages, target and recipe: the tree's name in a store."""
        target = [self.target.minor, self.target.implementation, self.target.abi, self.target.platform]
        text = json.dumps([RECIPE, target, self.lines])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """This lock as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Read what `to_json` wrote, or the guest.

        Raises:
            ValueError: the text is no lock.
        """
        data = json.loads(text)
        try:
            return cls(
                packages=tuple(sorted((Package(**package) for package in data["packages"]), key=lambda p: p.name)),
                target=Target(**data["target"]),
                warnings=tuple(str(warning) for warning in data.get("warnings", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a lock: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Unresolved:
    """Requirements that could not be resolved here, and why; the guest resolves them where the cell runs."""

    lines: tuple[str, ...]
    reason: str


Resolution: TypeAlias = Lock | Unresolved
