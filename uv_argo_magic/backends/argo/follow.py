"""A workflow's pod and log -> log text and observed phases, from the start to the end.

Rules:
- One thread watches the pods, one looks at the workflow, one reads the log; the reader of `items` is in its own.
- Where a container of its own installs, its log is read first, and then the cell's: together they are the run's.
- A log is read again after every break, from the second of its last line on, and repeats are dropped exactly.
- A pod that is deleted before its workflow has ended ends the workflow: Argo would make it again, and the cell would
  run twice. Where the workflow asks for retries, each is a pod of another name, and they are followed in order; one of
  the same name is none that anybody asked for.
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

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.client import Denied, Expired, Gone, Stream, TooEarly
from uv_argo_magic.backends.argo.tail import Tail
from uv_argo_magic.core.events import PREFIX, Attempts, NodePhase, StopAsked
from uv_argo_magic.errors import BackendError, BackendUnavailable, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.argo.diagnose import Thing
    from uv_argo_magic.backends.base import Item

LOOK = 0.7
"""Seconds between two looks at the workflow."""
EAGER = 0.1
"""Seconds between two requests for a log that is not there yet."""
RETRY = (0.2, 5.0)
"""Seconds to wait after a broken stream: at first, and at most."""
ABSENT = 900.0
"""Seconds that the API may be away before the run is given up: a laptop sleeps, a control plane is upgraded."""
AFTER_END = 45.0
"""Seconds to wait for Argo's own phase once the cell's end is known: its controller looks every ten."""
LAST_WORDS = 15.0
"""Seconds to wait for the rest of a log whose pod or workflow has ended."""


def so_far(door: Door, name: str) -> Iterator[Item]:
    """What the workflow's pods have written by now, and its phase.

    Raises:
        BackendError: it cannot be read.
    """
    try:
        workflow = door.workflow(name)
    except Gone:
        workflow = _DELETED
    pods = sorted(door.pods(name)[0], key=lambda one: str(one["metadata"].get("creationTimestamp") or ""))
    for pod in pods:
        for container in diagnose.writers(pod):
            tail = Tail()
            with contextlib.suppress(TooEarly, Gone):
                stream = door.log(pod["metadata"]["name"], container=container, follow=False)
                yield from filter(None, map(tail.feed, stream))
                yield tail.end()
    last = pods[-1] if pods else None
    yield NodePhase(phase=diagnose.phase(last, workflow), message=diagnose.ended(last, workflow), t=time.time())


Seen: TypeAlias = tuple[str, Any]


class Door(Protocol):
    """What is needed of client.Client."""

    def workflow(self, name: str) -> Thing: ...
    def pods(self, workflow: str) -> tuple[list[Thing], str]: ...
    def pod(self, name: str) -> Thing: ...
    def watch_pods(self, workflow: str, version: str) -> Stream: ...
    def log(self, pod: str, *, container: str = "main", since: str = "", follow: bool = True) -> Stream: ...
    def warnings(self, pod: str) -> list[Thing]: ...
    def shutdown(self, name: str, how: str) -> None: ...


class Follower:
    """Follows one workflow; `items` may be called once. `stopping` is set when this process asked for the end."""

    def __init__(
        self,
        door: Door,
        name: str,
        nonce: str,
        *,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._door = door
        self._name = name
        self._record = f"{PREFIX}{nonce} "
        self._clock = clock
        self._stopping = stopping or threading.Event()
        self._seen: queue.SimpleQueue[Seen] = queue.SimpleQueue()
        self._done = threading.Event()
        self._exited = threading.Event()
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()
        self._pod: Thing | None = None  # the one whose log is read
        self._later: list[Thing] = []  # those of later attempts
        self._attempts = 1
        self._early: list[tuple[str, Thing]] = []  # what was seen of pods before the workflow
        self._tried: dict[str, str] = {}  # pod name -> uid, of each attempt
        self._workflow: Thing | None = None
        self._begun = clock()
        self._listed = False  # the pods, once at least
        self._reading = False
        self._complete = False  # the log
        self._lost = False
        self._events: list[Thing] = []
        self._said: NodePhase | None = None

    def items(self) -> Iterator[Item]:
        """Log text in whole lines, and phases when they change, to the end of both.

        Raises:
            BackendError: it may not be followed, or the API was away for too long.
        """
        threads = [self._start(self._watch_pods, "pods"), self._start(self._look, "look")]
        until: float | None = None
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    kind, value = self._seen.get(timeout=0.25)
                    yield from self._take(kind, value)
                self._next_attempt()
                # What the workflow says of retries is known before the first bad end is read.
                if self._pod and self._workflow and not self._reading and diagnose.scheduled(self._pod):
                    self._reading = True
                    threads.append(self._start(functools.partial(self._read_log, self._pod), "log"))
                limit = self._patience()
                if limit is None:
                    until = None
                elif until is None or limit == 0.0:
                    until = self._clock() + limit
                if until is not None and self._clock() >= until and self._seen.empty():
                    break
            yield from self._last()
        finally:
            self._done.set()
            with self._lock:
                streams = tuple(self._streams)
            for stream in streams:
                stream.close()
            for thread in threads:
                thread.join(2)

    def _patience(self) -> float | None:
        """Seconds that there may still be something to come; None: the run goes on."""
        final = diagnose.phase(None, self._workflow) in diagnose.FINAL
        if self._exited.is_set():
            return 0.0 if final else AFTER_END
        if self._later:
            return None
        if final and not self._listed:
            return LAST_WORDS
        over = self._pod and diagnose.terminated(self._pod) and not self._again()
        if self._lost or final or over:
            # Without the exit record, what the log still holds is all that can be known of the cell.
            return 0.0 if self._complete or not self._reading else LAST_WORDS
        return None

    def _again(self) -> bool:
        """Whether Argo may make a pod for another attempt."""
        left = not self._attempts or len(self._tried) < self._attempts
        return left and not self._stopping.is_set() and not self._lost

    def _next_attempt(self) -> None:
        """Go on to the next attempt's pod, once the log of the one before, if it had one, is read to its end."""
        if self._later and (self._complete or not diagnose.scheduled(self._pod or {})):
            self._pod = self._later.pop(0)
            self._reading = self._complete = False
            self._events, self._said = [], None

    def _take(self, kind: str, value: Any) -> Iterator[Item]:
        match kind:
            case "log":
                if not self._exited.is_set():
                    reasons = [reason for line in value.split("\n") if (reason := self._exit(line))]
                    if reasons and (reasons[-1] in {"ok", "stopped"} or not self._again()):
                        self._exited.set()
                yield value
            case "complete":
                self._complete = True
            case "pods" if self._workflow is None:
                self._early += value  # whether a second pod is a retry, the workflow says
            case "pods":
                yield from self._pods(value)
            case "workflow":
                self._workflow = value
                if (attempts := diagnose.attempts(value)) != self._attempts:
                    self._attempts = attempts
                    yield Attempts(most=attempts, t=self._clock())
                if (value.get("spec") or {}).get("shutdown") and not (self._stopping.is_set() or self._lost):
                    # Somebody else: in another process, or with Argo's own tools.
                    self._stopping.set()
                    yield StopAsked(by="somebody else", t=self._clock())
                early, self._early = self._early, []
                yield from self._pods(early) if early else self._phase()
            case "events":
                self._events = value
                yield from self._phase()
            case _:
                raise value

    def _exit(self, line: str) -> str:
        """The reason of an exit record; "" of any other line."""
        if not line.startswith(self._record):
            return ""
        try:
            said = json.loads(line[len(self._record) :])
            return str(said.get("reason") or "?") if said.get("k") == "exit" else ""
        except (ValueError, AttributeError):
            return ""

    def _pods(self, seen: list[tuple[str, Thing]]) -> Iterator[NodePhase]:
        """Pods as they are now, as (type of change, pod)."""
        self._listed = True
        for change, pod in seen:
            name, uid = pod["metadata"]["name"], _uid(pod)
            if uid in self._tried.values():
                yield from self._known_pod(change, pod)
            elif change != "DELETED" and (not self._tried or (self._attempts != 1 and name not in self._tried)):
                self._tried[name] = uid
                if self._pod is None:
                    self._pod = pod
                else:
                    self._later.append(pod)
            elif change != "DELETED":
                # Another pod for the same attempt: the first one is gone, whether anybody said so or not.
                yield from self._pod_lost()
        yield from self._phase()

    def _known_pod(self, change: str, pod: Thing) -> Iterator[NodePhase]:
        gone = change == "DELETED" or diagnose.leaves(pod)
        if _uid(pod) == _uid(self._pod):
            self._pod = pod
            if gone and self._attempts == 1:
                yield from self._pod_lost()
        else:
            self._later = [pod if _uid(one) == _uid(pod) else one for one in self._later]

    def _pod_lost(self) -> Iterator[NodePhase]:
        # A stopped workflow's pods go by Argo's own hand, and are not made again.
        stopped = self._stopping.is_set() or ((self._workflow or {}).get("spec") or {}).get("shutdown")
        if self._lost or stopped or diagnose.phase(None, self._workflow) in diagnose.FINAL:
            return
        self._lost = True
        threading.Thread(target=self._terminate, name="uv-argo-terminate", daemon=True).start()
        yield NodePhase(phase="Error", message=diagnose.lost(self._pod), t=self._clock(), uid=_uid(self._pod))

    def _terminate(self) -> None:
        """Argo makes a lost pod again within seconds: this must get through before."""
        for _ in range(20):
            try:
                self._door.shutdown(self._name, "Terminate")
            except Denied:
                return
            except BackendError:
                time.sleep(0.3)
            else:
                return

    def _phase(self) -> Iterator[NodePhase]:
        """What is seen now, if it is not what was seen before."""
        if self._lost or self._exited.is_set():
            return
        phase = diagnose.phase(self._pod, self._workflow)
        if phase in diagnose.FINAL:
            return
        message = diagnose.waiting(self._pod, self._workflow, self._events, self._clock() - self._begun)
        before = self._said
        if before is None or (before.phase, before.message) != (phase, message):
            self._said = NodePhase(phase=phase, message=message, t=self._clock(), uid=_uid(self._pod))
            yield self._said

    def _last(self) -> Iterator[NodePhase]:
        """How it ended, once nothing more is to come."""
        if not self._exited.is_set():
            with contextlib.suppress(BackendError):
                self._workflow = self._workflow_now()
        phase = diagnose.phase(None, self._workflow)
        if phase not in diagnose.FINAL and self._pod is not None and diagnose.terminated(self._pod):
            # Argo will say so in some seconds; the pod itself may still count as running, for its other container.
            phase = "Failed"
        if self._workflow is _DELETED:
            message = diagnose.ended(None, _DELETED)
        elif self._lost:
            message = diagnose.lost(self._pod)
        elif not self._reading and diagnose.ran(self._workflow):
            message = diagnose.gone(self._workflow)
        else:
            message = "" if phase == "Succeeded" else diagnose.ended(self._pod, self._workflow)
        yield NodePhase(phase=phase, message=message, t=self._clock(), uid=_uid(self._pod))

    # What follows runs in threads of its own.

    def _start(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(target,), name=f"uv-argo-{name}", daemon=True)
        thread.start()
        return thread

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BackendError as problem:
            self._seen.put(("failed", problem))

    def _patiently(self) -> _Patience:
        return _Patience(self._done, self._clock)

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
                pods, version = self._door.pods(self._name)
                pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))
                seen = [("MODIFIED", pod) for pod in pods]
                if self._pod is not None and _uid(self._pod) not in {_uid(pod) for pod in pods}:
                    seen.insert(0, ("DELETED", self._pod))
                self._seen.put(("pods", seen))
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
        with self._held(self._door.watch_pods(self._name, version)) as stream:
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
                        self._seen.put(("pods", [(said.get("type"), thing)]))
        return version

    def _look(self) -> None:
        patience = self._patiently()
        while not self._done.is_set():
            try:
                workflow = self._workflow_now()
                self._seen.put(("workflow", workflow))
                if diagnose.phase(None, workflow) in diagnose.FINAL:
                    return
                pod = self._pod
                if pod and not diagnose.started(pod) and not self._exited.is_set():
                    with contextlib.suppress(Denied):
                        self._seen.put(("events", self._door.warnings(pod["metadata"]["name"])))
                patience.rest()
            except Denied:
                raise
            except BackendError as problem:
                patience.wait(problem)
            self._done.wait(LOOK)

    def _workflow_now(self) -> Thing:
        try:
            return self._door.workflow(self._name)
        except Gone:
            return _DELETED

    def _read_log(self, pod: Thing) -> None:
        for container in diagnose.writers(pod):
            self._read_container(pod["metadata"]["name"], _uid(pod), container)
        self._seen.put(("complete", None))

    def _read_container(self, name: str, uid: str, container: str) -> None:
        tail, patience = Tail(), self._patiently()
        ends = False  # the container has ended, so that one more reading is the last
        while not self._done.is_set():
            try:
                with self._held(self._door.log(name, container=container, since=tail.last, follow=not ends)) as stream:
                    for data in stream:
                        if text := tail.feed(data):
                            self._seen.put(("log", text))
                patience.rest()
                if ends:
                    break
                ends = self._ends(name, uid, container)
                self._done.wait(0.0 if ends else RETRY[0])
            except (TooEarly, Gone):
                # The kubelet may not know the pod yet, and answers as if there were none.
                if diagnose.terminated(self._pod or {}, container) or not self._there(name, uid, patience):
                    break
                self._done.wait(EAGER)
            except Denied:
                raise
            except BackendError as problem:
                patience.wait(problem)
            tail.cut()
        if text := tail.end():
            self._seen.put(("log", text))

    def _ends(self, name: str, uid: str, container: str) -> bool:
        """Whether nothing more is written to the log of this container.

        Raises:
            Gone: another pod has its name, or none.
        """
        pod = self._door.pod(name)
        if _uid(pod) != uid:
            raise Gone(f"the pod {name} is another one now")
        return diagnose.terminated(pod, container)

    def _there(self, name: str, uid: str, patience: _Patience) -> bool:
        """Whether the pod still is; where nobody can say, yes."""
        try:
            return _uid(self._door.pod(name)) == uid
        except Gone:
            return False
        except BackendError as problem:
            patience.wait(problem)
            return True


_DELETED: Thing = {
    "gone": True,
    "status": {"phase": "Error", "message": "the workflow was deleted, by hand or by a clean-up; run the cell again"},
}


class _Patience:
    """How long to try again: a little longer each time, and not for ever."""

    def __init__(self, done: threading.Event, clock: Callable[[], float]) -> None:
        self._done = done
        self._clock = clock
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
        now = self._clock()
        self._since = self._since or now
        if now - self._since > ABSENT:
            raise StreamLost(f"the run could not be followed any further: {problem}", hint=problem.hint) from problem
        self._done.wait(self._pause)
        self._pause = min(2 * self._pause, RETRY[1])


def _uid(pod: Thing | None) -> str:
    return str(((pod or {}).get("metadata") or {}).get("uid") or "")
