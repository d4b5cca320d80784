"""A small Kubernetes API with Argo, over real HTTP, which runs script templates as processes on this machine.

It implements only the part of the API that this package uses, without Argo's messages on failures, which the recordings
have. It can simulate faults: `cut_logs_after` is the number of bytes after which log streams end, and `fail` makes the
next requests for a path fail.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import gzip
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from uv import find_uv_bin
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

LABEL = "workflows.argoproj.io/workflow"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PATH = re.compile(r"/(?:api/v1|apis/argoproj.io/v1alpha1)/namespaces/nb/(\w+)(?:/([^/]+))?(/log|/portforward)?")
NO_UV = "image-without-uv"
SOON = 60
"""Longest deadline in seconds that tests wait for."""
NETWORK = re.compile(r"SSL_CERT_(?:FILE|DIR)|(?:https?|no|all)_proxy", re.IGNORECASE)


class Log:
    """The log of one container: each line with its time, and whether the log has ended."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self.ended = False

    def write(self, line: bytes) -> None:
        now = dt.datetime.now(dt.UTC)
        self.lines.append((now.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z", line))

    def after(self, position: int) -> tuple[list[tuple[str, bytes]], bool]:
        """The lines from number `at` on, and whether these are the last; consistent while other threads write."""
        ended = self.ended  # read before the lines, so that lines written in between are in the next call
        return self.lines[position:], ended


class Workflow:
    """One workflow, its pod, its processes, and the log of each container."""

    def __init__(self, server: ArgoServer, manifest: dict) -> None:
        self.server = server
        self.manifest = manifest
        self.name = manifest["metadata"]["name"]
        self.template = server.template(manifest["spec"], self.name)
        self.logs: dict[str, Log] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.failed = False
        self.home = Path(tempfile.mkdtemp(prefix="argo-server-"))
        self.port = _free_port()  # the port of a session's worker
        self.pods = 0
        self.end_fields: dict[str, dict] = {}  # further fields of the pod's "status" and main's "terminated" at its end
        self.ended: dict[str, tuple[dict, dict[str, Log]]] = {}  # pod and logs of earlier attempts, by the pod's name
        strategy = self.template.get("retryStrategy")
        self.attempts = int(strategy["limit"]) + 1 if strategy else 1
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        if (seconds := manifest["spec"].get("activeDeadlineSeconds", SOON)) < SOON:
            timer = threading.Timer(seconds, self.pass_deadline)
            timer.daemon = True
            timer.start()

    def run(self) -> None:
        self.new_pod()
        self.manifest["status"] = {"phase": "Running", "nodes": {self.name: {"phase": "Pending"}}}
        try:
            with self.server.pod_limit:
                self.start()
            while self.pods < self.attempts and self.failed:
                self.ended[self.pod["metadata"]["name"]] = self.pod, self.logs
                self.logs = {}
                self.new_pod()
                self.start()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def new_pod(self) -> None:
        self.pods += 1
        install_containers = [{"name": container["name"]} for container in self.template.get("initContainers", [])]
        name = self.name if self.attempts == 1 else f"{self.name}-cell-{self.pods}"
        self.pod = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "uid": str(uuid.uuid4()),
                "labels": {LABEL: self.name},
                "finalizers": self.server.finalizers,
            },
            "spec": {
                "nodeName": "n1",
                "initContainers": [{"name": "init", "image": "quay.io/argoproj/argoexec:v4.1.2"}, *install_containers],
                "containers": [{"name": "main", "resources": self.template.get("script", {}).get("resources", {})}],
            },
            "status": {"phase": "Pending"},
        }
        self.server.changed("ADDED", self.pod)
        self.server.ending.wait(self.server.start_after)

    def start(self) -> None:
        if self.server.ending.is_set():
            return
        # Like a kubelet, mount the template's ConfigMap once it exists.
        for volume in self.template["volumes"]:
            while name := (volume.get("configMap") or {}).get("name"):
                if name == "uv-argo-no-program":
                    break
                if config_map := self.server.config_maps.get(name):
                    assert config_map["metadata"]["ownerReferences"][0]["uid"] == self.manifest["metadata"]["uid"]
                    for file, text in config_map["data"].items():
                        (self.home / file).write_text(text)
                    break
                if "shutdown" in self.manifest["spec"]:
                    return
                time.sleep(0.01)
        uid = self.pod["metadata"]["uid"]
        install_containers = self.template.get("initContainers", [])
        name, code = "main", 0
        for container in install_containers:
            name, code = (
                container["name"],
                self.execute(container, container["command"][1:], tmp=self.home / container["name"]),
            )
        if code == 0:
            # After an install container, main must work without uv.
            script = self.template["script"]
            command = [*script["command"][1:], "-c", script["source"]]
            uv = not install_containers and script["image"] != NO_UV
            # A kubelet reports this at once, and the state of a container later.
            self.pod["status"] = {**self.pod["status"], "conditions": [{"type": "Initialized", "status": "True"}]}
            self.server.changed("MODIFIED", self.pod)
            name, code = "main", self.execute(script, command, tmp=self.home, uv=uv)
        if self.pod["metadata"]["uid"] != uid:
            return
        code = 137 if code < 0 else code
        phase = "Failed" if code or "status" in self.end_fields else "Succeeded"
        state = {"exitCode": code, "reason": "Error" if code else "Completed"}
        with contextlib.suppress(OSError):
            state["message"] = (self.home / "termination-log").read_text()
        self.pod["status"] |= self.end_fields.get("status", {})
        self.status(phase, name, {"terminated": state | self.end_fields.get("terminated", {})})
        self.logs[name].ended = True
        self.failed = bool(code) and "shutdown" not in self.manifest["spec"]
        self.server.ending.wait(self.server.phase_after)
        self.server.may_report_phase.wait(60)
        if self.failed and self.pods < self.attempts:
            return
        message = f"{name}: Error (exit code {code})" if code else ""
        message = self.end_fields.get("status", {}).get("message", message)
        self.manifest["status"] = self.server.final_status or {"phase": phase, "message": message}

    def execute(self, container: dict, command: list[str], *, tmp: Path, uv: bool = True) -> int:
        """Run a container of the template as a process on this machine; return its exit status."""
        name = container.get("name", "main")
        tmp.mkdir(exist_ok=True)

        def here(text: str) -> str:
            text = re.sub("^/tmp", str(tmp), text)
            return text.replace("/uv-argo-store", str(self.home / "store")).replace("/uv-argo", str(self.home))

        environ = {variable["name"]: here(self.server.value(variable)) for variable in container["env"]}
        if "UV_ARGO_SESSION" in environ:
            environ["UV_ARGO_SESSION"] = self.session(environ["UV_ARGO_SESSION"])
        elif program := environ.get("UV_ARGO_PROGRAM"):  # of a template
            text = re.sub(
                '(?<=UV_ARGO_SESSION"\\] = base64.b64decode\\(")[^"]+',
                lambda match: base64.b64encode(self.session(base64.b64decode(match[0]).decode()).encode()).decode(),
                gzip.decompress(base64.b64decode(program)).decode(),
            )
            environ["UV_ARGO_PROGRAM"] = base64.b64encode(gzip.compress(text.encode())).decode()
        if "UV_ARGO_EARLY" in environ:
            environ["UV_ARGO_EARLY"] = json.dumps({**json.loads(environ["UV_ARGO_EARLY"]), "port": self.port})
        path = f"{Path(find_uv_bin()).parent}{os.pathsep}{os.environ['PATH']}" if uv else os.defpath
        # An image for this network has its certificates and proxies.
        network = {name: text for name, text in os.environ.items() if NETWORK.fullmatch(name)}
        log = Log()
        self.process = subprocess.Popen(
            # The base Python of a venv can have pip.
            [sys.executable if uv else getattr(sys, "_base_executable", sys.executable), *map(here, command)],
            env={"PATH": path, "LANG": "C.UTF-8", **network, **environ},
            cwd=tmp,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # A pod that was created again begins a new log.
        self.logs[name] = log
        if name == "main":
            log.write(b'time=2026-11-22T20:29:14.089Z level=INFO msg="waiting for signals" argo=true\n')
        self.status("Running" if name == "main" else "Pending", name, {"running": {}})
        with self.process.stdout as stdout:
            for line in stdout:
                log.write(line)
        code = self.process.wait()
        if name == "main":
            log.write(b'time=2026-11-22T20:29:15.090Z level=INFO msg="sub-process exited" argo=true\n')
            if code:
                log.write(b"Error: exit status %d\n" % (code % 256))
        elif code == 0:
            log.ended = True
            self.status("Pending", name, {"terminated": {"exitCode": 0, "reason": "Completed"}})
        return code

    def session(self, options: str) -> str:
        """The worker options of a session, adapted to this machine: a free port, and a file for the termination log."""
        here = {"port": self.port, "report": str(self.home / "termination-log"), **self.server.worker_options}
        return json.dumps({**json.loads(options), **here})

    def status(self, phase: str, name: str, state: dict) -> None:
        """Set the pod's phase, and the state of one of its containers."""
        kind = "containerStatuses" if name == "main" else "initContainerStatuses"
        statuses = {
            container_status["name"]: container_status for container_status in self.pod["status"].get(kind, [])
        } | {name: {"name": name, "state": state}}
        self.pod["status"] = {**self.pod["status"], "phase": phase, kind: list(statuses.values())}
        self.server.changed("MODIFIED", self.pod)

    def shutdown(self) -> None:
        threading.Timer(self.server.stop_after, self.kill, (signal.SIGTERM,)).start()

    def kill(self, number: int) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(self.process.pid, number)
                    self._end_others()
                else:
                    self.process.send_signal(number)

    def _end_others(self) -> None:
        """Kill all other processes of the pod, like the kubelet."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.fsencode(self.home) in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)

    def evict(self, reason: str, message: str) -> None:
        """End the pod like the kubelet, and then write the reason into its status."""
        self.kill(signal.SIGTERM)
        self.process.wait(20)
        self.pod["status"] = {**self.pod["status"], "reason": reason, "message": message, "phase": "Failed"}
        self.server.changed("MODIFIED", self.pod)

    def pass_deadline(self) -> None:
        """Simulate that the deadline of the workflow, which Argo also sets for the pod, has passed."""
        message = "Pod was active on the node longer than the specified deadline"
        self.manifest["status"]["nodes"] = {self.name: {"phase": "Failed", "message": "Step exceeded its deadline"}}
        self.end_fields = {"status": {"reason": "DeadlineExceeded", "message": message, "phase": "Failed"}}
        self.kill(signal.SIGTERM)

    def delete(self, disruption: str = "", event: str = "") -> None:
        """Delete the pod, with this reason in its condition DisruptionTarget, and an event with this reason."""
        self.manifest["status"]["nodes"] = {self.name: {"type": "Pod", "hostNodeName": "n1", "phase": "Running"}}
        conditions = [{"type": "DisruptionTarget", "status": "True", "reason": disruption}] if disruption else []
        deleting = {**self.pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        deleted = {**self.pod, "metadata": deleting, "status": {**self.pod["status"], "conditions": conditions}}
        self.pod = {**deleted, "metadata": {**deleting, "uid": "none"}}
        self.server.changed("MODIFIED", deleted)
        if event:
            fields = {"reason": event, "message": "", "metadata": {"name": f"{self.name}.1"}}
            self.server.events.append({**fields, "involvedObject": {"name": self.name}})
        self.kill(signal.SIGTERM)
        self.process.wait(20)
        self.server.changed("DELETED", deleted)

    def delete_and_recreate(self) -> None:
        """Delete the pod at once, and create it again half a second later, like Argo while its node is Pending."""
        deleted = self.pod
        # First, so that the end of its processes does not change the workflow.
        self.pod = {**deleted, "metadata": {**deleted["metadata"], "uid": "none"}}
        self.kill(signal.SIGKILL)
        for log in self.logs.values():
            log.ended = True
        self.server.changed("DELETED", deleted)

        def recreate() -> None:
            if "shutdown" not in self.manifest["spec"]:
                self.new_pod()
                self.start()
            else:
                self.manifest["status"] = {"phase": "Failed", "message": "Stopped with strategy 'Terminate'"}

        self.recreation = threading.Timer(0.5, recreate)
        self.recreation.start()


class _Http(ThreadingHTTPServer):
    request_queue_size = 128  # fifty runs connect at once, on a machine with few cores


class ArgoServer:
    """`with ArgoServer(folder) as server`: its kubeconfig is `server.kubeconfig`; the only namespace is nb."""

    def __init__(self, folder: Path, *, tls: tuple[Path, Path] | None = None, prefix: str = "") -> None:
        self.start_after, self.stop_after, self.phase_after = 0.05, 0.1, 0.3
        self.ending = threading.Event()  # if set, nothing new is started
        self.may_report_phase = threading.Event()  # while not set, Argo reports no final phase
        self.may_report_phase.set()
        self.final_status: dict = {}  # the status with which workflows end, whatever their cells did
        self.cut_logs_after = 0
        self.fields = ["pendingTimeout"]
        self.pod_limit = threading.Semaphore(1000)  # limits the pods that run at the same time
        self.tokens = {"secret"}
        self.forward_cuts: list[int] = []  # bytes from the pod after which each of the next port-forwards is cut
        self.worker_options: dict[str, object] = {}  # further options of session workers
        self.forward_down = False  # if set, port-forwards end and new ones are refused
        self.forward_resets = True  # whether such a cut loses data in transit
        self.forward_streams: list[bytearray] = []  # data from pods, by connection
        self.forward_pause = 0.0  # seconds between two pieces of 32 kB from pods
        self.forwarded: list[int] = []  # bytes from pods, in each piece
        self.forward_frozen = False  # if set, port-forwards move nothing, as if the network was cut
        self.logs_are_frozen = False  # if set, logs are silent, as if the kubelet hangs
        self.prefix = prefix
        self.closed = False
        self.failures: list[tuple[str, int, dict]] = []
        self.tokens_seen: list[str] = []
        self.calls: list[tuple[str, str, str]] = []
        self.workflows: dict[str, Workflow] = {}
        self.events: list[dict] = []
        self.config_maps: dict[str, dict] = {}
        self.templates: dict[str, dict] = {}
        self.denied: set[tuple[str, str]] = set()
        self.finalizers: list[str] = []
        self.secrets = {"keys": {"token": "swordfish"}}
        self.changes: list[tuple[str, dict]] = []
        self.condition = threading.Condition()
        self.http = _Http(("127.0.0.1", 0), _Handler)
        self.http.daemon_threads = False  # so that closing the server waits for them
        self.connections: set[socket.socket] = set()
        self.http.owner = self
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        authority = {"certificate-authority": str(tls[0])} if tls else {}
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.http.server_port}{prefix}"
        self.kubeconfig = folder / "kubeconfig"
        # These variables select this cluster by default; its image is the Python that runs the tests.
        here = ".".join(map(str, sys.version_info[:3]))
        self.settings = {"UV_ARGO_KUBECONFIG": str(self.kubeconfig), "UV_ARGO_IMAGES": f"{here}=none"}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": self.url, **authority}}],
                    "users": [{"name": "u", "user": {"token": "secret"}}],
                    "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "nb"}}],
                    "current-context": "test",
                }
            )
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.may_report_phase.set()
        for workflow in self.workflows.values():
            workflow.kill(signal.SIGKILL)
            workflow.thread.join(10)
        self.closed = True
        self.http.shutdown()
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.http.server_close()

    def template(self, spec: dict, workflow: str) -> dict:
        """The only template of a Workflow; for a WorkflowTemplate, with its parameters inserted, like Argo."""
        if "workflowTemplateRef" not in spec:
            return json.loads(json.dumps(spec["templates"][0]).replace("{{workflow.name}}", workflow))
        template = self.templates[spec["workflowTemplateRef"]["name"]]["spec"]
        text = json.dumps(template["templates"][0])
        values = {parameter["name"]: parameter["value"] for parameter in spec["arguments"]["parameters"]}
        for parameter in template["arguments"]["parameters"]:
            value = json.dumps(values.get(parameter["name"], parameter.get("value")))[1:-1]
            text = text.replace(f"{{{{workflow.parameters.{parameter['name']}}}}}", value)
        # The only expression in our templates.
        owned = values.get("largeProgram") == "true"
        program = f"uv-argo-program-{workflow}" if owned else "uv-argo-no-program"
        text = text.replace("{{workflow.name}}", workflow)
        return json.loads(re.sub(r"\{\{=workflow\.parameters\.largeProgram == [^}]*\}\}", program, text))

    def changed(self, kind: str, pod: dict) -> None:
        with self.condition:
            copy = json.loads(json.dumps(pod))
            copy["metadata"]["resourceVersion"] = str(len(self.changes) + 1)
            self.changes.append((kind, copy))
            self.condition.notify_all()

    def value(self, variable: dict) -> str:
        """The value of an entry of a container's `env`, as computed by a kubelet."""
        if "value" in variable:
            return variable["value"]
        reference = variable["valueFrom"]["secretKeyRef"]
        return self.secrets[reference["name"]][reference["key"]]

    def fail(
        self, path: str, status: int, message: str = "simulated failure", times: int = 1, **fields: object
    ) -> None:
        """Make the next requests whose "METHOD path" contains `path` get this response."""
        self.failures += [(path, status, {"kind": "Status", "message": message, "code": status, **fields})] * times


def _free_port() -> int:
    with socket.socket() as free_socket:
        free_socket.bind(("127.0.0.1", 0))
        return int(free_socket.getsockname()[1])


def is_selected(manifest: dict, selector: str) -> bool:
    """Whether a label selector of the forms KEY, KEY=VALUE and KEY!=VALUE, joined by commas, matches."""
    labels = manifest["metadata"]["labels"]
    for requirement in filter(None, selector.split(",")):
        key, comparison, value = re.fullmatch(r"([^!=]+)(!=|=)?(.*)", requirement).groups()
        actual = labels.get(key)
        if not (actual != value if comparison == "!=" else actual == value if comparison else actual is not None):
            return False
    return True


def created(server: ArgoServer, body: dict) -> dict:
    """Create and start a workflow from a request body; return the object."""
    name = body["metadata"]["generateName"] + uuid.uuid4().hex[:5]
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body["metadata"] |= {"name": name, "namespace": "nb", "uid": str(uuid.uuid4()), "creationTimestamp": now}
    server.workflows[name] = Workflow(server, body)
    return body


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections.add(self.connection)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client was killed
            super().handle()

    def finish(self) -> None:
        self.server.owner.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PATCH = do_GET  # noqa: N815

    def answer(self) -> None:
        server: ArgoServer = self.server.owner
        url = urlsplit(self.path.replace(server.prefix, "", 1) if server.prefix in self.path else "/elsewhere")
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        server.calls.append((self.command, url.path, url.query))
        if self.misbehaves(server, f"{self.command} {url.path}?{url.query}"):
            return None
        if (api_response := self.api_response(server, url.path, body)) is not None:
            return self.respond(201 if self.command == "POST" else 200, api_response)
        if url.path == "/apis/argoproj.io/v1alpha1/workflows":
            return self.list_workflows(server, query, "at the cluster scope")
        match = re.fullmatch(
            r"/(?:api/v1|apis/argoproj.io/v1alpha1)/namespaces/nb/(\w+)(?:/([^/]+))?(/log|/portforward)?", url.path
        )
        if not match:
            return self.respond(404, {"message": "the server could not find the requested resource"})
        kind, name, log = match.groups()
        if log == "/portforward":
            return self.forward(server, name)
        if kind in ("workflowtemplates", "configmaps", "events"):
            return self.other_resource(server, kind, name, body)
        if kind == "pods" and not name:
            workflow_name = query["labelSelector"].partition("=")[2]
            return self.watch(server, workflow_name, query) if "watch" in query else self.pods(server, workflow_name)
        if self.command == "POST":
            return self.respond(201, body) if query.get("dryRun") == "All" else self.create(server, body)
        if kind == "workflows" and not name:
            return self.list_workflows(server, query)
        workflow = server.workflows.get(re.sub(r"-cell-\d+$", "", name))
        if workflow is None or (kind == "pods" and name not in (*workflow.ended, workflow.pod["metadata"]["name"])):
            return self.respond(404, {"message": f'{kind} "{name}" not found'})
        pod, logs = workflow.ended.get(name, (workflow.pod, workflow.logs))
        if log:
            return self.log(server, logs, query)
        if self.command == "PATCH":
            return self.patch(server, workflow, body)
        return self.respond(200, workflow.manifest if kind == "workflows" else pod)

    def api_response(self, server: ArgoServer, path: str, body: dict) -> dict | None:
        """The response about the API or about permissions; `server.denied` has the denied (resource, verb)."""
        if path == "/version":
            return {"gitVersion": "v1.35.4"}
        if path == "/apis/argoproj.io/v1alpha1":
            return {"resources": [{"name": "workflows"}, {"name": "workflowtemplates"}]}
        if path == "/openapi/v3/apis/argoproj.io/v1alpha1":
            return {"fields": dict.fromkeys(server.fields)}
        if path.endswith("/selfsubjectreviews"):
            return {"status": {"userInfo": {"username": "tester"}}}
        if path.endswith("accessreviews"):
            attributes = body["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
            return {"status": {"allowed": (resource, attributes["verb"]) not in server.denied}}
        return None

    def misbehaves(self, server: ArgoServer, request: str) -> bool:
        """Send the error that the token or the test requires; return whether there was one."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        server.tokens_seen.append(token)
        if kind.lower() != "bearer" or token not in server.tokens:
            self.respond(401, {"message": "Unauthorized"})
            return True
        for failure in server.failures:
            if failure[0] in request:
                server.failures.remove(failure)
                if failure[1] == 0:  # reset the connection without a response
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                else:
                    self.respond(failure[1], failure[2])
                return True
        return False

    def other_resource(self, server: ArgoServer, kind: str, name: str, body: dict) -> None:
        if kind == "events":
            return self.respond(200, {"items": server.events})
        if kind == "workflowtemplates":
            missing = {"message": f'workflowtemplates.argoproj.io "{name}" not found'}
            return self.respond(*(200, server.templates[name]) if name in server.templates else (404, missing))
        if self.command == "GET":
            missing = {"message": f'configmaps "{name}" not found'}
            return self.respond(*(200, server.config_maps[name]) if name in server.config_maps else (404, missing))
        server.config_maps[body["metadata"]["name"]] = body
        return self.respond(201, body)

    def list_workflows(self, server: ArgoServer, query: dict, scope: str = 'in the namespace "nb"') -> None:
        if ("workflows", f"list {scope}") in server.denied:
            return self.refuse("list", "workflows", scope)
        selector = query.get("labelSelector", "")
        return self.respond(
            200,
            {
                "items": [
                    workflow.manifest
                    for workflow in server.workflows.values()
                    if is_selected(workflow.manifest, selector)
                ]
            },
        )

    def patch(self, server: ArgoServer, workflow: Workflow, body: dict) -> None:
        if ("workflows", "patch") in server.denied:
            return self.refuse("patch", "workflows", 'in the namespace "nb"')
        notes = workflow.manifest["metadata"].setdefault("annotations", {})
        notes |= body.get("metadata", {}).get("annotations", {})
        if "spec" in body:
            workflow.manifest["spec"].update(body["spec"])
            workflow.shutdown()
        return self.respond(200, workflow.manifest)

    def refuse(self, verb: str, resource: str, scope: str) -> None:
        message = (
            f'{resource}.argoproj.io is forbidden: User "tester" cannot {verb} resource "{resource}" in API group '
        )
        return self.respond(403, {"kind": "Status", "message": f'{message}"argoproj.io" {scope}', "code": 403})

    def create(self, server: ArgoServer, body: dict) -> None:
        self.respond(201, created(server, body))

    def pods(self, server: ArgoServer, workflow_name: str) -> None:
        with server.condition:
            known: dict[str, dict] = {}
            for kind, pod in server.changes:
                if pod["metadata"]["labels"][LABEL] == workflow_name:
                    known[pod["metadata"]["uid"]] = pod
                    if kind == "DELETED":
                        del known[pod["metadata"]["uid"]]
            self.respond(
                200, {"items": list(known.values()), "metadata": {"resourceVersion": str(len(server.changes))}}
            )

    def watch(self, server: ArgoServer, workflow_name: str, query: dict) -> None:
        position = int(query["resourceVersion"])
        self.begin()
        deadline = time.monotonic() + 5
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline and not server.closed:
                with server.condition:
                    server.condition.wait_for(lambda position=position: len(server.changes) > position, 0.1)
                    new = server.changes[position:]
                position += len(new)
                for kind, pod in new:
                    if pod["metadata"]["labels"][LABEL] == workflow_name:
                        self.piece(json.dumps({"type": kind, "object": pod}).encode() + b"\n")
            self.piece(b"")

    def log(self, server: ArgoServer, logs: dict[str, Log], query: dict) -> None:
        log = logs.get(query["container"])
        if log is None:
            return self.respond(
                400, {"message": f'container "{query["container"]}" is waiting to start: PodInitializing'}
            )
        since = query.get("sinceTime", "")[:19]
        self.thaw(server)
        self.begin()
        sent, position = 0, 0
        with contextlib.suppress(OSError):
            while True:
                self.thaw(server)
                lines, ended = log.after(position)
                position += len(lines)
                new = b"".join(f"{t} ".encode() + line for t, line in lines if t[:19] >= since)
                if new and server.cut_logs_after and sent + len(new) > server.cut_logs_after:
                    # Cut in the middle of a line, without the final HTTP chunk.
                    self.piece(new[: server.cut_logs_after - sent])
                    self.close_connection = True
                    return None
                sent += len(new)
                if new:
                    self.piece(new)
                elif ended or "follow" not in query:
                    break
                time.sleep(0.01)
            self.piece(b"")
        return None

    def forward(self, server: ArgoServer, name: str) -> None:
        """A port-forward as in an API server and a kubelet: a websocket with a data and an error channel."""
        for verb in ("get", "create"):
            if ("pods/portforward", verb) in server.denied:
                reason = 'User "tester" cannot get resource "pods/portforward" in API group "" in the namespace "nb"'
                # Without `create`, the message has no reason.
                message = f'pods "{name}" is forbidden: {reason if verb == "get" else ""}'
                return self.respond(403, {"kind": "Status", "message": message, "reason": "Forbidden", "code": 403})
        if server.forward_down:
            return self.respond(503, {"kind": "Status", "message": "error dialing backend", "code": 503})
        if self.headers.get("Upgrade") != "websocket":
            return self.respond(400, {"kind": "Status", "message": "Upgrade request required", "code": 400})
        workflow = server.workflows.get(name)
        if workflow is None:
            return self.respond(404, {"kind": "Status", "message": f'pods "{name}" not found', "code": 404})
        accepted = base64.b64encode(hashlib.sha1(f"{self.headers['Sec-WebSocket-Key']}{GUID}".encode()).digest())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted.decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError, LocalProtocolError, RemoteProtocolError):
            self.move(server, workflow)
        return None

    def move(self, server: ArgoServer, workflow: Workflow) -> None:
        """Move the bytes of a port-forward until one side closes it, or the test cuts it."""
        frames = Connection(ConnectionType.SERVER)
        is_first = True  # the first part of a message, which has the channel
        left = server.forward_cuts.pop(0) if server.forward_cuts else None

        def send(channel: int, data: bytes) -> None:
            self.connection.sendall(frames.send(BytesMessage(data=bytes([channel]) + data)))

        stream = bytearray()
        server.forward_streams.append(stream)
        for channel in (0, 1):
            send(channel, (8471).to_bytes(2, "little"))
        try:
            pod = socket.create_connection(("127.0.0.1", workflow.port), 5)
        except OSError:
            return send(1, b"error forwarding port 8471 to pod: connect: connection refused")
        with pod:
            while not (server.closed or server.forward_down):
                ready, _, _ = select.select([pod, self.connection], [], [], 0.1)
                if server.forward_frozen:
                    time.sleep(0.01)
                    continue
                if pod in ready:
                    data = pod.recv(32768)
                    if not data:
                        self.connection.sendall(frames.send(CloseConnection(code=1000)))
                        return None
                    if left is not None and len(data) >= left:
                        send(0, data[:left])
                        return self.cut(server)
                    left = None if left is None else left - len(data)
                    server.forwarded.append(len(data))
                    stream += data
                    time.sleep(server.forward_pause)
                    send(0, data)
                if self.connection in ready:
                    data = self.connection.recv(65536)
                    if not data:
                        return None
                    frames.receive_data(data)
                    for event in frames.events():
                        if isinstance(event, BytesMessage):
                            pod.sendall(event.data[is_first:])
                            is_first = event.message_finished
        return None

    def cut(self, server: ArgoServer) -> None:
        """Cut a port-forward."""
        if server.forward_resets:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def thaw(self, server: ArgoServer) -> None:
        while server.logs_are_frozen and not server.closed:
            time.sleep(0.01)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def respond(self, status: int, body: dict) -> None:
        later = body.get("retry_after")
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if later is not None:
            self.send_header("Retry-After", str(later))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
