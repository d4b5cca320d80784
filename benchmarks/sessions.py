"""The time of a session's cell: interleaved rounds of plain cells, cells of a session and Run All, in one run.

    python benchmarks/sessions.py --write      # docs/speed.md

Rules: as in cells.py, but without a pause: a session's cells follow one another at once. `%%px` of ipyparallel takes
part if it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cells
import page

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "1 + 1"
FRAME = "frame"
MAKE_FRAME = "import pandas\nframe = pandas.DataFrame({'a': range(20), 'b': range(20)})"
RUN_ALL = 30
MANY = 1000


def medians(contestants: dict[str, Callable[[], float]], count: int) -> dict[str, float]:
    """Median seconds of each, in shuffled rounds, after a tenth of them as warm-up."""
    order = random.Random(7)  # noqa: S311 - an order, no secret
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(count + count // 10):
        names = list(contestants)
        order.shuffle(names)
        for name in names:
            took = contestants[name]()
            if number >= count // 10:
                times[name].append(took)
    return {name: statistics.median(found) for name, found in times.items()}


def sizes(pid: int) -> tuple[int, int]:
    """(resident kB, open descriptors) of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    match = re.search(r"VmRSS:\s+(\d+)", status)
    return int(match[1]) if match else 0, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def measure(home: Path, count: int, many: int) -> list[str]:
    """The lines of the table, and the sentence on many cells."""
    env = cells.clean_environment(home)
    base = getattr(sys, "_base_executable", sys.executable)
    lines = ["| cell | plain | in a session | ratio | `%%px` |", "|---|--:|--:|--:|--:|"]
    kernel = cells.Kernel(env)
    has_px = importlib.util.find_spec("ipyparallel") is not None
    try:
        kernel.run(MAKE_FRAME)
        kernel.run(f"%%argo -s --deps pandas\n{MAKE_FRAME}")
        if has_px:
            kernel.run("import ipyparallel\ncluster = ipyparallel.Cluster(n=1)")
            kernel.run("cluster.start_and_connect_sync().activate()")
            kernel.run(f"%%px\n{MAKE_FRAME}")
        for code in (VALUE, FRAME):
            contestants = {"plain": code, "session": f"%%argo -s\n{code}"} | ({"px": f"%%px\n{code}"} if has_px else {})
            took = medians({name: lambda text=text: kernel.run(text) for name, text in contestants.items()}, count)
            px = f"{took['px'] * 1000:.1f} ms" if has_px else "-"
            ratio = took["session"] / took["plain"]
            lines.append(
                f"| `{code}` | {took['plain'] * 1000:.1f} ms | {took['session'] * 1000:.1f} ms | {ratio:.1f} | {px} |"
            )
        begun = time.perf_counter()
        for _ in range(RUN_ALL):
            kernel.run(f"%%argo\n{VALUE}")
        argo = (time.perf_counter() - begun) / RUN_ALL
        begun = time.perf_counter()
        for _ in range(RUN_ALL):
            cells.process([base, "-c", VALUE], env, home)
        python = (time.perf_counter() - begun) / RUN_ALL
        each = f"{argo * 1000:.0f} ms each; `python -c` takes {python * 1000:.0f} ms."
        lines += ["", f"Run All of {RUN_ALL} cells without a session: {each}"]
        kernel.run("import os; from uv_argo_magic.sessions.registry import Registry")
        pid = _number(kernel, "Registry.of_this_user().list()[-1].worker.pid")
        own = _number(kernel, "os.getpid()")
        for _ in range(many // 10):
            kernel.run(f"%%argo -s\n{VALUE}")
        before = sizes(own), sizes(pid)
        for _ in range(many):
            kernel.run(f"%%argo -s\n{VALUE}")
        after = sizes(own), sizes(pid)
        changes = [
            f"{name} {now[0] - then[0]:+d} kB and {now[1] - then[1]:+d} descriptors"
            for name, then, now in zip(("kernel", "worker"), before, after, strict=True)
        ]
        lines += ["", f"{many:,} cells of a session change the memory and the open files so: {'; '.join(changes)}."]
        kernel.run("%argo stop main")
        if has_px:
            kernel.run("cluster.stop_cluster_sync()")  # its processes would outlive the kernel
    finally:
        kernel.close()
    return lines


def _number(kernel: cells.Kernel, expression: str) -> int:
    reply = kernel.client.execute_interactive(
        "pass", user_expressions={"n": expression}, output_hook=lambda _: None, timeout=60
    )
    return int(reply["content"]["user_expressions"]["n"]["data"]["text/plain"])


def main() -> None:
    """Measure; print the table, or store it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        lines = measure(Path(home), options.rounds, options.many)
    text = "\n".join(
        [
            "## Sessions",
            "",
            f"Measured by `python benchmarks/sessions.py --write`: {page.machine('ipython', 'ipykernel')}.",
            "",
            *lines,
        ]
    )
    if options.write:
        page.store("sessions", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
