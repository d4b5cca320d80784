"""Runs that continue without the process that started them: another process finds, shows and stops them."""

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
from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.argo import connections, diagnose
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.client import ArgoClient
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.core.view import messages
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import new_id
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
    """A machine with its own history, which can run `uv-argo` on the cluster."""

    def __init__(self, folder: Path, server: ArgoServer, capsys, monkeypatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch
        self.environ = {"UV_ARGO_HOME": str(folder), "UV_ARGO_KUBECONFIG": str(server.kubeconfig)}
        self.environ |= {"UV_ARGO_IMAGES": f"{HERE}=none"}

    @contextlib.contextmanager
    def process(self, *arguments: str):
        """Run `uv-argo` in a new process."""
        code = "import sys; from uv_argo_magic.cli import main; sys.exit(main(sys.argv[1:]))"
        with subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            yield process

    def output_of(self, *arguments: str, status: int = 0) -> str:
        """Return the output of `uv-argo`, run in this process with new connections."""
        for name, value in self.environ.items():
            self.monkeypatch.setenv(name, value)
        lookup.load.cache_clear()
        connections._connect.cache_clear()
        self.capsys.readouterr()
        assert cli.main(arguments) == status
        return "".join(self.capsys.readouterr())


@pytest.fixture
def machine(tmp_path, server, capsys, monkeypatch):
    yield Machine(tmp_path / "machine", server, capsys, monkeypatch)
    lookup.load.cache_clear()


@pytest.fixture
def other_machine(tmp_path, server, capsys, monkeypatch):
    return Machine(tmp_path / "other_machine", server, capsys, monkeypatch)


@pytest.fixture
def gate(tmp_path):
    """The file that ends the cell when it exists."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


@pytest.fixture
def killed_client(machine, gate, tmp_path):
    """A run whose client was killed while the cell ran."""
    script = tmp_path / "script.py"
    script.write_text(cell(gate))
    with machine.process("run", str(script), "-b", "argo") as process:
        assert process.stdout.readline() == "line 0\n"
        assert process.stdout.readline() == "line 1\n"
        process.kill()


@pytest.fixture
def abandoned_run(server, machine, gate):
    """The state that a killed client leaves, without starting one; returns the gate."""
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),))
    spec = RunSpec(cell=cell(gate), settings=settings, backend="argo")
    backend, run_id = ArgoBackend(), new_id()
    prepared = prepare(spec, backend)
    history = History(Path(machine.environ["UV_ARGO_HOME"]) / "data" / "runs")
    files = history.begin(run_id, spec=spec, resolution=prepared.resolution, nonce=prepared.program.nonce)
    files.note("name", backend.submit(prepared.program, spec, run_id).name)
    files.append("line 0\nline 1\nline 2\n")
    entry = json.loads((files.folder / "spec.json").read_text())
    (files.folder / "spec.json").write_text(json.dumps(entry | {"started": "another process"}))
    wait_for_output(server)
    return gate


def cell(gate: Path) -> str:
    return CELL.format(stop=f"__import__('os').path.exists({str(gate)!r})")


def only_workflow(server):
    (workflow,) = server.workflows.values()
    return workflow


def wait_for_output(server) -> None:
    """Wait until the cell has printed more lines than the history contains."""
    until(lambda: "main" in only_workflow(server).logs and len(only_workflow(server).logs["main"].lines) >= 6)


def is_complete(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.startswith("line ")]
    return lines == [f"line {i}" for i in range(len(lines))] and len(lines) > 2


def test_attach_shows_all_output_after_client_was_killed(server, machine, killed_client, gate):
    assert "  Running  " in machine.output_of("runs")
    assert is_complete(machine.output_of("logs"))
    with machine.process("attach") as attached:
        first = attached.stdout.readline()
        gate.touch()
        out, err = first + attached.stdout.read(), attached.stderr.read()
        assert (attached.wait(60), err) == (0, "")
    assert is_complete(out)
    assert "  Succeeded  " in machine.output_of("runs")
    # The history is complete now, so the cluster is not needed.
    server.workflows.clear()
    assert machine.output_of("logs") == out


def test_other_machine_finds_run_by_id_or_workflow(server, other_machine, abandoned_run):
    output = other_machine.output_of("attach", only_workflow(server).name, status=2)
    assert f"no such run: {only_workflow(server).name}" in output
    assert "Try `-b argo`" in output
    run = only_workflow(server).manifest["metadata"]["labels"]["uv-argo-magic/run"]
    assert is_complete(other_machine.output_of("logs", run, "-b", "argo"))
    abandoned_run.touch()
    assert is_complete(
        other_machine.output_of("attach", only_workflow(server).name, "-b", "argo", "--set", "namespace=nb")
    )
    assert is_complete(other_machine.output_of("attach", run, "-b", "argo"))


def test_stop_from_another_process(server, machine, abandoned_run):
    run = only_workflow(server).manifest["metadata"]["labels"]["uv-argo-magic/run"]
    assert machine.output_of("stop") == f"Stop requested for {run} ({only_workflow(server).name})\n"
    assert only_workflow(server).manifest["spec"]["shutdown"] == "Stop"
    output = machine.output_of("attach", run, status=1)
    assert is_complete(output)
    assert "Stopped: The run was stopped by another client." in output
    assert "is not running: Stopped" in machine.output_of("stop", run)


def test_interrupt_of_attach_does_not_stop_the_run(server, machine, abandoned_run):
    with machine.process("attach") as attached:
        attached.stdout.readline()
        attached.send_signal(signal.SIGINT)
        assert "is still running. To stop it: uv-argo stop" in attached.stderr.read()
        assert attached.wait(60) == 130
    assert "shutdown" not in only_workflow(server).manifest["spec"]


def test_deleted_pod_is_reported_with_argo_phase(server, machine, abandoned_run):
    abandoned_run.touch()
    workflow = only_workflow(server)
    workflow.thread.join(60)
    server.changes.clear()
    workflow.logs.clear()
    node = {"type": "Pod", "hostNodeName": "n1", "phase": "Succeeded"}
    times = {"startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:00:09Z"}
    workflow.manifest["status"] |= {"nodes": {"x": node}, **times}
    output = machine.output_of("attach", status=1)
    assert "The pod was deleted with its log (Argo reports Succeeded, it ran from 2026-01-01T10:00:00Z to " in output
    assert "Run the cell again to see its output." in output


def test_unreachable_cluster_leaves_outcome_unknown(server, machine, abandoned_run, tmp_path):
    broken = json.loads(server.kubeconfig.read_text())
    broken["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    server.kubeconfig.write_text(json.dumps(broken))
    assert "  Unknown  " in machine.output_of("runs")
    output = machine.output_of("logs")
    assert is_complete(output)
    assert "[later output is not available: " in output


def test_missing_workflow_is_lost(server, machine, abandoned_run):
    only_workflow(server).kill(9)
    server.workflows.clear()
    assert "  Lost  " in machine.output_of("runs")
    assert is_complete(machine.output_of("attach"))


def test_detached_run_can_be_attached(server, machine, gate, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(cell(gate))
    with machine.process("run", str(script), "-b", "argo", "--detach") as process:
        run, notes = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"uv-argo attach {run.strip()}" in notes
    assert "  Running  " in machine.output_of("runs")
    wait_for_output(server)
    gate.touch()
    assert is_complete(machine.output_of("attach", run.strip()))
    assert "  Succeeded  " in machine.output_of("runs")


def test_local_run_cannot_be_detached(machine, tmp_path):
    (tmp_path / "script.py").write_text("print(1)")
    output = machine.output_of("run", str(tmp_path / "script.py"), "-b", "local", "--detach", status=2)
    assert "runs on the local backend end with this process" in output


def test_runs_lists_runs_of_the_cluster(server, machine, other_machine, abandoned_run, gate):
    output = other_machine.output_of("runs", "-b", "argo", "--set", "namespace=nb")
    assert output.startswith("Runs on test, namespace nb\n")
    (row,) = (line for line in output.splitlines() if only_workflow(server).name in line)
    assert row.split()[1] == "Running"
    # Workflows of another program and of a newer version.
    for name, extra in (("foreign", {}), ("newer", {"uv-argo-magic/schema": "99"})):
        metadata = {"name": name, "annotations": extra, "labels": {"uv-argo-magic/run": name}}
        server.workflows[name] = SimpleNamespace(
            manifest={"metadata": metadata}, kill=lambda number: None, thread=fake_thread()
        )
    output = other_machine.output_of("runs", "-b", "argo", "--set", "namespace=nb")
    assert len(output.splitlines()) == 3
    assert "No runs in the history." in other_machine.output_of("runs", "-b", "local")


def fake_thread() -> SimpleNamespace:
    return SimpleNamespace(join=lambda seconds: None)


def test_refused_run_is_listed_with_its_cause(server, machine, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("print(1)")
    server.fail("POST /apis", 403, "exceeded quota: workflows", times=1)
    assert "exceeded quota" in machine.output_of("run", str(script), "-b", "argo", status=1)
    assert "  NotStarted  " in machine.output_of("runs")
    assert "is not running: NotStarted" in machine.output_of("stop", "2")
    entry = History(Path(machine.environ["UV_ARGO_HOME"]) / "data" / "runs").last()
    assert "exceeded quota" in messages.sentence(entry.state())
    assert not server.workflows


def test_run_interrupted_during_submission_is_stopped(server, machine, tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import time; time.sleep(1000)")
    create = ArgoClient.create

    def create_and_interrupt(self, manifest, **options):
        create(self, manifest, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(ArgoClient, "create", create_and_interrupt)
    assert "interrupted" in machine.output_of("run", str(script), "-b", "argo", status=130)
    assert only_workflow(server).manifest["spec"]["shutdown"] == "Terminate"
    assert "  Stopped  " in machine.output_of("runs")


def test_run_without_recorded_name_is_found_by_its_id(server, machine, abandoned_run, gate):
    (note,) = Path(machine.environ["UV_ARGO_HOME"]).glob("data/runs/*/notes/name")
    note.unlink()
    assert "  Running  " in machine.output_of("runs")
    gate.touch()
    assert is_complete(machine.output_of("attach"))
    assert "  Succeeded  " in machine.output_of("runs")


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({}, "not created by uv-argo-magic"),
        ({"uv-argo-magic/schema": "99"}, "newer version of uv-argo-magic"),
        ({"uv-argo-magic/schema": "x"}, "not created by uv-argo-magic"),
    ],
)
def test_foreign_workflow_is_refused(server, annotations, message):
    manifest = {"metadata": {"name": "w", "annotations": annotations, "labels": {"uv-argo-magic/run": "r"}}}

    class ForeignWorkflow:
        def __init__(self) -> None:
            self.manifest, self.ended, self.pod, self.logs = manifest, {}, {"metadata": {"name": "w"}}, {}

        def kill(self, number):
            pass

        class thread:  # noqa: N801
            join = staticmethod(lambda seconds: None)

    server.workflows["w"] = ForeignWorkflow()
    with pytest.raises(SpecError, match=message) as caught:
        ArgoBackend().find("w", Settings(kubeconfig=str(server.kubeconfig)))
    assert caught.value.hint


def test_invalid_names_are_not_requested(server):
    backend = ArgoBackend()
    for name in ("", "a b", "../x", "x" * 300, "nope"):
        assert backend.find(name, Settings(kubeconfig=str(server.kubeconfig))) is None
    assert not [path for _, path, _ in server.calls if ".." in path]


def test_has_run_is_false_without_a_scheduled_pod():
    refused = {"status": {"phase": "Error", "nodes": {"x": {"type": "Pod", "phase": "Error", "message": "forbidden"}}}}
    assert not diagnose.has_run(refused)
    running = {"status": {"startedAt": "t", "nodes": {"x": {"type": "Pod", "hostNodeName": "n1"}}}}
    assert diagnose.has_run(running)
    assert "it started at t" in diagnose.log_gone(running)
