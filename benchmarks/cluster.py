"""The time of a cell on a cluster: from its submission to its first line, to its return, to Argo's phase.

    python benchmarks/cluster.py --set kubeconfig=FILE --set images=3.11.2=IMAGE --write

`--set` is %%argo's. What is compared with is seen by an observer of its own: the pod's log, read by another connection,
and the workflow, asked for ten times a second. All of it in one run, one cell after the other.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import page

from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.argo import client
from uv_argo_magic.core.spec import settings_parser as keys
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

CELL = "print('hello')"
LIMIT = """
The rest of the time is the start of the pod, and the kubelet, which passes on the log of a container once a second.
"""
FINAL = {"Succeeded", "Failed", "Error"}
NAMES = {
    "accepted": "the API accepts the Workflow",
    "line": "the first line of output arrives",
    "log": "the log contains the exit record",
    "returned": "the cell returns",
    "phase": "Argo reports Succeeded",
}


class Observer:
    """Looks at a workflow beside the run that is measured; times are seconds since `begun`."""

    def __init__(self, door: client.ArgoClient, name: str, begun: float) -> None:
        self.times: dict[str, float] = {}
        self._door, self._name, self._begun = door, name, begun
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._log, self._phase)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until both have been seen."""
        for thread in self._threads:
            thread.join(60)

    def _now(self) -> float:
        return time.perf_counter() - self._begun

    def _log(self) -> None:
        while True:
            try:
                seen = b""
                for data in self._door.log(self._name):
                    seen += data
                    if b'"k":"exit"' in seen.replace(b" ", b""):
                        self.times["log"] = self._now()
                        return
            except BackendError:
                time.sleep(0.02)  # the pod is not there yet

    def _phase(self) -> None:
        while (self._door.workflow(self._name).get("status") or {}).get("phase") not in FINAL:
            time.sleep(0.1)
        self.times["phase"] = self._now()


def measure(settings: Settings) -> dict[str, float]:
    """One cell: seconds from its submission to each of NAMES."""
    backend = lookup.load("argo")
    prepared = prepare(RunSpec(cell=CELL, backend="argo", settings=settings), backend)
    door = client.connect(settings)
    begun = time.perf_counter()
    run = start(prepared, backend=backend)
    times = {"accepted": time.perf_counter() - begun}
    observer = Observer(door, run.name, begun)
    times["line"] = until_output(run) - begun
    if run.wait(120).outcome != "Succeeded":
        raise RuntimeError(f"the cell ended as {run.status}")
    times["returned"] = time.perf_counter() - begun
    observer.wait()
    return times | observer.times


def until_output(run: Run) -> float:
    """When the run had its first line."""
    while not len(run.state.outputs) and not run.state.ended:
        time.sleep(0.005)
    return time.perf_counter()


def table(found: list[dict[str, float]]) -> str:
    """The results as Markdown."""
    medians = {name: statistics.median(times[name] for times in found) for name in NAMES}
    late = statistics.median(times["returned"] - times["log"] for times in found)
    lines = [
        f"Measured by `python benchmarks/cluster.py --write`: {page.machine('hera-workflows', 'kubernetes')}.",
        f"Cluster and client share the cores. Medians of {len(found)} cells in sequence; images present, no packages.",
        "",
        "## A cell on a cluster",
        "",
        "| seconds after submission | s | ratio |",
        "|---|---|---|",
    ]
    lines += [
        f"| {text} | {medians[name]:.2f} | {medians[name] / medians['phase']:.2f} |" for name, text in NAMES.items()
    ]
    lines += [
        "",
        f"The cell returns {late:.2f} s (median) after another reader of the log sees the exit record.",
    ]
    return "\n".join(lines) + "\n" + LIMIT


def parser_of(description: str) -> argparse.ArgumentParser:
    """The options of a benchmark on a cluster."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as on %%%%argo's line")
    parser.add_argument("--write", action="store_true", help="store the table in docs/speed.md")
    return parser


def settings_of(wanted: argparse.Namespace) -> Settings:
    """The settings that `--set` gives."""
    return replace(Settings(), **dict(keys.parse_assignments(wanted.set)))


def main() -> int:
    """Measure, print, and store on request."""
    parser = parser_of(__doc__)
    parser.add_argument("--cells", type=int, default=15)
    wanted = parser.parse_args()
    settings = settings_of(wanted)
    measure(settings)  # imports, connections and the guest's image layers are no part of a cell
    text = table([measure(settings) for _ in range(wanted.cells)])
    sys.stdout.write(text)
    if wanted.write:
        page.store("cluster", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
