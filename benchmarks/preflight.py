"""The time for resolving before a run, compared with uv and pip, in interleaved rounds.

    python benchmarks/preflight.py --write      # docs/speed.md; some minutes with the default index, most of them pip's

Rules: every round asks each contestant, in an order shuffled by a fixed seed, with an empty cache (cold) and then again
(warm); medians; exit statuses are checked; variables that change how a Python or uv runs (PYTHON*, UV_*) reach none.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import time
from typing import TYPE_CHECKING

import page
from cells import PAUSE, process, rounds
from uv import find_uv_bin

from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine import start_run
from uv_argo_magic.uv import interpreters, resolver

if TYPE_CHECKING:
    from pathlib import Path

SETS = {
    "tables": "numpy pandas",
    "plots": "scikit-learn matplotlib seaborn",
    "web": "fastapi[standard] sqlalchemy httpx",
    "notebook": "jupyterlab",
    "models": "transformers datasets",
}
WAYS = ("pre-flight", "uv pip compile", "pip install --dry-run")
IMPORTS = "import numpy, pandas\nprint(numpy.__version__)"
ENDS = """
`%%argo` requests more than `uv pip compile` does by default: hashes and sizes of all files, and wheels only. pip
downloads anything not in its cache. Rows can vary by half on a busy machine; the average is more reliable.
"""


def ours(text: str, cache: Path) -> float:
    """Seconds of a pre-flight that remembers nothing but what is in uv's cache."""
    begun = time.perf_counter()
    found = resolver.lock(
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
    """(title, medians) for each set, cold and warm: a warm one comes right after a cold one, with its cache."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UV_"))}
    python, order, found = interpreters.find().path, random.Random(7), []  # noqa: S311 - an order, no secret
    process([python, "-m", "venv", str(home / "pip")], env, home)
    cache, wanted = home / "cache", home / "wanted.txt"
    by_uv = [find_uv_bin(), "pip", "compile", "-q", "--python", python, str(wanted)]
    by_pip = [str(home / "pip" / "bin" / "python"), "-m", "pip", "install", "-q", "--dry-run", "-r", str(wanted)]
    caches = {"UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache)}
    for name, text in SETS.items():
        wanted.write_text(text.replace(" ", "\n") + "\n")
        times: dict[str, dict[str, list[float]]] = {state: {way: [] for way in WAYS} for state in ("cold", "warm")}
        for number in range(count):
            # pip alone would take most of the time: it is asked once.
            for way in order.sample(WAYS, len(WAYS)) if number == 0 else order.sample(WAYS[:2], 2):
                shutil.rmtree(cache, ignore_errors=True)
                for state in times.values():
                    time.sleep(PAUSE)
                    if way == WAYS[0]:
                        took = ours(text, cache)
                    else:
                        took = process(by_uv if way == WAYS[1] else by_pip, env | caches, home)
                    state[way].append(took)
        for state, ways in times.items():
            medians = {way: statistics.median(these) for way, these in ways.items()}
            found.append((f"{name}: `{text}`, {state}", medians))
            print(found[-1], file=sys.stderr)
    return found


def repeated(home: Path, count: int) -> dict[str, float]:
    """Median seconds of a repeated cell's pre-flight and of its whole run."""
    os.environ["UV_ARGO_HOME"] = str(home / "argo")
    spec = RunSpec(cell=IMPORTS, requirements=parse(SETS["tables"]), settings=Settings(panel="none"))
    notebook = str(home / "study.ipynb")

    def run() -> float:
        begun = time.perf_counter()
        made = start_run.start(prepare(spec, notebook=notebook), warm=True)
        made.wait(600)
        took = time.perf_counter() - begun
        made.raise_for_state()
        return took

    def prepare() -> float:
        begun = time.perf_counter()
        prepare(spec, notebook=notebook)
        return time.perf_counter() - begun

    run()
    return rounds({"pre-flight of a repeated cell": prepare, "the whole cell": run}, count)


def table(found: list[tuple[str, dict[str, float]]], again: dict[str, float]) -> str:
    """The results as Markdown."""
    about = f"Measured by `python benchmarks/preflight.py --write`: {page.machine('uv')}."
    lines = [
        "## Resolving before a run",
        "",
        f"{about} Times in milliseconds; in brackets, as a multiple of `%%argo`.",
        "",
    ]
    lines += ["| | `%%argo` | uv pip compile | pip install --dry-run |", "|---|---|---|---|"]
    for title, medians in found:
        own, *others = medians.values()
        cells = [f"{own * 1000:.0f}", *(f"{took * 1000:.0f} ({took / own:.2f})" for took in others)]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    part, whole = again.values()
    times = [statistics.geometric_mean([medians[way] / medians[WAYS[0]] for _, medians in found]) for way in WAYS[1:]]
    by_uv, by_pip = times
    average = f"On average (geometric mean), `%%argo` takes {1 / by_uv:.2f} times as long as `uv pip compile`, and pip "
    lines += ["", f"{average}{by_pip:.0f} times as long as `%%argo`."]
    share = f"{part * 1000:.1f} ms, or {part / whole:.1%} of {whole * 1000:.0f} ms"
    lines += ["", f"Resolving again for a cell that runs again, with numpy and pandas: {share} in total."]
    return "\n".join(lines) + "\n" + ENDS


def text(home: Path, count: int) -> str:
    """The part of the page."""
    return table(measure(home, count), repeated(home, 4 * count))


if __name__ == "__main__":
    sys.exit(page.main("preflight", __doc__, text, rounds=5))
