"""Threads that follow pods: one watches the pods of a label selector, another one reads the log of one pod.

Rules:
- The threads put the messages defined below into one queue.
- After a break, a log is read again from the second of its last line on; repeated lines are dropped.
- Threads continue after silence, a broken stream, or minutes without a response of the API. They end if the API denies
  a request, or does not respond for MAX_ABSENCE.
"""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from uv_argo_magic.backends.kubernetes import diagnose
from uv_argo_magic.backends.kubernetes.log_stream import LogStream
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import SILENCE, Expired, Gone, Stream, TimedOut, TooEarly
from uv_argo_magic.errors import BackendError, BackendUnavailable, StreamLost

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.kubernetes.diagnose import ApiObject

POLL = 0.7
"""Seconds between two requests for an object that is not watched."""
LOG_WAIT = 1.0
"""Seconds after which the log of a container is requested that has not started as far as the watch shows."""
LOG_POLL = 0.1
"""Seconds between two requests for a log that does not exist yet."""
REPORT_AFTER = 3.0
"""Seconds of failed requests after which the lost connection is reported."""
LOG_ANSWER = 5.0
"""Seconds to wait for the first byte of a log that is read again after silence; its last line is repeated at once."""
RETRY = (0.2, 5.0)
"""Seconds to wait after a broken stream: initial value and maximum."""
MAX_ABSENCE = 900.0
"""Seconds without a response of the API after which the threads give up. It is long, because a control plane can be
upgraded."""


@dataclass(frozen=True)
class PodChange:
    """The current state of a pod; `kind` is the type of the watch event: ADDED, MODIFIED or DELETED."""

    kind: str
    pod: ApiObject


@dataclass(frozen=True)
class PodsChanged:
    """Changes of pods, in order."""

    changes: tuple[PodChange, ...]


@dataclass(frozen=True)
class EventsSeen:
    """All events of the selected pod."""

    events: tuple[ApiObject, ...]


@dataclass(frozen=True)
class LogText:
    """New lines of the log."""

    text: str


@dataclass(frozen=True)
class LogComplete:
    """The log of the pod was read to its end."""


@dataclass(frozen=True)
class WatchFailed:
    """A thread gave up."""

    error: BackendError


@dataclass(frozen=True)
class ConnectionChanged:
    """Requests of the thread `source` have failed since Unix time `since`; if `error` is None, they succeed again."""

    source: str
    error: BackendError | None
    since: float = 0.0


PodMessage: TypeAlias = PodsChanged | ConnectionChanged | EventsSeen | LogText | LogComplete | WatchFailed
MessageT = TypeVar("MessageT")


class PodClient(Protocol):
    """The part of client.Client that the threads use."""

    def pods(self, selector: str) -> tuple[list[ApiObject], str]: ...
    def pod(self, name: str) -> ApiObject: ...
    def watch_pods(self, selector: str, version: str) -> Stream: ...
    def log(
        self, pod: str, *, container: str = "main", since: str = "", follow: bool = True, silence: float = SILENCE
    ) -> Stream: ...
    def events(self, pod: str) -> list[ApiObject]: ...


class PodWatchers(Generic[MessageT]):
    """The threads that follow the pods of a selector; `omit` matches lines to leave out of logs.

    A backend with more to watch adds threads with `start`, which put messages of the type MessageT into the queue.
    `log_wait` replaces LOG_WAIT.
    """

    def __init__(
        self,
        client: PodClient,
        selector: str,
        *,
        omit: re.Pattern[str] | None = None,
        log_wait: float = LOG_WAIT,
    ) -> None:
        self.messages: queue.SimpleQueue[PodMessage | MessageT] = queue.SimpleQueue()
        self.quiet = threading.Event()
        """Set once events are no longer needed."""
        self.done = threading.Event()
        """Set by `close`."""
        self._client = client
        self._selector = selector
        self._omit = omit
        self._log_wait = log_wait
        self._pod: ApiObject | None = None
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()

    @property
    def pod(self) -> ApiObject | None:
        """The selected pod. The reader of `messages` sets it, and the threads read it; the object is never modified."""
        return self._pod

    @pod.setter
    def pod(self, pod: ApiObject | None) -> None:
        with self._changed:
            self._pod = pod
            self._changed.notify_all()

    def wait_for_pod(self, test: Callable[[ApiObject], bool], seconds: float) -> bool:
        """Wait until the selected pod passes a test, `close` was called, or the time is over; whether it passes."""
        with self._changed:
            self._changed.wait_for(lambda: self.done.is_set() or test(self._pod or {}), seconds)
            return test(self._pod or {})

    def watch(self) -> None:
        """Start watching the pods."""
        self.start(self._watch_pods, "pods")

    def read_log(self, pod: ApiObject) -> None:
        """Start reading the log of a pod; LogComplete follows its end."""
        self.start(functools.partial(self._read_log, pod), "log")

    def start(self, target: Callable[[], None], name: str) -> None:
        """Run `target` in a thread; if it raises a BackendError, the queue gets a WatchFailed."""
        thread = threading.Thread(target=self._run, args=(target,), name=f"uv-argo-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def reopen(self) -> None:
        """Close all streams, so that they are opened again; the server may have closed them long ago."""
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.close()

    def close(self) -> None:
        """End the threads."""
        self.done.set()
        with self._changed:
            self._changed.notify_all()
        self.reopen()
        for thread in self._threads:
            thread.join(2)

    def poll(self, look: Callable[[], bool]) -> None:
        """Call `look` until it returns True; continue after temporary errors."""
        backoff = self._backoff("poll")
        while not self.done.is_set():
            try:
                if look():
                    return
                backoff.reset()
            except Denied:
                raise
            except BackendError as problem:
                backoff.wait(problem)
            self.done.wait(POLL)

    def request_events(self) -> None:
        """Read the events of the selected pod until it has started.

        Raises:
            BackendError: the events cannot be read.
        """
        pod = self.pod
        if pod and not diagnose.started(pod) and not self.quiet.is_set():
            with contextlib.suppress(Denied):
                self.messages.put(EventsSeen(tuple(self._client.events(diagnose.name_of(pod)))))

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BackendError as problem:
            self.messages.put(WatchFailed(problem))

    @contextlib.contextmanager
    def _closing(self, stream: Stream) -> Iterator[Stream]:
        """Make `close` and `reopen` close the stream while it is read."""
        with self._lock:
            self._streams.add(stream)
        if self.done.is_set():
            stream.close()
        try:
            yield stream
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _backoff(self, source: str) -> Backoff:
        return Backoff(self.done, lambda error, since: self.messages.put(ConnectionChanged(source, error, since)))

    def _watch_pods(self) -> None:
        backoff = self._backoff("pods")
        while not self.done.is_set():
            try:
                pods, version = self._client.pods(self._selector)
                backoff.answered()
                self._report_list(sorted(pods, key=diagnose.created))
                while not self.done.is_set():
                    version = self._watch_once(version)
                    backoff.reset()
            except Expired:
                self.done.wait(RETRY[0])
            except Denied:
                raise
            except BackendError as problem:
                backoff.wait(problem)

    def _report_list(self, pods: list[ApiObject]) -> None:
        changes = [PodChange("MODIFIED", pod) for pod in pods]
        selected = self.pod
        if selected is not None and diagnose.uid_of(selected) not in set(map(diagnose.uid_of, pods)):
            changes.insert(0, PodChange("DELETED", selected))
        self.messages.put(PodsChanged(tuple(changes)))

    def _watch_once(self, version: str) -> str:
        """Read one watch until the API ends it; return the version from which the next one starts."""
        rest = b""
        with self._closing(self._client.watch_pods(self._selector, version)) as stream:
            for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = _parse_event(line)
                    item = event.get("object") or {}
                    if event.get("type") == "ERROR":
                        raise Expired(str(item.get("message")))
                    version = str((item.get("metadata") or {}).get("resourceVersion") or version)
                    if event.get("type") != "BOOKMARK":
                        self.messages.put(PodsChanged((PodChange(str(event.get("type")), item),)))
        return version

    def _read_log(self, pod: ApiObject) -> None:
        for container in diagnose.log_containers(pod):
            self._read_container(diagnose.name_of(pod), diagnose.uid_of(pod), container)
        self.messages.put(LogComplete())

    def _read_container(self, name: str, uid: str, container: str) -> None:
        log, backoff = LogStream(self._omit), self._backoff("log")
        last_read = False  # the container has ended, so this is the last read
        silence = SILENCE
        test = functools.partial(_may_have_log, container)
        while not self.done.is_set():
            received = False
            try:
                stream = self._client.log(
                    name, container=container, since=log.last, follow=not last_read, silence=silence
                )
                if not log.last:
                    backoff.answered()
                with self._closing(stream):
                    for data in stream:
                        backoff.answered()
                        received = True
                        self._report_text(log.feed(data))
                backoff.reset()
                if last_read:
                    break
                last_read = self._has_ended(name, uid, container)
                self.done.wait(0.0 if last_read else RETRY[0])
            except (TooEarly, Gone):
                backoff.answered()
                # A kubelet that does not know the pod yet responds as if it did not exist.
                if diagnose.terminated(self.pod or {}, container) or not self._exists(name, uid, backoff):
                    break
                if test(self.pod or {}):
                    self.done.wait(LOG_POLL)
                else:
                    self.wait_for_pod(test, self._log_wait)
            except Denied:
                raise
            except BackendError as problem:
                is_probed = received and silence == LOG_ANSWER
                silence = LOG_ANSWER if isinstance(problem, TimedOut) and log.last and not is_probed else SILENCE
                backoff.wait(problem)
            log.cut()
        self._report_text(log.end())

    def _report_text(self, text: str) -> None:
        if text:
            self.messages.put(LogText(text))

    def _has_ended(self, name: str, uid: str, container: str) -> bool:
        """Whether the container has ended, so that its log is complete.

        Raises:
            Gone: the pod does not exist, or another pod has its name.
        """
        pod = self._client.pod(name)
        if diagnose.uid_of(pod) != uid:
            raise Gone(f"the pod {name} was replaced")
        return diagnose.terminated(pod, container)

    def _exists(self, name: str, uid: str, backoff: Backoff) -> bool:
        """Whether the pod still exists; True if the API does not respond."""
        try:
            return diagnose.uid_of(self._client.pod(name)) == uid
        except Gone:
            return False
        except BackendError as problem:
            backoff.wait(problem)
            return True


def _may_have_log(container: str, pod: ApiObject) -> bool:
    return diagnose.started(pod, container) or diagnose.terminated(pod, container) or diagnose.is_deleting(pod)


def _parse_event(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as problem:
        raise BackendUnavailable(f"the watch sent a line that is not JSON: {problem}") from problem
    return event


class Backoff:
    """Waits before retries, each time longer, and gives up after MAX_ABSENCE."""

    def __init__(
        self, done: threading.Event, report: Callable[[BackendError | None, float], None] | None = None
    ) -> None:
        self._done = done
        self._report = report
        self._reported = False
        self._failing_since: float | None = None
        self._pause = RETRY[0]
        self._since: float | None = None

    def reset(self) -> None:
        """Note that a request succeeded."""
        self._pause, self._since = RETRY[0], None
        self.answered()

    def answered(self) -> None:
        """Note that the API responded, even though the request can still fail."""
        self._failing_since = None
        if self._reported and self._report:
            self._reported = False
            self._report(None, 0.0)

    def wait(self, problem: BackendError) -> None:
        """Wait after a failed request.

        Raises:
            StreamLost: requests have failed for too long.
        """
        now = time.monotonic()  # does not advance while a laptop sleeps
        self._since = now if self._since is None else self._since
        if now - self._since > MAX_ABSENCE:
            raise StreamLost(f"cannot follow the run any longer: {problem}", hint=problem.hint) from problem
        is_new = self._failing_since is None
        if self._failing_since is None:
            self._failing_since = time.time() - (problem.seconds if isinstance(problem, TimedOut) else 0.0)
        # A first timeout in a stream can also mean that there is no output.
        is_certain = not is_new or (isinstance(problem, TimedOut) and not problem.in_stream)
        if is_certain and not self._reported and self._report and time.time() - self._failing_since > REPORT_AFTER:
            self._reported = True
            self._report(problem, self._failing_since)
        self._done.wait(self._pause)
        self._pause = min(2 * self._pause, RETRY[1])
