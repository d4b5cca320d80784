"""The time of a session's cell: interleaved rounds of plain cells, cells of a session and Run All, in one run.

    python benchmarks/sessions.py --write      # docs/speed.md
    python benchmarks/sessions.py --kubeconfig FILE --images 3.11.2=IMAGE --write     # in pods of that cluster

Rules: as in cells.py, but without a pause: a session's cells follow one another at once. `%%px` of ipyparallel takes
part if it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import re
import secrets
import statistics
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cells
import page

from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.argo import client
from uv_argo_magic.backends.kubernetes import port_forward
from uv_argo_magic.core.spec import settings_parser as keys
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from uv_argo_magic.backends.kubernetes.transport import HttpTransport

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
        lines += ["", f"Memory and open files after {many:,} more cells of a session: {'; '.join(changes)}."]
        kernel.run("%argo stop main")
        if has_px:
            kernel.run("cluster.stop_cluster_sync()")  # its processes would outlive the kernel
    finally:
        kernel.close()
    return lines


SLEEP = "import time; print('ready', flush=True); time.sleep(600)"


def between_looks() -> None:
    """Wait up to a second: the kubelet looks once a second, and what was measured before ended with a look."""
    time.sleep(random.random())  # noqa: S311 - a moment, no secret


def plain_pod(made: client.ArgoClient, like: dict[str, Any]) -> float:
    """Seconds from the creation of a pod with the containers of another one to the first line of its log."""
    name = f"uv-argo-floor-{secrets.token_hex(4)}"
    spec = {key: like["spec"][key] for key in ("nodeName", "tolerations") if key in like["spec"]}
    spec.pop("nodeName", None)
    kept = ("name", "image", "imagePullPolicy", "resources", "securityContext")
    for kind, code in (("initContainers", None), ("containers", SLEEP)):
        containers = [{key: one[key] for key in kept if key in one} for one in like["spec"].get(kind, [])]
        for one in containers:
            is_python = one["name"] == "main"
            # Argo's executor has no shell: its own command that ends at once, or waits.
            one["command"] = ["python3", "-c", code] if is_python and code else ["argoexec", "version"]
        spec[kind] = containers
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
    body["spec"] = {**spec, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    path = f"/api/v1/namespaces/{made.namespace}/pods"
    between_looks()
    begun = time.perf_counter()
    made.transport.request("POST", path, body=body)
    try:
        while True:
            with contextlib.suppress(BackendError):
                if any(b"ready" in data for data in made.log(name)):
                    return time.perf_counter() - begun
            time.sleep(0.02)
    finally:
        made.transport.request("DELETE", f"{path}/{name}")


def first_output(settings: Settings, made: client.ArgoClient) -> tuple[float, float, int]:
    """A cell without a session: seconds from its submission to its first line, here and in the log of its pod.

    The number is that of the connections to the pod that it attempted.
    """
    attempts: list[str] = []
    connect = port_forward.connect

    def counted(transport: HttpTransport, namespace: str, pod: str, port: int) -> socket.socket:
        attempts.append(pod)
        return connect(transport, namespace, pod, port)

    port_forward.connect = counted
    cell = "print('first line', flush=True)\nimport time\ntime.sleep(1.5)"
    prepared = prepare(RunSpec(cell=cell, backend="argo", settings=settings), lookup.load("argo"))
    between_looks()
    begun = time.perf_counter()
    run = start(prepared)
    in_log: list[float] = []

    def observe() -> None:
        while not in_log:
            with contextlib.suppress(BackendError):
                for data in made.log(run.name):
                    if b"first line" in data:
                        in_log.append(time.perf_counter() - begun)
                        return
            time.sleep(0.05)

    observer = threading.Thread(target=observe, daemon=True)
    observer.start()
    while not len(run.state.outputs) and not run.state.ended:
        time.sleep(0.002)
    here = time.perf_counter() - begun
    observer.join(60)
    port_forward.connect = connect
    if run.wait(120).outcome != "Succeeded":
        raise RuntimeError(run.status)
    return here, in_log[0], attempts.count(run.name)


def measure_pods(home: Path, kubeconfig: str, images: str, count: int, starts: int) -> str:
    """The table of sessions in pods: a cell, the start of a session, the first output of a cell without one."""
    env = cells.clean_environment(home) | {"UV_ARGO_KUBECONFIG": kubeconfig, "UV_ARGO_IMAGES": images}
    kernel = cells.Kernel(env)
    rows: list[tuple[str, float, str, float]] = []
    try:
        kernel.run(f"%%argo -b local -s here\n{VALUE}")
        kernel.run(f"%%argo -b argo -s there\n{VALUE}")
        for code in (VALUE, "for i in range(100): print(i)"):
            contestants = {name: lambda name=name, code=code: kernel.run(f"%%argo -s {name}\n{code}") for name in (
                "here", "there")}  # fmt: skip
            took = medians(contestants, count)
            rows.append((f"`{code}` in a session", took["there"], "in a session on this machine", took["here"]))
        settings = replace(Settings(), kubeconfig=kubeconfig, images=keys.parse_setting("images", images))
        made = client.connect(settings)
        workflow = next(
            one["metadata"]["name"] for one in made.workflows("uv-argo-magic/session=there") if _is_running(one)
        )
        (pod,) = made.pods(f"workflows.argoproj.io/workflow={workflow}")[0]
        numbers = iter(range(1000))

        def session() -> float:
            name = f"s{next(numbers)}"
            between_looks()
            took = kernel.run(f"%%argo -b argo -s {name}\n{VALUE}")
            kernel.run(f"%argo stop {name}")
            return took

        took = medians({"session": session, "pod": lambda: plain_pod(made, pod)}, starts)
        rows.append(("first cell of a session", took["session"], "first line of a plain pod", took["pod"]))
        found = [first_output(settings, made) for _ in range(starts + 1)][1:]
        here, in_log, attempts = (statistics.median(values) for values in zip(*found, strict=True))
        rows.append(("first line of a cell without a session", here, "in the log of its pod", in_log))
        version = made.transport.request("GET", "/version").get("gitVersion", "")
        kernel.run("%argo stop here")
        kernel.run("%argo stop there")
    finally:
        kernel.close()
    conditions = (
        f"Kubernetes {version} with one node; cluster and client share the cores. Images are present, and no packages "
        f"are installed. Medians of {count} rounds for the cells of the two sessions, which take turns, and of "
        f"{starts} starts, each at a random moment: the kubelet looks at the containers once a second, so that single "
        "starts differ by a second. The plain pod has the containers of the session's pod."
    )
    lines = ["| on a cluster | ms | compared with | ms | difference |", "|---|--:|---|--:|--:|"]
    lines += [
        f"| {name} | {seconds * 1000:.1f} | {other} | {others * 1000:.1f} | {(seconds - others) * 1000:+.1f} |"
        for name, seconds, other, others in rows
    ]
    lines += ["", f"The cell without a session attempts {attempts:.0f} connections to its pod (median)."]
    return "\n".join([*textwrap.wrap(conditions, 120), "", *lines])


def _is_running(workflow: dict[str, Any]) -> bool:
    return (workflow.get("status") or {}).get("phase") == "Running"


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
    parser.add_argument("--kubeconfig", default="", help="measure sessions in pods of this cluster")
    parser.add_argument("--images", default="", help="as --set images=")
    parser.add_argument("--starts", type=int, default=9, help="sessions and cells without a session to start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        if options.kubeconfig:
            name, title, flags = "pod-sessions", "Sessions on a cluster", "--kubeconfig FILE --images LIST --write"
            found = measure_pods(Path(home), options.kubeconfig, options.images, options.rounds, options.starts)
        else:
            name, title, flags = "sessions", "Sessions", "--write"
            found = "\n".join(["", *measure(Path(home), options.rounds, options.many)])
    machine = page.machine("ipython", "ipykernel", *(["kubernetes"] if options.kubeconfig else []))
    text = f"## {title}\n\nMeasured by `python benchmarks/sessions.py {flags}`: {machine}.\n{found}"
    print(text)
    if options.write:
        page.store(name, text)


if __name__ == "__main__":
    main()
