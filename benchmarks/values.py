"""The time of values: 100 MB into a process and back, by push and pull, a file of pickle, a pipe and ipyparallel.

    python benchmarks/values.py --write      # docs/speed.md

Rules: one run, interleaved rounds, medians. The time of a value is that of a cell with it less that of the same cell
without it. The other processes have imported the library before. ipyparallel takes part if it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pickle
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import page

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTES = 100
DEPS = {"numpy": "numpy", "pandas": "pandas pyarrow"}
HEADER = struct.Struct(">cQ")
OTHER = """
import pickle, struct, sys, {library}
source, sink, header = sys.stdin.buffer, sys.stdout.buffer, struct.Struct(">cQ")
sink.write(b"."); sink.flush()
while True:
    kind, size = header.unpack(source.read(header.size))
    if kind == b"f":  # a file has it
        with open(source.read(size).decode(), "rb") as file:
            value = pickle.load(file)
        sink.write(b"."); sink.flush()
    elif kind == b"p":  # the pipe has it
        value = pickle.loads(source.read(size))
        sink.write(b"."); sink.flush()
    elif kind == b"F":
        with open(source.read(size).decode(), "wb") as file:
            pickle.dump(value, file, 5)
        sink.write(b"."); sink.flush()
    elif kind == b"P":
        data = pickle.dumps(value, 5)
        sink.write(header.pack(b"P", len(data))); sink.write(data); sink.flush()
"""


class Other:
    """A process that has imported the library, and takes and gives values by a file or its pipes."""

    def __init__(self, library: str, folder: Path) -> None:
        self.path = str(folder / "value.pickle")
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER.format(library=library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._read(1)

    def send_file(self, value: object) -> None:
        """By a file of pickle."""
        with Path(self.path).open("wb") as file:
            pickle.dump(value, file, 5)
        self._ask(b"f", self.path.encode())
        self._read(1)
        Path(self.path).unlink()

    def get_file(self) -> object:
        """By a file of pickle."""
        self._ask(b"F", self.path.encode())
        self._read(1)
        with Path(self.path).open("rb") as file:
            value: object = pickle.load(file)  # noqa: S301 - our own
        Path(self.path).unlink()
        return value

    def send_pipe(self, value: object) -> None:
        """By a pipe."""
        self._ask(b"p", pickle.dumps(value, 5))
        self._read(1)

    def get_pipe(self) -> object:
        """By a pipe."""
        self._ask(b"P", b"")
        _, size = HEADER.unpack(self._read(HEADER.size))
        return pickle.loads(self._read(size))  # noqa: S301 - our own

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def _ask(self, kind: bytes, body: bytes) -> None:
        assert self.process.stdin is not None  # noqa: S101 - it has pipes
        self.process.stdin.write(HEADER.pack(kind, len(body)))
        self.process.stdin.write(body)
        self.process.stdin.flush()

    def _read(self, size: int) -> bytes:
        assert self.process.stdout is not None  # noqa: S101 - it has pipes
        return self.process.stdout.read(size)


def values() -> dict[str, tuple[str, Any]]:
    """Name -> (library, value)."""
    import numpy as np  # noqa: PLC0415 - only for the measurement
    import pandas as pd  # noqa: PLC0415 - the same

    rows = MEGABYTES * 1_000_000 // (11 * 8 + 8)
    generator = np.random.default_rng(7)
    columns: dict[str, Any] = {f"x{number}": generator.random(rows) for number in range(10)}
    columns["id"] = np.arange(rows)
    columns["when"] = pd.date_range("2026-01-01", periods=rows, freq="s")
    columns["kind"] = pd.Categorical.from_codes(generator.integers(0, 3, rows).astype("int8"), ["a", "b", "c"])
    return {
        "array": ("numpy", generator.random(MEGABYTES * 1_000_000 // 8)),
        "DataFrame": ("pandas", pd.DataFrame(columns)),
    }


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(count: int, folder: Path) -> list[str]:
    """The lines of the table."""
    import uv_argo_magic as argo  # noqa: PLC0415 - after UV_ARGO_HOME is set

    lines = ["| value | way | push | pull | both, as a multiple of the file |", "|---|---|--:|--:|--:|"]
    for name, (library, value) in values().items():
        other = Other(library, folder)
        make = f"import pickle\nwith open({str(folder / 'made')!r}, 'rb') as file:\n    value = pickle.load(file)"
        (folder / "made").write_bytes(pickle.dumps(value, 5))

        def cell(text: str, library: str = library, **options: Any) -> argo.Run:
            return argo.run(f"import {library}\n{text}", deps=DEPS[library], **options)

        def pull(library: str = library, make: str = make) -> None:
            argo.run(f"import {library}\n{make}", deps=DEPS[library], pull="value").result()

        ways: dict[str, Callable[[], object]] = {
            "cell": lambda cell=cell: cell("pass"),  # type: ignore[misc]
            "made": lambda cell=cell, make=make: cell(make),  # type: ignore[misc]
            "push": lambda cell=cell, value=value: cell("pass", push={"value": value}),  # type: ignore[misc]
            "pull": pull,
            "file push": lambda other=other, value=value: other.send_file(value),  # type: ignore[misc]
            "file pull": other.get_file,
            "pipe push": lambda other=other, value=value: other.send_pipe(value),  # type: ignore[misc]
            "pipe pull": other.get_pipe,
        }
        cluster = None
        if importlib.util.find_spec("ipyparallel"):
            import ipyparallel  # noqa: PLC0415 - optional

            cluster = ipyparallel.Cluster(n=1, log_level=40)
            view = cluster.start_and_connect_sync()[0]
            view.block = True
            view.execute(f"import {library}")
            ways["ipyparallel push"] = lambda view=view, value=value: view.push({"value": value})  # type: ignore[misc]
            ways["ipyparallel pull"] = lambda view=view: view.pull("value")  # type: ignore[misc]
        times: dict[str, list[float]] = {way: [] for way in ways}
        order = random.Random(7)  # noqa: S311 - an order, no secret
        for action in ways.values():  # the pulls need what the pushes have sent
            action()
        for _ in range(count):
            names = list(ways)
            order.shuffle(names)
            for way in names:
                times[way].append(timed(ways[way]))
        if cluster is not None:
            cluster.stop_cluster_sync()
        other.close()
        median = {way: statistics.median(found) for way, found in times.items()}
        median["push"] -= median["cell"]
        median["pull"] -= median["made"]
        file = median["file push"] + median["file pull"]
        rows = {"`--push`, `--pull`": ("push", "pull"), "a file of pickle": ("file push", "file pull")}
        rows |= {"a pipe": ("pipe push", "pipe pull"), "ipyparallel": ("ipyparallel push", "ipyparallel pull")}
        for shown, (into, back) in rows.items():
            if into in median:
                both = (median[into] + median[back]) / file
                lines.append(f"| {name} | {shown} | {median[into]:.2f} s | {median[back]:.2f} s | {both:.2f} |")
    return lines


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write docs/speed.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["UV_ARGO_HOME"] = home
        lines = measure(arguments.count, Path(home))
    print("\n".join(lines))
    if arguments.write:
        packages = [name for name in ("numpy", "pandas", "ipyparallel") if importlib.util.find_spec(name)]
        by = f"Measured by `python benchmarks/values.py --write`: {page.machine(*packages)}."
        page.store("values", "\n".join([f"## {MEGABYTES} MB in and out", "", by, "", *lines]))


if __name__ == "__main__":
    main()
