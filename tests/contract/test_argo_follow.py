"""Follow a workflow: reconnects lose and repeat no output, and a lost pod ends the run."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.argo_server import ArgoServer
from support.waiting import gated, until, until_printed

from uv_argo_magic.backends.argo import client, connections, follow
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.watchers import EXECUTOR_LINES
from uv_argo_magic.backends.kubernetes import log_stream as tails
from uv_argo_magic.backends.kubernetes import transport, watchers
from uv_argo_magic.core.protocol.events import NodePhase
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import BackendUnavailable, NodeFailed, StreamLost, SubmitRejected

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

# (time in tenths of a second, text) of each log line; several lines can have the same time.
LINES = st.lists(st.tuples(st.integers(0, 40), st.text("ab é\r", max_size=6)), max_size=20)


def add_timestamps(lines):
    return [(f"2026-01-01T00:00:{t // 10:02d}.{t % 10}00000000Z", text) for t, text in sorted(lines)]


@given(LINES, st.data())
def test_reconnects_lose_and_repeat_no_lines(lines, data):
    log = add_timestamps(lines)
    complete = "".join(f"{stamp} {text}\n" for stamp, text in log).encode()
    stream, received = tails.LogStream(), ""
    for _ in range(data.draw(st.integers(0, 4))):
        # A reconnect starts at the whole second of the last line, and can break anywhere.
        response = "".join(f"{stamp} {text}\n" for stamp, text in log if stamp[:19] >= stream.last[:19]).encode()
        cut = data.draw(st.integers(0, len(response)))
        middle = data.draw(st.integers(0, cut))
        received += stream.feed(response[:middle]) + stream.feed(response[middle:cut])
        stream.cut()
    response = "".join(f"{stamp} {text}\n" for stamp, text in log if stamp[:19] >= stream.last[:19]).encode()
    received += stream.feed(response) + stream.end()
    assert received == "".join(f"{text}\n" for _, text in log)
    assert complete or not received


def test_lines_of_argo_executor_are_removed():
    stream = tails.LogStream(EXECUTOR_LINES)
    stamp = b"2026-01-01T00:00:00.000000000Z "
    text = b"".join(
        stamp + line
        for line in (
            b'time=2026-11-22T20:29:14.089Z level=INFO msg="waiting for signals" argo=true path=/x\n',
            b'time="2026-11-22T20:29:14" level=info msg="sub-process exited" argo=true error="<nil>"\n',
            b'{"level":"info","argo":true}\n',
            b"time=noon, and nothing of Argo's\n",
            b"Error: exit status 3\n",
            b"no newline",
        )
    )
    assert stream.feed(text) + stream.end() == "time=noon, and nothing of Argo's\nno newline"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(watchers, "POLL", 0.1)
    monkeypatch.setattr(watchers, "RETRY", (0.02, 0.1))
    with ArgoServer(tmp_path) as server:
        yield server


@pytest.fixture
def begin(server):
    backend = ArgoBackend()

    def begin(cell: str, **settings) -> Run:
        run_settings = Settings(kubeconfig=str(server.kubeconfig), images=(("3.11.2", "none"),), **settings)
        return start(prepare(RunSpec(cell=cell, settings=run_settings, backend="argo"), backend), backend=backend)

    return begin


def only_workflow(server: ArgoServer):
    (workflow,) = server.workflows.values()
    return workflow


def test_output_is_complete_despite_broken_log_streams(server, begin):
    # The output takes several seconds, with less than `cut` bytes in each, since reconnects start at whole seconds.
    server.cut_logs_after = 4000
    run = begin("import time\nfor i in range(150): print('line', i, 'x' * (i % 7), flush=True); time.sleep(.02)")
    state = run.wait(60)
    assert state.outcome == "Succeeded"
    assert run.logs() == "".join(f"line {i} {'x' * (i % 7)}\n" for i in range(150))
    assert not state.gaps
    assert sum("/log" in path for _, path, _ in server.calls) > 1


def test_api_errors_lose_no_output(server, begin, tmp_path):
    gate = tmp_path / "gate"
    run = begin(gated(gate))
    server.fail("GET /apis", 503, times=3)
    server.fail("watch=1", 410, times=2)
    server.fail("/log", 500, times=2)
    server.fail("/log", 404, 'pods "x" not found', times=1)
    until(lambda: not server.failures)
    gate.touch()
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "begun\nend\n")


def test_unreachable_api_is_reported_until_it_responds(server, begin, monkeypatch, tmp_path):
    monkeypatch.setattr(watchers, "REPORT_AFTER", 0.3)
    gate = tmp_path / "gate"
    run = begin(gated(gate))
    until_printed(run, "begun")
    server.fail("GET /apis", 503, times=1_000)
    note = until(lambda: messages.status_note(run.state))
    server.failures = []
    until(lambda: not messages.status_note(run.state))
    gate.touch()
    assert run.wait(60).ended
    assert note.startswith("The cell is running; no connection since ")
    assert "failed (503)" in note
    assert "the run continues" in note
    assert messages.sentence(run.state) == "The cell completed."
    assert run.logs() == "begun\nend\n"


def test_expired_credentials_are_reported_until_renewed(server, begin, monkeypatch, tmp_path):
    monkeypatch.setattr(watchers, "REPORT_AFTER", 0.2)
    gate = tmp_path / "gate"
    run = begin(gated(gate))
    until_printed(run, "begun")
    server.tokens.clear()
    note = until(lambda: messages.status_note(run.state))
    assert "not logged in to test, namespace nb (401) since " in note
    assert "log in again" in note
    server.tokens.add("secret")
    gate.touch()
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "begun\nend\n")


def test_silent_log_is_reported_if_retry_is_silent(server, begin, monkeypatch, tmp_path):
    monkeypatch.setattr(watchers, "SILENCE", 0.6)
    monkeypatch.setattr(watchers, "LOG_ANSWER", 0.4)
    monkeypatch.setattr(watchers, "REPORT_AFTER", 0.2)
    gate = tmp_path / "gate"
    run = begin(gated(gate))
    until_printed(run, "begun")
    server.logs_are_frozen = True
    note = until(lambda: messages.status_note(run.state))
    assert "no connection since" in note
    assert "the run continues" in note
    server.logs_are_frozen = False
    until(lambda: not messages.status_note(run.state))
    gate.touch()
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "begun\nend\n")


class QuietPod:
    """A pod whose log has one line and then stays silent; after four requests, the pod is gone."""

    def __init__(self):
        self.waited = []

    def log(self, pod, *, silence, **_):
        if len(self.waited) == 4:
            raise transport.Gone("gone")
        self.waited.append(silence)
        return self

    def __iter__(self):
        yield b"2026-01-01T00:00:00.000000000Z a line\n"
        raise transport.TimedOut("no data", seconds=self.waited[-1], in_stream=True)

    def close(self):
        pass

    def pod(self, name):
        raise transport.Gone("gone")


def test_silent_log_is_not_reported_if_retry_repeats_last_line(monkeypatch):
    monkeypatch.setattr(watchers, "RETRY", (0.001, 0.001))
    monkeypatch.setattr(watchers, "REPORT_AFTER", -1.0)
    pod = QuietPod()
    pod_watchers = watchers.PodWatchers(pod, "x")
    pod_watchers.read_log({"metadata": {"name": "x", "uid": "1"}, "spec": {"containers": [{"name": "main"}]}})
    messages_received = []
    while not (messages_received and isinstance(messages_received[-1], watchers.LogComplete)):
        messages_received.append(pod_watchers.messages.get(timeout=60))
    assert messages_received == [watchers.LogText("a line\n"), watchers.LogComplete()]
    assert pod.waited == [watchers.SILENCE, watchers.LOG_ANSWER] * 2
    pod_watchers.close()


def test_run_ends_before_argo_sets_the_phase(server, begin):
    server.may_report_phase.clear()
    run = begin("print(1)")
    assert run.wait(60).ended
    assert run.state.node.phase in {"Pending", "Running"}
    server.may_report_phase.set()
    run._is_read.wait(60)
    assert (run.state.node.phase, run.state.outcome) == ("Succeeded", "Succeeded")


def test_state_contains_pod_uid_and_location(server, begin):
    run = begin("print(1)")
    run.wait(60)
    run._is_read.wait(60)
    assert run.state.node.uid == only_workflow(server).pod["metadata"]["uid"]
    assert run.state.location == "test, namespace nb"


def test_lost_pod_ends_workflow_and_cell_runs_once(server, begin, tmp_path):
    counter = tmp_path / "runs"
    run = begin(f"import time\nopen({str(counter)!r}, 'a').write('x')\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(run, "begun")
    only_workflow(server).delete_and_recreate()
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Lost", "begun\n")
    with pytest.raises(NodeFailed, match="The pod was deleted") as caught:
        run.raise_for_state()
    assert "so that the cell does not run twice" in caught.value.hint
    run._is_read.wait(60)
    only_workflow(server).recreation.join(60)
    assert counter.read_text() == "x"
    assert only_workflow(server).manifest["spec"]["shutdown"] == "Terminate"
    assert only_workflow(server).pods == 1


@pytest.mark.parametrize(
    ("reason", "message", "sentence", "hint"),
    [
        (
            "Evicted",
            'Usage of EmptyDir volume "t" exceeds the limit "50Mi". ',
            'The pod exceeded its disk limit and was evicted (Usage of EmptyDir volume "t" exceeds the limit "50Mi").',
            "Request more with --resources disk=SIZE, or write less.",
        ),
        (
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
            "The run exceeded its deadline of 86400 seconds.",
            "Allow more with --set deadline=SECONDS.",
        ),
    ],
)
def test_eviction_and_deadline_are_reported(server, begin, reason, message, sentence, hint):
    server.may_report_phase.clear()
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(run, "begun")
    only_workflow(server).evict(reason, message)
    run.wait(60)
    with pytest.raises(NodeFailed) as caught:
        run.raise_for_state()
    assert (str(caught.value), caught.value.hint, run.logs()) == (sentence, hint, "begun\n")


def test_stopped_run_without_cause_is_stopped(server, begin):
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(run, "begun")
    server.stop_after = 0.0
    run.stop()
    assert run.wait(60).outcome == "Stopped"


def test_deleted_workflow_is_reported(server, begin):
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(run, "begun")
    workflow = server.workflows.pop(run.name)
    workflow.kill(9)
    run.wait(60)
    with pytest.raises(NodeFailed, match="The workflow was deleted"):
        run.raise_for_state()


def test_stop_of_missing_workflow_is_not_an_error(server, begin):
    backend = ArgoBackend()
    backend.stop("never-heard-of")
    run = begin("pass")
    run.wait(60)
    run._is_read.wait(60)
    server.workflows.clear()
    run._backend.stop(run.name)
    run._backend.stop(run.name)
    assert [item.phase for item in backend.watch("never-heard-of")] == ["Error"]


def test_forbidden_log_is_reported_with_rule(server, begin):
    message = 'pods "x" is forbidden: User "me" cannot get resource "pods/log" in API group "" in the namespace "nb"'
    server.fail("/log", 403, message)
    run = begin("pass")
    run.wait(60)
    with pytest.raises(NodeFailed, match=r"you cannot get pods/log in the namespace nb") as caught:
        run.raise_for_state()
    assert 'apiGroups: [""], resources: [pods/log], verbs: [get]' in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "error", "expected"),
    [
        (
            403,
            (
                'workflows.argoproj.io is forbidden: User "me" cannot create resource "workflows" in API group '
                '"argoproj.io" in the namespace "nb"'
            ),
            SubmitRejected,
            "you cannot create workflows in the namespace nb",
        ),
        (
            404,
            "the server could not find the requested resource",
            BackendUnavailable,
            "Argo Workflows is not installed",
        ),
        (404, 'namespaces "nb" not found', SubmitRejected, "namespace nb not found"),
        (401, "Unauthorized", BackendUnavailable, "not logged in to"),
        (
            422,
            'Workflow.argoproj.io "x" is invalid: spec.templates',
            SubmitRejected,
            "refused the request .422.: Workflow",
        ),
        (503, "try later", BackendUnavailable, "failed .503.: try later"),
    ],
)
def test_refused_submission_is_explained(server, begin, status, message, error, expected):
    server.fail("POST", status, message, times=2 if status == 401 else 1)
    with pytest.raises(error, match=expected) as caught:
        begin("pass")
    assert caught.value.hint
    assert not server.workflows


def test_forbidden_config_map_terminates_workflow(server, begin):
    resource = 'resource "configmaps" in API group "" in the namespace "nb"'
    message = f'configmaps is forbidden: User "me" cannot create {resource}'
    server.fail("configmaps?", 403, message)
    cell = "# " + "".join(f"{i:x}" for i in range(40_000))
    with pytest.raises(SubmitRejected, match="needs a ConfigMap: you cannot create configmaps") as caught:
        begin(cell)
    assert "resources: [configmaps], verbs: [create]" in caught.value.hint
    assert only_workflow(server).manifest["spec"]["shutdown"] == "Terminate"


def test_missing_configuration_and_unreachable_api_are_reported(tmp_path, server):
    missing = Settings(kubeconfig=str(tmp_path / "none"))
    with pytest.raises(BackendUnavailable, match="no cluster is configured") as caught:
        client.connect(missing)
    assert "-b local" in caught.value.hint
    with pytest.raises(BackendUnavailable, match="no cluster is configured"):
        client.connect(Settings(kubeconfig=str(server.kubeconfig), context="nope"))
    broken = tmp_path / "broken"
    broken.write_text(server.kubeconfig.read_text().replace("127.0.0.1:", "127.0.0.1:1"))
    with pytest.raises(BackendUnavailable, match="no response from"):
        client.connect(Settings(kubeconfig=str(broken))).workflow("x")


def test_kubeconfig_set_after_first_use_is_respected(server, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(BackendUnavailable, match=r"no cluster is configured: kubeconfig .*missing not found"):
        connections.connect(Settings())
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{server.kubeconfig}")
    first = connections.connect(Settings())
    assert first.location == "test, namespace nb"
    other = tmp_path / "other"
    other.write_text(server.kubeconfig.read_text().replace('"nb"', '"elsewhere"'))
    monkeypatch.setenv("KUBECONFIG", str(other))
    assert connections.connect(Settings()).location == "test, namespace elsewhere"


@pytest.mark.parametrize(("status", "error"), [(404, transport.Gone), (408, BackendUnavailable), (409, SubmitRejected)])
def test_response_without_message_is_reported_with_status(server, status, error):
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("GET /apis", status, "")
    with pytest.raises(error, match=f"test, namespace nb responded with {status} [A-Z].* and no message"):
        argo_client.workflow("x")


def test_namespace_setting_overrides_kubeconfig(server):
    argo_client = client.connect(Settings(kubeconfig=str(server.kubeconfig), namespace="other"))
    assert (argo_client.namespace, argo_client.location) == ("other", "test, namespace other")


@pytest.mark.slow
def test_followed_runs_leave_no_threads(server, begin):
    begin("pass")._is_read.wait(60)
    before = threading.active_count()
    for _ in range(3):
        begin("print(1)")._is_read.wait(60)
    # Threads of the test server for closed streams can end later.
    until(lambda: threading.active_count() <= before + 1, threading.enumerate)


class StuckClient:
    """A client that always returns the same objects, for a pod that never starts."""

    sees_pods = True

    def __init__(self, workflow, pods, events=()):
        self.responses = workflow, list(pods), list(events)
        self.event_requests = 0

    def workflow(self, name):
        return self.responses[0]

    def pods(self, selector):
        return self.responses[1], "1"

    def pod(self, name):
        return self.responses[1][0]

    def watch_pods(self, selector, version):
        raise transport.Expired("always")

    def log(self, pod, *, container="main", since="", follow=True, silence=0.0):
        raise transport.TooEarly("always")

    def events(self, pod):
        self.event_requests += 1
        return self.responses[2]

    def shutdown(self, name, strategy):
        raise AssertionError


def test_blocking_event_is_shown_within_two_polls():
    assert 2 * watchers.POLL < 2  # seconds
    pod = {
        "metadata": {"name": "x", "uid": "1"},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "main", "state": {"waiting": {}}}]},
    }
    event = {"reason": "FailedMount", "message": 'MountVolume.SetUp failed for volume "x" : configmap "nope" not found'}
    argo_client = StuckClient({"status": {"phase": "Running"}}, [pod], [event])
    items = follow.Follower(argo_client, "x", "ab").items()
    for item in items:
        assert isinstance(item, NodePhase)
        if "configmap nope" in item.message:
            break
    assert argo_client.event_requests <= 2
    items.close()


def test_pod_lost_after_close_does_not_end_the_workflow():
    pod = {"metadata": {"name": "x", "uid": "1"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}
    follower = follow.Follower(StuckClient({"status": {"phase": "Running"}}, [pod]), "x", "ab")
    is_running = threading.Event()

    def read() -> None:
        for item in follower.items():
            if isinstance(item, NodePhase) and item.phase == "Running":
                is_running.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert is_running.wait(60)
    time.sleep(0.05)  # until it waits for the next message
    follower.close()
    follower._watchers.messages.put(watchers.PodsChanged((watchers.PodChange("DELETED", pod),)))
    thread.join(60)
    assert follower._terminations == []


@pytest.mark.slow
def test_streams_are_reopened_after_sleep(server, begin, monkeypatch):
    offset = [0.0]
    monkeypatch.setitem(follow.Follower.__init__.__kwdefaults__, "clock", lambda: time.time() + offset[0])
    run = begin("import time\nfor i in range(40): print(i, flush=True); time.sleep(.1)")
    until_printed(run, "5")
    before = len(server.calls)
    offset[0] = 600.0
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "".join(f"{i}\n" for i in range(40))
    log_queries = [query for _, path, query in server.calls[before:] if "log" in path]
    assert any("sinceTime" in query for query in log_queries)


def test_time_asleep_does_not_count_as_absence(monkeypatch):
    monkeypatch.setattr(watchers, "RETRY", (0.001, 0.001))
    ticks = [0.0]
    monkeypatch.setattr(watchers.time, "monotonic", lambda: ticks[0])
    backoff = watchers.Backoff(threading.Event())
    for _ in range(3):  # while only the wall clock advances
        backoff.wait(BackendUnavailable("away"))
    ticks[0] = watchers.MAX_ABSENCE + 1
    with pytest.raises(StreamLost, match="cannot follow the run any longer: away"):
        backoff.wait(BackendUnavailable("away"))


def test_data_after_close_is_dropped():
    class Response:
        """Yields encrypted bytes after the shutdown, like a TLS socket."""

        closed = False

        def stream(self, amount):
            yield b"plain"
            yield b"\xe4\x00"

        def shutdown(self):
            pass

        def close(self):
            self.closed = True

    response = Response()
    stream = transport.Stream(response, 30.0)
    received = []
    for data in stream:
        received.append(data)
        stream.close()
    assert received == [b"plain"]
    assert response.closed


def test_watch_with_invalid_data_is_reopened():
    class InvalidWatch(StuckClient):
        watches = 0

        def watch_pods(self, selector, version):
            self.watches += 1
            return [b'{"type": "ADDED", \xe4}\n']

    argo_client = InvalidWatch({"status": {"phase": "Running"}}, [])
    follower = follow.Follower(argo_client, "x", "ab")
    follower._watchers._closing = contextlib.nullcontext
    items = follower.items()
    threading.Timer(0.8, lambda: argo_client.responses[0]["status"].update(phase="Succeeded")).start()
    assert [item.phase for item in items][-1] == "Succeeded"
    assert argo_client.watches > 1


def test_concurrent_submissions_share_one_client(server, begin):
    runs: list[Run] = []
    threads = [threading.Thread(target=lambda i=i: runs.append(begin(f"print({i})"))) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({id(run._backend._runs[run.name].client) for run in runs}) == 1
    assert {run.wait(60).outcome for run in runs} == {"Succeeded"}
    assert sorted(run.logs() for run in runs) == [f"{i}\n" for i in range(6)]


def test_failed_workflow_of_successful_cell_is_reported_once(server, begin, capfd):
    account = 'User "system:serviceaccount:nb:default" cannot create resource "workflowtaskresults"'
    message = f'wait: Error (exit code 64): workflowtaskresults.argoproj.io is forbidden: {account} in API group "x"'
    server.final_status = {"phase": "Error", "message": message}
    first = begin("print(1)")
    assert first.wait(60).outcome == "Succeeded"
    until(lambda: first.state.node.phase == "Error")
    server.final_status = {}
    assert "cannot report to Argo" not in capfd.readouterr().err
    begin("print(2)").wait(60)
    begin("print(3)").wait(60)
    stderr = capfd.readouterr().err
    assert stderr.startswith("uv-argo: Argo reports Error for a cell that succeeded: ")
    assert stderr.count("cannot report to Argo") == 1
