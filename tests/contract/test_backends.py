"""The same tests on every backend, through `engine/run.py`.

`argo` uses a fake API server; `cluster` uses a real Argo Workflows: UV_ARGO_TEST_KUBECONFIG is its kubeconfig,
UV_ARGO_TEST_IMAGE an image as X.Y.Z=IMAGE, and UV_ARGO_TEST_HOST an address of this machine that pods can reach.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import real_argo
from support.argo_server import ArgoServer
from support.index_server import IndexServer
from support.waiting import until, until_printed

from uv_argo_magic._os import paths
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.base import Backend, Diagnoses, Exports, Warms
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.requirements import parser
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import CellFailed, InstallFailed, NodeFailed, PullError, ResolutionError, Stopped
from uv_argo_magic.history.store import History
from uv_argo_magic.values import pushing

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

ONLY_LOCAL = pytest.mark.parametrize("backend_and_settings", ["local"], indirect=True)
"""For tests that need a process on this machine."""
INSTALLS = pytest.mark.parametrize(
    "backend_and_settings",
    [
        "local",
        "argo",
        "argo-init",
        *(pytest.param(name, marks=real_argo.CLUSTER_MARKS) for name in ("cluster", "cluster-init")),
    ],
    indirect=True,
)
"""Also with a separate container for the install."""
HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(scope="module")
def index():
    with IndexServer(address=os.environ.get("UV_ARGO_TEST_HOST", "127.0.0.1")) as server:
        server.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        server.add("alpha", "2.0", requires=["beta"], files={"alpha.py": "VERSION = 2\n"})
        server.add("beta", "1.0", files={"beta.py": "print('beta is imported')\n"})
        server.add("gamma", "1.0", requires=["alpha<2"], files={"gamma.py": ""})
        yield server


@pytest.fixture(params=["local", "argo", pytest.param("cluster", marks=real_argo.CLUSTER_MARKS)])
def backend_and_settings(request, home, tmp_path):
    """A backend and the settings that it needs."""
    if request.param == "local":
        yield LocalBackend(), {}
    elif request.param.startswith("argo"):
        with ArgoServer(tmp_path) as server:
            shape = request.param.partition("-")[2] or "script"
            yield (
                ArgoBackend(),
                {"kubeconfig": str(server.kubeconfig), "images": ((HERE, "none"),), "shape": shape},
            )
    else:
        python, _, image = os.environ["UV_ARGO_TEST_IMAGE"].partition("=")
        kubeconfig = os.environ["UV_ARGO_TEST_KUBECONFIG"]
        shape = request.param.partition("-")[2] or "script"
        # Without --python, a cell runs on the newest Python in `images`, so this must be the only one.
        yield ArgoBackend(), {"kubeconfig": kubeconfig, "images": ((python, image),), "shape": shape}


@pytest.fixture
def backend(backend_and_settings):
    return backend_and_settings[0]


@pytest.fixture
def make_spec(backend_and_settings, index):
    """A function that makes the RunSpec of a cell."""

    def spec(cell: str, deps: str = "", pull: tuple[str, ...] = (), **settings) -> RunSpec:
        run_settings = Settings(index_url=index.url, **backend_and_settings[1], **settings)
        return RunSpec(cell=cell, requirements=parser.parse(deps), pull=pull, settings=run_settings)

    return spec


@pytest.fixture
def begin(backend, make_spec):
    """A function that starts a run; runs that have not ended are stopped after the test."""
    runs: list[Run] = []

    def begin(cell: str, deps: str = "", *, history: History | None = None, warm: bool = False, **settings) -> Run:
        runs.append(
            start(prepare(make_spec(cell, deps, **settings), backend), backend=backend, history=history, warm=warm)
        )
        return runs[-1]

    yield begin
    for run in runs:
        run.stop()
        run.wait(60)
        assert run._is_read.wait(60)
    if spare := getattr(backend, "_spare", None):
        spare.close()


def test_cell_without_dependencies_succeeds(begin):
    state = begin("print('hi')").wait(60)
    assert (state.outcome, [phase for phase, _ in state.phases]) == (
        "Succeeded",
        ["queued", "starting", "running", "ended"],
    )
    assert state.installed is None


def test_large_program_succeeds(begin):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    run = begin(f"numbers = {numbers}\nprint(sum(numbers))")
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", f"{sum(numbers)}\n")


@INSTALLS
def test_packages_are_installed_once_and_shared(begin, backend):
    first = begin("import alpha\nprint(alpha.VERSION)", "alpha")
    assert first.wait(60).outcome == "Succeeded", first.logs()
    second = begin("import alpha, beta", "alpha")
    second.wait(60)
    if not isinstance(backend, LocalBackend):
        # Without a store, each pod installs the packages.
        assert (second.packages, second.logs()) == (first.packages, "beta is imported\n")
        return
    assert (first.packages, second.packages) == ((("alpha", "2.0"), ("beta", "1.0")),) * 2
    assert first.state.installed
    assert not first.state.installed.cached
    assert second.state.installed
    assert second.state.installed.cached
    assert (first.logs(), second.logs()) == ("2\n", "beta is imported\n")


def test_concurrent_runs_can_use_different_versions(begin):
    cell = "import alpha, time\ntime.sleep(.3)\nprint(alpha.VERSION)"
    runs = [begin(cell, "alpha==1.0"), begin(cell, "alpha==2.0")]
    assert [run.wait(60).outcome for run in runs] == ["Succeeded", "Succeeded"]
    assert [run.logs() for run in runs] == ["1\n", "2\n"]


def test_concurrent_runs_share_one_environment(begin, backend):
    runs = [begin(f"import alpha\nprint({i})", "alpha==1.0") for i in range(8)]
    assert [run.wait(120).outcome for run in runs] == ["Succeeded"] * 8
    assert [run.logs() for run in runs] == [f"{i}\n" for i in range(8)]
    if isinstance(backend, LocalBackend):
        assert len(list((paths.cache_dir() / "store" / "trees").iterdir())) == 1


def test_conflict_is_reported_before_submission(begin):
    with pytest.raises(ResolutionError, match="alpha"):
        begin("pass", "gamma alpha==2.0")


@INSTALLS
def test_failed_install_is_reported(make_spec, backend, index):
    index.add("delta", "1.0", files={"delta.py": ""})
    index.misbehave("delta", "", where="file")
    prepared = prepare(make_spec("pass", "delta"), backend)
    index.misbehave("delta", "404", where="file")
    run = start(prepared, backend=backend)
    run.wait(60)
    with pytest.raises(InstallFailed) as caught:
        run.raise_for_state()
    assert "delta" in str(caught.value)
    assert caught.value.hint
    assert "".join(run.state.install_log)
    run._is_read.wait(60)
    assert not list((paths.cache_dir() / "store").glob("trees/*"))
    assert not list((paths.cache_dir() / "store").glob("aside/*"))


def test_exception_exit_and_crash_fail_the_cell(begin):
    for cell, message in [("1 / 0", "ZeroDivisionError"), ("import sys; sys.exit(3)", "SystemExit: 3")]:
        run = begin(cell)
        run.wait(60)
        with pytest.raises(CellFailed, match=message):
            run.raise_for_state()
    run = begin("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    run.wait(60)
    with pytest.raises(CellFailed, match="SIGSEGV"):
        run.raise_for_state()


def test_stop_keeps_output_and_can_be_repeated(begin):
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(100)")
    until_printed(run, "begun")
    run.stop("a test")
    run.stop("a test again")
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Stopped", "begun\n")
    assert state.stop_requested
    assert state.stop_requested.by == "a test"
    with pytest.raises(Stopped, match="a test"):
        run.raise_for_state()
    run.stop()


@INSTALLS
def test_stop_during_install(begin, index):
    index.add("slow", "1.0", files={"slow.py": ""})
    index.misbehave("slow", "slow", where="file")
    try:
        run = begin("pass", "slow")
        until(lambda: run.state.phase == "installing")
        run.stop("a test")
        assert run.wait(60).outcome == "Stopped"
    finally:
        index.misbehave("slow", "", where="file")


def test_values_are_pushed_and_pulled(begin, make_spec, backend):
    pull = ("x", "y")
    run = begin("x, y = {'a': (1, 2)}, b'bytes'")
    run.wait(60)
    assert run.values == {}
    run = start(prepare(make_spec("x, y = {'a': (1, 2)}, b'bytes'", pull=pull), backend), backend=backend)
    assert run.result(60) == {"x": {"a": (1, 2)}, "y": b"bytes"}
    pushed = pushing.encode(["data", "f"], {"data": [b"x" * 50_000], "f": lambda x: x + 1}, 0)
    spec = dataclasses.replace(make_spec("x, y = data, f(1)", pull=pull), push=pushed)
    run = start(prepare(spec, backend), backend=backend)
    assert run.result(60) == {"x": [b"x" * 50_000], "y": 2}
    run = start(prepare(make_spec("x = object()", pull=pull), backend), backend=backend)
    with pytest.raises(PullError, match="the cell does not define y"):
        run.result(60)
    assert type(run.values["x"].open()) is object


@pytest.mark.parametrize("backend_and_settings", ["local", "argo"], indirect=True)
def test_secret_env_sets_variable_without_sending_its_value(begin, make_spec, backend, monkeypatch):
    monkeypatch.setenv("TOKEN", "swordfish")
    prepared = prepare(
        make_spec("import os\nprint(os.environ.get('TOKEN'))", secret_env=(("TOKEN", "keys/token"),)), backend
    )
    with_secret = start(prepared, backend=backend)
    without_secret = begin("import os\nprint(os.environ.get('TOKEN'))")
    assert (with_secret.wait(60).outcome, without_secret.wait(60).outcome) == ("Succeeded", "Succeeded")
    assert (with_secret.logs(), without_secret.logs()) == ("swordfish\n", "None\n")
    assert b"swordfish" not in gzip.decompress(base64.b64decode(prepared.program.payload))


@INSTALLS
def test_history_contains_the_output(begin, home):
    history = History(paths.data_dir() / "runs")
    run = begin("print('hi')\nimport alpha", "alpha==1.0", history=history)
    live = run.wait(60)
    entry = history.get(run.id)
    stored = entry.state()
    assert (stored.outcome, stored.installed, list(stored.outputs)) == (
        live.outcome,
        live.installed,
        list(live.outputs),
    )
    assert entry.packages == (("alpha", "1.0"),)


@ONLY_LOCAL
def test_full_output_is_in_the_history(begin):
    history = History(paths.data_dir() / "runs")
    run = begin("for i in range(100_000): print('line', i)", history=history, log_budget=200_000)
    run.wait(60)
    lines = (history.get(run.id).folder / "output.log").read_text().splitlines()
    assert (len(lines), lines[-1]) == (100_000, "line 99999")
    assert "lines omitted; full output: " in run.logs()


@ONLY_LOCAL
def test_warm_run_equals_cold_run(begin, backend):
    cell = "import os, sys\nprint(os.getpid(), sorted(os.environ), sys.path, sorted(sys.modules), os.getcwd())"
    cold = begin(cell, "alpha==1.0", warm=True)
    cold.wait(60)
    cold._is_read.wait(60)
    assert backend._spare is not None
    warm = begin(cell, "alpha==1.0", warm=True)
    warm.wait(60)
    (cold_pid, cold_text), (warm_pid, warm_text) = (json.dumps(run.logs()).split(None, 1) for run in (cold, warm))
    assert cold_pid != warm_pid

    def without_folder(text):
        folder = text.rsplit(" ", 1)[-1].rsplit("/", 1)[0]
        return text.replace(folder, "HOME")

    assert without_folder(cold_text) == without_folder(warm_text)


@ONLY_LOCAL
def test_changed_variable_applies_to_next_run(begin, backend, monkeypatch):
    first = begin("pass", warm=True)
    first.wait(60)
    first._is_read.wait(60)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    second = begin("import os\nprint(os.environ['TZ'])")
    second.wait(60)
    assert second.logs() == "Asia/Tokyo\n"
    third = begin("import os\nprint(os.environ['OWN'])", variables=(("OWN", "value"),), warm=True)
    third.wait(60)
    assert third.logs() == "value\n"


@ONLY_LOCAL
def test_dead_spare_process_is_replaced(begin, backend):
    first = begin("pass", warm=True)
    first.wait(60)
    first._is_read.wait(60)
    os.killpg(backend._spare.process.pid, 9)
    second = begin("print('fine')")
    assert second.wait(60).outcome == "Succeeded"


@ONLY_LOCAL
def test_killed_supervisor_is_a_lost_run(begin, backend):
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(100)")
    until_printed(run, "begun")
    assert run.state.hello is not None
    os.kill(run.state.hello.pid, 9)
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Lost", "begun\n")
    with pytest.raises(NodeFailed, match="SIGKILL"):
        run.raise_for_state()


def count_threads_and_descriptors() -> tuple[int, int]:
    """Return the numbers of threads and file descriptors of this process."""
    descriptors = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    return threading.active_count(), len(list(descriptors.iterdir()))


@ONLY_LOCAL
def test_runs_leave_no_threads_descriptors_or_folders(begin, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    begin("pass")._is_read.wait(60)
    before = count_threads_and_descriptors()
    for _ in range(5):
        begin("print(1)")._is_read.wait(60)
    # Can be fewer, if threads of an earlier test have ended.
    assert all(now <= then for now, then in zip(count_threads_and_descriptors(), before, strict=True))
    assert not list(tmp_path.glob("uv-argo-*"))


def test_backend_in_documentation_runs_a_cell(home):
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text()
    namespace: dict = {}
    exec(re.search(r"```python\n# mine\.py\n(.*?)```", page, re.DOTALL)[1], namespace)
    backend = namespace["MyBackend"]()
    assert isinstance(backend, Backend)
    assert not isinstance(backend, Exports | Warms | Diagnoses)
    run = start(prepare(RunSpec(cell="print(6 * 7)"), backend), backend=backend)
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "42\n")
    run._is_read.wait(60)
    assert backend.processes == {}
