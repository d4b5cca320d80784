"""What a Python has of its own, in an image or here: a cell over it sees these packages, and is resolved within them.

Rules:
- A Base is what one run over there said of itself (PROBE); equal digests are equal surroundings.
- For the resolution each distribution becomes a wheel with only what it says of itself in it: uv then has no other
  version of that package to choose, needs no index for it, and sees what it needs in turn.
- pip, setuptools and wheel bound nothing: another version in the cell's own environment stands before them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

TOOLS = frozenset(("pip", "setuptools", "wheel"))

PROBE = """\
import importlib.metadata, json, os, platform, sys, sysconfig
found = {}
for one in importlib.metadata.distributions():
    try:
        name, version = one.metadata["Name"], one.version
        if name and version and name.lower() not in found:
            extras = one.metadata.get_all("Provides-Extra") or []
            found[name.lower()] = [name, version, list(one.requires or []), extras]
    except Exception:
        pass
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, ValueError, OSError):
    libc = ""
print(json.dumps({
    "python": platform.python_version(),
    "implementation": sys.implementation.name,
    "free": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "machine": platform.machine(),
    "libc": libc,
    "distributions": sorted(found.values()),
}))
"""
"""A cell that says what it sees, as the last line that it prints; for Python 3.8 and newer."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One installed package: its canonical name, version, requirements and extras, as its metadata has them."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BaseEnvironment:
    """A Python and what it has: `python` is X.Y.Z, `platform` as uv names it ("" where that is not known)."""

    python: str
    implementation: str = "cpython"
    platform: str = ""
    distributions: tuple[Distribution, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all of it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def constraints(self) -> tuple[Distribution, ...]:
        """Those that a resolution keeps to."""
        return tuple(distribution for distribution in self.distributions if distribution.name not in TOOLS)

    def to_json(self) -> str:
        """This as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> BaseEnvironment:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is none.
        """
        try:
            data = json.loads(text)
            distributions = tuple(
                Distribution(
                    name=str(item["name"]),
                    version=str(item["version"]),
                    requires=tuple(map(str, item["requires"])),
                    extras=tuple(map(str, item["extras"])),
                )
                for item in data["distributions"]
            )
            fields = {key: str(data[key]) for key in ("python", "implementation", "platform")}
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a base: {error!r}") from error
        return cls(distributions=distributions, **fields)


def read_probe(output: str) -> BaseEnvironment:
    """What PROBE printed last.

    Raises:
        ValueError: it printed something else.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    try:
        data = json.loads(lines[-1])
        rows = [tuple(row) for row in data["distributions"]]
        by_name = {}
        for name, version, requires, extras in rows:
            canonical = canonicalize_name(str(name))
            if _is_version(str(version)):
                by_name[canonical] = Distribution(
                    name=canonical,
                    version=str(Version(str(version))),
                    requires=tuple(map(str, requires)),
                    extras=tuple(map(str, extras)),
                )
        return BaseEnvironment(
            python=str(data["python"]).removesuffix("+"),
            implementation=str(data["implementation"]) + ("t" if data["free"] else ""),
            platform=_platform(str(data["machine"]), str(data["libc"])),
            distributions=tuple(by_name[name] for name in sorted(by_name)),
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not what the probe says: {error!r}") from error


def _platform(machine: str, libc: str) -> str:
    """A platform with glibc as uv names it; "" for any other."""
    glibc = re.fullmatch(r"glibc 2\.(\d+)", libc)
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    return f"{arch}-manylinux_2_{glibc[1]}" if glibc and arch in ("x86_64", "aarch64") else ""


def _is_version(text: str) -> bool:
    """Whether this is a version as packages have it; a Linux distribution's own may be none."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def metadata(distribution: Distribution) -> str:
    """What its METADATA file says."""
    lines = ["Metadata-Version: 2.1", f"Name: {distribution.name}", f"Version: {distribution.version}"]
    lines += [f"Requires-Dist: {_one_line(text)}" for text in distribution.requires]
    lines += [f"Provides-Extra: {_one_line(text)}" for text in distribution.extras]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
