"""A run that goes on without the process that began it: found, shown, stopped by another process, over a test API."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.argo_server import ArgoServer
from support.waiting import until

from uv_argo_magic import cli
from uv_argo_magic.backends import base
from uv_argo_magic.backends.argo import connections, diagnose
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.client import ArgoClient
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import new_id
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.store import History

HERE = ".".join(map(str, sys.version_info[:3]))
CELL = (
    "import time\nfor i in range(400):\n    print('line', i, flush=True)\n    time.sleep(0.05)\n    if {stop}: break\n"
)


@pytest.fixture
def server(tmp_path):
    with ArgoServer(tmp_path) as server:
        yield server


class Machine:
    """A machine of its own: its history, its processes, and its way to the cluster."""

    def __init__(self, folder: Path, server: ArgoServer, capsys, monkeypatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch
        self.environ = {"UV_ARGO_HOME": str(folder), "UV_ARGO_KUBECONFIG": str(server.kubeconfig)}
        self.environ |= {"UV_ARGO_IMAGES": f"{HERE}=none"}

    @contextlib.contextmanager
    def process(self, *words: str):
        """A process that says these words."""
        code = "import sys; from uv_argo_magic.cli import main; sys.exit(main(sys.argv[1:]))"
        with subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=os.environ | self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            yield process

    def output_of(self, *words: str, status: int = 0) -> str:
        """What a new process would answer, without starting one."""
        for name, value in self.environ.items():
            self.monkeypatch.setenv(name, value)
        base.load.cache_clear()
        connections._connect.cache_clear()
        self.capsys.readouterr()
        assert cli.main(words) == status
        return "".join(self.capsys.readouterr())


@pytest.fixture
def here(tmp_path, server, capsys, monkeypatch):
    yield Machine(tmp_path / "here", server, capsys, monkeypatch)
    base.load.cache_clear()


@pytest.fixture
def there(tmp_path, server, capsys, monkeypatch):
    return Machine(tmp_path / "there", server, capsys, monkeypatch)


@pytest.fixture
def over(tmp_path):
    """The file whose presence ends the cell."""
    yield tmp_path / "over"
    (tmp_path / "over").touch()


@pytest.fixture
def killed(here, over, tmp_path):
    """A run whose client was killed in the middle."""
    script = tmp_path / "script.py"
    script.write_text(cell(over))
    with here.process("run", str(script), "-b", "argo") as process:
        assert process.stdout.readline() == "line 0\n"
        assert process.stdout.readline() == "line 1\n"
        process.kill()


@pytest.fixture
def left(server, here, over):
    """What a client that was killed leaves behind, without starting one."""
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    spec = RunSpec(cell=cell(over), settings=settings, backend="argo")
    backend, run_id = ArgoBackend(), new_id()
    prepared = prepare(spec, backend)
    history = History(Path(here.environ["UV_ARGO_HOME"]) / "data" / "runs")
    files = history.begin(run_id, spec=spec, resolution=prepared.resolution, nonce=prepared.program.nonce)
    files.note("name", backend.submit(prepared.program, spec, run_id).name)
    files.append("line 0\nline 1\nline 2\n")
    about = json.loads((files.folder / "spec.json").read_text())
    (files.folder / "spec.json").write_text(json.dumps(about | {"started": "another process"}))
    wait_for_output(server)
    return over


def cell(over: Path) -> str:
    return CELL.format(stop=f"__import__('os').path.exists({str(over)!r})")


def only(server):
    (workflow,) = server.workflows.values()
    return workflow


def wait_for_output(server) -> None:
    """Wait until the cell has printed a few lines: one that ends before shows nothing of what was left out."""
    until(lambda: "main" in only(server).logs and len(only(server).logs["main"].lines) >= 6)


def whole(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.startswith("line ")]
    return lines == [f"line {i}" for i in range(len(lines))] and len(lines) > 2


def test_a_run_goes_on_without_its_client_and_is_joined_from_its_beginning(server, here, killed, over):
    assert "  Running  " in here.output_of("runs")
    assert whole(here.output_of("logs"))
    with here.process("attach") as joined:
        first = joined.stdout.readline()
        over.touch()
        out, err = first + joined.stdout.read(), joined.stderr.read()
        assert (joined.wait(60), err) == (0, "")
    assert whole(out)
    assert "  Succeeded  " in here.output_of("runs")
    # From now on its history is whole: nobody has to be asked.
    server.workflows.clear()
    assert here.output_of("logs") == out


def test_another_machine_finds_it_by_either_name(server, there, left):
    output = there.output_of("attach", only(server).name, status=2)
    assert f"no such run: {only(server).name}" in output
    assert "Try `-b argo`" in output
    run = only(server).made["metadata"]["labels"]["uv-argo-magic/run"]
    assert whole(there.output_of("logs", run, "-b", "argo"))
    left.touch()
    assert whole(there.output_of("attach", only(server).name, "-b", "argo", "--set", "namespace=nb"))
    assert whole(there.output_of("attach", run, "-b", "argo"))


def test_it_is_stopped_from_another_process(server, here, left):
    run = only(server).made["metadata"]["labels"]["uv-argo-magic/run"]
    assert here.output_of("stop") == f"Stop requested for {run} ({only(server).name})\n"
    assert only(server).made["spec"]["shutdown"] == "Stop"
    output = here.output_of("attach", run, status=1)
    assert whole(output)
    assert "Stopped: The run was stopped by another client." in output
    assert "is not running: Stopped" in here.output_of("stop", run)


def test_an_interrupt_leaves_what_was_attached(server, here, left):
    with here.process("attach") as joined:
        joined.stdout.readline()
        joined.send_signal(signal.SIGINT)
        assert "is still running. To stop it: uv-argo stop" in joined.stderr.read()
        assert joined.wait(60) == 130
    assert "shutdown" not in only(server).made["spec"]


def test_what_is_known_of_a_run_whose_pod_is_gone(server, here, left):
    left.touch()
    workflow = only(server)
    workflow.thread.join(60)
    server.changes.clear()
    workflow.logs.clear()
    node = {"type": "Pod", "hostNodeName": "n1", "phase": "Succeeded"}
    times = {"startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:00:09Z"}
    workflow.made["status"] |= {"nodes": {"x": node}, **times}
    output = here.output_of("attach", status=1)
    assert "The pod was deleted with its log (Argo reports Succeeded, it ran from 2026-01-01T10:00:00Z to " in output
    assert "Run the cell again to see its output." in output


def test_a_cluster_that_is_away_leaves_the_outcome_open(server, here, left, tmp_path):
    broken = json.loads(server.kubeconfig.read_text())
    broken["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    server.kubeconfig.write_text(json.dumps(broken))
    assert "  Unknown  " in here.output_of("runs")
    output = here.output_of("logs")
    assert whole(output)
    assert "[later output is not available: " in output


def test_what_is_gone_altogether_was_lost(server, here, left):
    only(server).kill(9)
    server.workflows.clear()
    assert "  Lost  " in here.output_of("runs")
    assert whole(here.output_of("attach"))


def test_a_run_is_left_in_a_terminal_and_found_again(server, here, over, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(cell(over))
    with here.process("run", str(script), "-b", "argo", "--detach") as process:
        run, notes = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"uv-argo attach {run.strip()}" in notes
    assert "  Running  " in here.output_of("runs")
    wait_for_output(server)
    over.touch()
    assert whole(here.output_of("attach", run.strip()))
    assert "  Succeeded  " in here.output_of("runs")


def test_a_run_that_would_end_with_its_process_is_not_left(here, tmp_path):
    (tmp_path / "script.py").write_text("print(1)")
    output = here.output_of("run", str(tmp_path / "script.py"), "-b", "local", "--detach", status=2)
    assert "runs on the local backend end with this process" in output


def test_the_runs_of_the_cluster_are_listed(server, here, there, left, over):
    output = there.output_of("runs", "-b", "argo", "--set", "namespace=nb")
    assert output.startswith("Runs on test, namespace nb\n")
    (row,) = (line for line in output.splitlines() if only(server).name in line)
    assert row.split()[1] == "Running"
    # Another user's, another program's, and one of a newer version.
    for name, notes in (("theirs", {}), ("newer", {"uv-argo-magic/schema": "99"})):
        metadata = {"name": name, "annotations": notes, "labels": {"uv-argo-magic/run": name}}
        server.workflows[name] = SimpleNamespace(
            made={"metadata": metadata}, kill=lambda number: None, thread=only_thread()
        )
    output = there.output_of("runs", "-b", "argo", "--set", "namespace=nb")
    assert len(output.splitlines()) == 3
    assert "No runs in the history." in there.output_of("runs", "-b", "local")


def only_thread() -> SimpleNamespace:
    return SimpleNamespace(join=lambda seconds: None)


def test_a_run_that_was_refused_is_listed_with_its_cause(server, here, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("print(1)")
    server.fail("POST /apis", 403, "exceeded quota: workflows", times=1)
    assert "exceeded quota" in here.output_of("run", str(script), "-b", "argo", status=1)
    assert "  NotStarted  " in here.output_of("runs")
    assert "is not running: NotStarted" in here.output_of("stop", "2")
    entry = History(Path(here.environ["UV_ARGO_HOME"]) / "data" / "runs").last()
    assert "exceeded quota" in messages.sentence(entry.state())
    assert not server.workflows


def test_a_run_that_was_interrupted_while_it_was_submitted_is_stopped(server, here, tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import time; time.sleep(1000)")
    create = ArgoClient.create

    def interrupted(self, manifest, **options):
        create(self, manifest, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(ArgoClient, "create", interrupted)
    assert "interrupted" in here.output_of("run", str(script), "-b", "argo", status=130)
    assert only(server).made["spec"]["shutdown"] == "Terminate"
    assert "  Stopped  " in here.output_of("runs")


def test_a_run_whose_client_died_while_it_was_submitted_is_found_by_its_id(server, here, left, over):
    (note,) = Path(here.environ["UV_ARGO_HOME"]).glob("data/runs/*/notes/name")
    note.unlink()
    assert "  Running  " in here.output_of("runs")
    over.touch()
    assert whole(here.output_of("attach"))
    assert "  Succeeded  " in here.output_of("runs")


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({}, "not created by uv-argo-magic"),
        ({"uv-argo-magic/schema": "99"}, "newer version of uv-argo-magic"),
        ({"uv-argo-magic/schema": "x"}, "not created by uv-argo-magic"),
    ],
)
def test_a_workflow_that_is_not_ours_is_refused(server, notes, words):
    made = {"metadata": {"name": "w", "annotations": notes, "labels": {"uv-argo-magic/run": "r"}}}

    class Foreign:
        def __init__(self) -> None:
            self.made, self.ended, self.pod, self.logs = made, {}, {"metadata": {"name": "w"}}, {}

        def kill(self, number):
            pass

        class thread:  # noqa: N801
            join = staticmethod(lambda seconds: None)

    server.workflows["w"] = Foreign()
    with pytest.raises(SpecError, match=words) as caught:
        ArgoBackend().find("w", Settings(kubeconfig=str(server.kubeconfig)))
    assert caught.value.hint


def test_no_name_of_a_workflow_is_not_asked_for(server):
    backend = ArgoBackend()
    for name in ("", "a b", "../x", "x" * 300, "nope"):
        assert backend.find(name, Settings(kubeconfig=str(server.kubeconfig))) is None
    assert not [path for _, path, _ in server.calls if ".." in path]


def test_what_was_never_a_pod_is_no_pod_that_is_gone():
    refused = {"status": {"phase": "Error", "nodes": {"x": {"type": "Pod", "phase": "Error", "message": "forbidden"}}}}
    assert not diagnose.has_run(refused)
    running = {"status": {"startedAt": "t", "nodes": {"x": {"type": "Pod", "hostNodeName": "n1"}}}}
    assert diagnose.has_run(running)
    assert "it started at t" in diagnose.log_gone(running)
