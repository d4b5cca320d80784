"""The time of `uv-argo run`: interleaved rounds with `uv run`, and with the three Pythons of a run alone.

    python benchmarks/terminal.py --write      # docs/speed.md

Rules: those of cells.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import page
from cells import BLOCK, PLAIN, clean_environment, process, rounds, table
from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = '[project]\nname = "example"\nversion = "0"\nrequires-python = ">=3.11"\n'
FLOOR = """
`uv run` is a native program that starts one Python. A run of `uv-argo` has three: the command, the supervisor (which
installs, limits and outlives the cell), and the cell in a separate environment. The last row of the first table is the
time that these three need to start and end, without any work. Most of the rest is imports of the command. To save time,
the other two start while the command imports, from a record that an earlier run left. The first run takes longer.
"""


def measure(home: Path, count: int) -> list[tuple[str, dict[str, float], str]]:
    """(title, medians, the contestant that the others are compared with) of each comparison."""
    env = clean_environment(home)
    base = getattr(sys, "_base_executable", sys.executable)
    uv, command = find_uv_bin(), str(Path(sys.executable).with_name("uv-argo"))
    project, venv = home / "project", home / "venv"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    for folder in (home, project):
        (folder / "cell.py").write_text(PLAIN)
        (folder / "block.py").write_text(BLOCK)
    process([uv, "venv", "-q", "--python", base, str(venv)], env, home)
    bare = [[sys.executable, "-c", ""], [base, "-I", "-S", "-c", ""], [str(venv / "bin" / "python"), "-c", ""]]

    def run(*words: str, folder: Path = home) -> Callable[[], float]:
        return lambda: process(list(words), env, folder)

    plain = {
        "uv-argo run cell.py": run(command, "run", "cell.py"),
        "uv run cell.py": run(uv, "run", "-q", "--no-project", "cell.py"),
        "uv run cell.py in a project": run(uv, "run", "-q", "cell.py", folder=project),
        "the three Pythons of a run, one after the other": lambda: sum(process(one, env, home) for one in bare),
    }
    block = {
        "uv-argo run block.py": run(command, "run", "block.py"),
        "uv run block.py": run(uv, "run", "-q", "block.py"),
    }
    for contestant in (*plain.values(), *block.values()):
        contestant()  # one round more of warm-up: the second run has the record of the first
    return [
        ("In a terminal", rounds(plain, count), "uv run cell.py"),
        ("A script with a dependency in a terminal", rounds(block, count), "uv run block.py"),
    ]


def text(home: Path, count: int) -> str:
    """The part of the page."""
    by = f"Measured by `python benchmarks/terminal.py --write`: {page.machine('uv')}."
    return f"{by}\n{table(measure(home, count))}{FLOOR}"


if __name__ == "__main__":
    sys.exit(page.main("terminal", __doc__, text, rounds=21))
