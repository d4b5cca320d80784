"""Sessions on this machine: state, packages, interrupts, lost sessions and access."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from support.guest_process import ALARMS, check_interrupted_writes
from support.index_server import IndexServer
from support.open_files import many_open_files
from support.session_notebook import Notebook, end_all, forget_connections, result, run_past_max_age
from support.waiting import gated, until, until_printed

from uv_argo_magic.errors import CellFailed, ResolutionError, SessionBusy, SessionLost, SpecError
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.channel import Channel, Connections
from uv_argo_magic.sessions.registry import Registry
from uv_argo_magic.sessions.session_runs import SessionRuns


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home folder for all tests.

    The sockets have a separate folder, since one test opens it to other users. Its path must be short.
    """
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="uv-", dir="/tmp") as sockets:
        patch.setenv("XDG_RUNTIME_DIR", sockets)
        patch.setenv("UV_ARGO_HOME", str(folder))
        patch.setenv("UV_ARGO_BACKEND", "local")
        yield folder
        end_all()


@pytest.fixture
def notebook(home, tmp_path):
    notebook = Notebook(tmp_path / "study.ipynb")
    yield notebook
    end_all()


@pytest.fixture(scope="module")
def shared(home, tmp_path_factory):
    """A notebook for tests that do not change its session."""
    return Notebook(tmp_path_factory.mktemp("shared") / "study.ipynb")


def test_cells_share_variables_imports_and_working_folder(shared):
    shared.run("import os, json\nos.makedirs('sub'); os.chdir('sub')\nx = [1]")
    assert shared.text("x.append(2); print(json.dumps(x), os.path.basename(os.getcwd()))") == "[1, 2] sub\n"


def test_session_runs_beside_many_open_files(notebook):
    with many_open_files():
        notebook.run("x = 1")
        assert notebook.text("import subprocess\nprint(x, flush=True)\nsubprocess.run(['echo', '2'])") == "1\n2\n"


START = """
import sys
from pathlib import Path
from support.session_notebook import Notebook
from uv_argo_magic.errors import SessionBusy
notebook = Notebook(Path(sys.argv[1]))
sys.stdin.readline()
try:
    print(notebook.text("import os\\nprint(os.getpid())"), end="", flush=True)
except SessionBusy as error:
    print(error, flush=True)
sys.stdin.readline()
"""


def test_two_kernels_start_one_session(notebook):
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", START, str(notebook.path)]
    kernels = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        for _ in range(2)
    ]
    for kernel in kernels:
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    lines = sorted(kernel.stdout.readline() for kernel in kernels)
    for kernel in kernels:
        kernel.communicate("\n", timeout=60)
    assert lines[0].strip().isdecimal()
    assert lines[1].startswith(f"another kernel uses the session {notebook.entry().name}: process ")


def test_interrupted_start_leaves_no_unknown_worker(notebook, monkeypatch):
    hold = workers.hold

    def interrupt(*args, **options):
        signal.raise_signal(signal.SIGINT)
        return hold(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "hold", interrupt)
        with pytest.raises(KeyboardInterrupt):
            notebook.run("x = 1")
    worker = notebook.entry().worker
    assert worker.is_alive
    assert notebook.text("print(1)") == "1\n"
    assert notebook.entry().worker.pid == worker.pid


def test_results_are_in_out_and_underscore_variables(shared):
    assert result(shared.run("6 * 7")) == '"42"'
    number = shared.number
    assert shared.text(f"print(_, Out[{number}], _{number}, In[{number}])") == "42 42 42 6 * 7\n"


def test_future_import_applies_to_later_cells(shared):
    shared.run("from __future__ import annotations")
    assert shared.text("def f(a: missing): pass\nprint(f.__annotations__)") == "{'a': 'missing'}\n"


def test_session_survives_exception_and_sys_exit(shared):
    shared.run("y = 5")
    with pytest.raises(CellFailed, match="division by zero"):
        shared.text("1 / 0")
    failed = shared.run("import sys; sys.exit(3)")
    assert (failed.state.outcome, failed.state.exited.code) == ("Failed", 3)
    assert shared.text("print(y)") == "5\n"


def test_traceback_shows_code_of_earlier_cell(shared):
    earlier = shared.run("def divide(a):\n    return 1 / a")
    failed = shared.run("divide(0)")
    assert f"cell-{earlier.id}.py" in failed.state.error
    assert "return 1 / a" in failed.state.error


def test_tasks_continue_between_cells(shared):
    shared.run("import asyncio\nasync def work():\n    await asyncio.sleep(0)\n    return 7")
    shared.run("task = asyncio.create_task(work())")
    assert shared.text("print(await task)") == "7\n"
    failed = shared.run("coroutine = work()\ntry:\n    asyncio.run(coroutine)\nfinally:\n    coroutine.close()")
    assert "cannot be called from a running event loop" in failed.state.error


def test_stop_iteration_fails_the_cell(shared):
    assert '"StopIteration"' in shared.run("next(iter([]))").state.error


def test_session_survives_stopped_event_loop(shared):
    shared.run("import asyncio\nfor task in asyncio.all_tasks(): task.cancel()")
    shared.run("asyncio.get_running_loop().stop()")
    assert shared.text("print('still running')") == "still running\n"


def test_each_cell_is_a_run_with_its_own_log(shared):
    first, second = shared.run("print('first')"), shared.run("print('second')")
    entries = {entry.id: entry for entry in shared.history(None).list()}
    assert "first" in entries[first.id].log()
    assert "first" not in entries[second.id].log()
    assert second.state.session == "main"


def test_variables_are_listed_with_type_and_size(shared):
    run = shared.run("text = 'a' * 1000\nclass Thing:\n    def __sizeof__(self): raise SystemExit\nthing = Thing()")
    variables = {name: (kind, size, shape) for name, kind, size, shape in run.state.variables.items}
    assert variables["text"] == ("str", 1049, "1000")
    assert variables["thing"] == ("Thing", 0, "")
    assert "json" not in variables


def test_cell_waits_for_running_cell_with_note(shared, tmp_path):
    first = shared.begin(gated(tmp_path / "gate", "z = 1"))
    second = shared.begin("print(z)")
    until(lambda: any("waiting for 1 cell" in note for note in second.state.notes))
    (tmp_path / "gate").touch()
    assert second.wait(60).ended
    assert first.wait(60).outcome == "Succeeded"
    assert second.logs() == "1\n"


def test_waiting_cell_can_be_stopped(shared, tmp_path):
    first = shared.begin(gated(tmp_path / "gate", "z = 2"))
    second, third = shared.begin("z = 3"), shared.begin("print(z)")
    until(lambda: any("waiting for 1 cell" in note for note in second.state.notes))
    second.stop("test")
    assert second.wait(60).outcome == "Stopped"
    assert not first.state.ended
    (tmp_path / "gate").touch()
    assert third.wait(60).outcome == "Succeeded"
    assert third.logs() == "2\n"


INTERRUPTIBLE = {
    "loop": "while True: pass",
    "sleep": "import time; time.sleep(1000)",
    "lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "await": "import asyncio; await asyncio.sleep(1000)",
    "awaiting loop": "import asyncio\nwhile True: await asyncio.sleep(0)",
    "busy coroutine": "async def busy():\n    while True: pass\nawait busy()",
    "child process": "import subprocess; subprocess.run(['sleep', '60'])",
    "endless output": "while True: print('x' * 50)",
    "endless errors": "import sys\nwhile True: print('x' * 50, file=sys.stderr)",
    "C code": "import re; [re.match('(a*)*b', 'a' * 18) for _ in iter(int, 1)]",
}


@pytest.mark.parametrize("cell", INTERRUPTIBLE.values(), ids=INTERRUPTIBLE)
def test_stop_interrupts_cell_and_keeps_session(shared, cell):
    shared.run("kept = 'kept'")
    run = shared.begin(f"print('begun')\n{cell}")
    until_printed(run, "begun")
    run.stop()
    assert run.wait(60).outcome == "Stopped"
    assert "KeyboardInterrupt" in run.state.error
    assert not run.state.session_ended
    assert shared.text("print(kept)") == "kept\n"


def test_stop_interrupts_sending_of_values_and_keeps_session(shared):
    slow = "import time\nclass Slow:\n    def __reduce__(self):\n        print('begun')\n        time.sleep(1000)\n"
    run = shared.begin(slow + "slow = Slow()", "-s --pull slow")
    until_printed(run, "begun")
    run.stop()
    assert run.wait(60).outcome == "Stopped"
    assert run.logs() == "begun\n"
    assert shared.text("print(type(slow).__name__); del slow") == "Slow\n"


def test_interrupted_writes_are_neither_lost_nor_repeated(shared):
    check_interrupted_writes(shared.run(ALARMS).state)
    assert shared.text("print(number)") == "2999\n"


def test_interrupt_of_awaiting_cell_leaves_no_task(shared):
    run = shared.begin("import asyncio\nprint('begun')\nawait asyncio.sleep(1000)")
    until_printed(run, "begun")
    run.stop()
    run.wait(60)
    assert shared.text("await asyncio.sleep(0.05); print(len(asyncio.all_tasks()))") == "1\n"


def test_cell_that_handles_interrupt_succeeds(shared):
    run = shared.begin("import time\ntry:\n    print('begun'); time.sleep(1000)\nexcept KeyboardInterrupt:\n    w = 1")
    until_printed(run, "begun")
    run.stop()
    assert run.wait(60).outcome == "Succeeded"
    assert shared.text("print(w)") == "1\n"


def test_interrupt_between_cells_is_ignored(shared):
    pid = int(shared.text("import os; v = 3; print(os.getpid())"))
    os.kill(pid, signal.SIGINT)
    assert shared.text("print(v)") == "3\n"


def test_stop_of_waiting_cell_does_not_stop_running_cell(shared, tmp_path):
    first = shared.begin(gated(tmp_path / "gate", "u = 1"))
    second = shared.begin("u = 2")
    second.stop()
    (tmp_path / "gate").touch()
    assert second.wait(60).outcome == "Stopped"
    assert first.wait(60).outcome == "Succeeded"
    assert shared.text("print(u)") == "1\n"


def test_second_stop_ends_session_after_a_few_seconds(notebook, monkeypatch):
    notebook.run("a = 1")
    run = notebook.begin(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun')\nwhile True: time.sleep(1)"
    )
    until_printed(run, "begun")
    run.stop()
    run._backend.stop(run.name)
    time.sleep(0.2)
    assert not run.state.ended

    def stop_again():
        run._backend.stop(run.name)
        return run.wait(0.2).ended

    until(stop_again)
    assert run.state.session_ended
    with pytest.raises(SessionLost, match="stopped twice"):
        notebook.run("a")


def test_run_timeout_interrupts_cell_and_keeps_session(shared):
    run = shared.run("t = 1\nwhile True: pass", "-s --set run_timeout=0.3")
    assert (run.state.exited.reason, run.state.session_ended) == ("deadline", "")
    assert shared.text("print(t)") == "1\n"


DEATHS = {
    "os._exit": ("import os; os._exit(3)", "exited with status 3"),
    "signal": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "signal 11"),
}


@pytest.mark.parametrize(("cell", "reason"), DEATHS.values(), ids=DEATHS)
def test_crash_lists_lost_variables_and_blocks_next_cell(notebook, cell, reason):
    notebook.run("data = list(range(1000))")
    with pytest.raises(CellFailed) as failed:
        notebook.text(cell)
    assert "data (list, 8.1 kB)" in failed.value.hint
    assert "%argo restart main" in failed.value.hint
    for _ in range(2):
        with pytest.raises(SessionLost, match=reason) as lost:
            notebook.run("data")
    assert "data (list" in str(lost.value)
    assert notebook.text("print('data' in globals())", "-s --restart") == "False\n"


def test_killed_worker_is_a_lost_session(notebook):
    notebook.run("a = 1")
    run = notebook.begin("print('begun')\nwhile True: pass")
    until_printed(run, "begun")
    os.kill(notebook.entry().worker.pid, signal.SIGKILL)
    assert run.wait(60).outcome == "Lost"
    with pytest.raises(SessionLost, match="killed"):
        notebook.run("a")


def test_crash_between_cells_is_reported(notebook):
    pid = int(notebook.text("import os; print(os.getpid())"))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not notebook.entry().worker.is_alive)
    with pytest.raises(SessionLost, match="while no cell was running"):
        notebook.run("1")


def test_idle_session_ends_and_next_cell_reports_it(notebook):
    notebook.run("a = 1", "-s --set keep=0.3")
    until(lambda: not notebook.entry().worker.is_alive)
    with pytest.raises(SessionLost, match=r"idle for 0.3 s.*a \(int\)"):
        notebook.run("a")


def test_later_cell_can_change_keep_and_max_age(notebook):
    notebook.run("a = 1", "-s --set max_age=1h")
    assert workers.ask(notebook.entry(), "status")["status"]["max_age"] == 3600
    notebook.run("a")
    assert workers.ask(notebook.entry(), "status")["status"]["max_age"] == 3600
    worker = notebook.entry().worker
    notebook.run("a", "-s --set max_age=0 --set keep=0.3")
    until(lambda: not worker.is_alive)


def test_running_cell_finishes_before_max_age_ends_session(notebook, tmp_path, monkeypatch):
    run_past_max_age(notebook, tmp_path / "go", monkeypatch)
    with pytest.raises(SessionLost, match="it reached its max_age of 1 s"):
        notebook.run("1")


def test_keep_0_ends_session_with_kernel(notebook):
    notebook.run("a = 1")
    notebook.run("a", "-s --set keep=0")
    worker = notebook.entry().worker
    forget_connections()
    until(lambda: not worker.is_alive)


def test_restarted_kernel_rejoins_session(notebook):
    notebook.run("a = 1")
    forget_connections()
    assert notebook.text("print(a)") == "1\n"
    assert [note for note in notebook.notes if "Rejoined session main" in note and "1 variable" in note]


def test_session_of_script_ends_with_its_process(notebook):
    notebook.is_interactive = False
    notebook.run("a = 1")
    worker = notebook.entry().worker
    forget_connections()
    until(lambda: not worker.is_alive)
    assert not worker.is_alive


def test_second_kernel_must_take_the_session(notebook, monkeypatch):
    notebook.run("a = 1")
    entry = notebook.entry()
    monkeypatch.setattr(workers, "CLIENT", "another kernel")
    monkeypatch.setattr(workers, "_connections", {})
    with pytest.raises(SessionBusy, match=f"process {os.getpid()} on "):
        notebook.run("a")
    workers.hold(entry, take=True)
    assert notebook.text("print(a)") == "1\n"
    forget_connections()
    monkeypatch.undo()


def test_notebooks_do_not_share_sessions_of_same_name(home, tmp_path):
    first, second = Notebook(tmp_path / "one.ipynb"), Notebook(tmp_path / "two.ipynb")
    first.run("a = 1")
    assert second.text("print('a' in globals())") == "False\n"
    end_all()


@pytest.mark.parametrize("token", ["", "0" * 64, None])
def test_wrong_or_missing_token_is_refused(shared, token):
    shared.run("1")
    entry = shared.entry()
    connections = Connections(connect=workers.connections_to(entry).connect, token=token, client="x")
    with contextlib.closing(connections.open()) as channel:
        assert channel.request("status", {}) == {"error": "token"}


def test_cell_submitted_twice_runs_once(shared):
    connections = workers.connect(shared.entry())
    submit, submissions = SessionRuns.submit, []

    def recording_submit(runs, program, spec, run_id, **keywords):
        submissions.append((runs.number, run_id, program.order.encode()))
        return submit(runs, program, spec, run_id, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionRuns, "submit", recording_submit)
        shared.run("times = globals().get('times', 0) + 1\nprint('once')")
    number, run_id, order = submissions[0]
    request = {"run": run_id, "client": connections.client, "number": number, "keep": 60, "max_age": 0}
    answer, channel = connections.request("run", request, order)
    assert answer["ok"]
    assert "once" in "".join(channel.text())
    connections.keep(channel)
    assert shared.text("print(times)") == "1\n"


@pytest.fixture
def sizes(monkeypatch):
    """The size in bytes of each cell that is sent."""
    sizes, send = [], Channel.send

    def recording_send(channel, do, values, body=b""):
        sizes.extend([len(body)] if do == "run" else [])
        send(channel, do, values, body)

    monkeypatch.setattr(Channel, "send", recording_send)
    return sizes


def test_modules_are_sent_once_per_kernel(notebook, sizes):
    assert notebook.text("n = !echo one\nprint(n)") == "['one']\n"
    assert notebook.text("n = !echo two\nprint(n)") == "['two']\n"
    forget_connections()  # another kernel
    assert notebook.text("n = !echo three\nprint(n)") == "['three']\n"
    assert [size > 50_000 for size in sizes] == [True, False, True]


def test_modules_of_stopped_cell_are_used_by_next_cell(notebook, sizes, tmp_path):
    first = notebook.begin(gated(tmp_path / "gate", ""))
    second = notebook.begin("n = !echo two")
    second.stop()
    assert second.wait(60).outcome == "Stopped"
    (tmp_path / "gate").touch()
    assert first.wait(60).outcome == "Succeeded"
    assert notebook.text("n = !echo three\nprint(n)") == "['three']\n"
    assert [size > 50_000 for size in sizes] == [False, True, False]


def test_broken_connection_between_cells_is_reopened(shared):
    shared.run("1")
    for channel in workers.connect(shared.entry())._free:
        channel.end()
    assert shared.text("print('fine')") == "fine\n"


def test_long_output_and_long_cell(shared):
    text = "x" * 99
    assert shared.text(f"for i in range(2000): print({text!r})") == f"{text}\n" * 2000
    assert shared.text(f"# {'long ' * 4000}\nprint('after')") == "after\n"


def test_inspect_finds_source_of_earlier_cell(shared):
    shared.run("import inspect\ndef doubled(x):\n    return 2 * x")
    assert shared.text("print(inspect.getsource(doubled))") == "def doubled(x):\n    return 2 * x\n\n"


def test_completions_come_from_idle_session(shared, tmp_path):
    shared.run("class Holder: pass\nholder = Holder()\nholder.attribute = {'key one': 1}")
    entry = shared.entry()
    assert ("holder", "instance") in workers.complete(entry, "", "hold", "name")
    assert workers.complete(entry, "holder", "att", "attribute") == (("attribute", "instance"),)
    assert workers.complete(entry, "holder.attribute", "key", "key") == (("key one", "dict key"),)
    run = shared.begin(gated(tmp_path / "gate"))
    until_printed(run, "begun")
    assert workers.complete(entry, "", "hold", "name") == ()
    (tmp_path / "gate").touch()
    assert run.wait(60).outcome == "Succeeded"
    assert workers.complete(entry, "", "hold", "name")


def test_slow_completion_is_abandoned(shared):
    shared.run("import time\nclass Slow:\n    def __dir__(self):\n        time.sleep(1000)\nslow = Slow()")
    assert workers.complete(shared.entry(), "slow", "", "attribute") == ()
    assert shared.text("print('fine')") == "fine\n"


def test_last_exception_is_available_to_debuggers(shared):
    shared.run("1 / 0")
    assert shared.text("import sys; print(repr(sys.last_value))") == "ZeroDivisionError('division by zero')\n"


def test_invalid_data_on_socket_is_ignored(shared):
    shared.run("1")
    sock = workers.connections_to(shared.entry()).connect()
    with contextlib.closing(Channel(sock=sock, token="")):
        sock.sendall(b"\x00" * 100_000 + b"\n{}\n")
        assert shared.text("print('fine')") == "fine\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_other_users_are_refused_even_with_token(shared):
    shared.run("1")
    worker = shared.entry().worker
    path = Path(worker.address)
    code = (
        "import json, os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "request = json.dumps({'do': 'status', 'token': sys.argv[2], 'size': 0}).encode() + b'\\n'\n"
        "try:\n    s.sendall(request); print(s.recv(100))\nexcept ConnectionError: print(b'')"
    )
    command = [sys.executable, "-c", code, str(path), worker.token]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "PermissionError" in refused.stderr
    path.parent.chmod(0o755)
    path.chmod(0o666)
    try:
        answered = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        path.chmod(0o600)
        path.parent.chmod(0o700)
    assert answered.stdout == "b''\n"
    assert shared.text("print('fine')") == "fine\n"


def test_socket_is_private(shared):
    shared.run("1")
    path = Path(shared.entry().worker.address)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(os.fsencode(path)) < 108


def test_cells_leak_no_file_descriptors(shared):
    shared.run("1")
    pid = shared.entry().worker.pid

    def count(process):
        return len(list(Path(f"/proc/{process}/fd").iterdir()))

    for _ in range(25):
        shared.run("1")
    worker, client = count(pid), count("self")
    for _ in range(25):
        shared.run("1")
    assert count(pid) <= worker + 2  # connections of recent cells
    assert count("self") <= client + 2


@pytest.fixture
def events(monkeypatch):
    """The late events of ended cells, as (run, kind, fields)."""
    events = []
    monkeypatch.setattr(
        workers, "show_late", lambda event: events.append((event["run"], event["kind"], event["fields"]))
    )
    return events


def test_bytes_and_text_keep_their_order_and_their_cell(shared, events):
    first = shared.run("import threading\ngo = threading.Event()\nprint('first')")
    late = shared.run(
        "def late():\n    go.wait()\n    sys.stdout.buffer.write(b'late bytes\\n')\n"
        "import sys\nthread = threading.Thread(target=late)\nthread.start()"
    )
    second = shared.run("print('text')\nsys.stdout.buffer.write(b'bytes\\n')\nprint('more')")
    third = shared.run("sys.stderr.buffer.write(b'errors\\n')\nsys.stdout.buffer.write(b'output\\n')\ngo.set()")
    until(lambda: events)
    assert [run.logs() for run in (first, second)] == ["first\n", "text\nbytes\nmore\n"]
    assert sorted(third.logs().splitlines()) == ["errors", "output"]
    assert events == [(late.id, "text", {"stream": "stdout", "text": "late bytes\n"})]


def test_late_output_of_threads_and_tasks_goes_to_their_cell(shared, events):
    shared.run("import threading, asyncio, sys\ngo = threading.Event()")
    threads = shared.run("def late():\n    go.wait()\n    print('of a thread')\nthreading.Thread(target=late).start()")
    tasks = shared.run(
        "async def later():\n    while not go.is_set(): await asyncio.sleep(0.01)\n"
        "    print('of a task', file=sys.stderr)\n    display(5)\ntask = asyncio.create_task(later())"
    )
    assert shared.text("go.set()\nawait asyncio.sleep(0.1)\nprint('of the cell')") == "of the cell\n"
    until(lambda: len(events) >= 3)
    assert (threads.id, "text", {"stream": "stdout", "text": "of a thread\n"}) in events
    assert (tasks.id, "text", {"stream": "stderr", "text": "of a task\n"}) in events
    displays = [fields["data"] for run, kind, fields in events if (run, kind) == (tasks.id, "display")]
    assert displays == [{"text/plain": "5"}]


def test_late_output_of_child_processes_goes_to_their_cell(shared, events):
    child = shared.run(
        "import subprocess, os\n"
        "child = subprocess.Popen('read x; echo late; echo error >&2', shell=True, stdin=subprocess.PIPE)"
    )
    cell = "child.stdin.write(b'\\n'); child.stdin.close(); child.wait()\nos.system('echo own')\nprint('end')"
    assert shared.text(cell) == "own\nend\n"
    until(lambda: len(events) >= 2)
    assert sorted(events, key=str) == [
        (child.id, "text", {"stream": "stderr", "text": "error\n"}),
        (child.id, "text", {"stream": "stdout", "text": "late\n"}),
    ]
    assert shared.text("child = os.write(1, b'C\\n')") == "C\n"


def test_late_output_of_forked_process_goes_to_its_cell(shared, events):
    forked = shared.run(
        "import multiprocessing, os\nfork = multiprocessing.get_context('fork')\ngo = fork.Event()\n"
        "def work():\n    print('now', flush=True)\n    go.wait()\n    print('x' * 9000)\n    os.write(1, b'raw')\n"
        "process = fork.Process(target=work); process.start()"
    )
    assert shared.text("go.set(); process.join(); print('end')") == "end\n"

    def late(stream="stdout"):
        return "".join(fields["text"] for run, _, fields in events if run == forked.id and fields["stream"] == stream)

    until(lambda: len(late()) >= 9004)
    assert sorted(late().replace("now\n", "")) == sorted("x" * 9000 + "\nraw")
    assert {run for run, _, _ in events} == {forked.id}


def test_pipes_of_ended_child_processes_are_closed(notebook):
    notebook.run("import os, subprocess")
    pid = int(notebook.text("print(os.getpid())"))
    worker = notebook.entry().worker.pid

    def count():
        return sum(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in (pid, worker))

    notebook.run("subprocess.run('true')")
    before = count()
    notebook.run("child = subprocess.Popen(['sleep', '60'])")
    for _ in range(10):
        notebook.run("subprocess.run('true'); os.system('true')")
    assert count() <= before + 4  # the pipes of `child`, and connections of recent cells
    notebook.run("child.kill(); child.wait()")
    until(lambda: count() <= before + 2)


def test_endless_output_of_child_process_is_limited(notebook, events):
    notebook.run("import subprocess\nchild = subprocess.Popen(['yes'])")
    assert notebook.text("print('next')") == "next\n"
    until(lambda: any("omitted" in fields["text"] for _, _, fields in events))
    assert sum(len(fields["text"]) for _, _, fields in events) < 2**20 + 200
    assert notebook.run("child.kill(); child.wait()").state.outcome == "Succeeded"


@pytest.fixture
def blocking_notebook(notebook, monkeypatch):
    """A notebook whose `begin` follows the run to its end, and raises if the run was refused."""
    monkeypatch.setattr(notebook, "waits_for_end", True, raising=False)
    monkeypatch.setattr(notebook, "follow", lambda run, prepared: bool(run.follow()), raising=False)
    return notebook


def test_blocking_cell_is_read_by_the_calling_thread(blocking_notebook):
    assert blocking_notebook.text("print(1)") == "1\n"
    assert blocking_notebook.text("import time; print(2); time.sleep(0.2); print(3)") == "2\n3\n"
    run = blocking_notebook.begin("4")
    assert run._is_read.wait(10)
    assert not [thread.name for thread in threading.enumerate() if thread.name.endswith(run.id)]


def test_blocking_cell_reports_ended_session(blocking_notebook, monkeypatch):
    blocking_notebook.run("data = 1")
    blocking_notebook.run("import os, threading; threading.Timer(0.3, os._exit, [3]).start()")
    connections = workers.connect(blocking_notebook.entry())
    status = connections.status
    monkeypatch.setattr(Connections, "status", property(lambda _: status))  # as if the end were not known yet
    time.sleep(0.6)
    for _ in range(2):
        with pytest.raises(SessionLost, match=r"exited with status 3 while no cell was running.*data \(int\)"):
            blocking_notebook.begin("data")
    assert [entry.summary.outcome for entry in blocking_notebook.history(None).list()][:1] == ["NotStarted"]


def test_blocking_cell_reports_session_of_other_kernel(blocking_notebook, monkeypatch):
    blocking_notebook.run("data = 1")
    entry = blocking_notebook.entry()
    status = workers.connect(entry).status
    other = Connections(connect=workers.connect(entry).connect, token=entry.worker.token, client="other")
    other.hold(host="elsewhere", pid=1, take=True)
    monkeypatch.setattr(Connections, "status", property(lambda _: status))
    with pytest.raises(SessionBusy, match="process 1 on elsewhere"):
        blocking_notebook.begin("data")
    other.close()


def test_interrupt_of_blocking_cell_stops_it(blocking_notebook):
    blocking_notebook.run("import time")
    timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        blocking_notebook.begin("time.sleep(30)")
    assert blocking_notebook.text("print('kept')") == "kept\n"


def test_output_between_cells_goes_to_the_first(shared, events):
    run = shared.run("import threading\nthreading.Timer(0.05, print, ['between']).start()")
    until(lambda: events)
    assert events == [(run.id, "text", {"stream": "stdout", "text": "between\n"})]
    assert shared.text("print('next')") == "next\n"


def test_late_output_without_client_is_shown_by_next_cell(notebook, events):
    notebook.run("import threading\nthreading.Timer(0.3, print, ['late']).start()")
    forget_connections()
    time.sleep(0.6)
    assert notebook.text("print('next')") == "late\nnext\n"
    assert events == []


@pytest.mark.parametrize(("call", "password"), [("input('Name: ')", False), ("__import__('getpass').getpass()", True)])
def test_input_is_answered_by_front_end(shared, monkeypatch, call, password):
    questions = []
    monkeypatch.setattr(shared, "ask", lambda question: questions.append(question) or "Ada \N{SNOWMAN}", raising=False)
    monkeypatch.setattr(shared, "follow", lambda run, prepared: bool(run.follow()))
    assert shared.text(f"print('before')\nprint({call})") == "before\nAda \N{SNOWMAN}\n"
    assert [(question.prompt, question.password) for question in questions] == [
        ("Password: " if password else "Name: ", password)
    ]


def test_input_fails_if_front_end_cannot_answer(shared, monkeypatch):
    monkeypatch.setattr(shared, "follow", lambda run, prepared: not run.follow())
    assert "the front end cannot answer" in shared.run("input('Name: ')").state.error
    monkeypatch.setattr(shared, "is_interactive", False)
    failed = shared.run("input('Name: ')")
    assert "StdinNotImplementedError" in failed.state.error
    assert failed.state.question is None


def test_input_can_be_interrupted(shared, monkeypatch):
    def interrupt(question):
        raise KeyboardInterrupt

    monkeypatch.setattr(shared, "ask", interrupt, raising=False)
    monkeypatch.setattr(shared, "follow", lambda run, prepared: bool(run.follow()))
    with pytest.raises(KeyboardInterrupt):
        shared.run("kept = 6\ninput('Name: ')")
    monkeypatch.undo()
    assert shared.text("print(kept)") == "6\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-s --set variables=A=B", "has variables"),
        ("-s -p 3.8", "has Python"),
        ("-s -b argo", "has backend local"),
    ],
)
def test_changed_option_of_session_is_refused(shared, line, message):
    shared.run("1")
    with pytest.raises(SpecError, match=message) as error:
        shared.run("1", line)
    assert "%argo restart main" in error.value.hint


def test_repeated_option_of_session_is_accepted(shared):
    shared.run("1")
    assert shared.text("print(1)", "-s -b local") == "1\n"


@pytest.fixture
def index(monkeypatch, tmp_path):
    with IndexServer() as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.url)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        server.add("alpha", "1.0", requires=["beta"])
        server.add("beta", "1.0")
        server.add("beta", "2.0")
        server.add("gamma", "1.0", requires=["beta"])
        server.add("delta", "1.0", requires=["beta<2"])
        server.add("epsilon", "1.0")
        yield server


def test_packages_are_added_but_not_changed(notebook, index, monkeypatch):
    notebook.run("import alpha, beta", "-s --deps alpha")
    first = notebook.run("import gamma, subprocess, sys", "-s --deps gamma")
    assert dict(first.packages) == {"alpha": "1.0", "beta": "2.0", "gamma": "1.0"}
    assert notebook.text("subprocess.run([sys.executable, '-c', 'import gamma, alpha; print(1)'])") == "1\n"
    with pytest.raises(ResolutionError, match=r"beta 2.0 is installed and 1.0 is required") as error:
        notebook.run("1", "-s --deps delta")
    assert "%argo restart main --clean" in error.value.hint
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1")
    assert notebook.text("print(1)", "-s --deps 'alpha beta>1'") == "1\n"


def test_pip_adds_packages_to_the_session(notebook, index):
    notebook.run("x = 1", "-s --deps alpha")
    assert notebook.text("%pip install -q gamma\nimport gamma; print(x)") == "1\n"
    with pytest.raises(ResolutionError, match=r"beta 2.0 is installed and 1.0 is required") as error:
        notebook.run("x = 2\n%pip install -q delta")
    assert "%argo restart main --clean" in error.value.hint
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import gamma; print(1)'])"
    assert notebook.text(code) == "1\n"
    assert [package.name for package in notebook.entry().lock.packages] == ["alpha", "beta", "gamma"]
    with pytest.raises(ResolutionError, match=r"beta 2.0 is installed"):
        notebook.run("1", "-s --deps delta")
    failed = notebook.run("1 / 0\n%pip install -q epsilon")
    assert "ZeroDivisionError" in failed.state.error
    assert notebook.text("import epsilon; print(2)", "-s --deps epsilon") == "2\n"


def test_restart_keeps_packages_unless_clean(notebook, index):
    notebook.run("import alpha", "-s --deps alpha")
    notebook.run("import gamma", "-s --deps gamma")
    registry = Registry.of_this_user()
    workers.restart(notebook.entry(), registry)
    assert notebook.text("import alpha, gamma; print(1)") == "1\n"
    workers.restart(notebook.entry(), registry, clean=True)
    assert "ModuleNotFoundError" in notebook.run("import alpha; import gamma").state.error


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these limits")
def test_resources_limit_the_session(notebook):
    limit = "import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
    assert notebook.text(limit, line="-s --memory 1Gi") == f"{2**30}\n"
    assert notebook.text(limit) == f"{2**30}\n"
