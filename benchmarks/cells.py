"""The time of a cell: interleaved rounds of %%argo and of the alternatives, as ratios within one run.

    python benchmarks/cells.py --write      # docs/speed.md

Rules: every round runs each contestant once, in an order shuffled by a fixed seed; medians; exit statuses are checked;
variables that change how a Python runs (PYTHON*, UV_*) reach no contestant.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import page
from jupyter_client.manager import start_new_kernel
from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAUSE = 0.4
"""Seconds between two contestants: a person's next cell comes no sooner, and what a cell left to do is done by then."""

PLAIN = "print('hello')"
PACKAGES = "numpy==2.4.6 pandas==3.1.1"
IMPORTS = "import numpy, pandas\nprint(numpy.__version__)"
BLOCK = '# /// script\n# dependencies = ["rich"]\n# ///\nimport rich\nprint("hello")\n'
"""A script with a dependency; both commands keep its environment after the first round."""
LINES = 400_000
LIMIT = """
Each line is read twice: in the runner, which writes the full output to a file, and in the kernel, which shows the first
and last lines. Most of the difference to `python` is the time the kernel needs to select them.
"""
FLOOD = f"for i in range({LINES}):\n    print('a line of ordinary length, number', i)"


class Kernel:
    """A real ipykernel; `run` is the time from the request to idle, in seconds."""

    def __init__(self, env: dict[str, str]) -> None:
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=env)
        self.run("%load_ext uv_argo_magic")

    def run(self, code: str) -> float:
        begun = time.perf_counter()
        reply = self.client.execute_interactive(code, timeout=600, output_hook=lambda _: None)
        took = time.perf_counter() - begun
        if reply["content"]["status"] != "ok":
            raise RuntimeError(str(reply["content"]))
        return took

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


LOAD = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
begun = time.perf_counter()
shell.run_line_magic("load_ext", sys.argv[1])
print(time.perf_counter() - begun)
"""


def load_ext(name: str, env: dict[str, str], cwd: Path) -> float:
    """Seconds that `%load_ext` takes in a new IPython."""
    command = [sys.executable, "-c", LOAD, name]
    done = subprocess.run(command, check=True, env=env, cwd=cwd, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def process(command: list[str], env: dict[str, str], cwd: Path) -> float:
    """Seconds of one command, output through a pipe."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return time.perf_counter() - begun


def rounds(contestants: dict[str, Callable[[], float]], count: int, *, seldom: str = "") -> dict[str, float]:
    """Median seconds of each, after one round of warm-up; `seldom` takes part in every third round only."""
    order = random.Random(7)  # noqa: S311 - an order, no secret
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(count + 1):
        names = list(contestants)
        order.shuffle(names)
        for name in names:
            if name == seldom and number % 3:
                continue
            time.sleep(PAUSE)
            took = contestants[name]()
            if number:
                times[name].append(took)
    return {name: statistics.median(found) for name, found in times.items()}


def clean_environment(home: Path) -> dict[str, str]:
    """This environment without the variables that change how Python or uv runs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UV_"))}
    return env | {"UV_ARGO_HOME": str(home), "UV_ARGO_PANEL": "static", "UV_ARGO_BACKEND": "local"}


def measure(home: Path, count: int) -> list[tuple[str, dict[str, float], str]]:
    """(title, medians, the contestant that the others are compared with) of each comparison."""
    env = clean_environment(home)
    base = getattr(sys, "_base_executable", sys.executable)
    (home / "cell.py").write_text(PLAIN)
    (home / "imports.py").write_text(IMPORTS)
    (home / "flood.py").write_text(FLOOD)
    uv = find_uv_bin()
    ready = home / "ready"
    process([uv, "venv", "-q", "--python", base, str(ready)], env, home)
    ready_python = str(ready / "bin" / "python")
    process([uv, "pip", "install", "-q", "--python", ready_python, *PACKAGES.split()], env, home)

    def anew() -> float:
        shutil.rmtree(home / "anew", ignore_errors=True)
        took = process([base, "-m", "venv", str(home / "anew")], env, home)
        python = str(home / "anew" / "bin" / "python")
        took += process([python, "-m", "pip", "install", "-q", *PACKAGES.split()], env, home)
        return took + process([python, "imports.py"], env, home)

    kernel = Kernel(env)
    try:
        # Everything is made once before anything is measured: environments, byte code, the process that waits.
        kernel.run(f"%%argo --deps {PACKAGES}\n{IMPORTS}")
        warm = {
            "%%argo": lambda: kernel.run(f"%%argo\n{PLAIN}"),
            "the same cell without %%argo": lambda: kernel.run(PLAIN),
            "python cell.py": lambda: process([base, "cell.py"], env, home),
            "uv run cell.py": lambda: process([uv, "run", "-q", "--no-project", "cell.py"], env, home),
        }
        second = {
            "%%argo, second run": lambda: kernel.run(f"%%argo --deps {PACKAGES}\n{IMPORTS}"),
            "python in a ready environment": lambda: process([ready_python, "imports.py"], env, home),
        }
        first = {
            "%%argo, second run": second["%%argo, second run"],
            "venv and pip install": anew,
        }
        flood = {
            "%%argo": lambda: kernel.run(f"%%argo\n{FLOOD}"),
            "python -u": lambda: process([base, "-u", "flood.py"], env, home),
            "python": lambda: process([base, "flood.py"], env, home),
        }
        loading = {
            "%load_ext uv_argo_magic": lambda: load_ext("uv_argo_magic", env, home),
            "%load_ext autoreload": lambda: load_ext("autoreload", env, home),
            "import pandas": lambda: process([ready_python, "-c", "import pandas"], env, home),
        }
        return [
            ("Loading the extension", rounds(loading, count), "import pandas"),
            ("A cell without dependencies", rounds(warm, count), "python cell.py"),
            ("A cell with numpy and pandas", rounds(second, count), "python in a ready environment"),
            ("A cell with numpy and pandas, and a new environment", rounds(first, 3), "venv and pip install"),
            (f"{LINES:,} lines of output", rounds(flood, max(3, count // 4)), "python -u"),
        ]
    finally:
        kernel.close()


def table(found: list[tuple[str, dict[str, float], str]]) -> str:
    """The results as Markdown."""
    lines = []
    for title, medians, against in found:
        lines += ["", f"## {title}", "", "| | ms | ratio |", "|---|---|---|"]
        lines += [f"| {name} | {took * 1000:.1f} | {took / medians[against]:.2f} |" for name, took in medians.items()]
    return "\n".join(lines) + "\n"


def text(home: Path, count: int) -> str:
    """The part of the page."""
    by = f"Measured by `python benchmarks/cells.py --write`: {page.machine('uv', 'ipython', 'ipykernel')}."
    return f"{by}\n{table(measure(home, count))}{LIMIT}"


if __name__ == "__main__":
    sys.exit(page.main("cells", __doc__, text, rounds=21))
