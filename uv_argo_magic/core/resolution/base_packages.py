"""The packages that an image or a Python already contains (--set base); the cell can import them.

Rules:
- A BaseEnvironment is parsed from the output of PROBE. Equal digests mean equal environments.
- For the resolution, each distribution becomes a wheel that contains only its metadata: uv then selects that version,
  needs no index for it, and sees its dependencies.
- pip, setuptools and wheel are not constraints: the cell's environment can have other versions, which take precedence.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from uv_argo_magic.core.frozen import frozen

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
"""A cell that prints its Python and packages as JSON on the last line; it runs on Python 3.8 and newer."""


@frozen
class Distribution:
    """One installed package: its canonical name, and the version, requirements and extras of its metadata."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


@frozen
class BaseEnvironment:
    """A Python and its packages: `python` is X.Y.Z, `platform` as in `uv --python-platform` ("": unknown)."""

    python: str
    implementation: str = "cpython"
    platform: str = ""
    distributions: tuple[Distribution, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def constraints(self) -> tuple[Distribution, ...]:
        """The distributions that the resolution must not change."""
        return tuple(distribution for distribution in self.distributions if distribution.name not in TOOLS)

    def to_json(self) -> str:
        """This as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> BaseEnvironment:
        """Read the output of `to_json`.

        Raises:
            ValueError: the text is not such JSON.
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
            raise ValueError(f"not a base environment: {error!r}") from error
        return cls(distributions=distributions, **fields)


def read_probe(output: str) -> BaseEnvironment:
    """Read the output of PROBE.

    Raises:
        ValueError: the output does not end with such JSON.
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
        raise ValueError(f"not the output of the probe: {error!r}") from error


def _platform(machine: str, libc: str) -> str:
    """The name of a glibc platform for `uv --python-platform`; "" for other platforms."""
    glibc = re.fullmatch(r"glibc 2\.(\d+)", libc)
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    return f"{arch}-manylinux_2_{glibc[1]}" if glibc and arch in ("x86_64", "aarch64") else ""


def _is_version(text: str) -> bool:
    """Whether this is a PEP 440 version; packages of Linux distributions can have other versions."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def metadata(distribution: Distribution) -> str:
    """The text of its METADATA file."""
    lines = ["Metadata-Version: 2.1", f"Name: {distribution.name}", f"Version: {distribution.version}"]
    lines += [f"Requires-Dist: {_without_url(_one_line(text))}" for text in distribution.requires]
    lines += [f"Provides-Extra: {_one_line(text)}" for text in distribution.extras]
    return "\n".join(lines) + "\n"


def _without_url(text: str) -> str:
    """The requirement without a URL, because uv refuses URLs of dependencies."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:  # uv reads some of them
        return text
    if not requirement.url:
        return text
    requirement.url = None
    return str(requirement)


def _one_line(text: str) -> str:
    return " ".join(text.split())
