"""Sessions in pods, over the tests' API server with its port-forward: state, faults, ends, and what is refused."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support import real_argo
from support.argo_rest import ArgoRest
from support.argo_server import ArgoServer
from support.index_server import IndexServer
from support.session_notebook import Notebook, end_all, forget_connections, result, run_past_max_age
from support.waiting import gated, until, until_printed

from uv_argo_magic.backends import base
from uv_argo_magic.backends.argo import client, pod_workers
from uv_argo_magic.backends.argo.manifests import template_manifests
from uv_argo_magic.backends.kubernetes import port_forward, watchers
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import TooEarly
from uv_argo_magic.cli import main
from uv_argo_magic.core.protocol.state import Gap
from uv_argo_magic.core.spec.program import PAYLOAD_LIMIT
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.engine import find_run
from uv_argo_magic.engine.run import join
from uv_argo_magic.errors import BackendError, BackendUnavailable, CellFailed, SessionBusy, SessionLost, SpecError
from uv_argo_magic.history.run_files import write_all
from uv_argo_magic.history.store import History
from uv_argo_magic.sessions import activity, session_runs, workers
from uv_argo_magic.sessions.channel import Channel
from uv_argo_magic.sessions.pod_log import PodLogRuns
from uv_argo_magic.sessions.pod_session import PodSession
from uv_argo_magic.sessions.registry import Registry


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch, ArgoServer(folder) as server:
        patch.setenv("UV_ARGO_HOME", str(folder / "home"))
        patch.setenv("UV_ARGO_BACKEND", "argo")
        for name, value in server.settings.items():
            patch.setenv(name, value)
        patch.setattr(watchers, "POLL", 0.1)
        patch.setattr(session_runs, "RETRY", (0.02, 1.5, 0.1))
        yield server
        end_all()


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory):
    """A notebook for tests that leave its session as it was."""
    return Notebook(tmp_path_factory.mktemp("shared") / "study.ipynb")


@pytest.fixture
def notebook(server, tmp_path):
    yield Notebook(tmp_path / "study.ipynb")
    server.forward_cuts.clear()
    server.forward_frozen = server.forward_down = False
    server.denied.clear()
    registry = Registry.of_this_user()
    for entry in registry.list():
        if str(tmp_path) in entry.key.notebook:
            with contextlib.suppress(BackendUnavailable):
                workers.stop(entry, registry)


def worker_of(server, notebook):
    """The workflow of a notebook's session."""
    return server.workflows[json.loads(notebook.entry().worker.address)["workflow"]]


def given(workflow):
    """What the worker of a session was started with."""
    (template,) = workflow.made["spec"]["templates"]
    return json.loads(next(one["value"] for one in template["script"]["env"] if one["name"] == "UV_ARGO_SESSION"))


def run_until_lost(notebook):
    """Run cells until one is refused: a pod answers for some time after it was deleted."""
    until(lambda: retried(notebook, "x"), pace=0.1)


def retried(notebook, cell):
    """Run a cell; None if the pod does not respond now."""
    with contextlib.suppress(BackendUnavailable):
        notebook.run(cell)


def send_all(sock, data):
    """Send until the other end is closed."""
    with contextlib.suppress(OSError):
        sock.sendall(data)


def ended(workflow):
    workflow.process.wait(60)
    workflow.thread.join(60)


def test_cells_share_variables_and_return_results_and_errors(shared):
    shared.run("x = [1]")
    assert shared.text("x.append(2); print(x)") == "[1, 2]\n"
    assert result(shared.run("len(x)")) == '"2"'
    with pytest.raises(CellFailed, match="division by zero"):
        shared.text("1 / 0")
    assert shared.text("print(x)") == "[1, 2]\n"


def test_the_workflow_is_the_session(server, shared):
    shared.run("print('in its log')")
    workflow = worker_of(server, shared)
    metadata = workflow.made["metadata"]
    assert metadata["labels"]["uv-argo-magic/session"] == "main"
    assert metadata["annotations"]["uv-argo-magic/notebook"] == str(shared.path)
    assert "uv-argo-magic/run" not in metadata["labels"]
    assert len(bytes.fromhex(given(workflow)["token"])) == 32
    assert shared.entry().worker.token not in json.dumps(workflow.made)
    assert any(b"in its log" in line for _, line in workflow.logs["main"].lines)


def test_an_interrupt_and_large_output_keep_the_session(shared):
    run = shared.begin("import time\ny = 6\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    run.ask_to_stop("a test")
    assert run.wait(60).outcome == "Stopped"
    text = shared.text("print(y)\nfor i in range(20_000): print('line', i)")
    assert text == "6\n" + "".join(f"line {i}\n" for i in range(20_000))


def test_packages_are_added_while_it_runs(server, notebook, monkeypatch):
    with IndexServer() as index:
        index.add("one", "1.0")
        index.add("two", "2.0")
        monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
        assert notebook.text("import one; print(one.__version__)", "-s --deps one") == "1.0\n"
        assert notebook.text("import two; print(one.__version__, two.__version__)", "-s --deps two") == "1.0 2.0\n"


def test_another_kernel_finds_the_session_again_and_takes_it(server, notebook, monkeypatch):
    notebook.run("z = 7")
    monkeypatch.setattr(workers, "CLIENT", "another")
    left, workers._connections = workers._connections, {}
    with pytest.raises(SessionBusy, match="another kernel has the session main"):
        notebook.run("z")
    for connections in left.values():
        connections.close()

    def taken():
        with contextlib.suppress(SessionBusy):
            return notebook.text("print(z)")

    assert until(taken) == "7\n"
    assert notebook.notes[-1].startswith("Rejoined session main (started ")


def test_the_workflow_and_the_pod_name_user_notebook_and_session(server, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ana@example.com")
    notebook = Notebook(tmp_path / "{{workflow.name}} study.ipynb")
    notebook.run("1", "-s _tidy_")
    made = next(one.made for one in server.workflows.values() if str(notebook.path) in json.dumps(one.made))
    workers.stop(notebook.entry("_tidy_"), Registry.of_this_user())
    metadata, pod = made["metadata"], made["spec"]["podMetadata"]
    assert metadata["annotations"]["uv-argo-magic/user"] == "ana@example.com"
    assert metadata["annotations"]["uv-argo-magic/notebook"] == str(notebook.path)
    assert pod["annotations"]["uv-argo-magic/notebook"] == str(notebook.path).replace("{{", "{ {")
    assert pod["annotations"]["uv-argo-magic/session"] == "_tidy_"
    for labels in (metadata["labels"], pod["labels"]):
        assert labels["uv-argo-magic/user"] == "ana-example.com"
        assert labels["uv-argo-magic/session"] == "tidy"


@pytest.mark.parametrize(
    ("line", "is_kept"), [("-s", True), ("-s --set disruption=prevent", True), ("-s --set disruption=allow", False)]
)
def test_autoscalers_may_not_move_a_session_by_default(server, notebook, line, is_kept):
    notebook.run("1", line)
    notes = worker_of(server, notebook).made["spec"]["podMetadata"]["annotations"]
    assert (notes.get("karpenter.sh/do-not-disrupt") == "true") == is_kept
    assert (notes.get("cluster-autoscaler.kubernetes.io/safe-to-evict") == "false") == is_kept


@pytest.mark.parametrize(
    ("line", "keep", "expected"),
    [
        ("-s --gpu 1", "", 300),
        ("-s --gpu 1", "2h", 300),
        ("-s --gpu 1", "2m", 120),
        ("-s --gpu 1 --set keep=1h", "", 3600),
        ("-s --gpu 1 --set gpu_keep=0", "", 1800),
        ("-s --gpu 0", "", 1800),
        ("-s", "", 1800),
    ],
)
def test_a_session_with_a_gpu_ends_sooner_unless_its_cell_says_otherwise(
    server, notebook, monkeypatch, line, keep, expected
):
    if keep:
        monkeypatch.setenv("UV_ARGO_KEEP", keep)
    notebook.run("1", line)
    assert given(worker_of(server, notebook))["keep"] == expected
    noted = ["because its pod has a GPU" in note for note in notebook.notes]
    assert any(noted) == (expected < 1800)
    notebook.run("2")
    assert len(notebook.notes) == len(noted)
    assert notebook.entry().settings.keep == expected


def test_a_session_that_gets_a_gpu_when_it_restarts_ends_sooner(server, notebook):
    notebook.run("1")
    notebook.run("2", "-s --restart --gpu 1")
    assert given(worker_of(server, notebook))["keep"] == 300


def test_a_cell_that_runs_at_max_age_is_followed_by_a_message_before_the_end(notebook, tmp_path, monkeypatch):
    run_past_max_age(notebook, tmp_path / "go", monkeypatch)
    with pytest.raises(SessionLost, match="it reached its max_age of 1 s"):
        run_until_lost(notebook)


@pytest.fixture
def template(server):
    """The administrators' template for cells, with the Python that runs this."""
    made = template_manifests.cell()
    made["metadata"]["annotations"][template_manifests.PYTHON_NOTE] = ".".join(map(str, sys.version_info[:3]))
    server.templates["cell"] = made
    return made


def test_a_session_by_a_template_keeps_its_state_and_adds_packages(server, notebook, template, monkeypatch):
    with IndexServer() as index:
        index.add("one", "1.0")
        monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
        line = "-s --set template=cell --set keep=1h --set labels=team=blue"
        assert notebook.text("x = [1]; print(x)", line) == "[1]\n"
        assert notebook.text("import one; x.append(2); print(x, one.__version__)", "-s --deps one") == "[1, 2] 1.0\n"
    made = worker_of(server, notebook).made
    assert made["spec"].keys() == {"workflowTemplateRef", "arguments"}
    assert made["metadata"]["labels"]["team"] == "blue"
    assert made["metadata"]["annotations"]["uv-argo-magic/notebook"] == str(notebook.path)
    assert notebook.entry().worker.token not in json.dumps(made)
    ((_, program),) = ((one["name"], one["value"]) for one in made["spec"]["arguments"]["parameters"])
    assert len(program) < PAYLOAD_LIMIT
    forget_connections()
    assert notebook.text("print(x)") == "[1, 2]\n"
    with pytest.raises(SpecError, match="the template cell does not let you set disruption"):
        notebook.run("1", "-s --restart --set disruption=allow")


@pytest.mark.parametrize(
    ("line", "resource", "amount", "expected"),
    [
        ("", "nvidia.com/gpu", "1", 300),
        ("", "amd.com/gpu", 1, 300),
        ("", "nvidia.com/mig-1g.5gb", "1", 300),
        ("--set gpu_resource=example.com/chip", "example.com/chip", "1", 300),
        ("", "example.com/chip", "1", 1800),
        ("", "nvidia.com/gpu", "0", 1800),
        ("--set keep=1h", "nvidia.com/gpu", "1", 3600),
        ("--set gpu_keep=0", "nvidia.com/gpu", "1", 1800),
    ],
)
def test_a_session_ends_sooner_if_its_template_has_a_gpu(
    server, notebook, template, tmp_path, line, resource, amount, expected
):
    template["spec"]["templates"][0]["script"]["resources"]["limits"][resource] = amount
    first = notebook.begin(gated(tmp_path / "go"), f"-s --set template=cell {line}")
    second = notebook.begin("2", f"-s {line}")  # it waits for the pod as well
    (tmp_path / "go").touch()
    for run in (first, second):
        assert run.wait(60).outcome == "Succeeded"
        assert workers.ask(notebook.entry(), "status")["status"]["keep"] == expected
    notes = [note for note in (*first.state.notes, *second.state.notes, *notebook.notes) if "has a GPU" in note]
    assert len(notes) == (expected == 300)
    notebook.run("3")
    assert workers.ask(notebook.entry(), "status")["status"]["keep"] == expected
    assert notebook.entry().settings.keep == expected


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"templates": [{"name": "cell", "steps": [[]]}]}, "its entrypoint is not a script or a container"),
        ({"templateDefaults": {"retryStrategy": {"limit": "2"}}}, "it has a retryStrategy, and a second pod"),
    ],
)
def test_a_template_that_cannot_run_sessions_is_refused(server, notebook, template, change, problem):
    template["spec"] |= change
    before = len(server.workflows)
    with pytest.raises(SpecError, match=f"the template cell cannot run sessions: {problem}"):
        notebook.run("1", "-s --set template=cell")
    assert len(server.workflows) == before


def test_the_last_activity_is_noted_and_a_user_without_the_right_only_lacks_the_note(server, notebook, monkeypatch):
    monkeypatch.setattr(activity, "EVERY", 0.3)
    notebook.run("1")
    made = worker_of(server, notebook).made

    def noted(state):
        deadline = time.monotonic() + 10
        while made["metadata"]["annotations"].get("uv-argo-magic/activity") != state:
            assert time.monotonic() < deadline, made["metadata"]
            time.sleep(0.01)
        return made["metadata"]["annotations"]["uv-argo-magic/last-activity"]

    assert noted("idle").endswith("Z")
    run = notebook.begin("import time\nprint('on', flush=True)\nwhile 'stop' not in globals(): time.sleep(0.01)")
    noted("running")
    run.ask_to_stop("a test")
    run.wait(20)
    noted("idle")
    server.denied = {("workflows", "patch")}
    tried = len([call for call in server.calls if call[0] == "PATCH"])
    for _ in range(3):
        assert result(notebook.run("6 * 7")) == '"42"'
        time.sleep(0.4)
    assert len([call for call in server.calls if call[0] == "PATCH"]) - tried == 1


def test_administrators_list_the_sessions_of_all_users(server, notebook, monkeypatch, capsys):
    notebook.run("1", "-s --cpu 500m --memory 1Gi --gpu 1")
    name = worker_of(server, notebook).name

    def listed(*words, status=0):
        assert main(["sessions", *words]) == status
        printed = capsys.readouterr()
        return printed.out + printed.err

    (row,) = [line for line in listed("--all").splitlines() if name in line]
    assert re.search(rf"study.ipynb +main +\d.* s +500m +1Gi +1 +\d.* s +idle +{name}$", row)
    assert f"nb         {getpass.getuser()}" in listed("-A")
    with ArgoRest(server) as rest:
        for variable, value in {"ARGO_TOKEN": "secret", "ARGO_SECURE": "false", "ARGO_NAMESPACE": "nb"}.items():
            monkeypatch.setenv(variable, value)
        server_lists = [listed(words, "--set", f"server={rest.address}") for words in ("--all", "-A")]
    assert all(name in text for text in server_lists)
    server.denied = {("workflows", 'list in the namespace "nb"'), ("workflows", "list at the cluster scope")}
    text = listed("--all", status=1)
    assert "you cannot list workflows in the namespace nb" in text
    assert '{apiGroups: ["argoproj.io"], resources: [workflows], verbs: [create, get, list, patch]}' in text
    text = listed("--all-namespaces", status=1)
    server.denied.clear()
    assert "you cannot list workflows in all namespaces" in text
    assert 'ClusterRole with this rule: {apiGroups: ["argoproj.io"], resources: [workflows], verbs: [list]}' in text


def test_a_connection_may_break_at_every_record_and_within_each(server, notebook):
    """The stream of one cell is recorded; then the connection breaks after each of its lines, and within it."""
    cell = "done.append(1)\nimport sys\nfor i in range(3): print(i); print(i, file=sys.stderr)\nlen(done)"
    notebook.run("done = []")
    forget_connections()
    del server.forward_streams[:]
    notebook.run(cell)
    stream = max(server.forward_streams, key=lambda stream: stream.count(b"@uv-argo:"))
    ends = [at + 1 for at, byte in enumerate(stream) if byte == 10]
    assert len(ends) > 10
    cuts = [cut for before, end in itertools.pairwise([0, *ends]) for cut in ((before + end) // 2, end)]
    for number, cut in enumerate(cuts, 2):
        forget_connections()
        server.forward_cuts = [1 << 40, cut]
        run = notebook.run(cell)
        assert run.state.outcome == "Succeeded", (cut, run.state)
        assert run.logs() == "".join(f"{i}\n{i}\n" for i in range(3)), cut
        assert result(run) == f'"{number}"', cut
        assert not run.state.gaps
    server.forward_cuts.clear()


def test_a_kernel_that_has_just_ended_is_not_in_the_way(server, notebook, monkeypatch):
    notebook.run("z = 7")
    ended_process = subprocess.Popen([sys.executable, "-c", ""])
    ended_process.wait()
    with monkeypatch.context() as patch:
        patch.setattr(workers.os, "getpid", lambda: ended_process.pid)
        workers.hold(notebook.entry(), again=True)
    left, workers._connections = workers._connections, {}
    monkeypatch.setattr(workers, "CLIENT", "another")
    # The cluster reports the end of its connection later.
    threading.Timer(1.0, lambda: [connections.close() for connections in left.values()]).start()
    assert notebook.text("print(z)") == "7\n"


@pytest.mark.parametrize("cut", [0, 1, 40, 400, 3000])
def test_connections_that_break_lose_and_repeat_nothing(server, notebook, cut):
    notebook.run("done = []")
    del server.forwarded[:]
    # The first connection is cut at that byte, the next ones later.
    forget_connections()
    server.forward_cuts = [10_000, cut, cut + 17, cut + 1000]
    run = notebook.begin("done.append(1)\nfor i in range(2000): print('line', i)\nprint(len(done))")
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "".join(f"line {i}\n" for i in range(2000)) + "1\n"
    assert not run.state.gaps
    assert sum(server.forwarded) < 60_000  # 25 kB of output: what was received is not sent again


class TestOutputThatNoClientReads:
    """More output than a session keeps, while its client is cut off."""

    LINES = 20_000
    CODE = """
import os, time
print("begun", flush=True)
while not os.path.exists({path!r}):
    time.sleep(0.01)
for number in range({lines}):
    print("line", number)
"""

    @pytest.fixture
    def begun(self, server, notebook, tmp_path, monkeypatch):
        """A run whose client has received its first line, and whose pod has written the rest."""
        monkeypatch.setattr(server, "worker_options", {"most": 100_000})
        path = tmp_path / "go"
        run = notebook.begin(self.CODE.format(path=str(path), lines=self.LINES), "-s --set log_budget=0")
        until_printed(run, "begun")
        server.forward_down = True
        path.touch()
        log = worker_of(server, notebook).logs["main"]
        deadline = time.monotonic() + 30
        while not log.lines or b'"reason":"ok"' not in log.lines[-1][1]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return run, log

    def check_gaps(self, run):
        """The gaps are what is missing of the output, and perhaps some heartbeats."""
        more = sum(gap.lines for gap in run.state.gaps) + run.logs().count("\n") - self.LINES - 1
        assert 0 <= more < 10

    def test_it_is_read_from_the_log_of_the_pod(self, server, begun):
        run, _ = begun
        server.forward_down = False
        assert run.wait(30).outcome == "Succeeded"
        assert run.logs() == "begun\n" + "".join(f"line {number}\n" for number in range(self.LINES))
        assert not run.state.gaps

    def test_what_the_pod_does_not_have_either_is_reported(self, server, begun):
        run, log = begun
        log.lines = log.lines[self.LINES // 2 :]  # its node rotates it
        server.forward_down = False
        assert run.wait(30).outcome == "Succeeded", run.state.node
        assert f"line {self.LINES - 1}\n" in run.logs()
        gaps = run.state.gaps
        assert self.LINES // 3 < sum(gap.lines for gap in gaps) < self.LINES // 2 + 100
        self.check_gaps(run)
        assert {gap.reason for gap in gaps} <= {"a session keeps the newest 0.1 MB of output", session_runs.DROPPED}

    def test_a_log_that_differs_is_a_bug_of_this_package(self, server, begun):
        run, log = begun
        for at, (moment, line) in enumerate(log.lines):
            if line.startswith(b"line ") and int(line[5:]) > self.LINES // 2:
                log.lines[at] = (moment, b"line x\n")
        server.forward_down = False
        state = run.wait(30)
        assert state.outcome == "Lost"
        assert "two copies of the run's log differ at line" in state.node.message

    def test_a_pod_whose_log_may_not_be_read_loses_the_output_alone(self, server, begun):
        run, _ = begun
        server.fail("/log?", 403, "pods/log is forbidden", times=50)
        server.forward_down = False
        assert run.wait(30).outcome == "Succeeded"
        self.check_gaps(run)
        server.failures.clear()


class TestAttachWithoutTheWorker:
    """Another process shows a run of a session whose worker it cannot reach, from the log of the pod."""

    @pytest.fixture
    def attach(self, notebook, tmp_path):
        """Shows a run as a process does that has its history up to its start; the state at its end."""

        def attach(run):
            shutil.copytree(tmp_path / "runs" / run.id, tmp_path / "copy" / run.id, dirs_exist_ok=True)
            folder = tmp_path / "copy" / run.id
            for name in ("state.json", "log.txt"):
                (folder / name).unlink(missing_ok=True)
            about = json.loads((folder / "spec.json").read_text())
            (folder / "spec.json").write_text(json.dumps(about | {"started": "another process"}))
            history = History(tmp_path / "copy", keep=0)
            ref = find_run.locate_entry(history.read().find(run.id))
            assert isinstance(ref.runs, PodLogRuns)
            return join(ref, history=history, settings=Settings())

        return attach

    def test_a_run_is_followed_where_ports_may_not_be_forwarded(self, server, notebook, attach, tmp_path):
        path = tmp_path / "go"
        run = notebook.begin(TestOutputThatNoClientReads.CODE.format(path=str(path), lines=3))
        until_printed(run, "begun")
        write_all()
        server.denied = {("pods/portforward", "get")}
        attached = attach(run)
        until_printed(attached, "begun")
        with pytest.raises(BackendUnavailable, match="the session main cannot be reached"):
            attached.stop()
        path.touch()
        assert attached.wait(30).outcome == "Succeeded"
        assert attached.logs() == "begun\nline 0\nline 1\nline 2\n"
        assert run.wait(30).ended

    def test_runs_of_a_session_that_is_over_are_shown_with_what_is_missing(self, server, notebook, attach):
        texts = {}
        for name in "abc":
            run = notebook.run(f"for i in range(1000): print({name!r}, i)")
            texts[run.id] = run
        write_all()
        workflow = worker_of(server, notebook)
        workflow.kill(signal.SIGKILL)
        ended(workflow)
        first, second, third = texts.values()
        lines = workflow.logs["main"].lines
        at = next(at for at, (_, line) in enumerate(lines) if line == b"b 400\n")
        workflow.logs["main"].lines = lines[at:]  # the node has rotated the log
        state = attach(first).wait(30)
        assert state.outcome == "Lost"
        assert "the log of the session's pod does not have this run" in state.node.message
        cut = attach(second)
        assert cut.wait(30).outcome == "Succeeded"
        assert cut.logs() == "".join(f"b {i}\n" for i in range(400, 1000))
        (gap,) = cut.state.gaps
        assert gap == Gap(lines=402, reason="the node keeps only the end of a pod's log")
        assert isinstance(next(iter(cut.state.outputs)), Gap)
        whole = attach(third)
        assert (whole.wait(30).outcome, whole.logs(), whole.state.gaps) == ("Succeeded", third.logs(), ())

    def test_a_run_that_its_pod_took_along_says_why(self, server, notebook, attach):
        run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(60)")
        until_printed(run, "on")
        write_all()
        workflow = worker_of(server, notebook)
        workflow.kill(signal.SIGKILL)
        ended(workflow)
        attached = attach(run)
        assert attached.wait(30).outcome == "Lost"
        assert attached.logs() == "on\n"
        assert attached.state.node.message.startswith("the session main ended: ")


def test_a_network_that_is_cut_is_noticed_and_the_cell_goes_on(server, notebook, monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "SILENCE", 0.6)
    run = notebook.begin(gated(tmp_path / "gate"))
    until_printed(run, "begun")
    server.forward_frozen = True
    server.fail("portforward", 503, times=1_000)
    until(lambda: run.state.node and run.state.node.phase == "Unreachable", lambda: run.state.node)
    assert "the run continues, and its output will follow" in run.state.node.message
    server.failures = []
    server.forward_frozen = False
    (tmp_path / "gate").touch()
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "begun\nend\n"


def test_a_pod_that_is_killed_is_explained_with_what_was_lost(server, notebook):
    notebook.run("data = list(range(1000))")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    workflow = worker_of(server, notebook)
    workflow.kill(signal.SIGKILL)
    state = run.wait(60)
    assert state.outcome == "Lost"
    assert "the session main has ended: " in state.node.message
    assert "Lost: data (list" in state.node.message
    with pytest.raises(SessionLost, match=r"Lost: data \(list"):
        notebook.run("data")
    assert notebook.text("print(dir().count('data'))", "-s --restart") == "0\n"


def test_a_cell_that_its_pod_stops_is_explained(server, notebook):
    notebook.run("data = 1")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    workflow = worker_of(server, notebook)
    workflow.made["spec"]["shutdown"] = "Stop"
    workflow.shutdown()
    state = run.wait(60)
    assert state.outcome == "Lost"
    assert "the session main has ended: " in state.node.message
    assert "Lost: data (int" in state.node.message


def killed_for_memory(workflow):
    workflow.fate = {"terminated": {"reason": "OOMKilled"}}
    workflow.kill(signal.SIGKILL)


def evicted(message):
    def act(workflow):
        workflow.fate = {"status": {"reason": "Evicted", "message": message, "phase": "Failed"}}
        workflow.kill(signal.SIGTERM)

    return act


def stopped_by_another(workflow):
    fields = {"f:spec": {"f:shutdown": {}}}
    workflow.made["metadata"]["managedFields"] = [{"manager": "kubectl-patch", "fieldsV1": fields}]
    workflow.made["spec"]["shutdown"] = "Stop"
    workflow.shutdown()


FULL_DISK = 'Usage of EmptyDir volume "tmp" exceeds the limit "10Gi".'
DEATHS = {
    "memory": (killed_for_memory, r"exceeded its memory limit \(300Mi\) and was killed", "Request more with --memory"),
    "disk": (
        evicted(FULL_DISK),
        "the pod exceeded its disk limit and was evicted",
        "Request more with --resources disk=",
    ),
    "a full node": (evicted("The node was low on resource: memory."), "the node ran out of resources", "Request more"),
    "deadline": (
        lambda workflow: workflow.pass_deadline(),
        r"its deadline of \d+ seconds",
        "Allow more with --set dead",
    ),
    "another client": (stopped_by_another, r"stopped by another client \(kubectl-patch\)", ""),
    "a user": (lambda workflow: workflow.delete(), "its pod was deleted, by a user or with its node", ""),
    "a lost node": (lambda workflow: workflow.delete("DeletionByTaintManager"), "its node was lost", ""),
    "an autoscaler": (
        lambda workflow: workflow.delete("EvictionByEvictionAPI"),
        "its pod was evicted, as by an auto",
        "",
    ),
    "priority": (lambda workflow: workflow.delete("", "Preempted"), "a pod of higher priority needed its node", ""),
}


@pytest.mark.parametrize("cause", DEATHS)
def test_each_death_is_explained_with_what_was_lost_and_what_to_do(server, notebook, cause):
    act, reason, advice = DEATHS[cause]
    server.events.clear()
    notebook.run("data = list(range(1000))", "-s --memory 300Mi")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(60)")
    until_printed(run, "on")
    act(worker_of(server, notebook))
    state = run.wait(40)
    assert state.outcome == "Lost"
    pattern = rf"the session main has ended: .*{reason}.*\. Lost: .*data \(list, 8\.1 kB\)"
    if cause != "priority":  # its event comes once the pod is gone
        assert re.match(pattern, state.node.message), state.node.message
        assert re.search(f"; .*{advice}", state.node.message, re.IGNORECASE)
    time.sleep(0.5)
    with pytest.raises(SessionLost, match=pattern) as raised:
        run_until_lost(notebook)
    assert raised.value.hint.startswith(advice or "%argo restart main starts it again")
    assert "%argo restart main starts it again, without its variables. Or add --restart" in raised.value.hint
    assert notebook.text("print('data' in dir())", "-s --restart --memory 400Mi") == "False\n"


def test_the_deadline_holds_when_every_client_is_gone(server, notebook):
    notebook.run("data = 1", "-s --set deadline=4")
    forget_connections()
    workflow = worker_of(server, notebook)
    ended(workflow)
    assert workflow.made["status"]["phase"] == "Failed"
    with pytest.raises(SessionLost, match=r"its deadline of 4 seconds.* Lost: data \(int\)") as raised:
        notebook.run("data")
    assert raised.value.hint.startswith("Allow more with --set deadline=SECONDS. ")


def test_a_worker_reports_its_own_end_in_the_pods_status(server, notebook):
    notebook.run("data = 1", "-s --set keep=1")
    ended(worker_of(server, notebook))
    with pytest.raises(SessionLost, match=r"has ended: idle for 1 s\. Lost: data \(int\)$"):
        notebook.run("data")


def test_a_pod_that_argo_makes_again_is_another_session(server, notebook):
    notebook.run("data = 1")
    workflow = worker_of(server, notebook)
    workflow.lose()
    until(lambda: workflow.pods >= 2 and workflow.logs.get("main"))

    def refused():
        with pytest.raises((SessionLost, BackendUnavailable)) as raised:
            notebook.run("data")
        return "created another" in str(raised.value)

    until(refused)
    ended(workflow)


def test_a_cell_whose_pod_argo_makes_again_is_explained_and_the_new_pod_is_ended(server, notebook):
    notebook.run("data = 1")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(60)")
    until_printed(run, "on")
    workflow = worker_of(server, notebook)
    workflow.lose()
    state = run.wait(40)
    assert state.outcome == "Lost"
    reason = "has ended: its pod was lost, and Argo created another one. Lost: data (int); %argo restart main"
    assert reason in state.node.message
    assert workflow.made["spec"]["shutdown"] == "Stop"
    with pytest.raises(SessionLost, match="Argo created another one"):
        notebook.run("data")


def test_a_log_that_the_worker_does_not_have_is_not_waited_for(server, shared):
    shared.run("1")
    entry = shared.entry()
    runs = session_runs.SessionRuns(
        name="main", connections=workers.connect(entry), hold=lambda: None, interpreter=None,
        pod=PodSession(entry=entry, registry=Registry.of_this_user(), backend=base.load("argo")),
    )  # fmt: skip
    with pytest.raises(BackendError, match="does not have the log of this cell any more"):
        list(runs.watch("session-unknown"))


def test_stop_ends_the_workflow_and_forgets_the_session(server, notebook):
    notebook.run("1")
    workflow = worker_of(server, notebook)
    workers.stop(notebook.entry(), Registry.of_this_user())
    ended(workflow)
    assert workflow.made["status"]["phase"] == "Succeeded"
    assert Registry.of_this_user().find(notebook.entry_key()) is None


def test_a_session_whose_pod_cannot_start_is_not_kept(server, notebook, monkeypatch):
    monkeypatch.setattr(server, "start_after", 3)
    run = notebook.begin("1")
    until(lambda: server.workflows[json.loads(notebook.entry().worker.address)["workflow"]].pods)
    workflow = worker_of(server, notebook)
    run.ask_to_stop("a test")
    assert run.wait(60).outcome == "Stopped"
    assert notebook.entry().worker is None
    assert workflow.made["spec"]["shutdown"] == "Stop"


def test_cells_that_come_while_it_starts_run_in_their_order(server, notebook, monkeypatch):
    monkeypatch.setattr(server, "start_after", 0.5)
    runs = [notebook.begin("x = [0]")]
    while not all(run.state.ended for run in runs) or len(runs) < 10:
        runs.append(notebook.begin(f"x.append({len(runs)})"))
        time.sleep(0.02)
    assert [run.wait(60).outcome for run in runs] == ["Succeeded"] * len(runs)
    assert notebook.text("print(x)") == f"{list(range(len(runs)))}\n"


def test_what_cannot_be_a_session_is_refused_before_a_workflow_is_created(server, notebook, monkeypatch):
    before = len(server.workflows)
    with pytest.raises(SpecError, match="installs packages while it runs"):
        notebook.run("1", "-s --set shape=init")
    for missing in ("get", "create"):
        server.denied = {("pods/portforward", missing)}
        with pytest.raises(Denied, match=f"you cannot {missing} pods/portforward in the namespace nb") as raised:
            notebook.run("1")
        rule = '{apiGroups: [""], resources: [pods/portforward], verbs: [get, create]}'
        assert rule in raised.value.hint
    assert len(server.workflows) == before


def test_a_wrong_token_and_a_stranger_get_no_answer(server, shared):
    shared.run("1")
    worker = shared.entry().worker
    backend = base.load("argo")
    for line in (b'{"do": "status", "token": "wrong", "size": 0}\n', b"GET / HTTP/1.1\r\n\r\n"):
        with contextlib.closing(backend.connect(worker.address)) as sock:
            sock.settimeout(5)
            sock.sendall(line)
            assert b'"error": "token"' in sock.recv(1000)
            assert sock.recv(1000) == b""


def test_a_pod_that_is_not_there_is_too_early_and_a_port_without_a_listener_ends_at_once(server, notebook):
    made = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    with pytest.raises(TooEarly, match=r"pods .* not found"):
        port_forward.connect(made.transport, "nb", "nothing", 8471)
    notebook.run("1")
    workflow = worker_of(server, notebook)
    os.kill(workflow.process.pid, signal.SIGTERM)
    ended(workflow)
    with contextlib.closing(port_forward.connect(made.transport, "nb", workflow.name, 8471)) as sock:
        sock.settimeout(5)
        assert sock.recv(10) == b""
    how = pod_workers.worker_end(made, pod_workers.Address(workflow=workflow.name, namespace="nb"))
    assert how is not None


@pytest.mark.parametrize(
    ("status", "message", "problem"),
    [
        (400, "Upgrade request required", "a proxy before .* does not pass websockets"),
        (502, "Bad Gateway", "failed \\(502\\)"),
        (0, "", "cannot connect to the pod|ended the connection"),
    ],
)
def test_the_failures_of_a_proxy_are_named(server, status, message, problem):
    made = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("portforward", status, message)
    with pytest.raises(BackendUnavailable, match=problem):
        port_forward.connect(made.transport, "nb", "x", 8471)


DATA = bytes(range(256)) * 80_000


@pytest.fixture(scope="module")
def pushed(shared):
    """The notebook whose session has DATA reversed as `data`."""
    shared.names["data"] = DATA
    run = shared.run("size = len(data)\ndata = data[::-1]", "-s --push data --set value_limit=64Mi")
    run.raise_for_state()
    assert shared.text("print(size)") == f"{len(DATA)}\n"
    del shared.names["data"]
    return shared


class TestLargeValues:
    """Values that are sent as files, over connections of their own."""

    def test_they_go_both_ways_and_not_through_the_log(self, server, pushed):
        run = pushed.run("small = 'x' * 1000", "-s --pull data small --set value_limit=64Mi")
        run.raise_for_state()
        assert run.values == {"data": DATA[::-1], "small": "x" * 1000}
        logs = worker_of(server, pushed).logs["main"].lines
        assert sum(len(line) for _, line in logs) < 1_000_000
        home = worker_of(server, pushed).home
        pushed.run("1")  # the worker knows by then that they were read
        assert not list(home.rglob("pulled-*"))
        assert not list(home.rglob("pushed-*"))

    @pytest.mark.parametrize("cut", [0, 1000, 5_000_000])
    def test_a_transfer_goes_on_where_it_broke(self, server, pushed, cut, monkeypatch):
        monkeypatch.setattr(server, "forward_resets", False)
        forget_connections()
        pushed.run("1")
        forget_connections()
        del server.forwarded[:]
        # The holder's connection and the run's stay, the first ones of the transfer break.
        server.forward_cuts = [1 << 40, 1 << 40, cut, cut + 3]
        run = pushed.run("1", "-s --pull data --set value_limit=64Mi")
        assert run.values == {"data": DATA[::-1]}
        assert sum(server.forwarded) < len(DATA) + 2_000_000
        server.forward_cuts.clear()

    def test_an_interrupt_does_not_wait_for_one(self, server, pushed, monkeypatch):
        monkeypatch.setattr(server, "forward_pause", 0.05)  # 20 MB take a minute
        run = pushed.begin("'done'", "-s --pull data --set value_limit=64Mi")
        deadline = time.monotonic() + 20
        while not list((pushed.path.parent / "runs" / run.id / "values").glob("*.part")):
            assert time.monotonic() < deadline, run.state
            time.sleep(0.01)
        run.ask_to_stop("a test")
        begun = time.monotonic()
        run.wait(20)
        assert time.monotonic() - begun < 10
        assert run.state.ended
        assert not list((pushed.path.parent / "runs" / run.id / "values").glob("*.part"))

    def test_a_damaged_one_is_not_used(self, pushed, tmp_path):
        connections = workers.connect(pushed.entry())
        body = b"x" * 1000
        values = {"run": "some-run", "file": "pushed-0", "at": 0, "sha256": hashlib.sha256(b"y").hexdigest()}
        answer, channel = connections.request("put", values, body)
        connections.keep(channel)
        assert answer["detail"] == "its SHA-256 does not match"
        for name in ("../escape", "/etc/passwd", ""):
            right = hashlib.sha256(body).hexdigest()
            answer, channel = connections.request("put", {**values, "file": name, "sha256": right}, body)
            connections.keep(channel)
            assert answer["error"] == "invalid"

    def test_a_cell_of_any_length_is_sent(self, shared):
        text = "x" * 3_000_000
        assert shared.text(f"print(len({text!r}))") == "3000000\n"

    @pytest.mark.parametrize(
        ("do", "size"), [("run", (1 << 20) + 1), ("put", (16 << 20) + 1), ("put", -1), ("put", "9")]
    )
    def test_frames_beyond_the_limit_are_refused_before_they_are_received(self, shared, do, size):
        shared.run("1")
        worker = shared.entry().worker
        with contextlib.closing(base.load("argo").connect(worker.address)) as sock:
            sock.settimeout(5)
            sock.sendall(json.dumps({"do": do, "token": worker.token, "size": size}).encode() + b"\n")
            assert b'"error": "size"' in sock.recv(1000)
            assert sock.recv(1000) == b""

    @pytest.mark.parametrize("sent", [b"x" * (1 << 21), b'{"size": 4000000000}\n', b'{"size": -1}\n'])
    def test_frames_of_a_worker_beyond_the_limit_are_refused(self, sent):
        ours, theirs = socket.socketpair()
        with contextlib.closing(ours), contextlib.closing(theirs):
            sender = threading.Thread(target=send_all, args=(theirs, sent))
            sender.start()
            with pytest.raises(BackendUnavailable, match=r"too long|4,000,000,000 bytes|-1 bytes"):
                Channel(sock=ours, token="").request("status", {})
            ours.close()
            sender.join(10)


def test_a_slow_reader_holds_up_the_sender(server, shared, monkeypatch):
    shared.run("1")
    made = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    workflow = worker_of(server, shared)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(workflow, "port", listener.getsockname()[1])
        near = port_forward.connect(made.transport, "nb", workflow.name, 8471)
        pod, _ = listener.accept()
        with pod, contextlib.closing(near):
            pod.settimeout(1.0)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 1 << 30:
                    sent += pod.send(b"x" * 65536)
            assert sent < 1 << 26
            near.settimeout(5)
            received = 0
            while received < sent:
                received += len(near.recv(1 << 20))
            assert received == sent


@pytest.mark.cluster
@real_argo.NEEDED
def test_a_session_on_a_real_cluster(tmp_path, monkeypatch):
    for name, value in {**real_argo.variables(), "UV_ARGO_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    notebook = Notebook(tmp_path / "study.ipynb")
    try:
        assert notebook.text("x = [1]; print(x)") == "[1]\n"
        run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
        until_printed(run, "on")
        run.ask_to_stop("a test")
        assert run.wait(60).outcome == "Stopped"
        with pytest.raises(CellFailed, match="division by zero"):
            notebook.text("1 / 0")
        forget_connections()
        assert notebook.text("x.append(2); print(x)") == "[1, 2]\n"
        assert notebook.notes[-1].startswith("Rejoined session main (started ")
        text = notebook.text("for i in range(50_000): print('line', i)", "-s --set log_budget=0")
        assert text == "".join(f"line {i}\n" for i in range(50_000))
        address = pod_workers.Address.parse(notebook.entry().worker.address)
        made = client.connect(address.settings)
        made.transport.request("DELETE", f"/api/v1/namespaces/{address.namespace}/pods/{address.workflow}")
        with pytest.raises(SessionLost, match=r"its pod was (deleted|lost), .* Lost: .*x \(list"):
            run_until_lost(notebook)
    finally:
        end_all()
