"""Sessions in pods of a real Argo Workflows: basic use, and faults of the cluster.

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
from support.waiting import LIMIT, until, until_printed

from uv_argo_magic.backends.argo import client, pod_workers
from uv_argo_magic.errors import BackendUnavailable, CellFailed, SessionBusy, SessionLost
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.registry import Registry

FAULTS = Path(os.environ.get("UV_ARGO_TEST_FAULTS", ""))
pytestmark = real_argo.CLUSTER_MARKS
COUNT = "import time\nfor number in range({lines}):\n    print('line', number, flush=True)\n    time.sleep(0.05)"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """Set the cluster in the environment of this process and of the processes that it starts."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**real_argo.variables(), "UV_ARGO_HOME": home, "UV_ARGO_START_TIMEOUT": "0"}.items():
            patch.setenv(name, value)
        yield
        end_all()


@pytest.fixture(scope="module")
def shared(cluster, tmp_path_factory):
    """A notebook for tests that do not change its session."""
    notebook = Notebook(tmp_path_factory.mktemp("shared") / "study.ipynb")
    start(notebook)
    return notebook


@pytest.fixture
def notebook(tmp_path):
    notebook = Notebook(tmp_path / "study.ipynb")
    yield notebook
    with contextlib.suppress(AssertionError, BackendUnavailable):
        workers.stop(notebook.entry(), Registry.of_this_user())


def start(notebook: Notebook, line: str = "-s") -> None:
    """Start the notebook's session. A busy machine can take a minute to start a pod."""
    run = notebook.begin("x = [1]", line)
    assert run.wait(180).outcome == "Succeeded", run.state


def lines(count: int) -> str:
    return "".join(f"line {number}\n" for number in range(count))


def connect(notebook: Notebook) -> tuple[client.ArgoClient, pod_workers.Address]:
    address = pod_workers.Address.parse(notebook.entry().worker.address)
    return client.connect(address.settings), address


def delete_pod(notebook: Notebook) -> None:
    argo, address = connect(notebook)
    argo.transport.request("DELETE", f"/api/v1/namespaces/{address.namespace}/pods/{address.workflow}")


def wait_until_lost(notebook: Notebook) -> SessionLost:
    """Return the error of the first refused cell, since a pod responds for some time after it was deleted."""

    def run_cell() -> SessionLost | None:
        try:
            notebook.run("x")
        except SessionLost as error:
            return error
        except BackendUnavailable:
            pass
        return None

    return until(run_cell, pace=0.2)


@contextlib.contextmanager
def fault(name: str):
    """Stop a component of the cluster, and start it again."""
    if not (FAULTS / name).is_file():
        pytest.skip("needs UV_ARGO_TEST_FAULTS")
    subprocess.run([FAULTS / name, "stop"], check=True)
    try:
        yield
    finally:
        subprocess.run([FAULTS / name, "start"], check=True)


def test_cells_share_variables_and_return_results(shared):
    assert shared.text("x.append(2); print(x)") == "[1, 2]\n"
    assert result(shared.run("len(x)")) == '"2"'
    with pytest.raises(CellFailed, match="division by zero"):
        shared.text("1 / 0")
    text = shared.text("for i in range(50_000): print('line', i)", "-s --set log_budget=0")
    assert text == lines(50_000)


def test_packages_are_added_to_running_session(shared):
    assert shared.text("import six; print(six.__version__)", "-s --deps six==1.16.0") == "1.16.0\n"
    assert shared.text("import idna; print(six.__version__)", "-s --deps idna") == "1.16.0\n"


def test_session_survives_interrupt(shared):
    run = shared.begin("import time\nkept = 5\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    run.ask_to_stop("a test")
    assert run.wait(LIMIT).outcome == "Stopped"
    assert shared.text("print(kept)") == "5\n"


def test_values_are_pushed_and_pulled(shared):
    shared.names["data"] = bytes(range(256)) * 80_000
    run = shared.run("data = data[::-1]", "-s --push data --pull data")
    run.raise_for_state()
    assert run.values["data"] == shared.names.pop("data")[::-1]


def test_restarted_kernel_rejoins_session(shared):
    shared.run("kept = 6")
    forget_connections()
    assert shared.text("print(kept)") == "6\n"
    assert shared.notes[-1].startswith("Rejoined session main (started ")


def test_second_kernel_must_take_the_session(shared, monkeypatch):
    shared.run("kept = 7")
    connections, workers._connections = workers._connections, {}
    with monkeypatch.context() as patch:
        patch.setattr(workers, "CLIENT", "another")
        with pytest.raises(SessionBusy, match="another kernel uses the session main"):
            shared.run("kept")
        workers.hold(shared.entry(), take=True)
        assert shared.text("print(kept)") == "7\n"
        forget_connections()
    workers._connections = connections
    workers.hold(shared.entry(), take=True)  # back to the first kernel


@pytest.mark.parametrize("name", ["api-server", "kubelet"])
def test_session_survives_restart_of_cluster_component(shared, name):
    run = shared.begin(COUNT.format(lines=400))
    until_printed(run, "line 20\n")
    with fault(name):
        time.sleep(3)
    assert run.wait(120).outcome == "Succeeded", run.state.node
    assert run.logs() == lines(400)
    assert not run.state.gaps
    assert shared.text("print(x)") == "[1, 2]\n"


def test_session_survives_network_failure(shared):
    run = shared.begin(COUNT.format(lines=1200))
    until_printed(run, "line 20\n")
    message = ""
    with fault("network"):
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline:
            message = message or (run.state.node.message if run.state.node.phase == "Unreachable" else "")
            time.sleep(0.1)
    assert message.startswith("no connection since ")
    assert run.wait(120).outcome == "Succeeded", run.state.node
    assert run.logs() == lines(1200)
    assert not run.state.gaps


CLIENT = """
import sys
from pathlib import Path
from support.session_notebook import Notebook
notebook = Notebook(Path(sys.argv[1]))
print("on", flush=True)
run = notebook.begin(sys.argv[2])
run.wait(180)  # includes the time in which this process is stopped
print(run.logs(), end="")
"""


def test_client_stopped_for_long_receives_all_output(shared):
    forget_connections()
    time.sleep(3)  # the cluster forwards the disconnection after a second
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
    assert shared.text("print(x[0])") == "1\n"


def test_deleted_pod_is_reported_with_lost_variables(notebook):
    start(notebook)
    delete_pod(notebook)
    error = wait_until_lost(notebook)
    assert "its pod was deleted" in str(error) or "its pod was lost" in str(error)
    assert "Lost: x (list" in str(error)


def test_memory_limit_is_reported_with_lost_variables(notebook):
    start(notebook, "-s --memory 200Mi")
    run = notebook.run("y = bytearray(10 ** 9)")
    assert run.state.outcome in {"Failed", "Lost"}
    with pytest.raises(SessionLost, match=r"memory.*Lost: x \(list"):
        notebook.run("x")


def test_ten_sessions_start_at_once(tmp_path):
    notebooks = [Notebook(tmp_path / f"{number}.ipynb") for number in range(10)]
    runs = []
    threads = [
        threading.Thread(target=lambda notebook=notebook: runs.append((notebook, notebook.begin("x = 1"))))
        for notebook in notebooks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        outcomes = [run.wait(300).outcome for _, run in runs]
        assert outcomes == ["Succeeded"] * 10
        assert [notebook.text("print(x)") for notebook in notebooks] == ["1\n"] * 10
    finally:
        for notebook in notebooks:
            workers.stop(notebook.entry(), Registry.of_this_user())
