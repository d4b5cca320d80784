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

    `url` is set for a direct `name @ https://...` requirement only; `index` names the index it comes from, where that
    is not the default. `asked`: it was asked for by name; `via`: the packages that need it. Where neither is said,
    nobody looked yet.
    """

    name: str
    version: str
    sha256: str = ""
    size: int = 0
    file: str = ""
    url: str = ""
    index: str = ""
    asked: bool = False
    via: tuple[str, ...] = ()

    def line(self) -> str:
        """This package as one line of a requirements file with its hash."""
        what = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return f"{what} --hash=sha256:{self.sha256}" if self.sha256 else what


@dataclass(frozen=True, kw_only=True)
class Lock:
    """The packages of one environment, sorted by name, and what they are for.

    `warnings` are whole sentences that a person should see; `uv` is the version that resolved it, `made` when (Unix
    seconds; 0: not known). None of these is part of `key`, and neither is where a package comes from. `base` is the
    digest of what the Python has of its own, where the cell sees that, and `own` the (name, version) of it that is made
    use of: these are not installed.
    """

    packages: tuple[Package, ...]
    target: Target
    warnings: tuple[str, ...] = ()
    uv: str = ""
    made: float = 0.0
    base: str = ""
    own: tuple[tuple[str, str], ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What `uv pip install --no-deps --require-hashes -r` reads."""
        return tuple(package.line() for package in self.packages)

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(package.size for package in self.packages)

    @property
    def explained(self) -> bool:
        """Whether it says what needs each package."""
        # One is enough: what only an image's own packages need has nobody to name.
        return not self.packages or any(package.asked or package.via for package in self.packages)

    @property
    def key(self) -> str:
        """SHA-256 (hex, 32 characters) over packages, target and recipe: the tree's name in a store."""
        target = [self.target.minor, self.target.implementation, self.target.abi, self.target.platform]
        text = json.dumps([RECIPE, target, self.lines, *filter(None, [self.base])])
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
                packages=tuple(sorted(map(_package, data["packages"]), key=lambda package: package.name)),
                target=Target(**data["target"]),
                warnings=tuple(str(warning) for warning in data.get("warnings", ())),
                uv=str(data.get("uv", "")),
                made=float(data.get("made", 0.0)),
                base=str(data.get("base", "")),
                own=tuple((str(name), str(version)) for name, version in data.get("own", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a lock: {error!r}") from error


def _package(data: dict[str, object]) -> Package:
    return Package(**data | {"via": tuple(map(str, data.get("via", ())))})  # type: ignore[arg-type, call-overload]


@dataclass(frozen=True, kw_only=True)
class Unresolved:
    """Requirements that could not be resolved here, and why; the guest resolves them where the cell runs."""

    lines: tuple[str, ...]
    reason: str


Resolution: TypeAlias = Lock | Unresolved
