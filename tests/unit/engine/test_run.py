"""engine/run.py: runs continue if the history, a backend or a renderer fails."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import remote_error
from uv_argo_magic.core.protocol.remote_error import RemoteError
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.run import Hooks, Run
from uv_argo_magic.errors import CellFailed, NodeFailed
from uv_argo_magic.testing import FakeBackend, write

ERROR_FIELDS = {"module": "builtins", "qualname": "ValueError", "evalue": "no", "mro": ("Exception",)}
SUCCESSFUL_LOG = write(("phase", {"phase": "running"}), "hello\n", ("exit", {"reason": "ok"}))


class Files:
    """The history of one run; `fails` maps methods to the exceptions that they raise."""

    def __init__(self, **fails):
        self.fails = fails
        self.calls = []

    def __getattr__(self, name):
        def method(*args):
            self.calls.append((name, threading.current_thread().name, args))
            if name in self.fails:
                raise self.fails[name]
            return ""

        return method


def start_run(backend, **options):
    name = backend.submit(SimpleNamespace(nonce="n"), RunSpec(cell=""), "r1").name
    submitted = ev.Submitted(name=name, location="nowhere", t=1.0)
    return Run(backend, run_id="r1", submitted=submitted, nonce="n", settings=Settings(), **options)


@pytest.mark.parametrize("problem", [OSError("disk full"), ValueError("not text")])
def test_failing_history_does_not_block_the_run(problem, capsys):
    run = start_run(FakeBackend([SUCCESSFUL_LOG]), files=Files(finish=problem))
    assert run.wait(60).outcome == "Succeeded"
    assert run._ended.is_set()
    assert run.result(0) == {}
    assert str(problem) in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_defect_of_the_history_does_not_block_the_run(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    run = start_run(FakeBackend([SUCCESSFUL_LOG]), files=Files(finish=KeyError("x")))
    run._ended.wait(60)
    assert run._ended.is_set()
    assert run.state.outcome == "Succeeded"


def test_history_removed_by_another_thread_is_not_used():
    class RacingRun(Run):
        """Every second read of `_files` is None, as if another thread had removed it."""

        reads = 0

        @property
        def _files(self):
            self.reads += 1
            return Files() if self.reads % 2 else None

        @_files.setter
        def _files(self, files):
            pass

    backend = FakeBackend([SUCCESSFUL_LOG])
    name = backend.submit(SimpleNamespace(nonce="n"), RunSpec(cell=""), "r1").name
    submitted = ev.Submitted(name=name, location="nowhere", t=1.0)
    run = RacingRun(backend, run_id="r1", submitted=submitted, nonce="n", settings=Settings())
    run.reads = 0
    assert run.follow().outcome == "Succeeded"


def test_defect_of_a_backend_is_reported_as_lost():
    class BrokenBackend(FakeBackend):
        def watch(self, name, *, follow=True):
            yield write(("phase", {"phase": "running"}))
            raise KeyError("metadata")

    run = start_run(BrokenBackend())
    assert run.wait(60).outcome == "Lost"
    with pytest.raises(NodeFailed, match="internal error in BrokenBackend: KeyError: 'metadata'"):
        run.raise_for_state()


def test_files_are_written_without_holding_the_lock():
    run = None

    class LockCheckingFiles(Files):
        is_free = False

        def finish(self, state):
            # The lock is reentrant for its owner, so another thread tries to acquire it.
            def acquire_lock():
                if run._changed.acquire(timeout=60):
                    run._changed.release()
                    self.is_free = True

            thread = threading.Thread(target=acquire_lock)
            thread.start()
            thread.join()

    started_watching = threading.Event()

    class DelayedBackend(FakeBackend):
        def watch(self, name, *, follow=True):
            started_watching.wait(60)
            yield from super().watch(name, follow=follow)

    files = LockCheckingFiles()
    run = start_run(DelayedBackend([SUCCESSFUL_LOG]), files=files)
    started_watching.set()
    run.wait(60)
    assert files.is_free
    assert run._is_read.wait(60)  # the reading thread has ended


def test_broken_renderer_is_reported_and_the_run_continues(capsys):
    states = []

    class BrokenRenderer:
        def update(self, state):
            raise ZeroDivisionError

    run = start_run(FakeBackend([SUCCESSFUL_LOG]))
    run.follow(BrokenRenderer(), SimpleNamespace(update=states.append))
    assert states[-1].outcome == "Succeeded"
    assert "Cannot update the view of the run" in capsys.readouterr().err


def test_changes_are_shown_at_once():
    is_updated = threading.Event()

    class DelayedBackend(FakeBackend):
        def watch(self, name, *, follow=True):
            is_updated.wait(60)
            yield from super().watch(name, follow=follow)

    run = start_run(DelayedBackend([SUCCESSFUL_LOG]))
    states = []

    def update(state):
        states.append(state)
        is_updated.set()

    run.follow(SimpleNamespace(update=update))
    assert len(states) <= 4
    assert states[-1].ended


def test_hooks_rebuild_the_exception_of_the_cell(monkeypatch):
    log = write(("error", {"error": {"ename": "ValueError"}}), ("exit", {"reason": "error", "code": 1}))
    monkeypatch.setattr(remote_error, "parse", lambda text: RemoteError(**json.loads(text), **ERROR_FIELDS))
    hooks = Hooks(rebuild=lambda remote, state: CellFailed(f"rebuilt {remote.ename}", state=state))
    run = start_run(FakeBackend([log]), hooks=hooks)
    run.wait(60)
    with pytest.raises(CellFailed, match="rebuilt ValueError"):
        run.result(10)
