"""The time until a cell's packages are there: interleaved rounds of cells and of the alternatives, in one run.

    python benchmarks/environments.py --write      # docs/speed.md and docs/environments.svg

Rules: as in cells.py. A cell is `uv_argo_magic.run` in a process that is already up, as in a kernel; the alternatives
run its text with `python`. An index on the network is asked, so that the first table depends on it. Kubeflow Pipelines
is installed in a venv of its own: it requires older packages than this one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cells
import page
from uv import find_uv_bin

import uv_argo_magic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETS = {
    "numpy pandas": "import numpy, pandas",
    "requests": "import requests",
    "rich": "import rich",
    "networkx": "import networkx",
    "sympy": "import sympy",
}
MAIN = "numpy pandas"
AT_ONCE = 32
BLOCK = 100
"""Runs in sequence of one contestant, before the next one's turn."""
HISTORY = 5
"""Runs that the history keeps."""
OURS = ("a cell", f"{AT_ONCE} runs")
"""Contestants that are cells with their environment, as in a notebook."""
CONDITIONS = (
    "The environments of the second table were removed before; uv's cache, pip's cache and the byte code of the store "
    "were not. In the last table, one run installs and the others wait; each of them starts a Python."
)
BASE = getattr(sys, "_base_executable", sys.executable)


class Bench:
    """A folder with its own caches and environments."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.uv = find_uv_bin()
        self.env = cells.clean_environment(home / "argo")
        self.env |= {"UV_CACHE_DIR": str(home / "uv-cache"), "PIP_CACHE_DIR": str(home / "pip-cache")}
        (home / "tmp").mkdir()
        self.env["TMPDIR"] = tempfile.tempdir = str(home / "tmp")
        for name in [name for name in os.environ if name.startswith(("PYTHON", "UV_"))]:
            del os.environ[name]
        os.environ.update(self.env)

    def forget(self, *names: str) -> None:
        """Remove folders of this one."""
        for name in names:
            shutil.rmtree(self.home / name, ignore_errors=True)

    def files(self) -> int:
        """The number of files and folders that cells have made, without the history, which keeps a few runs."""
        made = (path for folder in ("argo", "tmp") for path in (self.home / folder).rglob("*"))
        return sum(1 for path in made if not path.is_relative_to(self.home / "argo" / "data" / "runs"))

    def cell(self, packages: str, code: str) -> float:
        """Seconds of a cell."""
        begun = time.perf_counter()
        run = uv_argo_magic.run(code, deps=packages, settings={"panel": "none", "history": HISTORY})
        took = time.perf_counter() - begun
        if run.status != "Succeeded":
            raise RuntimeError(run.status)
        return took

    def command(self, *words: str) -> float:
        """Seconds of a command."""
        return cells.process(list(words), self.env, self.home)

    def bare_uv(self, packages: str, code: str) -> float:
        """Seconds of a new venv with uv, its packages and the code."""
        self.forget("uv-venv")
        python = str(self.home / "uv-venv" / "bin" / "python")
        took = self.command(self.uv, "venv", "-q", "--python", BASE, "uv-venv")
        took += self.command(self.uv, "pip", "install", "-q", "--python", python, *packages.split())
        return took + self.command(python, "-c", code)

    def pip(self, packages: str, code: str) -> float:
        """Seconds of a new venv, its packages by pip, and the code."""
        self.forget("pip-venv")
        python = str(self.home / "pip-venv" / "bin" / "python")
        took = self.command(BASE, "-m", "venv", "pip-venv")
        took += self.command(python, "-m", "pip", "install", "-q", *packages.split())
        return took + self.command(python, "-c", code)

    def uv_run(self, packages: str, code: str) -> float:
        """Seconds of `uv run --with`."""
        chosen = [word for package in packages.split() for word in ("--with", package)]
        return self.command(self.uv, "run", "-q", "--no-project", "--python", BASE, *chosen, "python", "-c", code)

    def install_kfp(self) -> None:
        """Make the venv of Kubeflow Pipelines, with a cache that no contestant uses."""
        self.command(self.uv, "venv", "-q", "--python", BASE, "kfp")
        python = str(self.home / "kfp" / "bin" / "python")
        self.command(self.uv, "pip", "install", "-q", "--no-cache", "--python", python, "kfp")

    def kfp(self, packages: str, code: str) -> float:
        """Seconds of a component of Kubeflow Pipelines in its local runner, with a venv."""
        text = (
            "from kfp import dsl, local\n"
            "local.init(local.SubprocessRunner(use_venv=True), raise_on_error=True)\n"
            f"@dsl.component(packages_to_install={packages.split()!r})\n"
            f"def cell():\n    exec({code!r})\n"
            "cell()\n"
        )
        (self.home / "component.py").write_text(text)
        return self.command(str(self.home / "kfp" / "bin" / "python"), "component.py")


def tables(bench: Bench, count: int, many: int) -> Iterator[tuple[str, dict[str, float], str]]:
    """(title, median seconds by contestant, the contestant that the others are compared with)."""
    packages, code = MAIN, SETS[MAIN]

    def first(contestant: Callable[[str, str], float], *forgotten: str) -> Callable[[], float]:
        def run() -> float:
            bench.forget(*forgotten)
            return contestant(packages, code)

        return run

    caches = ("argo", "uv-cache", "pip-cache")
    bench.install_kfp()
    yield (
        "The first run, with nothing cached",
        cells.rounds(
            {
                "a cell": first(bench.cell, *caches),
                "uv venv, uv pip install": first(bench.bare_uv, *caches),
                "uv run --with": first(bench.uv_run, *caches),
                "venv and pip install": first(bench.pip, *caches),
                "Kubeflow Pipelines, local runner": first(bench.kfp, *caches),
            },
            max(2, 2 * count // 3),  # its times depend on the network
            seldom="Kubeflow Pipelines, local runner",
        ),
        "uv venv, uv pip install",
    )
    for chosen, text in SETS.items():  # every cache has every package from here on, and ours its byte code
        for contestant in (bench.cell, bench.bare_uv, bench.pip, bench.uv_run):
            contestant(chosen, text)

    def all_sets(contestant: Callable[[str, str], float], *forgotten: str) -> Callable[[], float]:
        def run() -> float:
            bench.forget(*forgotten)
            return sum(contestant(chosen, text) for chosen, text in SETS.items())

        return run

    yield (
        f"A new environment, with full caches: {len(SETS)} sets of packages",
        cells.rounds(
            {
                "a cell": all_sets(bench.cell, "argo/cache/store/trees"),
                "uv venv, uv pip install": all_sets(bench.bare_uv),
                "venv and pip install": all_sets(bench.pip),
            },
            max(2, count // 3),
        ),
        "uv venv, uv pip install",
    )
    bench.bare_uv(packages, code)
    ready = str(bench.home / "ready")
    (bench.home / "uv-venv").rename(ready)
    bench.cell(packages, code)
    yield (
        "A repeated run: numpy and pandas",
        cells.rounds(
            {
                "a cell": lambda: bench.cell(packages, code),
                "python in a ready environment": lambda: bench.command(f"{ready}/bin/python", "-c", code),
                "uv run --with": lambda: bench.uv_run(packages, code),
                "uv venv, uv pip install": lambda: bench.bare_uv(packages, code),
                "venv and pip install": lambda: bench.pip(packages, code),
            },
            count,
            seldom="venv and pip install",
        ),
        "python in a ready environment",
    )
    yield many_runs(bench, packages, many)
    yield (
        f"{AT_ONCE} concurrent runs with the same new environment",
        at_once(bench, packages, max(2, count // 5)),
        "one run",
    )


def many_runs(bench: Bench, packages: str, many: int) -> tuple[str, dict[str, float], str]:
    """The table of many runs that do nothing, in rounds of a block of each; the expensive ones run less often."""
    seldom = "venv and pip install"
    contestants: dict[str, tuple[int, Callable[[], float]]] = {
        "a cell": (BLOCK, lambda: bench.cell(packages, "pass")),
        "python -c pass": (BLOCK, lambda: bench.command(BASE, "-c", "pass")),
        "uv venv, uv pip install": (max(1, BLOCK // 50), lambda: bench.bare_uv(packages, "pass")),
        seldom: (1, lambda: bench.pip(packages, "pass")),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(3):  # from the second one on, a process for the next run waits, and has a folder
        bench.cell(packages, "pass")
    time.sleep(cells.PAUSE)
    before = bench.files()
    for number in range(max(1, many // BLOCK)):
        for name, (count, run) in contestants.items():
            if name != seldom or not number % 3:
                times[name] += [run() for _ in range(count)]
    left = bench.files() - before
    title = f"Each of {many:,} runs of one environment in sequence ({left} more files after {many:,} cells)"
    return title, {name: statistics.fmean(found) for name, found in times.items()}, "python -c pass"


def at_once(bench: Bench, packages: str, count: int) -> dict[str, float]:
    """Median seconds of one run and of many at once, each with an empty store and an empty cache."""

    def one() -> float:
        bench.forget("argo", "uv-cache")
        return bench.cell(packages, "pass")

    def all_at_once() -> float:
        bench.forget("argo", "uv-cache")
        begun = time.perf_counter()
        options = {"deps": packages, "settings": {"panel": "none"}}
        started = [uv_argo_magic.submit("pass", **options) for _ in range(AT_ONCE)]
        for run in started:
            run.result(600)
        took = time.perf_counter() - begun
        builds = [run.state.installed.cached for run in started].count(False)
        if builds != 1:
            raise RuntimeError(f"{builds} installs")
        return took

    return cells.rounds({"one run": one, f"{AT_ONCE} runs": all_at_once}, count)


def text_of(found: list[tuple[str, dict[str, float], str]], many: int) -> str:
    """The results as Markdown."""
    lines = [
        f"Measured by `python benchmarks/environments.py --many {many} --write`: {page.machine('uv')}.",
        f"The sets of packages are: {'; '.join(SETS)}. {CONDITIONS}",
    ]
    for title, medians, against in found:
        lines += ["", f"## {title}", "", "| | ms | ratio |", "|---|---|---|"]
        lines += [f"| {name} | {took * 1000:.1f} | {took / medians[against]:.2f} |" for name, took in medians.items()]
    return "\n".join(lines) + "\n\n![The ratios as a bar chart](environments.svg)\n"


def bars(found: list[tuple[str, dict[str, float], str]]) -> str:
    """The ratios as an SVG with a logarithmic axis."""
    rows: list[str] = []
    y = 24
    import math  # noqa: PLC0415 - only the picture needs it

    for title, medians, against in found:
        rows.append(f'<text x="8" y="{y}" font-weight="bold">{title}</text>')
        for name, took in medians.items():
            y += 20
            ratio = took / medians[against]
            width = 12 + 90 * max(0.0, math.log10(ratio * 10))
            fill = "#1f77b4" if name in OURS else "#b0b7c0"
            rows.append(f'<text x="8" y="{y}">{name}</text>')
            rows.append(f'<rect x="230" y="{y - 11}" width="{width:.0f}" height="13" fill="{fill}"/>')
            rows.append(f'<text x="{236 + width:.0f}" y="{y}">{ratio:.2f}</text>')
        y += 34
    rows.append(f'<text x="8" y="{y - 8}">Ratios within each table, on a logarithmic scale.</text>')
    style = (
        "text { font: 13px sans-serif; fill: #24292f } @media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } }"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{y + 4}" viewBox="0 0 640 {y + 4}">'
        f"<style>{style}</style>\n" + "\n".join(rows) + "\n</svg>\n"
    )


def main() -> int:
    """Measure, print, and store on request."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--many", type=int, default=1000)
    options.add_argument("--write", action="store_true", help="store the table in docs/speed.md, and its picture")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="uv-argo-bench-") as home:
        found = []
        for table in tables(Bench(Path(home)), wanted.rounds, wanted.many):
            found.append(table)
            sys.stderr.write(f"{table[0]}: {table[1]}\n")
    text = text_of(found, wanted.many)
    sys.stdout.write(text)
    if wanted.write:
        page.store("environments", text)
        page.SPEED.with_name("environments.svg").write_text(bars(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
