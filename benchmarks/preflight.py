"""What pre-flight costs: resolving before anything runs, against uv by itself and against pip, in interleaved rounds.

    python benchmarks/preflight.py --write      # docs/speed.md; some minutes with the default index, most of them pip's

Rules: every round asks each contestant once, in an order shuffled by a fixed seed; medians; exit statuses are checked;
cold means an empty cache for that round, warm a cache that has seen the same question; variables that change how a
Python or uv runs (PYTHON*, UV_*) reach no contestant.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import page
from cells import process, rounds
from uv import find_uv_bin

from uv_argo_magic import interpreters, resolve
from uv_argo_magic import run as engine
from uv_argo_magic.core.lock import Lock
from uv_argo_magic.core.requirements import parse
from uv_argo_magic.core.spec import RunSpec, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SETS = {
    "tables": "numpy pandas",
    "pictures": "scikit-learn matplotlib seaborn",
    "web": "fastapi[standard] sqlalchemy httpx",
    "notebook": "jupyterlab",
    "language": "transformers datasets",
}
IMPORTS = "import numpy, pandas\nprint(numpy.__version__)"
ENDS = """
Aims: within 1.2 times `uv pip compile` by itself, five times as fast as `pip install --dry-run`, under 5 % of a
repeated cell. Pre-flight asks for more than `uv pip compile` by default: hashes and sizes of every file, and wheels
only. pip downloads what it would install, where its cache has it not.
"""


def ours(text: str, cache: Path) -> float:
    """Seconds of a pre-flight that remembers nothing but what is in uv's cache."""
    begun = time.perf_counter()
    found = resolve.lock(
        parse(text),
        interpreter=interpreters.find(),
        settings=Settings(),
        environ=os.environ | {"UV_CACHE_DIR": str(cache)},
    )
    took = time.perf_counter() - begun
    if not isinstance(found, Lock):
        raise TypeError(found)
    return took


def measure(home: Path, count: int) -> list[tuple[str, dict[str, float]]]:
    """(title, medians) for each set, cold and warm."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UV_"))}
    python, found = interpreters.find().path, []
    pip = home / "pip"
    process([python, "-m", "venv", str(pip)], env, home)
    for name, text in SETS.items():
        wanted = home / f"{name}.txt"
        wanted.write_text(text.replace(" ", "\n") + "\n")

        def by_uv(cache: Path, wanted: Path = wanted) -> float:
            command = [find_uv_bin(), "pip", "compile", "-q", "--python", python, str(wanted)]
            return process(command, env | {"UV_CACHE_DIR": str(cache)}, home)

        def by_pip(cache: Path, wanted: Path = wanted) -> float:
            command = [str(pip / "bin" / "python"), "-m", "pip", "install", "-q", "--dry-run", "-r", str(wanted)]
            return process(command, env | {"PIP_CACHE_DIR": str(cache)}, home)

        def by_us(cache: Path, text: str = text) -> float:
            return ours(text, cache)

        def cold(way: Callable[[Path], float]) -> Callable[[], float]:
            def once() -> float:
                shutil.rmtree(home / "cold", ignore_errors=True)
                return way(home / "cold")

            return once

        def warm(way: Callable[[Path], float], cache: Path) -> Callable[[], float]:
            return lambda: way(cache)

        ways = {"pre-flight": by_us, "uv pip compile": by_uv, "pip install --dry-run": by_pip}
        title = f"{name}: `{text}`"
        # pip alone takes most of the time here, and a round with an empty cache needs no round before it to be fair.
        medians = rounds({label: cold(way) for label, way in ways.items()}, max(1, count // 3))
        found.append((f"{title}, cold", medians))
        medians = rounds({label: warm(way, home / label.partition(" ")[0]) for label, way in ways.items()}, count)
        found.append((f"{title}, warm", medians))
    return found


def repeated(home: Path, count: int) -> dict[str, float]:
    """Median seconds of a repeated cell's pre-flight and of its whole run."""
    os.environ["UV_ARGO_HOME"] = str(home / "argo")
    spec = RunSpec(cell=IMPORTS, requirements=parse(SETS["tables"]), settings=Settings(panel="none"))
    notebook = str(home / "study.ipynb")

    def run() -> float:
        begun = time.perf_counter()
        made = engine.start(engine.prepare(spec, notebook=notebook), warm=True)
        made.wait(600)
        took = time.perf_counter() - begun
        made.raise_for_state()
        return took

    def prepare() -> float:
        begun = time.perf_counter()
        engine.prepare(spec, notebook=notebook)
        return time.perf_counter() - begun

    run()
    return rounds({"pre-flight of a repeated cell": prepare, "the whole cell": run}, count)


def table(found: list[tuple[str, dict[str, float]]], again: dict[str, float]) -> str:
    """The results as Markdown."""
    about = f"Made by `python benchmarks/preflight.py --write`: {page.machine('uv')}."
    lines = ["## Pre-flight", "", f"{about} Milliseconds, and in brackets each as a multiple of pre-flight's.", ""]
    lines += ["| | pre-flight | uv pip compile | pip install --dry-run |", "|---|---|---|---|"]
    for title, medians in found:
        own, *others = medians.values()
        cells = [f"{own * 1000:.0f}", *(f"{took * 1000:.0f} ({took / own:.2f})" for took in others)]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    part, whole = again.values()
    share = f"{part * 1000:.1f} ms, {part / whole:.1%} of its {whole * 1000:.0f} ms"
    lines += ["", f"The pre-flight of a cell that is run again, numpy and pandas: {share}."]
    return "\n".join(lines) + "\n" + ENDS


def main() -> int:
    """Measure, print, and store on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="store the table in docs/speed.md")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uv-argo-bench-") as home:
        text = table(measure(Path(home), wanted.rounds), repeated(Path(home), 4 * wanted.rounds))
    sys.stdout.write(text)
    if wanted.write:
        page.store("preflight", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
