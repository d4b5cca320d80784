"""Requests to an API over HTTP, and what its answers mean: plain objects, streams of bytes, or errors of ours.

Rules:
- One way for every request: a credential that is refused is got anew once, and an API that says "later" is asked later.
- A stream has no end by time but by silence; every question has one.
- Every problem is translated here, once.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from uv_argo_magic.backends.kubernetes.rbac import denied, refusal_hint
from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT = 10.0
"""Seconds to reach the API."""
ANSWER = 30.0
"""Seconds that it may take to answer a plain question."""
SILENCE = 75.0
"""Seconds without a byte after which a stream is opened anew: a proxy may have forgotten it."""
LATER = (3, 10.0)
"""How often an API that has too much to do is asked again, and the most seconds to wait for it each time."""


class Gone(BackendError):
    """What was asked for is not there."""


class TooEarly(BackendError):
    """There is no log yet: the container waits for its start."""


class Expired(BackendError):
    """The place in a watch is too long ago: list again."""


class Stream:
    """Bytes as they come; `close` may be called from any thread, and ends a read that waits."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of any size, until the other end closes.

        Raises:
            BackendUnavailable: the connection broke off.
        """
        import urllib3  # noqa: PLC0415 - comes with kubernetes

        try:
            for data in self._response.stream(None):
                if self._closed:
                    # Python's TLS sockets give what is still encrypted to a read that goes on after a shutdown.
                    return
                yield data
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as problem:
            # The last two are what urllib3 says of a connection closed by another thread.
            raise BackendUnavailable(f"the connection broke off: {problem}") from problem
        finally:
            self._response.close()

    def close(self) -> None:
        """End it; nothing happens to one that has ended."""
        self._closed = True
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            self._response.shutdown()


class Session(Protocol):
    """Connections to one server, and the credentials for them."""

    @property
    def host(self) -> str:
        """The server's address, with the path that stands before every other."""

    @property
    def pool(self) -> Any:
        """urllib3's."""

    def headers(self) -> dict[str, str]:
        """The credentials as they are now."""

    def renew(self, pool: object) -> None:
        """Get them anew: those that went with `pool` were refused."""


@dataclass(frozen=True, kw_only=True)
class HttpTransport:
    """The way to one API; `place` names it in sentences, and `advice` says what to do where it does not answer."""

    session: Session
    place: str
    advice: str

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> dict[str, Any]:
        """The object that answers.

        Raises:
            BackendError: there is none, or it says no.
        """
        response = self._send(method, path, query or {}, ANSWER, body=body, kind=kind)
        data = self._read(response, None)
        self._check(response.status, data)
        try:
            said = json.loads(data)
        except ValueError as problem:
            raise _no_api(self.place) from problem
        if not isinstance(said, dict):
            raise _no_api(self.place)
        return said

    def open(self, path: str, query: Mapping[str, str], *, silence: float = SILENCE) -> Stream:
        """The bytes that answer, as they come.

        Raises:
            TooEarly: there is nothing to be read yet.
            BackendError: it says no, or nothing.
        """
        response = self._send("GET", path, query, silence)
        if response.status >= 300:
            data = self._read(response, 65536)
            if response.status == 400:
                # All that a correct question for a log or a watch can be refused for: nothing is there to be read.
                raise TooEarly(_message(data))
            self._check(response.status, data)
        return Stream(response)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        silence: float,
        *,
        body: Mapping[str, Any] | None = None,
        kind: str = "",
    ) -> Any:
        """The response, its body not read yet. Neither a 401 nor a 429 has done anything: both may be asked again."""
        renewed, later = False, 0
        while True:
            pool = self.session.pool
            response = self._once(method, path, query, silence, body=body, kind=kind)
            if response.status == 401 and not renewed:
                renewed = True
                response.close()
                self.session.renew(pool)
            elif response.status == 429 and later < LATER[0]:
                later += 1
                response.close()
                time.sleep(min(_seconds(response.headers.get("Retry-After")), LATER[1]))
            else:
                return response

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        silence: float,
        *,
        body: Mapping[str, Any] | None,
        kind: str,
    ) -> Any:
        import urllib3  # noqa: PLC0415 - comes with kubernetes

        headers = {**self.session.headers(), "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = kind
        try:
            return self.session.pool.request(
                method,
                f"{self.session.host.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else ""),
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT, read=silence),
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise self._silent(problem) from problem

    def _read(self, response: Any, most: int | None) -> bytes:
        import urllib3  # noqa: PLC0415 - comes with kubernetes

        try:
            return bytes(response.read(most))
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise self._silent(problem) from problem
        finally:
            if most is None:
                response.release_conn()
            else:
                response.close()

    def _silent(self, problem: BaseException) -> BackendUnavailable:
        return BackendUnavailable(f"the API of {self.place} does not answer: {reason(problem)}", hint=self.advice)

    def _check(self, status: int, data: bytes) -> None:
        """Raise what an answer means."""
        if status < 300:
            return
        text = _message(data)
        match status:
            case 401:
                raise BackendUnavailable(
                    f"{self.place} does not know you (401)",
                    hint="Log in to the cluster again, then run the cell again.",
                )
            case 403:
                raise denied(text)
            case 404:
                raise Gone(text)
            case 410:
                raise Expired(text)
            case 429 | 500 | 502 | 503 | 504:
                raise BackendUnavailable(
                    f"the API of {self.place} has a problem of its own ({status}): {text}",
                    hint="Wait a moment, and run the cell again.",
                )
            case _ if unknown := re.findall(r'unknown field "([^"]+)"', text):
                raise SubmitRejected(
                    f"Argo at {self.place} does not know {', '.join(unknown)}",
                    hint="Leave it out of the patch, or correct it; a newer Argo may know it.",
                )
            case _:
                raise SubmitRejected(f"the API refused it ({status}): {_short(text)}", hint=refusal_hint(text))


def _seconds(said: str | None) -> float:
    """What Retry-After says; a second where it says nothing, or a date."""
    return float(said) if said and said.isdigit() else 1.0


def _no_api(place: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"{place} answers with something that is no Kubernetes API",
        hint="Check the server's address in the kubeconfig; a proxy or a login page may be in between.",
    )


def _message(data: bytes) -> str:
    """What an answer that is an error says: a Status object's message, or the first of its text."""
    try:
        said = json.loads(data)
        return str(said["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip()[:500]


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "\N{HORIZONTAL ELLIPSIS}"


def reason(problem: BaseException) -> str:
    """The innermost words of a vendor's error, in one line of bearable length."""
    inner = getattr(problem, "reason", None) or problem
    text = re.sub(r"^<[^>]*>: |^\w+\([^)]*\): ", "", str(inner))
    return re.sub(r"\s+", " ", text)[:300] or type(problem).__name__
