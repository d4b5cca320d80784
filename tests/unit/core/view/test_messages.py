"""core/view/messages.py: titles, sentences and hints for every state."""

from __future__ import annotations

import json
from dataclasses import replace

from support.cases import each

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import RunState, durations, elapsed
from uv_argo_magic.core.requirements.import_names import ALSO_IMPORTED, PACKAGE_OF
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.install_errors import classify
from uv_argo_magic.core.resolution.lock import Lock, Target, Unresolved
from uv_argo_magic.core.view import messages
from uv_argo_magic.testing import play, states, write

SUBMITTED = ev.Submitted(name="swift-otter", location="", t=1000.0)
HELLO = ("hello", {"protocol": 1, "python": "3.12.1", "platform": "linux", "pid": 7})


def ended(reason, code=0, detail="", *before):
    return play([SUBMITTED, write(HELLO, ("phase", {"phase": "running"}), *before,
                                  ("exit", {"reason": reason, "code": code, "detail": detail}))])  # fmt: skip


def error(name, message=""):
    return ("error", {"error": {"ename": name, "evalue": message}})


LOST = play([SUBMITTED, write(HELLO), ev.NodePhase(phase="Failed", message="OOMKilled."), ev.LogEnded(t=1009.0)])
POD_DELETED = ev.NodePhase(phase="Error", message="the pod was deleted; run the cell again")
STOP = ev.StopRequested(by="the Stop button", t=1005.0)
UV = "error: No solution found\n  cause: Because nosuch was not found in the package registry and you require nosuch\n"
NOT_INSTALLED = play([SUBMITTED, write(HELLO, ("phase", {"phase": "installing"}), ("uv", {"text": UV}),
                                       ("exit", {"reason": "install", "code": 1}))])  # fmt: skip
EXITED = write(HELLO, ("exit", {"reason": "exit", "code": 1}))


def attempts(limit, *pieces):
    return play([SUBMITTED, ev.Attempts(limit=limit, t=1000.0), *pieces])


INSTALL_TIMEOUT = ended("install", 137, "install_timeout")
STOPPED_IN_THE_POD = ended("stopped", 143, "before the cell started")

TABLE = [
    (RunState(), "Pending", "", "Submitting the run."),
    (play([SUBMITTED]), "Pending", "", "Waiting to start."),
    (play([replace(SUBMITTED, location="ctx/team"), ev.NodePhase(phase="Pending", message="Unschedulable")]), "Pending",
     "",
     "Waiting to start on ctx/team (Pending: Unschedulable)."),
    (play([SUBMITTED, ev.NodePhase(phase="Pending")]), "Pending", "", "Waiting to start."),
    (play([replace(SUBMITTED, location=""), ev.NodePhase(phase="")]), "Pending", "", "Waiting to start."),
    (play(write(HELLO)), "Running", "", "Python 3.12.1 has started."),
    (RunState(phase="starting"), "Running", "", "Python has started."),
    (play(write(HELLO, ("phase", {"phase": "resolving"}))), "Running", "", "Resolving packages."),
    (play(write(HELLO, ("phase", {"phase": "installing"}))), "Running", "", "Installing packages."),
    (play(write(HELLO, ("phase", {"phase": "running"}))), "Running", "", "The cell is running."),
    (attempts(3, write(HELLO)), "Running", "", "Python 3.12.1 has started."),
    (attempts(3, EXITED), "Running", "",
     "The cell's process exited immediately with status 1, as with os._exit(1); attempt 2 of 3 is next."),
    (attempts(3, EXITED, write(HELLO, boot="c")), "Running", "", "Python 3.12.1 has started (attempt 2 of 3)."),
    (attempts(0, EXITED, write(HELLO, boot="c")), "Running", "", "Python 3.12.1 has started (attempt 2)."),
    (play([SUBMITTED, STOP]), "Pending", "", "The run is being stopped by the Stop button."),
    (ended("ok"), "Succeeded", "", "The cell completed."),
    (ended("error", 1, "", error("ValueError", "no\nsuch")), "Failed", "ValueError",
     "The cell raised ValueError: no such"),
    (ended("error", 1, "", error("KeyError")), "Failed", "KeyError", "The cell raised KeyError."),
    (ended("error", 1), "Failed", "Exception", "The cell raised an exception."),
    (ended("error", 3, "", error("SystemExit", "3")), "Failed", "SystemExit", "The cell exited with sys.exit(3)."),
    (ended("error", 1, "", error("SystemExit", "no 'data'")), "Failed", "SystemExit",
     "The cell exited with sys.exit(\"no 'data'\")."),
    (ended("exit", 3), "Failed", "exit status 3",
     "The cell's process exited immediately with status 3, as with os._exit(3)."),
    (ended("signal", -11), "Failed", "SIGSEGV", "The cell's process was killed by signal 11 (SIGSEGV)."),
    (ended("signal", -9, detail="memory"), "Failed", "SIGKILL",
     "The cell's process was killed because memory ran out."),
    (ended("signal", -40), "Failed", "signal 40", "The cell's process was killed by signal 40."),
    (ended("deadline", 0, "run_timeout"), "Failed", "run_timeout",
     "The cell exceeded its time limit (run_timeout) and was terminated."),
    (ended("deadline"), "Failed", "run_timeout", "The cell exceeded its time limit (run_timeout) and was terminated."),
    (INSTALL_TIMEOUT, "InstallFailed", "InstallFailed",
     "The install exceeded install_timeout and was terminated."),
    (ended("install", 137, "install_timeout 61 60"), "InstallFailed", "InstallFailed",
     "The install was terminated after 1 min 1 s: install_timeout is 1 minute."),
    (ended("install", 137, "install_timeout 2.004 1.900", ("progress", {"done": 3, "of": 11})), "InstallFailed",
     "InstallFailed",
     "The install was terminated after 2.0 s with 3 of 11 packages downloaded: install_timeout is 1.9 seconds."),
    (ended("install", 137, "install_timeout 0.752 0.500"), "InstallFailed", "InstallFailed",
     "The install was terminated after 0.75 s: install_timeout is 0.5 seconds."),
    (ended("install", 137, "install_memory 300000000.000 268435456.000"), "InstallFailed", "InstallFailed",
     "The install used 300 MB of memory and was terminated: install_memory is 256 MiB."),
    (ended("install", 137, "install_disk 107000000 50000000"), "InstallFailed", "InstallFailed",
     "The install needed 107 MB of disk space and was terminated: install_disk is 50.0 MB."),
    (NOT_INSTALLED, "InstallFailed", "InstallFailed", classify(1, UV).sentence),
    (ended("guest", 70, "Traceback:\n  File x\nOSError: no room\n"), "Error", "Error",
     "Internal error in the runner: OSError: no room"),
    (ended("guest", 70), "Error", "Error", "Internal error in the runner (no details reported)."),
    (STOPPED_IN_THE_POD, "Stopped", "Stopped", "The run was stopped before the cell started."),
    (play([SUBMITTED, STOP, ev.LogEnded(t=1009.0)]), "Stopped", "Stopped", "The run was stopped by the Stop button."),
    (play([SUBMITTED, ev.StopRequested(by="", t=1.0), ev.LogEnded(t=1009.0)]), "Stopped", "Stopped",
     "The run was stopped."),
    (play([SUBMITTED, write(HELLO, ("exit", {"reason": "stopped"})), POD_DELETED]), "Stopped", "Stopped",
     "The run was stopped: Error: the pod was deleted; run the cell again."),
    (play([SUBMITTED, ev.LogEnded(t=1009.0)]), "Lost", "Lost", "The log ended unexpectedly."),
    (LOST, "Lost", "Lost", "The log ended unexpectedly: Failed: OOMKilled."),
    (play([SUBMITTED, POD_DELETED, ev.LogEnded(t=1009.0)]), "NotStarted", "NotStarted", "The pod was deleted."),
    (play([ev.NodePhase(phase=ev.NOT_STARTED, message="namespace x not found"), ev.LogEnded(t=1.0)]),
     "NotStarted", "NotStarted", "Namespace x not found."),
    (play([SUBMITTED, ev.NodePhase(phase="Failed"), ev.LogEnded(t=1009.0)]), "NotStarted", "NotStarted",
     "The run did not start: Failed."),
]  # fmt: skip


@each(("state", "title", "ename", "sentence"), TABLE)
def test_every_state_has_title_ename_and_sentence(state, title, ename, sentence):
    assert (messages.title(state), messages.ename(state), messages.sentence(state)) == (title, ename, sentence)


@each("state", [state for state, *_ in TABLE])
def test_sentences_are_one_line_and_failures_have_a_hint(state):
    assert "\n" not in messages.sentence(state) + messages.hint(state)
    is_failure = state.ended and state.outcome != "Succeeded"
    has_error = state.exited is not None and state.exited.reason == "error"
    unknown_signal = state.exited is not None and state.exited.code == -40
    assert bool(messages.hint(state)) == (
        (is_failure and not has_error and not unknown_signal) or state.stop_requested is not None
    )


def test_hints_name_settings_and_common_causes():
    assert "--set install_timeout=TIME" in messages.hint(INSTALL_TIMEOUT)
    assert messages.hint(NOT_INSTALLED) == classify(1, UV).hint
    assert "accessed invalid memory" in messages.hint(ended("signal", -11))
    assert "Most often, memory ran out" in messages.hint(ended("signal", -9))
    assert "--memory SIZE" in messages.hint(ended("signal", -9, detail="memory"))
    assert "os._exit" in messages.hint(ended("exit", 3))


def test_import_names_have_valid_packages():
    for package in (*PACKAGE_OF.values(), *ALSO_IMPORTED.values()):
        assert parse(package).items[0].name == package
    assert not set(PACKAGE_OF) & set(ALSO_IMPORTED)


@each("text", ["", "[", "[1]", "{}", json.dumps({"ename": 3}), json.dumps({"ename": ""}), "[" * 9999])
def test_invalid_error_is_ignored(text):
    assert messages.problem(RunState(error=text)) is None


def test_message_of_another_type_is_empty():
    assert messages.problem(RunState(error='{"ename": "E", "evalue": 3}')) == messages.Problem("E", "")


def test_one_line_shortens_text():
    line = humanize.one_line("a\n\tb " * 1000)
    assert line.startswith("a b a b")
    assert len(line) == humanize.LONGEST
    assert humanize.one_line(" a\r\nb ") == "a b"


def test_durations_are_never_negative():
    state = play([SUBMITTED, write(HELLO, ("phase", {"phase": "running"}), start=998.0)])
    assert durations(state, 1010.0) == (("queued", 0.0), ("starting", 1.0), ("running", 10.0))
    assert elapsed(state, 1010.0) == 11.0
    assert durations(ended("ok"), 9999.0)[-1] == ("running", 1.0)
    assert durations(RunState(), 5.0) == ()
    assert durations(replace(state, ended_at=1000.5, phase="ended"), 0.0)[-1] == ("running", 0.5)


def test_hint_of_the_backend_is_used():
    lost = play([SUBMITTED, write(HELLO), POD_DELETED, ev.LogEnded(t=1009.0)])
    assert (messages.sentence(lost), messages.hint(lost)) == ("The pod was deleted.", "Run the cell again.")
    assert "Run the cell again" in messages.hint(LOST)


def test_pulling_is_a_phase_between_waiting_and_starting():
    waiting = ev.NodePhase(phase="Pending", message="no node has room; request less", t=1001.0)
    pulling = ev.NodePhase(phase=ev.PULLING, message="pulling the image x:1", t=1002.0)
    state = play([SUBMITTED, waiting, pulling])
    assert (messages.title(state), messages.phase_title(state)) == ("Pending", "Pulling")
    assert messages.sentence(state).startswith("Pulling the image x:1")
    assert messages.status_note(state) == messages.detail(state) == messages.sentence(state)
    assert [phase for phase, _ in state.phases] == ["queued", "pulling"]
    assert not state.waiting
    failed = play([SUBMITTED, pulling, ev.NodePhase(phase="Pending", message="cannot pull x:1; use another")])
    assert messages.sentence(failed).startswith("Waiting to start")
    assert "cannot pull x:1" in messages.status_note(failed)
    not_started = play([SUBMITTED, ev.NodePhase(phase=ev.NOT_STARTED, message="cannot pull x:1; use another")])
    assert messages.status_note(not_started) == ""  # the error follows
    started = play([SUBMITTED, pulling, write(HELLO), pulling])
    assert (started.phase, messages.status_note(started)) == ("starting", "")


def test_lock_age():
    lock = Lock(packages=(), target=Target(python="3.12.1"), created_at=1000.0, uv="0.13.9")
    lines = [messages.lock_age(lock, 1000.0 + age) for age in (5, 60, 7200, 86400 * 3)]
    assert [line.split(" by ")[0] for line in lines] == [
        "resolved just now", "resolved 1 minute ago", "resolved 2 hours ago", "resolved 3 days ago",
    ]  # fmt: skip
    assert lines[0].endswith("by uv 0.13.9; use --upgrade to resolve again")
    assert messages.lock_age(replace(lock, uv=""), 1000.0) == "resolved just now; use --upgrade to resolve again"


def test_warnings_before_the_install():
    lock = Lock(packages=(), target=Target(python="3.12.1"), warnings=("Say this.",))
    assert messages.warnings(lock) == ("Say this.",)
    unresolved = Unresolved(lines=("numpy",), reason="The index could not be reached.")
    assert messages.warnings(unresolved)[0].startswith("The index could not be reached. Versions will be resolved")


def test_lost_connection_is_shown_with_the_phase():
    node = ev.NodePhase(phase=ev.UNREACHABLE, message="no connection since 20:43:57; the run continues", t=1.0)
    state = RunState(phase="running", node=node)
    assert messages.sentence(state) == "The cell is running; no connection since 20:43:57; the run continues."
    assert messages.sentence(replace(state, node=None)) == "The cell is running."


VARIABLES = ("variables", {"items": [["x", "int", 28, ""], ["data", "list", 8056, "1000"]], "total": 2})
IN_SESSION = replace(SUBMITTED, session="main")


def of_session(*records):
    return play([IN_SESSION, write(HELLO, ("phase", {"phase": "running"}), *records)])


def test_end_of_a_session_lists_lost_variables():
    lost, exited = ("lost", {"reason": "signal 9"}), ("exit", {"reason": "signal", "code": -9})
    hint = messages.hint(of_session(VARIABLES, lost, exited))
    assert hint.startswith("Most often, memory ran out.")
    assert "The session main has also ended (signal 9). Lost: data (list, 8.1 kB), x (int)." in hint
    assert "%argo restart main" in hint
    assert "Lost:" not in messages.hint(of_session(lost, exited))


def test_stopped_cell_does_not_end_its_session():
    stopped = of_session(("exit", {"reason": "stopped"}))
    assert messages.hint(stopped) == "The session main keeps its variables."
    timed_out = of_session(("exit", {"reason": "deadline", "detail": "run_timeout"}))
    assert messages.sentence(timed_out) == "The cell exceeded its time limit (run_timeout) and was interrupted."
    session_ended = of_session(("lost", {"reason": "r"}), ("exit", {"reason": "deadline", "detail": "run_timeout"}))
    assert messages.sentence(session_ended) == "The cell exceeded its time limit (run_timeout) and was terminated."


def test_list_variables_counts_the_rest():
    items = tuple((f"v{n}", "int", 28, "") for n in range(20))
    assert messages.list_variables(items, 30).endswith("v7 (int) and 22 more")


def test_requested_stop_changes_the_phase_title():
    state = play([SUBMITTED, write(HELLO), STOP])
    assert (messages.phase_title(state), messages.detail(state)) == ("Stopping", "")


def test_phase_title_follows_the_run():
    log = [
        ev.Preparing(t=1.0),
        ev.Submitted(name="n", location="", t=2.0),
        write(
            ("hello", {"protocol": 1, "python": "3.12.1", "platform": "l", "pid": 1}),
            ("phase", {"phase": "installing"}),
            ("progress", {"done": 3, "of": 11, "bytes": 4_100_000, "size": 75_200_000}),
            ("progress", {"done": 4, "of": 11}),
            ("progress", {"done": 11, "of": 11}),
            ("phase", {"phase": "running"}),
        ),
    ]
    titles, downloads = zip(
        *((messages.phase_title(state), messages.download(state)) for state in states(log)), strict=True
    )
    assert titles == (
        "Resolving", "Pending", "Starting", "Installing", "Downloading", "Downloading", "Installing", "Running",
    )  # fmt: skip
    assert downloads == ("", "", "", "", "3 of 11 packages, 4.1 MB of 75.2 MB", "4 of 11 packages", "", "")
    sentences = [messages.sentence(state) for state in states(log)]
    assert sentences[0] == "Resolving packages."
    assert sentences[4] == "Downloading packages: 3 of 11 packages, 4.1 MB of 75.2 MB."
    assert messages.phase_title(play([*log, ev.StopRequested(by="me", t=9.0)])) == "Stopping"
    assert messages.phase_title(play([*log, ev.LogEnded(t=9.0)])) == "Lost"
    with_retry = [ev.Attempts(limit=2, t=1.0), *log, write(("exit", {"reason": "signal", "code": 9}), n=9)]
    assert messages.phase_title(play(with_retry)) == "Restarting"
    no_progress = ev.Progress(boot="b", n=1, t=1.0, done=0, of=1, size=5)
    assert messages.download(RunState(phase="installing", progress=no_progress)) == "0 of 1 package, 0 B of 5 B"


def test_session_end_has_its_time_and_a_hint():
    assert messages.session_ends("main", "14:02", setting="keep") == (
        "Session main ends at 14:02 unless one of its cells runs. Run one to keep its variables."
    )
    assert messages.session_ends("main", "14:02", setting="max_age") == (
        "Session main ends at 14:02 by its max_age. Run a cell with --set max_age=0 to keep its variables."
    )
    ended_by = "idle for 30 min"
    assert messages.session_ended("main", "14:02", reason=ended_by).endswith(
        f"14:02: {ended_by}. %argo restart starts it again, without its variables."
    )
    assert "%argo restart train starts" in messages.session_ended("train", "14:02", reason=ended_by)
