"""The part of an Argo Server's API that this package uses, for the workflows of argo_server.py.

As in version 4.1.2, streams are lines of JSON with a `result` or an `error`, and a log request waits for the log.
`cut_logs_after` is the number of bytes after which log streams end.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

from support.argo_server import Workflow, created, is_selected

if TYPE_CHECKING:
    from support.argo_server import ArgoServer


def with_nodes(workflow: Workflow) -> dict:
    """The workflow with the nodes that a controller would add."""
    state = {"Pending": "Pending", "Running": "Running"}.get(workflow.pod["status"]["phase"], "")
    main = next(
        (status for status in workflow.pod["status"].get("containerStatuses", []) if status["name"] == "main"), {}
    )
    ended = main.get("state", {}).get("terminated")
    node = {"id": workflow.name, "type": "Pod", "templateName": "cell", "phase": state or "Succeeded"}
    if ended:
        code = ended["exitCode"]
        node |= {"phase": "Failed" if code else "Succeeded", "outputs": {"exitCode": str(code)}}
        node |= {"message": f"main: Error (exit code {code})"} if code else {}
    workflow_object = workflow.manifest
    return {**workflow_object, "status": {**workflow_object.get("status", {}), "nodes": {workflow.name: node}}}


class ArgoRest:
    """`with ArgoRest(server) as rest`: `rest.address` is its host and port; the token is "secret"."""

    def __init__(self, server: ArgoServer, *, base: str = "") -> None:
        self.server, self.base, self.cut_logs_after = server, base, 0
        self.calls: list[tuple[str, str]] = []
        self.watch_denied = ""  # the message with which watches are refused
        self.closed = False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.http.daemon_threads = True
        self.http.owner = self
        self.address = f"127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.answer(self.server.owner)

    do_POST = do_PUT = do_GET  # noqa: N815

    def answer(self, rest: ArgoRest) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        rest.calls.append((self.command, self.path))
        if self.headers.get("Authorization") != "Bearer secret":
            return self.respond(401, {"code": 16, "message": "token not valid"})
        events = re.fullmatch(f"{rest.base}/api/v1/workflow-events/nb", url.path)
        match = re.fullmatch(rf"{rest.base}/api/v1/workflows/(?:nb)?(?:/([^/]+))?(?:/(log|stop|terminate))?", url.path)
        if events:
            if rest.watch_denied:
                return self.respond(403, {"error": {"grpc_code": 7, "http_code": 403, "message": rest.watch_denied}})
            return self.events(rest, query.get("listOptions.fieldSelector", "").partition("=")[2])
        if url.path == f"{rest.base}/api/v1/version":
            return self.respond(200, {"version": "v4.1.2"})
        if not match:
            return self.respond(404, {"code": 5, "message": "Not Found"})
        name, verb = match.groups()
        if self.command == "POST":
            workflow_object = body["workflow"]
            return self.respond(200, workflow_object if body["serverDryRun"] else created(rest.server, workflow_object))
        if name is None:
            selector = query.get("listOptions.labelSelector", "")
            items = [with_nodes(item) for item in rest.server.workflows.values()]
            return self.respond(200, {"items": [item for item in items if is_selected(item, selector)]})
        workflow = rest.server.workflows.get(name)
        missing = f'workflows.argoproj.io "{name}" not found'
        if workflow is None and verb == "log":
            self.begin()
            return self.piece({"error": {"grpc_code": 5, "http_code": 404, "message": missing}}, last=True)
        if workflow is None:
            return self.respond(404, {"code": 5, "message": missing})
        if verb == "log":
            return self.log(rest, workflow, query)
        if verb:
            if "finishedAt" in workflow.manifest.get("status", {}):
                return self.respond(400, {"code": 3, "message": "cannot shutdown a completed workflow"})
            workflow.manifest["spec"]["shutdown"] = verb.title()
            workflow.shutdown()
        return self.respond(200, with_nodes(workflow))

    def events(self, rest: ArgoRest, name: str) -> None:
        self.begin()
        previous, deadline = None, time.monotonic() + 3
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline and not rest.closed:
                workflow = rest.server.workflows.get(name)
                current = with_nodes(workflow) if workflow else None
                if current != previous and current:
                    self.piece({"result": {"type": "MODIFIED", "object": current}})
                    previous = json.loads(json.dumps(current))
                time.sleep(0.02)
            self.wfile.write(b"0\r\n\r\n")

    def log(self, rest: ArgoRest, workflow: Workflow, query: dict) -> None:
        self.begin()
        since, position, sent = float(query.get("logOptions.sinceTime.seconds", 0)), 0, 0
        with contextlib.suppress(OSError):
            while not rest.closed:
                log = workflow.logs.get(query["logOptions.container"])
                lines, ended = log.after(position) if log else ([], "logOptions.follow" not in query)
                position += len(lines)
                for stamp, line in lines:
                    if time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone < since:
                        continue
                    text = json.dumps({"result": {"content": f"{stamp} {line.decode().rstrip()}", "podName": "x"}})
                    sent += len(text)
                    if rest.cut_logs_after and sent > rest.cut_logs_after:
                        half = text[: len(text) // 2].encode()
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(half), half))
                        self.close_connection = True
                        return
                    self.piece(json.loads(text))
                if ended:
                    break
                time.sleep(0.01)
            self.wfile.write(b"0\r\n\r\n")

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, body: dict, *, last: bool = False) -> None:
        data = json.dumps(body).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if last:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def respond(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
