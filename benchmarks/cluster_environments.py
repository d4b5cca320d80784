"""The time of a cell in a pod with packages: known on the volume of a store, or installed in the pod.

    python benchmarks/cluster_environments.py --set kubeconfig=FILE --set images=3.11.2=IMAGE \
        --set store=claim/NAME --write

`--set` is %%argo's. A pod with a volume takes longer to start, so there is also a cell without packages that mounts it.
Interleaved rounds in one run; the lock of a contestant is made before.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import cells
import cluster
import page

from uv_argo_magic.backends import lookup
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from uv_argo_magic.core.spec.run_spec import Settings

PACKAGES = "numpy pandas"
PLAIN = "without packages, without a volume"


def contestants(settings: Settings) -> dict[str, Callable[[], float]]:
    """Each returns the seconds from the submission of its cell to the first line of output."""
    backend = lookup.load("argo")

    def cell(requirements: str, **changes: object) -> Callable[[], float]:
        spec = RunSpec(
            cell=cluster.CELL,
            requirements=parser.parse(requirements),
            backend="argo",
            settings=replace(settings, **changes),  # type: ignore[arg-type]  # a field that Settings has
        )
        prepared = prepare(spec, backend)

        def run() -> float:
            begun = time.perf_counter()
            one = start(prepared, backend=backend)
            took = cluster.until_output(one) - begun
            if one.wait(300).outcome != "Succeeded":
                raise RuntimeError(one.status)
            return took

        return run

    return {
        f"{PACKAGES}, already on the volume": cell(PACKAGES),
        "without packages, with the volume": cell("", store="", volumes=(("/mnt/store", settings.store),)),
        PLAIN: cell("", store=""),
        f"{PACKAGES}, installed in the pod": cell(PACKAGES, store=""),
    }


def text_of(medians: dict[str, float], rounds: int) -> str:
    """The results as Markdown."""
    lines = [
        f"Measured by `python benchmarks/cluster_environments.py --write`: {page.machine('uv')}.",
        f"Cluster, index and client share the cores. Medians of {rounds} rounds; images present.",
        "",
        "## A cell with packages on a cluster: submission to the first line of output",
        "",
        "| | s | ratio |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {took:.2f} | {took / medians[PLAIN]:.2f} |" for name, took in medians.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and store on request."""
    options = cluster.parser_of(__doc__)
    options.add_argument("--rounds", type=int, default=9)
    wanted = options.parse_args()
    settings = cluster.settings_of(wanted)
    if not settings.store:
        options.error("--set store=claim/NAME is missing")
    text = text_of(cells.rounds(contestants(settings), wanted.rounds), wanted.rounds)
    sys.stdout.write(text)
    if wanted.write:
        page.store("cluster environments", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
