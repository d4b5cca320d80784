"""Sessions in pods of a real Argo Workflows: what they do, and what they survive.

UV_ARGO_TEST_FAULTS is a folder with the commands `api-server`, `kubelet` and `network`, each with `stop` and `start`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import real_argo
from support.session_notebook import Notebook, end_all, forget_connections, result
from support.waiting import until, until_printed

from uv_argo_magic.backends.argo import client, pod_workers
from uv_argo_magic.errors import BackendUnavailable, CellFailed, SessionBusy, SessionLost
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.registry import Registry

FAULTS = Path(os.environ.get("UV_ARGO_TEST_FAULTS", ""))
pytestmark = real_argo.MARKS
COUNT = "import time\nfor number in range({lines}):\n    print('line', number, flush=True)\n    time.sleep(0.05)"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """The cluster in the settings of this process, and of those that it starts."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**real_argo.variables(), "UV_ARGO_HOME": home, "UV_ARGO_START_TIMEOUT": "0"}.items():
            patch.setenv(name, value)
        yield
        end_all()


@pytest.fixture(scope="module")
def shared(cluster, tmp_path_factory):
    """A notebook whose session tests leave as it was."""
    notebook = Notebook(tmp_path_factory.mktemp("shared") / "study.ipynb")
    start(notebook)
    return notebook


@pytest.fixture
def notebook(tmp_path):
    made = Notebook(tmp_path / "study.ipynb")
    yield made
    with contextlib.suppress(AssertionError, BackendUnavailable):
        workers.stop(made.entry(), Registry.of_this_user())


def start(notebook: Notebook, line: str = "-s") -> None:
    """Start its session: a busy machine takes a minute for a pod."""
    run = notebook.begin("x = [1]", line)
    assert run.wait(180).outcome == "Succeeded", run.state


def lines(count: int) -> str:
    return "".join(f"line {number}\n" for number in range(count))


def address(notebook: Notebook) -> tuple[client.ArgoClient, pod_workers.Address]:
    parsed = pod_workers.Address.parse(notebook.entry().worker.address)
    return client.connect(parsed.settings), parsed


def delete_pod(notebook: Notebook) -> None:
    made, parsed = address(notebook)
    made.transport.request("DELETE", f"/api/v1/namespaces/{parsed.namespace}/pods/{parsed.workflow}")


def until_lost(notebook: Notebook) -> SessionLost:
    """The error of the first cell that is refused: a pod responds for some time after it was deleted."""

    def refused() -> SessionLost | None:
        try:
            notebook.run("x")
        except SessionLost as problem:
            return problem
        except BackendUnavailable:
            pass
        return None

    return until(refused, pace=0.2)


@contextlib.contextmanager
def fault(name: str):
    """Stop a part of the cluster, and start it again."""
    if not (FAULTS / name).is_file():
        pytest.skip("needs UV_ARGO_TEST_FAULTS")
    subprocess.run([FAULTS / name, "stop"], check=True)
    try:
        yield
    finally:
        subprocess.run([FAULTS / name, "start"], check=True)


def test_state_results_and_errors(shared):
    assert shared.text("x.append(2); print(x)") == "[1, 2]\n"
    assert result(shared.run("len(x)")) == '"2"'
    with pytest.raises(CellFailed, match="division by zero"):
        shared.text("1 / 0")
    text = shared.text("for i in range(50_000): print('line', i)", "-s --set log_budget=0")
    assert text == lines(50_000)


def test_packages_are_added_while_it_runs(shared):
    assert shared.text("import six; print(six.__version__)", "-s --deps six==1.16.0") == "1.16.0\n"
    assert shared.text("import idna; print(six.__version__)", "-s --deps idna") == "1.16.0\n"


def test_an_interrupt_keeps_the_session(shared):
    run = shared.begin("import time\nkept = 5\nprint('on', flush=True)\ntime.sleep(60)")
    until_printed(run, "on")
    begun = time.monotonic()
    run.ask_to_stop("a test")
    assert run.wait(20).outcome == "Stopped"
    assert time.monotonic() - begun < 15
    assert shared.text("print(kept)") == "5\n"


def test_values_go_both_ways(shared):
    shared.names["data"] = bytes(range(256)) * 80_000
    run = shared.run("data = data[::-1]", "-s --push data --pull data")
    run.raise_for_state()
    assert run.values["data"] == shared.names.pop("data")[::-1]


def test_a_kernel_that_was_restarted_joins_it_again(shared):
    shared.run("kept = 6")
    forget_connections()
    assert shared.text("print(kept)") == "6\n"
    assert shared.notes[-1].startswith("Rejoined session main (started ")


def test_a_second_kernel_has_to_take_it(shared, monkeypatch):
    shared.run("kept = 7")
    mine, workers._connections = workers._connections, {}
    with monkeypatch.context() as patch:
        patch.setattr(workers, "CLIENT", "another")
        with pytest.raises(SessionBusy, match="another kernel has the session main"):
            shared.run("kept")
        workers.hold(shared.entry(), take=True)
        assert shared.text("print(kept)") == "7\n"
        forget_connections()
    workers._connections = mine
    workers.hold(shared.entry(), take=True)  # this process goes on after its second kernel


@pytest.mark.parametrize("name", ["api-server", "kubelet"])
def test_a_part_of_the_cluster_that_is_restarted_costs_nothing(shared, name):
    run = shared.begin(COUNT.format(lines=400))
    until_printed(run, "line 20\n")
    with fault(name):
        time.sleep(3)
    assert run.wait(120).outcome == "Succeeded", run.state.node
    assert run.logs() == lines(400)
    assert not run.state.gaps
    assert shared.text("print(x)") == "[1, 2]\n"


def test_a_network_that_is_cut_is_reported_and_costs_nothing(shared):
    run = shared.begin(COUNT.format(lines=1200))
    until_printed(run, "line 20\n")
    seen = ""
    with fault("network"):
        until = time.monotonic() + 45
        while time.monotonic() < until:
            seen = seen or (run.state.node.message if run.state.node.phase == "Unreachable" else "")
            time.sleep(0.1)
    assert seen.startswith("no connection since ")
    assert run.wait(120).outcome == "Succeeded", run.state.node
    assert run.logs() == lines(1200)
    assert not run.state.gaps


CLIENT = """
import sys
from pathlib import Path
from support.session_notebook import Notebook
notebook = Notebook(Path(sys.argv[1]))
print("on", flush=True)
print(notebook.text(sys.argv[2]), end="")
"""


def test_a_client_that_sleeps_longer_than_the_heartbeat_misses_nothing(shared):
    forget_connections()
    time.sleep(3)  # the cluster passes that on a second later
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(shared.path), COUNT.format(lines=1000)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert process.stdout.readline() == "on\n"
    time.sleep(3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(50)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=120)
    assert out == lines(1000)
    assert process.returncode == 0
    assert shared.text("print(x)") == "[1, 2]\n"


def test_a_pod_that_is_deleted_is_explained(notebook):
    start(notebook)
    delete_pod(notebook)
    problem = until_lost(notebook)
    assert "its pod was deleted" in str(problem) or "its pod was lost" in str(problem)
    assert "Lost: x (list" in str(problem)


def test_memory_that_runs_out_is_explained(notebook):
    start(notebook, "-s --memory 200Mi")
    run = notebook.run("y = bytearray(10 ** 9)")
    assert run.state.outcome in {"Failed", "Lost"}
    with pytest.raises(SessionLost, match=r"memory.*Lost: x \(list"):
        notebook.run("x")


def test_ten_sessions_start_at_once(tmp_path):
    notebooks = [Notebook(tmp_path / f"{number}.ipynb") for number in range(10)]
    runs = []
    threads = [threading.Thread(target=lambda one=one: runs.append((one, one.begin("x = 1")))) for one in notebooks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        outcomes = [run.wait(300).outcome for _, run in runs]
        assert outcomes == ["Succeeded"] * 10
        assert [one.text("print(x)") for one in notebooks] == ["1\n"] * 10
    finally:
        for one in notebooks:
            workers.stop(one.entry(), Registry.of_this_user())
