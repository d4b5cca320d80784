"""The same cases over every backend that can run here: what a run does, seen through `engine/run.py` alone.

`argo` runs over a small API server of ours; `cluster` over a real Argo Workflows, where UV_ARGO_TEST_KUBECONFIG names
its kubeconfig, UV_ARGO_TEST_IMAGE an image as X.Y.Z=IMAGE, and UV_ARGO_TEST_HOST an address of this machine that pods
can reach.
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
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import Run, start
from uv_argo_magic.errors import CellFailed, InstallFailed, NodeFailed, PullError, ResolutionError, Stopped
from uv_argo_magic.history.store import History
from uv_argo_magic.values import pushing

ONLY_LOCAL = pytest.mark.parametrize("place", ["local"], indirect=True)
"""For what only a process of this machine can show."""
INSTALLS = pytest.mark.parametrize(
    "place",
    [
        "local",
        "argo",
        "argo-init",
        *(pytest.param(name, marks=real_argo.MARKS) for name in ("cluster", "cluster-init")),
    ],
    indirect=True,
)
"""For what an install by a container of its own may change."""
HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(scope="module")
def index():
    with IndexServer(address=os.environ.get("UV_ARGO_TEST_HOST", "127.0.0.1")) as server:
        server.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        server.add("alpha", "2.0", requires=["beta"], files={"alpha.py": "VERSION = 2\n"})
        server.add("beta", "1.0", files={"beta.py": "print('beta is imported')\n"})
        server.add("gamma", "1.0", requires=["alpha<2"], files={"gamma.py": ""})
        yield server


@pytest.fixture(params=["local", "argo", pytest.param("cluster", marks=real_argo.MARKS)])
def place(request, home, tmp_path):
    """(backend, the settings that it needs)."""
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
        # The newest of the table is taken where a cell names no Python: this one has to be all of it.
        yield ArgoBackend(), {"kubeconfig": kubeconfig, "images": ((python, image),), "shape": shape}


@pytest.fixture
def backend(place):
    return place[0]


@pytest.fixture
def wanted(place, index):
    """wanted(cell, deps) -> RunSpec."""

    def spec(cell: str, deps: str = "", pull: tuple[str, ...] = (), **settings) -> RunSpec:
        made = Settings(index_url=index.url, **place[1], **settings)
        return RunSpec(cell=cell, requirements=parser.parse(deps), pull=pull, settings=made)

    return spec


@pytest.fixture
def run(backend, wanted):
    """begin(cell, deps) -> Run; what still runs at the end of the test is ended."""
    runs: list[Run] = []

    def begin(cell: str, deps: str = "", *, history: History | None = None, warm: bool = False, **settings) -> Run:
        runs.append(
            start(prepare(wanted(cell, deps, **settings), backend), backend=backend, history=history, warm=warm)
        )
        return runs[-1]

    yield begin
    for one in runs:
        one.stop()
        one.wait(60)
        assert one._is_read.wait(60)
    if spare := getattr(backend, "_spare", None):
        spare.close()


def test_a_cell_without_dependencies(run):
    state = run("print('hi')").wait(60)
    assert (state.outcome, [phase for phase, _ in state.phases]) == (
        "Succeeded",
        ["queued", "starting", "running", "ended"],
    )
    assert state.installed is None


def test_a_large_program(run):
    numbers = [i * 7919 % 1_000_003 for i in range(30_000)]
    one = run(f"numbers = {numbers}\nprint(sum(numbers))")
    assert (one.wait(60).outcome, one.logs()) == ("Succeeded", f"{sum(numbers)}\n")


@INSTALLS
def test_packages_are_installed_once_and_shared(run, backend):
    first = run("import alpha\nprint(alpha.VERSION)", "alpha")
    assert first.wait(60).outcome == "Succeeded", first.logs()
    second = run("import alpha, beta", "alpha")
    second.wait(60)
    if not isinstance(backend, LocalBackend):
        # Pods share nothing yet: each installs for itself.
        assert (second.packages, second.logs()) == (first.packages, "beta is imported\n")
        return
    assert (first.packages, second.packages) == ((("alpha", "2.0"), ("beta", "1.0")),) * 2
    assert first.state.installed
    assert not first.state.installed.cached
    assert second.state.installed
    assert second.state.installed.cached
    assert (first.logs(), second.logs()) == ("2\n", "beta is imported\n")


def test_conflicting_versions_at_the_same_time(run):
    cell = "import alpha, time\ntime.sleep(.3)\nprint(alpha.VERSION)"
    both = [run(cell, "alpha==1.0"), run(cell, "alpha==2.0")]
    assert [one.wait(60).outcome for one in both] == ["Succeeded", "Succeeded"]
    assert [one.logs() for one in both] == ["1\n", "2\n"]


def test_many_at_once_build_one_tree_and_stay_apart(run, backend):
    many = [run(f"import alpha\nprint({i})", "alpha==1.0") for i in range(8)]
    assert [one.wait(120).outcome for one in many] == ["Succeeded"] * 8
    assert [one.logs() for one in many] == [f"{i}\n" for i in range(8)]
    if isinstance(backend, LocalBackend):
        assert len(list((paths.cache_dir() / "store" / "trees").iterdir())) == 1


def test_a_conflict_is_known_before_anything_runs(run):
    with pytest.raises(ResolutionError, match="alpha"):
        run("pass", "gamma alpha==2.0")


@INSTALLS
def test_an_install_that_fails_over_there(wanted, backend, index):
    index.add("delta", "1.0", files={"delta.py": ""})
    index.misbehave("delta", "", where="file")
    prepared = prepare(wanted("pass", "delta"), backend)
    index.misbehave("delta", "404", where="file")
    failed = start(prepared, backend=backend)
    failed.wait(60)
    with pytest.raises(InstallFailed) as caught:
        failed.raise_for_state()
    assert "delta" in str(caught.value)
    assert caught.value.hint
    assert "".join(failed.state.install_log)
    failed._is_read.wait(60)
    assert not list((paths.cache_dir() / "store").glob("trees/*"))
    assert not list((paths.cache_dir() / "store").glob("aside/*"))


def test_an_exception_an_exit_and_a_crash(run):
    for cell, words in [("1 / 0", "ZeroDivisionError"), ("import sys; sys.exit(3)", "SystemExit: 3")]:
        one = run(cell)
        one.wait(60)
        with pytest.raises(CellFailed, match=words):
            one.raise_for_state()
    one = run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    one.wait(60)
    with pytest.raises(CellFailed, match="SIGSEGV"):
        one.raise_for_state()


def test_stopping_keeps_the_output_and_is_idempotent(run):
    one = run("import time\nprint('begun', flush=True)\ntime.sleep(100)")
    until_printed(one, "begun")
    one.stop("a test")
    one.stop("a test again")
    state = one.wait(60)
    assert (state.outcome, one.logs()) == ("Stopped", "begun\n")
    assert state.stop_requested
    assert state.stop_requested.by == "a test"
    with pytest.raises(Stopped, match="a test"):
        one.raise_for_state()
    one.stop()


@INSTALLS
def test_stopping_during_the_install(run, index):
    index.add("slow", "1.0", files={"slow.py": ""})
    index.misbehave("slow", "slow", where="file")
    try:
        one = run("pass", "slow")
        until(lambda: one.state.phase == "installing")
        one.stop("a test")
        assert one.wait(60).outcome == "Stopped"
    finally:
        index.misbehave("slow", "", where="file")


def test_values_come_back(run, wanted, backend):
    pull = ("x", "y")
    one = run("x, y = {'a': (1, 2)}, b'bytes'")
    one.wait(60)
    assert one.values == {}
    two = start(prepare(wanted("x, y = {'a': (1, 2)}, b'bytes'", pull=pull), backend), backend=backend)
    assert two.result(60) == {"x": {"a": (1, 2)}, "y": b"bytes"}
    pushed = pushing.encode(["data", "f"], {"data": [b"x" * 50_000], "f": lambda x: x + 1}, 0)
    sent = dataclasses.replace(wanted("x, y = data, f(1)", pull=pull), push=pushed)
    four = start(prepare(sent, backend), backend=backend)
    assert four.result(60) == {"x": [b"x" * 50_000], "y": 2}
    three = start(prepare(wanted("x = object()", pull=pull), backend), backend=backend)
    with pytest.raises(PullError, match="the cell does not define y"):
        three.result(60)
    assert type(three.values["x"].open()) is object


@pytest.mark.parametrize("place", ["local", "argo"], indirect=True)
def test_a_secret_reaches_the_cell_by_its_name(run, wanted, backend, monkeypatch):
    monkeypatch.setenv("TOKEN", "swordfish")
    named = prepare(wanted("import os\nprint(os.environ.get('TOKEN'))", secret_env=(("TOKEN", "keys/token"),)), backend)
    one = start(named, backend=backend)
    two = run("import os\nprint(os.environ.get('TOKEN'))")
    assert (one.wait(60).outcome, two.wait(60).outcome) == ("Succeeded", "Succeeded")
    assert (one.logs(), two.logs()) == ("swordfish\n", "None\n")
    assert b"swordfish" not in gzip.decompress(base64.b64decode(named.program.payload))


@INSTALLS
def test_the_history_holds_what_the_run_said(run, home):
    history = History(paths.data_dir() / "runs")
    one = run("print('hi')\nimport alpha", "alpha==1.0", history=history)
    live = one.wait(60)
    entry = history.get(one.id)
    again = entry.state()
    assert (again.outcome, again.installed, list(again.outputs)) == (live.outcome, live.installed, list(live.outputs))
    assert entry.packages == (("alpha", "1.0"),)


@ONLY_LOCAL
def test_output_beyond_the_budget_lies_in_the_history(run):
    history = History(paths.data_dir() / "runs")
    one = run("for i in range(100_000): print('line', i)", history=history, log_budget=200_000)
    one.wait(60)
    whole = (history.get(one.id).folder / "output.log").read_text().splitlines()
    assert (len(whole), whole[-1]) == (100_000, "line 99999")


@ONLY_LOCAL
def test_a_run_that_waited_ready_is_like_any_other(run, backend):
    cell = "import os, sys\nprint(os.getpid(), sorted(os.environ), sys.path, sorted(sys.modules), os.getcwd())"
    cold = run(cell, "alpha==1.0", warm=True)
    cold.wait(60)
    cold._is_read.wait(60)
    assert backend._spare is not None
    warm = run(cell, "alpha==1.0", warm=True)
    warm.wait(60)
    one, two = (json.dumps(one.logs()).split(None, 1) for one in (cold, warm))
    assert one[0] != two[0]

    def plain(text, run_of):
        return text.replace(str(run_of), "HOME")

    folders = [text.rsplit(" ", 1)[-1].rsplit("/", 1)[0] for text in (one[1], two[1])]
    assert plain(one[1], folders[0]) == plain(two[1], folders[1])


@ONLY_LOCAL
def test_a_changed_environment_is_seen_by_the_next_run(run, backend, monkeypatch):
    first = run("pass", warm=True)
    first.wait(60)
    first._is_read.wait(60)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    second = run("import os\nprint(os.environ['TZ'])")
    second.wait(60)
    assert second.logs() == "Asia/Tokyo\n"
    third = run("import os\nprint(os.environ['OWN'])", variables=(("OWN", "value"),), warm=True)
    third.wait(60)
    assert third.logs() == "value\n"


@ONLY_LOCAL
def test_a_ready_process_that_died_is_replaced(run, backend):
    first = run("pass", warm=True)
    first.wait(60)
    first._is_read.wait(60)
    os.killpg(backend._spare.process.pid, 9)
    second = run("print('fine')")
    assert second.wait(60).outcome == "Succeeded"


@ONLY_LOCAL
def test_a_supervisor_that_is_killed_leaves_a_lost_run(run, backend):
    one = run("import time\nprint('begun', flush=True)\ntime.sleep(100)")
    until_printed(one, "begun")
    assert one.state.hello is not None
    os.kill(one.state.hello.pid, 9)
    state = one.wait(60)
    assert (state.outcome, one.logs()) == ("Lost", "begun\n")
    with pytest.raises(NodeFailed, match="SIGKILL"):
        one.raise_for_state()


def used() -> tuple[int, int]:
    """Threads and file descriptors of this process."""
    descriptors = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    return threading.active_count(), len(list(descriptors.iterdir()))


@ONLY_LOCAL
def test_runs_leave_no_threads_no_descriptors_and_no_folders(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    run("pass")._is_read.wait(60)
    before = used()
    for _ in range(5):
        run("print(1)")._is_read.wait(60)
    # Fewer, where something of an earlier test has ended meanwhile.
    assert all(now <= then for now, then in zip(used(), before, strict=True))
    assert not list(tmp_path.glob("uv-argo-*"))


def test_the_example_of_the_documentation_runs_a_cell(home):
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
