"""Sessions in pods, with a fake API server and its port forwarding: state, faults, lost sessions and refusals."""

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
from dataclasses import replace

import pytest
from support import real_argo
from support.argo_rest import ArgoRest
from support.argo_server import ArgoServer
from support.index_server import IndexServer
from support.session_notebook import Notebook, end_all, forget_connections, result, run_past_max_age
from support.waiting import LIMIT, gated, until, until_printed

from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.argo import client, pod_workers
from uv_argo_magic.backends.argo.manifests import template_manifests
from uv_argo_magic.backends.kubernetes import port_forward, watchers
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import TooEarly
from uv_argo_magic.cli import main
from uv_argo_magic.core.protocol.state import Gap
from uv_argo_magic.core.spec.program import PAYLOAD_LIMIT
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine import find_run
from uv_argo_magic.engine.start_run import join
from uv_argo_magic.errors import BackendError, BackendUnavailable, CellFailed, SessionBusy, SessionLost, SpecError
from uv_argo_magic.history.run_files import write_all
from uv_argo_magic.history.store import History
from uv_argo_magic.sessions import activity, pod_session, session_runs, workers
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
    """A notebook for tests that do not change its session."""
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


def session_workflow(server, notebook):
    """Return the workflow of the notebook's session."""
    return server.workflows[json.loads(notebook.entry().worker.address)["workflow"]]


def session_arguments(workflow):
    """Return the arguments that the session's worker was started with."""
    (template,) = workflow.manifest["spec"]["templates"]
    return json.loads(next(entry["value"] for entry in template["script"]["env"] if entry["name"] == "UV_ARGO_SESSION"))


def run_until_lost(notebook):
    """Run cells until one is refused, since a pod responds for some time after it was deleted."""
    until(lambda: try_run(notebook, "x"), pace=0.1)


def try_run(notebook, cell):
    """Run a cell, unless the pod does not respond."""
    with contextlib.suppress(BackendUnavailable):
        notebook.run(cell)


def send_all(sock, data):
    """Send until the peer closes the connection."""
    with contextlib.suppress(OSError):
        sock.sendall(data)


def wait_for_end(workflow):
    workflow.process.wait(60)
    workflow.thread.join(60)


def test_cells_share_variables_and_return_results(shared):
    shared.run("x = [1]")
    assert shared.text("x.append(2); print(x)") == "[1, 2]\n"
    assert result(shared.run("len(x)")) == '"2"'
    with pytest.raises(CellFailed, match="division by zero"):
        shared.text("1 / 0")
    assert shared.text("print(x)") == "[1, 2]\n"


def test_workflow_describes_session_without_its_token(server, shared):
    shared.run("print('in its log')")
    workflow = session_workflow(server, shared)
    metadata = workflow.manifest["metadata"]
    assert metadata["labels"]["uv-argo-magic/session"] == "main"
    assert metadata["annotations"]["uv-argo-magic/notebook"] == str(shared.path)
    assert "uv-argo-magic/run" not in metadata["labels"]
    assert len(bytes.fromhex(session_arguments(workflow)["token"])) == 32
    assert shared.entry().worker.token not in json.dumps(workflow.manifest)
    assert any(b"in its log" in line for _, line in workflow.logs["main"].lines)


def test_session_survives_interrupt_and_large_output(shared):
    run = shared.begin("import time\ny = 6\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    run.ask_to_stop("a test")
    assert run.wait(60).outcome == "Stopped"
    text = shared.text("print(y)\nfor i in range(20_000): print('line', i)")
    assert text == "6\n" + "".join(f"line {i}\n" for i in range(20_000))


def test_packages_are_added_to_running_session(server, notebook, monkeypatch):
    with IndexServer() as index:
        index.add("one", "1.0")
        index.add("two", "2.0")
        monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
        assert notebook.text("import one; print(one.__version__)", "-s --deps one") == "1.0\n"
        assert notebook.text("import two; print(one.__version__, two.__version__)", "-s --deps two") == "1.0 2.0\n"


def test_packages_of_waiting_cell_stay_recorded(server, notebook, monkeypatch):
    monkeypatch.setattr(server, "start_after", 2)
    with IndexServer() as index:
        index.add("one", "1.0")
        index.add("two", "2.0")
        monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
        runs = [notebook.begin("import one", "-s --deps one"), notebook.begin("import two", "-s --deps two")]
        assert [run.wait(60).outcome for run in runs] == ["Succeeded", "Succeeded"]
        assert sorted(package.name for package in notebook.entry().lock.packages) == ["one", "two"]


def test_second_kernel_joins_after_first_disconnects(server, notebook, monkeypatch):
    notebook.run("z = 7")
    monkeypatch.setattr(workers, "CLIENT", "another")
    connections_of_first, workers._connections = workers._connections, {}
    with pytest.raises(SessionBusy, match="another kernel uses the session main"):
        notebook.run("z")
    for connections in connections_of_first.values():
        connections.close()

    def try_text():
        with contextlib.suppress(SessionBusy):
            return notebook.text("print(z)")

    assert until(try_text) == "7\n"
    assert notebook.notes[-1].startswith("Rejoined session main (started ")


def test_second_kernel_does_not_end_session_that_first_has_started(server, notebook, monkeypatch):
    notebook.run("z = 7")
    entry, registry = notebook.entry(), Registry.of_this_user()
    registry.write(replace(entry, worker=replace(entry.worker, started="")))  # as the second kernel has read it
    with monkeypatch.context() as patch:
        patch.setattr(workers, "CLIENT", "another")
        patch.setattr(workers, "_connections", {})
        state = notebook.begin("z").wait(60)
    assert state.outcome == "NotStarted"
    assert messages.sentence(state).startswith("Another kernel uses the session main: process ")
    assert messages.hint(state).startswith("Take it over with %argo sessions --take main")
    registry.write(entry)
    assert notebook.text("print(z)") == "7\n"


def test_workflow_of_unanswered_request_is_terminated(server, notebook, monkeypatch):
    create, created = client.ArgoClient.create, []

    def lose_response(argo_client, manifest):
        created.append(create(argo_client, manifest)["metadata"]["name"])
        raise BackendUnavailable("no response")

    monkeypatch.setattr(client.ArgoClient, "create", lose_response)
    with pytest.raises(BackendUnavailable, match="no response"):
        notebook.run("1")
    assert [server.workflows[name].manifest["spec"]["shutdown"] for name in created] == ["Terminate"]


def test_metadata_names_user_notebook_and_session(server, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ana@example.com")
    notebook = Notebook(tmp_path / "{{workflow.name}} study.ipynb")
    notebook.run("1", "-s _tidy_")
    manifest = next(
        workflow.manifest
        for workflow in server.workflows.values()
        if str(notebook.path) in json.dumps(workflow.manifest)
    )
    workers.stop(notebook.entry("_tidy_"), Registry.of_this_user())
    metadata, pod = manifest["metadata"], manifest["spec"]["podMetadata"]
    assert metadata["annotations"]["uv-argo-magic/user"] == "ana@example.com"
    assert metadata["annotations"]["uv-argo-magic/notebook"] == str(notebook.path)
    assert pod["annotations"]["uv-argo-magic/notebook"] == str(notebook.path).replace("{{", "{ {")
    assert pod["annotations"]["uv-argo-magic/session"] == "_tidy_"
    for labels in (metadata["labels"], pod["labels"]):
        assert labels["uv-argo-magic/user"] == "ana-example.com"
        assert labels["uv-argo-magic/session"] == "tidy"


@pytest.mark.parametrize(
    ("line", "prevented"), [("-s", True), ("-s --set disruption=prevent", True), ("-s --set disruption=allow", False)]
)
def test_autoscalers_do_not_evict_sessions_by_default(server, notebook, line, prevented):
    notebook.run("1", line)
    annotations = session_workflow(server, notebook).manifest["spec"]["podMetadata"]["annotations"]
    assert (annotations.get("karpenter.sh/do-not-disrupt") == "true") == prevented
    assert (annotations.get("cluster-autoscaler.kubernetes.io/safe-to-evict") == "false") == prevented


@pytest.mark.sample(2)
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
def test_session_with_gpu_has_shorter_keep(server, notebook, monkeypatch, line, keep, expected):
    if keep:
        monkeypatch.setenv("UV_ARGO_KEEP", keep)
    notebook.run("1", line)
    assert session_arguments(session_workflow(server, notebook))["keep"] == expected
    is_gpu_note = ["because its pod has a GPU" in note for note in notebook.notes]
    assert any(is_gpu_note) == (expected < 1800)
    notebook.run("2")
    assert len(notebook.notes) == len(is_gpu_note)
    assert notebook.entry().settings.keep == expected


def test_restart_with_gpu_shortens_keep(server, notebook):
    notebook.run("1")
    notebook.run("2", "-s --restart --gpu 1")
    assert session_arguments(session_workflow(server, notebook))["keep"] == 300


def test_running_cell_finishes_before_max_age_ends_session(notebook, tmp_path, monkeypatch):
    run_past_max_age(notebook, tmp_path / "go", monkeypatch)
    with pytest.raises(SessionLost, match="it reached its max_age of 1 s"):
        run_until_lost(notebook)


@pytest.fixture
def template(server):
    """The administrator's template for cells, with the version of this Python."""
    manifest = template_manifests.cell()
    manifest["metadata"]["annotations"][template_manifests.PYTHON_NOTE] = ".".join(map(str, sys.version_info[:3]))
    server.templates["cell"] = manifest
    return manifest


def test_session_from_template_keeps_state_and_adds_packages(server, notebook, template, monkeypatch):
    with IndexServer() as index:
        index.add("one", "1.0")
        monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
        line = "-s --set template=cell --set keep=1h --set labels=team=blue"
        assert notebook.text("x = [1]; print(x)", line) == "[1]\n"
        assert notebook.text("import one; x.append(2); print(x, one.__version__)", "-s --deps one") == "[1, 2] 1.0\n"
    manifest = session_workflow(server, notebook).manifest
    assert manifest["spec"].keys() == {"workflowTemplateRef", "arguments"}
    assert manifest["metadata"]["labels"]["team"] == "blue"
    assert manifest["metadata"]["annotations"]["uv-argo-magic/notebook"] == str(notebook.path)
    assert notebook.entry().worker.token not in json.dumps(manifest)
    ((_, program),) = (
        (parameter["name"], parameter["value"]) for parameter in manifest["spec"]["arguments"]["parameters"]
    )
    assert len(program) < PAYLOAD_LIMIT
    forget_connections()
    assert notebook.text("print(x)") == "[1, 2]\n"
    with pytest.raises(SpecError, match="the template cell does not let you set disruption"):
        notebook.run("1", "-s --restart --set disruption=allow")


@pytest.mark.sample(1)
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
def test_session_from_template_with_gpu_has_shorter_keep(
    server, notebook, template, tmp_path, line, resource, amount, expected
):
    template["spec"]["templates"][0]["script"]["resources"]["limits"][resource] = amount
    first = notebook.begin(gated(tmp_path / "go"), f"-s --set template=cell {line}")
    second = notebook.begin("2", f"-s {line}")  # also waits for the pod
    (tmp_path / "go").touch()
    for run in (first, second):
        assert run.wait(60).outcome == "Succeeded"
        assert workers.ask(notebook.entry(), "status")["status"]["keep"] == expected
    notes = [note for note in (*first.state.notes, *second.state.notes, *notebook.notes) if "has a GPU" in note]
    assert len(notes) == (expected == 300)
    notebook.run("3")
    assert workers.ask(notebook.entry(), "status")["status"]["keep"] == expected
    assert notebook.entry().settings.keep == expected


def test_restarted_kernel_respects_keep_of_starting_session(server, notebook, template, tmp_path, monkeypatch):
    template["spec"]["templates"][0]["script"]["resources"]["limits"]["nvidia.com/gpu"] = "1"
    notebook.begin(gated(tmp_path / "go"), "-s --set template=cell --set keep=1h")
    monkeypatch.setattr(pod_session, "_queues", {})  # a restarted kernel does not know of the first cell
    second = notebook.begin("2")
    (tmp_path / "go").touch()
    assert second.wait(60).outcome == "Succeeded"
    assert workers.ask(notebook.entry(), "status")["status"]["keep"] == notebook.entry().settings.keep == 3600


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"templates": [{"name": "cell", "steps": [[]]}]}, "its entrypoint is not a script or a container"),
        ({"templateDefaults": {"retryStrategy": {"limit": "2"}}}, "it has a retryStrategy, and a second pod"),
    ],
)
def test_unsuitable_template_is_refused(server, notebook, template, change, problem):
    template["spec"] |= change
    before = len(server.workflows)
    with pytest.raises(SpecError, match=f"the template cell cannot run sessions: {problem}"):
        notebook.run("1", "-s --set template=cell")
    assert len(server.workflows) == before


def test_last_activity_is_recorded_if_permitted(server, notebook, monkeypatch):
    monkeypatch.setattr(activity, "EVERY", 0.3)
    notebook.run("1")
    manifest = session_workflow(server, notebook).manifest

    def wait_for_activity(state):
        deadline = time.monotonic() + 10
        while manifest["metadata"]["annotations"].get("uv-argo-magic/activity") != state:
            assert time.monotonic() < deadline, manifest["metadata"]
            time.sleep(0.01)
        return manifest["metadata"]["annotations"]["uv-argo-magic/last-activity"]

    assert wait_for_activity("idle").endswith("Z")
    run = notebook.begin("import time\nprint('on', flush=True)\nwhile 'stop' not in globals(): time.sleep(0.01)")
    wait_for_activity("running")
    run.ask_to_stop("a test")
    run.wait(20)
    wait_for_activity("idle")
    server.denied = {("workflows", "patch")}
    patches = len([call for call in server.calls if call[0] == "PATCH"])
    for _ in range(3):
        assert result(notebook.run("6 * 7")) == '"42"'
        time.sleep(0.4)
    assert len([call for call in server.calls if call[0] == "PATCH"]) - patches == 1


def test_all_option_lists_sessions_of_all_users(server, notebook, monkeypatch, capsys):
    notebook.run("1", "-s --cpu 500m --memory 1Gi --gpu 1")
    name = session_workflow(server, notebook).name

    def list_sessions(*options, status=0):
        assert main(["sessions", *options]) == status
        captured = capsys.readouterr()
        return captured.out + captured.err

    (row,) = [line for line in list_sessions("--all").splitlines() if name in line]
    assert re.search(rf"study.ipynb +main +\d.* s +500m +1Gi +1 +\d.* s +idle +{name}$", row)
    assert f"nb         {getpass.getuser()}" in list_sessions("-A")
    with ArgoRest(server) as rest:
        for variable, value in {"ARGO_TOKEN": "secret", "ARGO_SECURE": "false", "ARGO_NAMESPACE": "nb"}.items():
            monkeypatch.setenv(variable, value)
        lists = [list_sessions(options, "--set", f"server={rest.address}") for options in ("--all", "-A")]
    assert all(name in text for text in lists)
    server.denied = {("workflows", 'list in the namespace "nb"'), ("workflows", "list at the cluster scope")}
    text = list_sessions("--all", status=1)
    assert "you cannot list workflows in the namespace nb" in text
    assert '{apiGroups: ["argoproj.io"], resources: [workflows], verbs: [create, get, list, patch]}' in text
    text = list_sessions("--all-namespaces", status=1)
    server.denied.clear()
    assert "you cannot list workflows in all namespaces" in text
    assert 'ClusterRole with this rule: {apiGroups: ["argoproj.io"], resources: [workflows], verbs: [list]}' in text


def test_connection_can_break_anywhere_in_the_stream(server, notebook):
    """Record the stream of one cell, then break the connection after each of its lines and within it."""
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


def test_ended_kernel_does_not_block_the_next(server, notebook, monkeypatch):
    notebook.run("z = 7")
    ended_process = subprocess.Popen([sys.executable, "-c", ""])
    ended_process.wait()
    with monkeypatch.context() as patch:
        patch.setattr(workers.os, "getpid", lambda: ended_process.pid)
        workers.hold(notebook.entry(), refresh=True)
    connections_of_first, workers._connections = workers._connections, {}
    monkeypatch.setattr(workers, "CLIENT", "another")
    # The cluster reports the disconnection a second later.
    threading.Timer(1.0, lambda: [connections.close() for connections in connections_of_first.values()]).start()
    assert notebook.text("print(z)") == "7\n"


@pytest.mark.sample(2)
@pytest.mark.parametrize("cut", [0, 1, 40, 400, 3000])
def test_broken_connections_lose_and_repeat_no_output(server, notebook, cut):
    notebook.run("done = []")
    del server.forwarded[:]
    # The first connection of the run breaks at this byte, the next ones later.
    forget_connections()
    server.forward_cuts = [10_000, cut, cut + 17, cut + 1000]
    run = notebook.begin("done.append(1)\nfor i in range(2000): print('line', i)\nprint(len(done))")
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "".join(f"line {i}\n" for i in range(2000)) + "1\n"
    assert not run.state.gaps
    assert sum(server.forwarded) < 60_000  # 25 kB of output, and received bytes are not sent again


class TestUnreadOutput:
    """More output than a session keeps, while its client is disconnected."""

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
    def finished_run(self, server, notebook, tmp_path, monkeypatch):
        """A run whose client has received the first line, and whose pod has written the rest."""
        monkeypatch.setattr(server, "worker_options", {"most": 100_000})
        path = tmp_path / "go"
        run = notebook.begin(self.CODE.format(path=str(path), lines=self.LINES), "-s --set log_budget=0")
        until_printed(run, "begun")
        server.forward_down = True
        path.touch()
        log = session_workflow(server, notebook).logs["main"]
        deadline = time.monotonic() + 30
        while not log.lines or b'"reason":"ok"' not in log.lines[-1][1]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return run, log

    def check_gaps(self, run):
        """The gaps must be the missing lines, and possibly some heartbeats."""
        extra = sum(gap.lines for gap in run.state.gaps) + run.logs().count("\n") - len(run.state.gaps) - self.LINES - 1
        assert 0 <= extra < 10

    def test_is_read_from_pod_log(self, server, finished_run):
        run, _ = finished_run
        server.forward_down = False
        assert run.wait(30).outcome == "Succeeded"
        assert run.logs() == "begun\n" + "".join(f"line {number}\n" for number in range(self.LINES))
        assert not run.state.gaps

    def test_is_reported_as_gap_if_pod_log_is_rotated(self, server, finished_run):
        run, log = finished_run
        log.lines = log.lines[self.LINES // 2 :]  # the node rotates the log
        server.forward_down = False
        assert run.wait(30).outcome == "Succeeded", run.state.node
        assert f"line {self.LINES - 1}\n" in run.logs()
        gaps = run.state.gaps
        assert self.LINES // 3 < sum(gap.lines for gap in gaps) < self.LINES // 2 + 100
        self.check_gaps(run)
        assert {gap.reason for gap in gaps} <= {"a session keeps the newest 0.1 MB of output", session_runs.DROPPED}

    def test_differing_pod_log_is_an_error(self, server, finished_run):
        run, log = finished_run
        for position, (moment, line) in enumerate(log.lines):
            if line.startswith(b"line ") and int(line[5:]) > self.LINES // 2:
                log.lines[position] = (moment, b"line x\n")
        server.forward_down = False
        state = run.wait(30)
        assert state.outcome == "Lost"
        assert "two copies of the run's log differ at line" in state.node.message

    def test_is_a_gap_if_pod_log_is_forbidden(self, server, finished_run):
        run, _ = finished_run
        server.fail("/log?", 403, "pods/log is forbidden", times=50)
        server.forward_down = False
        assert run.wait(30).outcome == "Succeeded"
        self.check_gaps(run)
        server.failures.clear()


class TestAttachFromPodLog:
    """Another process follows a run in the pod's log, because it cannot reach the worker."""

    @pytest.fixture
    def attach(self, notebook, tmp_path):
        """Attach like a process whose history has only the start of the run."""

        def attach(run):
            shutil.copytree(tmp_path / "runs" / run.id, tmp_path / "copy" / run.id, dirs_exist_ok=True)
            folder = tmp_path / "copy" / run.id
            for name in ("state.json", "log.txt"):
                (folder / name).unlink(missing_ok=True)
            entry = json.loads((folder / "spec.json").read_text())
            (folder / "spec.json").write_text(json.dumps(entry | {"started": "another process"}))
            history = History(tmp_path / "copy", keep=0)
            ref = find_run.locate_entry(history.read().find(run.id))
            assert isinstance(ref.runs, PodLogRuns)
            return join(ref, history=history, settings=Settings())

        return attach

    def test_follows_run_without_port_forwarding(self, server, notebook, attach, tmp_path):
        path = tmp_path / "go"
        run = notebook.begin(TestUnreadOutput.CODE.format(path=str(path), lines=3))
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

    def test_shows_runs_of_ended_session_with_gaps(self, server, notebook, attach):
        first, second, third = (notebook.run(f"for i in range(1000): print({name!r}, i)") for name in "abc")
        write_all()
        workflow = session_workflow(server, notebook)
        workflow.kill(signal.SIGKILL)
        wait_for_end(workflow)
        lines = workflow.logs["main"].lines
        position = next(position for position, (_, line) in enumerate(lines) if line == b"b 400\n")
        workflow.logs["main"].lines = lines[position:]  # the node has rotated the log
        state = attach(first).wait(30)
        assert state.outcome == "Lost"
        assert "the log of the session's pod does not have this run" in state.node.message
        partial = attach(second)
        assert partial.wait(30).outcome == "Succeeded"
        (gap,) = partial.state.gaps
        lines_after = "".join(f"b {i}\n" for i in range(400, 1000))
        assert partial.logs() == f"[402 lines of the log missing: {gap.reason}]\n{lines_after}"
        assert gap == Gap(lines=402, reason="the node keeps only the end of a pod's log")
        assert isinstance(next(iter(partial.state.outputs)), Gap)
        complete = attach(third)
        assert (complete.wait(30).outcome, complete.logs(), complete.state.gaps) == ("Succeeded", third.logs(), ())

    def test_reports_why_run_was_lost(self, server, notebook, attach):
        run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(60)")
        until_printed(run, "on")
        write_all()
        workflow = session_workflow(server, notebook)
        workflow.kill(signal.SIGKILL)
        wait_for_end(workflow)
        attached = attach(run)
        assert attached.wait(30).outcome == "Lost"
        assert attached.logs() == "on\n"
        assert attached.state.node.message.startswith("the session main ended: ")


def test_network_failure_is_reported_and_cell_continues(server, notebook, monkeypatch, tmp_path):
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


def test_killed_pod_is_reported_with_lost_variables(server, notebook):
    notebook.run("data = list(range(1000))")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    workflow = session_workflow(server, notebook)
    workflow.kill(signal.SIGKILL)
    state = run.wait(60)
    assert state.outcome == "Lost"
    assert "the session main has ended: " in state.node.message
    assert "Lost: data (list" in state.node.message
    with pytest.raises(SessionLost, match=r"Lost: data \(list"):
        notebook.run("data")
    assert notebook.text("print(dir().count('data'))", "-s --restart") == "0\n"


def test_stopped_workflow_is_reported_with_lost_variables(server, notebook):
    notebook.run("data = 1")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    workflow = session_workflow(server, notebook)
    workflow.manifest["spec"]["shutdown"] = "Stop"
    workflow.shutdown()
    state = run.wait(60)
    assert state.outcome == "Lost"
    assert "the session main has ended: " in state.node.message
    assert "Lost: data (int" in state.node.message


def kill_for_memory(workflow):
    workflow.end_fields = {"terminated": {"reason": "OOMKilled"}}
    workflow.kill(signal.SIGKILL)


def evict(message):
    def evict_pod(workflow):
        workflow.end_fields = {"status": {"reason": "Evicted", "message": message, "phase": "Failed"}}
        workflow.kill(signal.SIGTERM)

    return evict_pod


def stop_by_another_client(workflow):
    fields = {"f:spec": {"f:shutdown": {}}}
    workflow.manifest["metadata"]["managedFields"] = [{"manager": "kubectl-patch", "fieldsV1": fields}]
    workflow.manifest["spec"]["shutdown"] = "Stop"
    workflow.shutdown()


FULL_DISK = 'Usage of EmptyDir volume "tmp" exceeds the limit "10Gi".'
DEATHS = {
    "memory": (kill_for_memory, r"exceeded its memory limit \(300Mi\) and was killed", "Request more with --memory"),
    "disk": (
        evict(FULL_DISK),
        "the pod exceeded its disk limit and was evicted",
        "Request more with --resources disk=",
    ),
    "full node": (evict("The node was low on resource: memory."), "the node ran out of resources", "Request more"),
    "deadline": (
        lambda workflow: workflow.pass_deadline(),
        r"its deadline of \d+ seconds",
        "Allow more with --set dead",
    ),
    "another client": (stop_by_another_client, r"stopped by another client \(kubectl-patch\)", ""),
    "pod deleted": (lambda workflow: workflow.delete(), "its pod was deleted, by a user or with its node", ""),
    "lost node": (lambda workflow: workflow.delete("DeletionByTaintManager"), "its node was lost", ""),
    "autoscaler": (
        lambda workflow: workflow.delete("EvictionByEvictionAPI"),
        "its pod was evicted, for example by an auto",
        "",
    ),
    "priority": (lambda workflow: workflow.delete("", "Preempted"), "a pod of higher priority needed its node", ""),
}


@pytest.mark.sample(1)
@pytest.mark.parametrize("cause", DEATHS)
def test_lost_session_is_reported_with_cause_and_hint(server, notebook, cause):
    end_pod, reason, hint = DEATHS[cause]
    server.events.clear()
    notebook.run("data = list(range(1000))", "-s --memory 300Mi")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(60)")
    until_printed(run, "on")
    end_pod(session_workflow(server, notebook))
    state = run.wait(40)
    assert state.outcome == "Lost"
    pattern = rf"the session main has ended: .*{reason}.*\. Lost: .*data \(list, 8\.1 kB\)"
    if cause != "priority":  # its event arrives after the pod is gone
        assert re.match(pattern, state.node.message), state.node.message
        assert re.search(f"; .*{hint}", state.node.message, re.IGNORECASE)
    time.sleep(0.5)
    with pytest.raises(SessionLost, match=pattern) as raised:
        run_until_lost(notebook)
    assert raised.value.hint.startswith(hint or "%argo restart main starts it again")
    assert "%argo restart main starts it again, without its variables. Or add --restart" in raised.value.hint
    assert notebook.text("print('data' in dir())", "-s --restart --memory 400Mi") == "False\n"


def test_deadline_applies_without_a_client(server, notebook):
    notebook.run("data = 1", "-s --set deadline=4")
    forget_connections()
    workflow = session_workflow(server, notebook)
    wait_for_end(workflow)
    assert workflow.manifest["status"]["phase"] == "Failed"
    with pytest.raises(SessionLost, match=r"its deadline of 4 seconds.* Lost: data \(int\)") as raised:
        notebook.run("data")
    assert raised.value.hint.startswith("Allow more with --set deadline=SECONDS. ")


def test_worker_reports_why_it_ended(server, notebook):
    notebook.run("data = 1", "-s --set keep=1")
    wait_for_end(session_workflow(server, notebook))
    with pytest.raises(SessionLost, match=r"has ended: idle for 1 s\. Lost: data \(int\)$"):
        notebook.run("data")


def test_recreated_pod_is_another_session(server, notebook):
    notebook.run("data = 1")
    workflow = session_workflow(server, notebook)
    workflow.delete_and_recreate()
    until(lambda: workflow.pods >= 2 and workflow.logs.get("main"))

    def is_refused():
        with pytest.raises((SessionLost, BackendUnavailable)) as raised:
            notebook.run("data")
        return "created another" in str(raised.value)

    until(is_refused)
    wait_for_end(workflow)


def test_recreated_pod_is_stopped_and_cell_reported_as_lost(server, notebook):
    notebook.run("data = 1")
    run = notebook.begin("import time\nprint('on', flush=True)\ntime.sleep(60)")
    until_printed(run, "on")
    workflow = session_workflow(server, notebook)
    workflow.delete_and_recreate()
    state = run.wait(40)
    assert state.outcome == "Lost"
    reason = "has ended: its pod was lost, and Argo created another one. Lost: data (int); %argo restart main"
    assert reason in state.node.message
    assert workflow.manifest["spec"]["shutdown"] == "Stop"
    wait_for_end(workflow)
    server.changes.append(("DELETED", workflow.pod))  # the cause remains the first one
    with pytest.raises(SessionLost, match="Argo created another one"):
        run_until_lost(notebook)


def test_watching_unknown_run_fails(server, shared):
    shared.run("1")
    entry = shared.entry()
    runs = session_runs.SessionRuns(
        name="main", connections=workers.connect(entry), hold=lambda: None, interpreter=None,
        pod=PodSession(entry=entry, registry=Registry.of_this_user(), backend=lookup.load("argo")),
    )  # fmt: skip
    with pytest.raises(BackendError, match="no longer has the log of this cell"):
        list(runs.watch("session-unknown"))


def test_stop_ends_workflow_and_session(server, notebook):
    notebook.run("1")
    workflow = session_workflow(server, notebook)
    workers.stop(notebook.entry(), Registry.of_this_user())
    wait_for_end(workflow)
    assert workflow.manifest["status"]["phase"] == "Succeeded"
    assert Registry.of_this_user().find(notebook.entry_key()) is None


def test_stop_before_pod_starts_ends_session(server, notebook, monkeypatch):
    monkeypatch.setattr(server, "start_after", 3)
    run = notebook.begin("1")
    until(lambda: server.workflows[json.loads(notebook.entry().worker.address)["workflow"]].pods)
    workflow = session_workflow(server, notebook)
    run.ask_to_stop("a test")
    assert run.wait(60).outcome == "Stopped"
    assert notebook.entry().worker is None
    assert workflow.manifest["spec"]["shutdown"] == "Stop"


def test_cells_submitted_during_start_run_in_order(server, notebook, monkeypatch):
    monkeypatch.setattr(server, "start_after", 0.5)
    runs = [notebook.begin("x = [0]")]
    while not all(run.state.ended for run in runs) or len(runs) < 10:
        runs.append(notebook.begin(f"x.append({len(runs)})"))
        time.sleep(0.02)
    assert [run.wait(60).outcome for run in runs] == ["Succeeded"] * len(runs)
    assert notebook.text("print(x)") == f"{list(range(len(runs)))}\n"


def test_unsupported_session_is_refused_before_submission(server, notebook, monkeypatch):
    before = len(server.workflows)
    with pytest.raises(SpecError, match="installs packages while it runs"):
        notebook.run("1", "-s --set shape=init")
    for verb in ("get", "create"):
        server.denied = {("pods/portforward", verb)}
        with pytest.raises(Denied, match=f"you cannot {verb} pods/portforward in the namespace nb") as raised:
            notebook.run("1")
        rule = '{apiGroups: [""], resources: [pods/portforward], verbs: [get, create]}'
        assert rule in raised.value.hint
    assert len(server.workflows) == before


def test_wrong_token_and_other_protocols_are_refused(server, shared):
    shared.run("1")
    worker = shared.entry().worker
    backend = lookup.load("argo")
    for line in (b'{"do": "status", "token": "wrong", "size": 0}\n', b"GET / HTTP/1.1\r\n\r\n"):
        with contextlib.closing(backend.connect(worker.address)) as sock:
            sock.settimeout(5)
            sock.sendall(line)
            assert b'"error": "token"' in sock.recv(1000)
            assert sock.recv(1000) == b""


def test_port_forward_to_missing_pod_or_closed_port(server, notebook):
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    with pytest.raises(TooEarly, match=r"pods .* not found"):
        port_forward.connect(argo_client.transport, "nb", "nothing", 8471)
    notebook.run("1")
    workflow = session_workflow(server, notebook)
    os.kill(workflow.process.pid, signal.SIGTERM)
    wait_for_end(workflow)
    with contextlib.closing(port_forward.connect(argo_client.transport, "nb", workflow.name, 8471)) as sock:
        sock.settimeout(5)
        assert sock.recv(10) == b""
    end = pod_workers.worker_end(argo_client, pod_workers.Address(workflow=workflow.name, namespace="nb"))
    assert end is not None


@pytest.mark.parametrize(
    ("status", "message", "problem"),
    [
        (400, "Upgrade request required", "a proxy in front of .* blocks websockets"),
        (502, "Bad Gateway", "failed \\(502\\)"),
        (0, "", "cannot connect to the pod|ended the connection"),
    ],
)
def test_proxy_failures_are_reported(server, status, message, problem):
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("portforward", status, message)
    with pytest.raises(BackendUnavailable, match=problem):
        port_forward.connect(argo_client.transport, "nb", "x", 8471)


DATA = bytes(range(256)) * 80_000


@pytest.fixture(scope="module")
def data_notebook(shared):
    """A notebook whose session has the variable `data`, which is DATA reversed."""
    shared.names["data"] = DATA
    run = shared.run("size = len(data)\ndata = data[::-1]", "-s --push data --set value_limit=64Mi")
    run.raise_for_state()
    assert shared.text("print(size)") == f"{len(DATA)}\n"
    del shared.names["data"]
    return shared


class TestLargeValues:
    """Values that are sent as files over separate connections."""

    def test_are_pushed_and_pulled_without_the_log(self, server, data_notebook):
        run = data_notebook.run("small = 'x' * 1000", "-s --pull data small --set value_limit=64Mi")
        run.raise_for_state()
        assert run.values == {"data": DATA[::-1], "small": "x" * 1000}
        logs = session_workflow(server, data_notebook).logs["main"].lines
        assert sum(len(line) for _, line in logs) < 1_000_000
        home = session_workflow(server, data_notebook).home
        data_notebook.run("1")  # by now, the worker has seen that they were read
        assert not list(home.rglob("pulled-*"))
        assert not list(home.rglob("pushed-*"))

    @pytest.mark.parametrize("cut", [0, 1000, 5_000_000])
    def test_transfer_resumes_after_broken_connection(self, server, data_notebook, cut, monkeypatch):
        monkeypatch.setattr(server, "forward_resets", False)
        forget_connections()
        data_notebook.run("1")
        forget_connections()
        del server.forwarded[:]
        # The connections of the client and of the run stay; the first two of the transfer break.
        server.forward_cuts = [1 << 40, 1 << 40, cut, cut + 3]
        run = data_notebook.run("1", "-s --pull data --set value_limit=64Mi")
        assert run.values == {"data": DATA[::-1]}
        assert sum(server.forwarded) < len(DATA) + 2_000_000
        server.forward_cuts.clear()

    def test_interrupt_does_not_wait_for_transfer(self, server, data_notebook, monkeypatch):
        monkeypatch.setattr(server, "forward_pause", 0.05)  # 20 MB take a minute
        del server.forwarded[:]
        run = data_notebook.begin("'done'", "-s --pull data --set value_limit=64Mi")
        deadline = time.monotonic() + 20
        while not list((data_notebook.path.parent / "runs" / run.id / "values").glob("*.part")):
            assert time.monotonic() < deadline, run.state
            time.sleep(0.01)
        run.ask_to_stop("a test")
        assert run.wait(LIMIT).ended
        assert sum(server.forwarded) < len(DATA)
        assert not list((data_notebook.path.parent / "runs" / run.id / "values").glob("*.part"))

    def test_damaged_transfer_is_refused(self, data_notebook, tmp_path):
        connections = workers.connect(data_notebook.entry())
        body = b"x" * 1000
        values = {"run": "some-run", "file": "pushed-0", "at": 0, "sha256": hashlib.sha256(b"y").hexdigest()}
        answer, channel = connections.request("put", values, body)
        connections.keep(channel)
        assert answer["detail"] == "its SHA-256 does not match"
        for name in ("../escape", "/etc/passwd", ""):
            sha256 = hashlib.sha256(body).hexdigest()
            answer, channel = connections.request("put", {**values, "file": name, "sha256": sha256}, body)
            connections.keep(channel)
            assert answer["error"] == "invalid"

    def test_long_cell_is_sent(self, shared):
        text = "x" * 3_000_000
        assert shared.text(f"print(len({text!r}))") == "3000000\n"

    @pytest.mark.parametrize(
        ("do", "size"), [("run", (1 << 20) + 1), ("put", (16 << 20) + 1), ("put", -1), ("put", "9")]
    )
    def test_worker_refuses_frames_over_the_limit(self, shared, do, size):
        shared.run("1")
        worker = shared.entry().worker
        with contextlib.closing(lookup.load("argo").connect(worker.address)) as sock:
            sock.settimeout(5)
            sock.sendall(json.dumps({"do": do, "token": worker.token, "size": size}).encode() + b"\n")
            assert b'"error": "size"' in sock.recv(1000)
            assert sock.recv(1000) == b""

    @pytest.mark.parametrize(
        "data", [b"x" * (1 << 21), b'{"size": 4000000000}\n', b'{"size": -1}\n'], ids=["header", "size", "negative"]
    )
    def test_client_refuses_frames_over_the_limit(self, data):
        client_end, worker_end = socket.socketpair()
        with contextlib.closing(client_end), contextlib.closing(worker_end):
            sender = threading.Thread(target=send_all, args=(worker_end, data))
            sender.start()
            with pytest.raises(BackendUnavailable, match=r"too long|4,000,000,000 bytes|-1 bytes"):
                Channel(sock=client_end, token="").request("status", {})
            client_end.close()
            sender.join(10)


def test_slow_reader_blocks_the_sender(server, shared, monkeypatch):
    shared.run("1")
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    workflow = session_workflow(server, shared)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(workflow, "port", listener.getsockname()[1])
        connection = port_forward.connect(argo_client.transport, "nb", workflow.name, 8471)
        pod, _ = listener.accept()
        with pod, contextlib.closing(connection):
            pod.settimeout(1.0)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 1 << 30:
                    sent += pod.send(b"x" * 65536)
            assert sent < 1 << 26
            connection.settimeout(5)
            received = 0
            while received < sent:
                received += len(connection.recv(1 << 20))
            assert received == sent


@pytest.mark.cluster
@real_argo.NEEDS_CLUSTER
def test_session_on_real_cluster(tmp_path, monkeypatch):
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
        argo_client = client.connect(address.settings)
        argo_client.transport.request("DELETE", f"/api/v1/namespaces/{address.namespace}/pods/{address.workflow}")
        with pytest.raises(SessionLost, match=r"its pod was (deleted|lost), .* Lost: .*x \(list"):
            run_until_lost(notebook)
    finally:
        end_all()
