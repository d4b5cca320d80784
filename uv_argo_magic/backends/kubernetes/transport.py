"""HTTP requests to an API; responses become plain objects, streams of bytes, or our errors.

Rules:
- Every request goes through `_send`, which renews refused credentials once, and retries a 429 later.
- A stream times out only if no bytes arrive; every other request has a time limit.
- HTTP errors and urllib3's exceptions are translated only in this module.
"""

from __future__ import annotations

import contextlib
import http
import json
import re
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import urllib3

from uv_argo_magic.backends.kubernetes.rbac import POD_RULES, Rule, denied, refusal_hint
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

CONNECT = 10.0
"""Seconds to reach the API."""
SOCKET_CONNECT = 5.0
"""Seconds to reach the API for a connection that is retried."""
ANSWER = 30.0
"""Seconds for the response to a plain request."""
SILENCE = 30.0
"""Seconds without a byte after which a log is opened again; a running cell sends a record every ten seconds."""
LATER = (3, 10.0)
"""How often a 429 is retried, and the maximum seconds before each retry."""


class Gone(BackendError):
    """The object does not exist."""


class TooEarly(BackendError):
    """There is no log yet, because the container has not started."""


class Expired(BackendError):
    """The API no longer has this version of a watch, so the caller has to list again."""


class NotLoggedIn(BackendUnavailable):
    """The credentials are missing, invalid or expired."""


class TimedOut(BackendUnavailable):
    """For `seconds`, there was no response to a request, or (`in_stream`) no further byte of a response."""

    def __init__(self, message: str, *, hint: str = "", seconds: float, in_stream: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds
        self.in_stream = in_stream


class Stream:
    """Bytes as they arrive. `close` can be called from any thread, and ends a blocked read.

    After `silence` seconds without a byte, the read times out.
    """

    def __init__(self, response: Any, silence: float) -> None:
        self._response = response
        self._silence = silence
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of any size, until the server closes the connection.

        Raises:
            TimedOut: no bytes arrived for too long.
            BackendUnavailable: the connection was lost.
        """
        try:
            for data in self._response.stream(None):
                if self._closed:
                    # After a shutdown, a pending read of Python's TLS sockets returns encrypted bytes.
                    return
                yield data
        except urllib3.exceptions.ReadTimeoutError as problem:
            raise TimedOut(f"no data for {self._silence:g} seconds", seconds=self._silence, in_stream=True) from problem
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as problem:
            # urllib3 raises the last two exceptions if another thread closed the connection.
            raise BackendUnavailable(f"the connection was lost: {problem}") from problem
        finally:
            self._response.close()

    def close(self) -> None:
        """Close the stream. No error if it has ended."""
        self._closed = True
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            self._response.shutdown()


class Session(Protocol):
    """Connections to one server, and the credentials for them."""

    @property
    def host(self) -> str:
        """The server's URL, including the prefix of all paths."""

    @property
    def pool(self) -> Any:
        """urllib3's connection pool."""

    def headers(self) -> dict[str, str]:
        """The headers with the current credentials."""

    def renew(self, pool: object) -> None:
        """Load the credentials again, because those used with `pool` were refused."""


@frozen
class HttpTransport:
    """Requests to one API.

    `location` is its name in messages, `advice` the hint if it does not respond, and `rules` are the permissions that
    the requests need.
    """

    session: Session
    location: str
    advice: str
    rules: tuple[Rule, ...] = POD_RULES
    login: str = "Log in to the cluster again, then run the cell again."
    """The hint if the credentials are refused."""

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """The JSON object in the response.

        Raises:
            BackendError: the API refused the request, or did not return a JSON object.
        """
        response = self._send(method, path, query or {}, ANSWER, body=body, content_type=content_type)
        data = self._read(response, None)
        self.check(response.status, data)
        try:
            content = json.loads(data)
        except ValueError as problem:
            raise _no_api(self.location) from problem
        if not isinstance(content, dict):
            raise _no_api(self.location)
        return content

    def stream(self, path: str, query: Mapping[str, str], *, silence: float = SILENCE) -> Stream:
        """The body of the response, as it arrives.

        Raises:
            TooEarly: there is nothing to read yet.
            BackendError: the API refused the request, or did not respond.
        """
        response = self._send("GET", path, query, silence)
        if response.status >= 300:
            data = self._read(response, 65536)
            if response.status == 400:
                # A valid request for a log or a watch fails with 400 only if there is nothing to read yet.
                raise TooEarly(_message(data))
            self.check(response.status, data)
        return Stream(response, silence)

    def open_socket(self) -> socket.socket:
        """A connection to the server for a protocol other than HTTP, with the configured proxy and TLS.

        Raises:
            BackendUnavailable: the server does not respond.
        """
        try:
            pool = self.session.pool.connection_from_url(self.session.host)
            # Only urllib3 has the kubeconfig's proxy and TLS settings, and it has no public method to just connect.
            connection = pool._new_conn()  # noqa: SLF001
            connection.timeout = SOCKET_CONNECT
            if pool.proxy is not None:
                pool._prepare_proxy(connection)  # noqa: SLF001
            if connection.sock is None:
                connection.connect()
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise self._no_response(problem, SOCKET_CONNECT) from problem
        sock: socket.socket = connection.sock
        connection.sock = None  # otherwise the garbage collector would close the socket
        return sock

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        silence: float,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = "",
    ) -> Any:
        """The response; its body is not read yet. A 401 or 429 can be retried, because the request had no effect."""
        renewed, retries = False, 0
        while True:
            pool = self.session.pool
            response = self._once(method, path, query, silence, body=body, content_type=content_type)
            if response.status == 401 and not renewed:
                renewed = True
                response.close()
                self.session.renew(pool)
            elif response.status == 429 and retries < LATER[0]:
                retries += 1
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
        content_type: str,
    ) -> Any:
        headers = {**self.session.headers(), "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content_type
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
            raise self._no_response(problem, silence) from problem

    def _read(self, response: Any, limit: int | None) -> bytes:
        try:
            return bytes(response.read(limit))
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise self._no_response(problem, ANSWER) from problem
        finally:
            if limit is None:
                response.release_conn()
            else:
                response.close()

    def _no_response(self, problem: BaseException, silence: float) -> BackendUnavailable:
        message = f"no response from the API of {self.location}"
        # For urllib3, a refused connection is a ConnectTimeoutError too.
        is_refusal = isinstance(problem, urllib3.exceptions.NewConnectionError)
        if isinstance(problem, urllib3.exceptions.TimeoutError) and not is_refusal:
            is_connect = isinstance(problem, urllib3.exceptions.ConnectTimeoutError)
            seconds = min(CONNECT, silence) if is_connect else silence
            return TimedOut(f"{message} within {seconds:g} seconds", hint=self.advice, seconds=seconds)
        return BackendUnavailable(f"{message}: {reason(problem)}", hint=self.advice)

    def check(self, status: int, data: bytes) -> None:
        """Raise the error for a response with a status of 300 or more.

        Raises:
            BackendError: the error, from the status and the body of the response.
        """
        if status < 300:
            return
        message = _message(data) or f"{self.location} responded with {status} {_phrase(status)} and no message"
        match status:
            case 401:
                raise NotLoggedIn(
                    f"not logged in to {self.location} (401)",
                    hint=self.login,
                )
            case 403:
                raise denied(message, self.rules)
            case 404:
                raise Gone(message)
            case 410:
                raise Expired(message)
            case 408 | 429 | 500 | 502 | 503 | 504:
                # If a kubelet does not respond, the message also quotes the request.
                message = re.sub(r'\b(?:Get|Post) "[^"]*": ', "", message)
                raise BackendUnavailable(
                    f"the API of {self.location} failed ({status}): {_short(message)}",
                    hint="Wait a moment, then run the cell again.",
                )
            case _ if fields := re.findall(r'unknown field "([^"]+)"', message):
                raise SubmitRejected(
                    f"unknown fields at {self.location}: {', '.join(fields)}",
                    hint="Remove them from the patch, or fix their names; a newer version may have them.",
                )
            case _:
                raise SubmitRejected(
                    f"the API refused the request ({status}): {_short(message)}", hint=refusal_hint(message)
                )


def _seconds(retry_after: str | None) -> float:
    """The seconds of a Retry-After header; 1 if it is missing or a date."""
    return float(retry_after) if retry_after and retry_after.isdigit() else 1.0


def _no_api(location: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"the response from {location} is not that of a Kubernetes API",
        hint="Check the server's address in the kubeconfig; a proxy or a login page may respond instead.",
    )


def _message(data: bytes) -> str:
    """The message of an error response: from a Status object or a stream's error, or else the start of the text."""
    try:
        status = json.loads(data)
        return str(status.get("error", status)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return data.decode("utf-8", "replace").strip()[:500]


def _phrase(status: int) -> str:
    """The standard phrase of an HTTP status, or ""."""
    return next((item.phrase for item in http.HTTPStatus if item == status), "")


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "\N{HORIZONTAL ELLIPSIS}"


def reason(problem: BaseException) -> str:
    """The message of the innermost cause of an exception, as one line of at most 300 characters."""
    inner = getattr(problem, "reason", None) or problem
    text = re.sub(r"^<[^>]*>: |^\w+\([^)]*\): ", "", str(inner))
    return re.sub(r"\s+", " ", text)[:300] or type(problem).__name__
