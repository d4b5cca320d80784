"""engine/run.py: what the loop does where the history, a backend or a renderer fails."""

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

REST = {"module": "builtins", "qualname": "ValueError", "evalue": "no", "mro": ("Exception",)}
OK = write(("phase", {"phase": "running"}), "hello\n", ("exit", {"reason": "ok"}))


class Files:
    """The history of one run; `fails` are its methods that raise, and the exceptions."""

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


def started(backend, **options):
    name = backend.submit(SimpleNamespace(nonce="n"), RunSpec(cell=""), "r1").name
    submitted = ev.Submitted(name=name, location="nowhere", t=1.0)
    return Run(backend, run_id="r1", submitted=submitted, nonce="n", settings=Settings(), **options)


@pytest.mark.parametrize("problem", [OSError("disk full"), ValueError("not text")])
def test_a_history_that_fails_at_the_end_does_not_hang_the_run(problem, capsys):
    run = started(FakeBackend([OK]), files=Files(finish=problem))
    assert run.wait(60).outcome == "Succeeded"
    assert run._ended.is_set()
    assert run.result(0) == {}
    assert str(problem) in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_even_a_defect_of_the_history_does_not_hang_the_run(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    run = started(FakeBackend([OK]), files=Files(finish=KeyError("x")))
    run._ended.wait(60)
    assert run._ended.is_set()
    assert run.state.outcome == "Succeeded"


def test_a_history_that_another_thread_gives_up_between_two_looks_is_not_used():
    class Racing(Run):
        """Each second look at `_files` finds that another thread gave it up."""

        looks = 0

        @property
        def _files(self):
            self.looks += 1
            return Files() if self.looks % 2 else None

        @_files.setter
        def _files(self, files):
            pass

    backend = FakeBackend([OK])
    name = backend.submit(SimpleNamespace(nonce="n"), RunSpec(cell=""), "r1").name
    submitted = ev.Submitted(name=name, location="nowhere", t=1.0)
    run = Racing(backend, run_id="r1", submitted=submitted, nonce="n", settings=Settings())
    run.looks = 0
    assert run.follow().outcome == "Succeeded"


def test_a_defect_of_a_backend_is_an_outcome_with_its_message():
    class Broken(FakeBackend):
        def watch(self, name, *, follow=True):
            yield write(("phase", {"phase": "running"}))
            raise KeyError("metadata")

    run = started(Broken())
    assert run.wait(60).outcome == "Lost"
    with pytest.raises(NodeFailed, match="internal error in Broken: KeyError: 'metadata'"):
        run.raise_for_state()


def test_no_file_is_written_under_the_lock():
    run = None

    class Watchful(Files):
        is_free = False

        def finish(self, state):
            # A condition's lock is reentrant for its owner alone: another thread must get it now.
            def get():
                if run._changed.acquire(timeout=60):
                    run._changed.release()  # the run reads on, and takes it again
                    self.is_free = True

            thread = threading.Thread(target=get)
            thread.start()
            thread.join()

    started_watching = threading.Event()

    class Late(FakeBackend):
        def watch(self, name, *, follow=True):
            started_watching.wait(60)
            yield from super().watch(name, follow=follow)

    files = Watchful()
    run = started(Late([OK]), files=files)
    started_watching.set()
    run.wait(60)
    assert files.is_free
    assert run._is_read.wait(60)  # no thread is left behind


def test_a_broken_renderer_is_reported_and_the_run_goes_on(capsys):
    states = []

    class Broken:
        def update(self, state):
            raise ZeroDivisionError

    run = started(FakeBackend([OK]))
    run.follow(Broken(), SimpleNamespace(update=states.append))
    assert states[-1].outcome == "Succeeded"
    assert "Cannot update the view of the run" in capsys.readouterr().err


def test_a_change_is_shown_at_once():
    over = threading.Event()

    class Late(FakeBackend):
        def watch(self, name, *, follow=True):
            over.wait(60)
            yield from super().watch(name, follow=follow)

    run = started(Late([OK]))
    states = []

    def update(state):
        states.append(state)
        over.set()

    run.follow(SimpleNamespace(update=update))
    assert len(states) <= 4
    assert states[-1].ended


def test_hooks_rebuild_the_exception(monkeypatch):
    log = write(("error", {"error": {"ename": "ValueError"}}), ("exit", {"reason": "error", "code": 1}))
    monkeypatch.setattr(remote_error, "parse", lambda text: RemoteError(**json.loads(text), **REST))
    hooks = Hooks(rebuild=lambda remote, state: CellFailed(f"rebuilt {remote.ename}", state=state))
    run = started(FakeBackend([log]), hooks=hooks)
    run.wait(60)
    with pytest.raises(CellFailed, match="rebuilt ValueError"):
        run.result(10)
