"""The parts of docs/speed.md: each benchmark writes the text between the two comments with its name."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SPEED = Path(__file__).parents[1] / "docs" / "speed.md"


def machine(*packages: str) -> str:
    """The machine and versions, as text."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"Python {platform.python_version()}, {versions}, {system}"


def store(name: str, text: str) -> None:
    """Replace the part of this name with `text`, or append it."""
    part = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->\n"
    page = SPEED.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name} -->\n.*?<!-- end of {name} -->\n", page, re.DOTALL)
    page = page.replace(match[0], part) if match else f"{page.rstrip()}\n\n{part}"
    SPEED.write_text(page, encoding="utf-8")


def main(name: str, description: str, measure: Callable[[Path, int], str], *, rounds: int) -> int:
    """Measure in a new home, print the text, and store it as the part `name` on request; the exit status."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--write", action="store_true", help="store the table in docs/speed.md")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uv-argo-bench-") as home:
        text = measure(Path(home), wanted.rounds)
    sys.stdout.write(text)
    if wanted.write:
        store(name, text)
    return 0
