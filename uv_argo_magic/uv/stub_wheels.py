"""Wheels that contain only metadata, to describe the preinstalled packages of an image to uv."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from uv_argo_magic.core.resolution.base_packages import metadata
from uv_argo_magic.errors import ResolutionError

if TYPE_CHECKING:
    from pathlib import Path

    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.resolution.base_packages import BaseEnvironment
    from uv_argo_magic.core.resolution.uv_stderr import InstallFailure
    from uv_argo_magic.uv.interpreters import Interpreter

BASE = "base.txt"
"""The constraints file with the preinstalled packages."""


def write_wheels(base: BaseEnvironment, folder: Path) -> None:
    """Write a wheel for each distribution that constrains the resolution, and BASE, which requires each by its URL."""
    lines = []
    for package in base.constraints:
        stem = f"{package.name.replace('-', '_')}-{package.version}"
        file = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in (
                ("METADATA", metadata(package)),
                ("WHEEL", "Wheel-Version: 1.0\nGenerator: uv-argo-magic\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
                ("RECORD", ""),
            ):
                archive.writestr(f"{stem}.dist-info/{name}", text)
        lines.append(f"{package.name} @ {file.as_uri()}")
    (folder / BASE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


BY_BASE = "Require a compatible version, choose another base, or remove base."


def refuse_contradictions(requirements: Requirements, interpreter: Interpreter) -> None:
    """Raise ResolutionError if a requirement excludes the preinstalled version."""
    installed_versions = {
        package.name: package.version for package in (interpreter.base.constraints if interpreter.base else ())
    }
    for item in requirements.items:
        installed = installed_versions.get(item.name)
        if installed and not item.marker and not SpecifierSet(item.specifier).contains(installed, prereleases=True):
            raise ResolutionError(
                f"{item} is required, but {item.name} {installed} is preinstalled in {_where(interpreter)}.",
                hint=BY_BASE,
            )


def _where(interpreter: Interpreter) -> str:
    return interpreter.image or f"Python {interpreter.target.python} of this machine"


def mention_base_packages(failure: InstallFailure, stderr: str, interpreter: Interpreter) -> InstallFailure:
    """The failure, with a remark on the preinstalled packages that uv mentions."""
    mentioned = [
        f"{package.name} {package.version}"
        for package in (interpreter.base.constraints if interpreter.base else ())
        if re.search(rf"(?<![\w.-]){re.escape(package.name)}(?![\w-]|\.\w)", stderr)
    ]
    if not mentioned or failure.unreachable:
        return failure
    sentence = f"{failure.sentence} Preinstalled in {_where(interpreter)}: {', '.join(mentioned)}."
    return replace(failure, sentence=sentence, hint=BY_BASE)
