"""Following a workflow: repeats are dropped exactly, breaks heal, a lost pod ends the run."""

from __future__ import annotations

import contextlib
import threading
import time

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
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import Run, start
from uv_argo_magic.errors import BackendUnavailable, NodeFailed, StreamLost, SubmitRejected

# (time in tenths of a second, text) of each line of a log: several may carry the same time.
LINES = st.lists(st.tuples(st.integers(0, 40), st.text("ab é\r", max_size=6)), max_size=20)


def stamped(lines):
    return [(f"2026-01-01T00:00:{t // 10:02d}.{t % 10}00000000Z", text) for t, text in sorted(lines)]


@given(LINES, st.data())
def test_breaks_anywhere_lose_and_repeat_nothing(lines, data):
    log = stamped(lines)
    whole = "".join(f"{stamp} {text}\n" for stamp, text in log).encode()
    tail, got = tails.LogStream(), ""
    for _ in range(data.draw(st.integers(0, 4))):
        # A reconnect begins at the whole second of the last line, and breaks off in the middle of anything.
        again = "".join(f"{stamp} {text}\n" for stamp, text in log if stamp[:19] >= tail.last[:19]).encode()
        cut = data.draw(st.integers(0, len(again)))
        middle = data.draw(st.integers(0, cut))
        got += tail.feed(again[:middle]) + tail.feed(again[middle:cut])
        tail.cut()
    again = "".join(f"{stamp} {text}\n" for stamp, text in log if stamp[:19] >= tail.last[:19]).encode()
    got += tail.feed(again) + tail.end()
    assert got == "".join(f"{text}\n" for _, text in log)
    assert whole or not got


def test_argos_own_lines_are_not_the_users():
    tail = tails.LogStream(EXECUTOR_LINES)
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
    assert tail.feed(text) + tail.end() == "time=noon, and nothing of Argo's\nno newline"


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
        made = Settings(kubeconfig=str(server.kubeconfig), images=(("3.11.2", "none"),), **settings)
        return start(prepare(RunSpec(cell=cell, settings=made, backend="argo"), backend), backend=backend)

    return begin


def only(server: ArgoServer):
    (workflow,) = server.workflows.values()
    return workflow


def test_a_log_that_breaks_off_all_the_time_is_whole(server, begin):
    # More than a second of it, and less than the cut in each: a reconnect begins at a whole second.
    server.cut = 4000
    one = begin("import time\nfor i in range(150): print('line', i, 'x' * (i % 7), flush=True); time.sleep(.02)")
    state = one.wait(60)
    assert state.outcome == "Succeeded"
    assert one.logs() == "".join(f"line {i} {'x' * (i % 7)}\n" for i in range(150))
    assert not state.gaps
    assert sum("/log" in path for _, path, _ in server.calls) > 1


def test_an_api_with_problems_of_its_own_loses_nothing(server, begin, tmp_path):
    gate = tmp_path / "gate"
    one = begin(gated(gate))
    server.fail("GET /apis", 503, times=3)
    server.fail("watch=1", 410, times=2)
    server.fail("/log", 500, times=2)
    server.fail("/log", 404, 'pods "x" not found', times=1)
    until(lambda: not server.failures)
    gate.touch()
    assert (one.wait(60).outcome, one.logs()) == ("Succeeded", "begun\nend\n")


def test_an_api_that_is_away_is_reported_until_it_answers(server, begin, monkeypatch, tmp_path):
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


def test_credentials_that_expire_are_reported_until_new_ones_are_there(server, begin, monkeypatch, tmp_path):
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


def test_a_log_that_falls_silent_is_reported_if_a_new_request_is_silent_too(server, begin, monkeypatch, tmp_path):
    monkeypatch.setattr(watchers, "SILENCE", 0.6)
    monkeypatch.setattr(watchers, "LOG_ANSWER", 0.4)
    monkeypatch.setattr(watchers, "REPORT_AFTER", 0.2)
    gate = tmp_path / "gate"
    run = begin(gated(gate))
    until_printed(run, "begun")
    server.frozen = True
    note = until(lambda: messages.status_note(run.state))
    assert "no connection since" in note
    assert "the run continues" in note
    server.frozen = False
    until(lambda: not messages.status_note(run.state))
    gate.touch()
    assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "begun\nend\n")


class Quiet:
    """A pod whose log has one line, and nothing more for as long as one waits; after four requests it is gone."""

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


def test_a_log_with_nothing_to_say_is_asked_for_its_last_line_and_not_reported(monkeypatch):
    monkeypatch.setattr(watchers, "RETRY", (0.001, 0.001))
    monkeypatch.setattr(watchers, "REPORT_AFTER", -1.0)
    quiet = Quiet()
    following = watchers.PodWatchers(quiet, "x")
    following.read_log({"metadata": {"name": "x", "uid": "1"}, "spec": {"containers": [{"name": "main"}]}})
    seen = []
    while not (seen and isinstance(seen[-1], watchers.LogComplete)):
        seen.append(following.messages.get(timeout=60))
    assert seen == [watchers.LogText("a line\n"), watchers.LogComplete()]
    assert quiet.waited == [watchers.SILENCE, watchers.LOG_ANSWER] * 2
    following.close()


def test_a_run_returns_before_argo_gives_its_phase(server, begin):
    server.phase_given.clear()
    one = begin("print(1)")
    assert one.wait(60).ended
    assert one.state.node.phase in {"Pending", "Running"}
    server.phase_given.set()
    one._is_read.wait(60)
    assert (one.state.node.phase, one.state.outcome) == ("Succeeded", "Succeeded")


def test_phases_name_the_pod(server, begin):
    one = begin("print(1)")
    one.wait(60)
    one._is_read.wait(60)
    assert one.state.node.uid == only(server).pod["metadata"]["uid"]
    assert one.state.location == "test, namespace nb"


def test_a_lost_pod_ends_the_workflow_and_does_not_run_twice(server, begin, tmp_path):
    mark = tmp_path / "runs"
    one = begin(f"import time\nopen({str(mark)!r}, 'a').write('x')\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(one, "begun")
    only(server).lose()
    state = one.wait(60)
    assert (state.outcome, one.logs()) == ("Lost", "begun\n")
    with pytest.raises(NodeFailed, match="The pod was deleted") as caught:
        one.raise_for_state()
    assert "so that the cell does not run twice" in caught.value.hint
    one._is_read.wait(60)
    only(server).again.join(60)
    assert mark.read_text() == "x"
    assert only(server).made["spec"]["shutdown"] == "Terminate"
    assert only(server).pods == 1


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
def test_a_cell_that_the_cluster_ends_fails_with_the_cause(server, begin, reason, message, sentence, hint):
    server.phase_given.clear()
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(run, "begun")
    only(server).evict(reason, message)
    run.wait(60)
    with pytest.raises(NodeFailed) as failure:
        run.raise_for_state()
    assert (str(failure.value), failure.value.hint, run.logs()) == (sentence, hint, "begun\n")


def test_a_stop_by_an_unknown_cause_is_still_a_stop(server, begin):
    run = begin("import time\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(run, "begun")
    server.stop_after = 0.0
    run.stop()
    assert run.wait(60).outcome == "Stopped"


def test_a_deleted_workflow_is_said(server, begin):
    one = begin("import time\nprint('begun', flush=True)\ntime.sleep(1000)")
    until_printed(one, "begun")
    workflow = server.workflows.pop(one.name)
    workflow.kill(9)
    one.wait(60)
    with pytest.raises(NodeFailed, match="The workflow was deleted"):
        one.raise_for_state()


def test_stopping_what_is_gone_or_unknown_is_no_error(server, begin):
    backend = ArgoBackend()
    backend.stop("never-heard-of")
    one = begin("pass")
    one.wait(60)
    one._is_read.wait(60)
    server.workflows.clear()
    one._backend.stop(one.name)
    one._backend.stop(one.name)
    assert [item.phase for item in backend.watch("never-heard-of")] == ["Error"]


def test_a_denied_log_names_the_rule_that_would_allow_it(server, begin):
    message = 'pods "x" is forbidden: User "me" cannot get resource "pods/log" in API group "" in the namespace "nb"'
    server.fail("/log", 403, message)
    one = begin("pass")
    one.wait(60)
    with pytest.raises(NodeFailed, match=r"you cannot get pods/log in the namespace nb") as caught:
        one.raise_for_state()
    assert 'apiGroups: [""], resources: [pods/log], verbs: [get]' in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
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
def test_a_refused_submission_is_said_in_words(server, begin, status, message, kind, words):
    server.fail("POST", status, message, times=2 if status == 401 else 1)
    with pytest.raises(kind, match=words) as caught:
        begin("pass")
    assert caught.value.hint
    assert not server.workflows


def test_a_large_program_that_may_not_travel_leaves_nothing_running(server, begin):
    what = 'resource "configmaps" in API group "" in the namespace "nb"'
    message = f'configmaps is forbidden: User "me" cannot create {what}'
    server.fail("configmaps?", 403, message)
    cell = "# " + "".join(f"{i:x}" for i in range(40_000))
    with pytest.raises(SubmitRejected, match="needs a ConfigMap: you cannot create configmaps") as caught:
        begin(cell)
    assert "resources: [configmaps], verbs: [create]" in caught.value.hint
    assert only(server).made["spec"]["shutdown"] == "Terminate"


def test_no_cluster_and_no_answer(tmp_path, server):
    missing = Settings(kubeconfig=str(tmp_path / "none"))
    with pytest.raises(BackendUnavailable, match="no cluster is configured") as caught:
        client.connect(missing)
    assert "-b local" in caught.value.hint
    with pytest.raises(BackendUnavailable, match="no cluster is configured"):
        client.connect(Settings(kubeconfig=str(server.kubeconfig), context="nope"))
    broken = tmp_path / "broken"
    broken.write_text(server.kubeconfig.read_text().replace("127.0.0.1:", "127.0.0.1:1"))
    with pytest.raises(BackendUnavailable, match="no response from"):
        client.connect(Settings(kubeconfig=str(broken).replace("broken", "broken"))).workflow("x")


def test_a_kubeconfig_that_the_notebook_sets_later_is_used(server, tmp_path, monkeypatch):
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


@pytest.mark.parametrize(("status", "kind"), [(404, transport.Gone), (408, BackendUnavailable), (409, SubmitRejected)])
def test_an_error_without_a_message_says_something(server, status, kind):
    door = client.connect(Settings(kubeconfig=str(server.kubeconfig)))
    server.fail("GET /apis", status, "")
    with pytest.raises(kind, match=f"test, namespace nb responded with {status} [A-Z].* and no message"):
        door.workflow("x")


def test_the_namespace_of_the_settings_comes_first(server):
    made = client.connect(Settings(kubeconfig=str(server.kubeconfig), namespace="other"))
    assert (made.namespace, made.location) == ("other", "test, namespace other")


def test_followers_leave_no_threads(server, begin):
    begin("pass")._is_read.wait(60)
    before = threading.active_count()
    for _ in range(3):
        begin("print(1)")._is_read.wait(60)
    # The server's own threads for streams that were just closed end later, as those of the shared ones may begin.
    until(lambda: threading.active_count() <= before + 1, threading.enumerate)


class Stuck:
    """A door behind which nothing ever starts: the recorded objects, for ever."""

    sees_pods = True

    def __init__(self, workflow, pods, events=()):
        self.answers = workflow, list(pods), list(events)
        self.asked = 0

    def workflow(self, name):
        return self.answers[0]

    def pods(self, selector):
        return self.answers[1], "1"

    def pod(self, name):
        return self.answers[1][0]

    def watch_pods(self, selector, version):
        raise transport.Expired("always")

    def log(self, pod, *, container="main", since="", follow=True, silence=0.0):
        raise transport.TooEarly("always")

    def events(self, pod):
        self.asked += 1
        return self.answers[2]

    def shutdown(self, name, strategy):
        raise AssertionError


def test_what_stands_in_the_way_is_shown_at_the_second_look_at_the_latest():
    assert 2 * watchers.POLL < 2  # seconds, which is what a person is promised
    pod = {
        "metadata": {"name": "x", "uid": "1"},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "main", "state": {"waiting": {}}}]},
    }
    event = {"reason": "FailedMount", "message": 'MountVolume.SetUp failed for volume "x" : configmap "nope" not found'}
    door = Stuck({"status": {"phase": "Running"}}, [pod], [event])
    items = follow.Follower(door, "x", "ab").items()
    for item in items:
        assert isinstance(item, NodePhase)
        if "configmap nope" in item.message:
            break
    assert door.asked <= 2
    items.close()


def test_a_machine_that_slept_opens_its_streams_anew(server, begin, monkeypatch):
    ahead = [0.0]
    monkeypatch.setitem(follow.Follower.__init__.__kwdefaults__, "clock", lambda: time.time() + ahead[0])
    one = begin("import time\nfor i in range(40): print(i, flush=True); time.sleep(.1)")
    until_printed(one, "5")
    before = len(server.calls)
    ahead[0] = 600.0
    assert one.wait(60).outcome == "Succeeded"
    assert one.logs() == "".join(f"{i}\n" for i in range(40))
    again = [query for _, path, query in server.calls[before:] if "log" in path]
    assert any("sinceTime" in query for query in again)


def test_time_asleep_is_no_absence(monkeypatch):
    monkeypatch.setattr(watchers, "RETRY", (0.001, 0.001))
    ticks = [0.0]
    monkeypatch.setattr(watchers.time, "monotonic", lambda: ticks[0])
    patience = watchers.Backoff(threading.Event())
    for _ in range(3):  # as long as the time of day alone goes on
        patience.wait(BackendUnavailable("away"))
    ticks[0] = watchers.MAX_ABSENCE + 1
    with pytest.raises(StreamLost, match="cannot follow the run any longer: away"):
        patience.wait(BackendUnavailable("away"))


def test_what_comes_after_a_close_is_dropped():
    class Response:
        """Goes on with what is still encrypted, as a TLS socket does after a shutdown."""

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
    got = []
    for data in stream:
        got.append(data)
        stream.close()
    assert got == [b"plain"]
    assert response.closed


def test_a_watch_that_says_nonsense_is_opened_again():
    class Nonsense(Stuck):
        watches = 0

        def watch_pods(self, selector, version):
            self.watches += 1
            return [b'{"type": "ADDED", \xe4}\n']

    door = Nonsense({"status": {"phase": "Running"}}, [])
    follower = follow.Follower(door, "x", "ab")
    follower._watchers._closing = contextlib.nullcontext
    items = follower.items()
    threading.Timer(0.8, lambda: door.answers[0]["status"].update(phase="Succeeded")).start()
    assert [item.phase for item in items][-1] == "Succeeded"
    assert door.watches > 1


def test_many_submissions_at_once_make_one_connection(server, begin):
    runs: list[Run] = []
    threads = [threading.Thread(target=lambda i=i: runs.append(begin(f"print({i})"))) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({id(one._backend._runs[one.name].client) for one in runs}) == 1
    assert {one.wait(60).outcome for one in runs} == {"Succeeded"}
    assert sorted(one.logs() for one in runs) == [f"{i}\n" for i in range(6)]


def test_a_workflow_that_fails_although_its_cell_succeeded_is_reported_once(server, begin, capfd):
    account = 'User "system:serviceaccount:nb:default" cannot create resource "workflowtaskresults"'
    message = f'wait: Error (exit code 64): workflowtaskresults.argoproj.io is forbidden: {account} in API group "x"'
    server.verdict = {"phase": "Error", "message": message}
    first = begin("print(1)")
    assert first.wait(60).outcome == "Succeeded"
    until(lambda: first.state.node.phase == "Error")
    server.verdict = {}
    assert "cannot report to Argo" not in capfd.readouterr().err
    begin("print(2)").wait(60)
    begin("print(3)").wait(60)
    stderr = capfd.readouterr().err
    assert stderr.startswith("uv-argo: Argo reports Error for a cell that succeeded: ")
    assert stderr.count("cannot report to Argo") == 1
