"""The threads that look at a workflow: one watches its pods, one looks at the workflow, one reads a log.

Rules:
- What they see goes into one queue, as (kind, value): "pods", "workflow", "events", "log", "complete", "failed".
- A log is read again after every break, from the second of its last line on, and repeats are dropped exactly.
- Silence, a broken stream, an API that is away for minutes: no end. Only a denial, or a long absence, is one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from uv_argo_magic.backends.kubernetes import diagnose
from uv_argo_magic.backends.kubernetes.log_stream import LogStream
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Expired, Gone, Stream, TooEarly
from uv_argo_magic.errors import BackendError, BackendUnavailable, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.kubernetes.diagnose import ApiObject

LOOK = 0.7
"""Seconds between two looks at the workflow."""
EAGER = 0.1
"""Seconds between two requests for a log that is not there yet."""
RETRY = (0.2, 5.0)
"""Seconds to wait after a broken stream: at first, and at most."""
ABSENT = 900.0
"""Seconds that the API may be away before the run is given up: a laptop sleeps, a control plane is upgraded."""

DELETED: ApiObject = {
    "gone": True,
    "status": {"phase": "Error", "message": "the workflow was deleted, by hand or by a clean-up; run the cell again"},
}

Seen: TypeAlias = tuple[str, Any]


class ApiClient(Protocol):
    """What is needed of client.Client."""

    def workflow(self, name: str) -> ApiObject: ...
    def pods(self, selector: str) -> tuple[list[ApiObject], str]: ...
    def pod(self, name: str) -> ApiObject: ...
    def watch_pods(self, selector: str, version: str) -> Stream: ...
    def log(self, pod: str, *, container: str = "main", since: str = "", follow: bool = True) -> Stream: ...
    def warnings(self, pod: str) -> list[ApiObject]: ...
    def shutdown(self, name: str, strategy: str) -> None: ...


class Watchers:
    """What is seen of one workflow; `pod` is the one of interest now, and once it is `quiet`, its events are not."""

    def __init__(self, door: ApiClient, name: str, selector: str) -> None:
        self._door = door
        self._name = name
        self._selector = selector
        self.seen: queue.SimpleQueue[Seen] = queue.SimpleQueue()
        self.pod: ApiObject | None = None
        self.quiet = threading.Event()
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Watch the pods, and look at the workflow."""
        self._start(self._watch_pods, "pods")
        self._start(self._look, "look")

    def read(self, pod: ApiObject) -> None:
        """Read the log of a pod to its end; then "complete" is seen."""
        self._start(functools.partial(self._read_log, pod), "log")

    def reopen(self) -> None:
        """End every stream, so that it is opened again: the other end may long be gone."""
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.close()

    def end(self) -> None:
        """Nobody listens any more."""
        self._done.set()
        self.reopen()
        for thread in self._threads:
            thread.join(2)

    def _start(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=self._guarded, args=(target,), name=f"uv-argo-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BackendError as problem:
            self.seen.put(("failed", problem))

    def _patiently(self) -> _Patience:
        return _Patience(self._done)

    @contextlib.contextmanager
    def _held(self, stream: Stream) -> Iterator[Stream]:
        """The stream is closed from outside when nobody listens any more."""
        with self._lock:
            self._streams.add(stream)
        if self._done.is_set():
            stream.close()
        try:
            yield stream
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _watch_pods(self) -> None:
        patience = self._patiently()
        while not self._done.is_set():
            try:
                pods, version = self._door.pods(self._selector)
                pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))
                seen = [("MODIFIED", pod) for pod in pods]
                if self.pod is not None and uid_of(self.pod) not in {uid_of(pod) for pod in pods}:
                    seen.insert(0, ("DELETED", self.pod))
                self.seen.put(("pods", seen))
                while not self._done.is_set():
                    version = self._watch_once(version)
                    patience.rest()
            except Expired:
                self._done.wait(RETRY[0])
            except Denied:
                raise
            except BackendError as problem:
                patience.wait(problem)

    def _watch_once(self, version: str) -> str:
        """One watch, until the API ends it; from where the next one goes on."""
        rest = b""
        with self._held(self._door.watch_pods(self._selector, version)) as stream:
            for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    try:
                        said = json.loads(line)
                    except ValueError as problem:
                        raise BackendUnavailable(f"the watch says what is no JSON: {problem}") from problem
                    thing = said.get("object") or {}
                    if said.get("type") == "ERROR":
                        raise Expired(str(thing.get("message")))
                    version = str((thing.get("metadata") or {}).get("resourceVersion") or version)
                    if said.get("type") != "BOOKMARK":
                        self.seen.put(("pods", [(said.get("type"), thing)]))
        return version

    def _look(self) -> None:
        patience = self._patiently()
        while not self._done.is_set():
            try:
                workflow = self.workflow_now()
                self.seen.put(("workflow", workflow))
                if diagnose.phase(None, workflow) in diagnose.FINAL:
                    return
                pod = self.pod
                if pod and not diagnose.started(pod) and not self.quiet.is_set():
                    with contextlib.suppress(Denied):
                        self.seen.put(("events", self._door.warnings(pod["metadata"]["name"])))
                patience.rest()
            except Denied:
                raise
            except BackendError as problem:
                patience.wait(problem)
            self._done.wait(LOOK)

    def workflow_now(self) -> ApiObject:
        """The workflow, or DELETED."""
        try:
            return self._door.workflow(self._name)
        except Gone:
            return DELETED

    def _read_log(self, pod: ApiObject) -> None:
        for container in diagnose.writers(pod):
            self._read_container(pod["metadata"]["name"], uid_of(pod), container)
        self.seen.put(("complete", None))

    def _read_container(self, name: str, uid: str, container: str) -> None:
        tail, patience = LogStream(), self._patiently()
        ends = False  # the container has ended, so that one more reading is the last
        while not self._done.is_set():
            try:
                with self._held(self._door.log(name, container=container, since=tail.last, follow=not ends)) as stream:
                    for data in stream:
                        if text := tail.feed(data):
                            self.seen.put(("log", text))
                patience.rest()
                if ends:
                    break
                ends = self._ends(name, uid, container)
                self._done.wait(0.0 if ends else RETRY[0])
            except (TooEarly, Gone):
                # The kubelet may not know the pod yet, and answers as if there were none.
                if diagnose.terminated(self.pod or {}, container) or not self._there(name, uid, patience):
                    break
                self._done.wait(EAGER)
            except Denied:
                raise
            except BackendError as problem:
                patience.wait(problem)
            tail.cut()
        if text := tail.end():
            self.seen.put(("log", text))

    def _ends(self, name: str, uid: str, container: str) -> bool:
        """Whether nothing more is written to the log of this container.

        Raises:
            Gone: another pod has its name, or none.
        """
        pod = self._door.pod(name)
        if uid_of(pod) != uid:
            raise Gone(f"the pod {name} is another one now")
        return diagnose.terminated(pod, container)

    def _there(self, name: str, uid: str, patience: _Patience) -> bool:
        """Whether the pod still is; where nobody can say, yes."""
        try:
            return uid_of(self._door.pod(name)) == uid
        except Gone:
            return False
        except BackendError as problem:
            patience.wait(problem)
            return True


class _Patience:
    """How long to try again: a little longer each time, and not for ever."""

    def __init__(self, done: threading.Event) -> None:
        self._done = done
        self._pause = RETRY[0]
        self._since: float | None = None

    def rest(self) -> None:
        """It worked."""
        self._pause, self._since = RETRY[0], None

    def wait(self, problem: BackendError) -> None:
        """It did not work.

        Raises:
            StreamLost: it has not for too long.
        """
        now = time.monotonic()  # which stands still while a laptop sleeps
        self._since = now if self._since is None else self._since
        if now - self._since > ABSENT:
            raise StreamLost(f"the run could not be followed any further: {problem}", hint=problem.hint) from problem
        self._done.wait(self._pause)
        self._pause = min(2 * self._pause, RETRY[1])


def uid_of(pod: ApiObject | None) -> str:
    """A pod's uid; "" of none."""
    return str(((pod or {}).get("metadata") or {}).get("uid") or "")
