"""docs/speed.md as the benchmarks write it: each its own part, between two comments that name it."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

SPEED = Path(__file__).parents[1] / "docs" / "speed.md"


def machine(*packages: str) -> str:
    """What was measured on, in words."""
    known = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Python {platform.python_version()}, {known}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )


def store(name: str, text: str) -> None:
    """Put `text` in the place of the part of this name; at the end where there is none yet."""
    part = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->\n"
    page = SPEED.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n.*?<!-- end of {name} -->\n", page, re.DOTALL)
    page = page.replace(found[0], part) if found else f"{page.rstrip()}\n\n{part}"
    SPEED.write_text(page, encoding="utf-8")
