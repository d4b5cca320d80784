"""The worker of a session: a process that keeps an interpreter, and runs the cells that clients send.

Rules:
- It is independent of its clients: it inherits none of their file descriptors, and limits its own idle time. If it is
  `bound`, it ends with the connection of its holder.
- Each cell is one run with its own log, written by the supervisor's usual code. Cells are queued.
- When the worker ends, for whatever reason, it writes a report.
"""

import collections
import json
import os
import sys
import tempfile
import time
import traceback

from .. import processes, streams, supervisor
from ..host import Host
from ..install import thin_venv
from .cell_log import MOST, CellLog
from .clients import Clients
from .lifetime import Lifetime
from .session_cell import PATIENCE, Process, SessionCell
from .transfers import Files

PROTOCOL = 1
KEPT_LOGS = 20  # maximum logs of ended cells that a client has read
MOST_LOGS = 1000  # maximum logs of ended cells
MOST_REPORT = 4096  # maximum bytes of a termination message in a pod's status
GRACE = 3.0  # seconds in which the interpreter can run exit handlers


def main(guest):
    """Run the worker with the options in UV_ARGO_SESSION (JSON); `guest` is the folder of this package.

    With a `port`, it runs in a container and listens on that port; the container's log includes those of the cells.
    """
    options = json.loads(os.environ.pop("UV_ARGO_SESSION"))
    if "port" not in options:
        if os.fork():
            os._exit(0)
        os.setsid()
    groups, above = processes.outlive()
    host = WorkerHost(guest, groups, above)
    Worker(host, options).run()


class WorkerHost(Host):
    """A supervisor's host that also serves the clients, even during installs and cells."""

    def __init__(self, guest, groups, above):
        Host.__init__(self, guest, groups, above)
        self.server = None
        self.ending = ""  # the reason why the worker has to end
        self.stop_requests = 0  # number of stop requests for the running cell
        self.stop_requested_at = 0.0
        self.forced = False  # the process of the running cell has to end
        self.has_news = False  # a client has changed something

    def start_process(self, env, python=""):
        """Start the interpreter."""
        self.process = Process(self, python or thin_venv.create(self.venv), env)

    def wait(self, sources, seconds):
        """Wait for one of the sources, and serve the clients."""
        server = self.server
        if server is None:
            return Host.wait(self, sources, seconds)
        self.has_news = False
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            due = server.pump()
            limits = [limit for limit in (seconds, due) if limit is not None]
            readable, writable = streams.wait_for(
                [*sources, *server.sources()], min(limits) if limits else None, server.sinks()
            )
            server.serve(readable, writable)
            found = [source for source in sources if source in readable]
            if deadline is not None:
                seconds = max(0.0, deadline - time.monotonic())
            if found or self.has_news or seconds == 0.0:
                return found

    def end(self, reason):
        """Make the worker end."""
        self.ending = self.ending or reason
        self.stopping = self.has_news = True

    def _stop(self, _number, _frame):
        self.end("terminated")


class Run:
    """One cell that a client sent."""

    def __init__(self, request, payload, log):
        self.id = request["run"]
        self.number = request.get("number") or 0
        self.stdin = bool(request.get("stdin"))
        self.cell = 0
        """The cell's number in the session."""
        self.payload = payload
        self.log = log
        self.reason = ""
        """The reason in its exit record."""


class SessionSupervisor(supervisor.Supervisor):
    """The supervisor of one cell: it installs the packages that the cell adds, and runs the cell in the session."""

    def __init__(self, worker, run):
        supervisor.Supervisor.__init__(self, worker.host, run.log, run.payload)
        self.worker = worker
        self.cell = run

    def outcome(self):
        """(reason, code, detail) of the exit record."""
        try:
            return self._outcome()
        finally:
            self.installer.check_trees(in_session=True)

    def _environment(self):
        worker = self.worker
        tree = super()._environment()
        self.packages = dict(worker.packages, **dict(tree.packages if tree else ()))
        if self.packages:
            seconds, cached = (tree.seconds, tree.cached) if tree else (0.0, True)
            packages = sorted(self.packages.items())
            self.log.emit("installed", packages=packages, seconds=round(seconds, 3), cached=cached)
        return tree

    def _base_folders(self):
        worker = self.worker
        if worker.base_folders is None:
            worker.base_folders = thin_venv.base_package_folders()
        return worker.base_folders

    def _run_cell(self, sites):
        worker = self.worker
        added = [site for site in sites if site not in worker.sites]
        if added:
            thin_venv.add_folders(self.host.venv, worker.sites + added)
        if self.host.stopping:
            return supervisor.STOPPED
        worker.sites += added
        worker.packages = self.packages
        self.log.emit("phase", phase="running")
        return worker.execute(self.cell, added)


class Worker:
    """The session: its interpreter, and the cells that are queued, running or ended."""

    def __init__(self, host, options):
        self.host = host
        self.options = options
        self.in_pod = "port" in options
        self.most = options.get("most") or MOST  # maximum bytes of logs
        self.queue = collections.deque()  # type: collections.deque[Run]
        self.running = None  # type: Run | None
        self.runs = {}  # type: dict[str, Run]  # the queued, the running and the ended ones whose logs are kept
        self.cell = None  # type: SessionCell | None  # reads the interpreter's output
        self.packages = {}  # type: dict[str, str]
        self.sites = []  # type: list[str]
        self.modules = {}  # type: dict[str, str]  # those of a notebook's cell, once a client has sent them
        self.base_folders = None
        self.cells = 0
        self.executed = []  # type: list[str]
        self.lifetime = Lifetime(options)
        os.makedirs(os.path.join(host.home, "cells"))
        self.files = Files(host.home)
        self.clients = Clients(self, options)
        self.server = host.server = self.clients.server

    def run(self):
        """Run cells until the session ends."""
        code = 0
        try:
            self._ready()
            while not self.host.ending:
                if self.queue:
                    self._run_next()
                else:
                    self._rest()
        except BaseException:  # noqa: BLE001 - it is part of the report
            code = processes.INTERNAL_ERROR
            self.host.ending = "internal error: " + traceback.format_exc()
        self._end()
        sys.exit(code)

    def _ready(self):
        ready = self.options.get("ready")
        if ready is not None:
            os.write(ready, b"ready\n")
            os.close(ready)

    def _rest(self):
        """Wait for a request; end the session if its time is over, or its interpreter has ended."""
        event, end, seconds = self.lifetime.check()
        if event and self.executed:
            message = {"event": event, "session": self.options["name"], "run": self.executed[-1]}
            self.clients.tell(dict(message, setting=end.setting, reason=end.reason, at=end.moment))
        if event == "ended":
            self.host.end(end.reason)
            return
        sources = sorted(self.cell.open) if self.cell else []
        if self.host.select(sources, seconds) and self.cell:
            self.cell.read()
        if self.cell and self.cell.process.popen.poll() is not None:
            self.host.end(_death(self.cell.process.popen.returncode) + " while no cell was running")

    def _run_next(self):
        run = self.running = self.queue.popleft()
        host = self.host
        host.stopping, host.stop_requests, host.forced = False, 0, False
        try:
            outcome = SessionSupervisor(self, run).outcome()
        except BaseException:  # noqa: BLE001 - the log must end with a record, whatever happened
            outcome = "guest", processes.INTERNAL_ERROR, traceback.format_exc()
        if self.cell:
            self.cell.rest()
        rss = processes.resident([self.host.process.pid]) if self.host.process else 0
        run.log.emit("variables", items=self._variables(), total=self.cell.total if self.cell else 0, rss=rss)
        if host.ending:
            self._report()  # before the record, since the client can then read it at once
            run.log.emit("lost", reason=host.ending)
        run.reason = outcome[0]
        run.log.end(*outcome)
        self.server.pump()
        if self.cell:
            self.cell.oom_kills = processes.oom_kills()  # here, because it takes a quarter of the time of a short cell
        self.cells += 1
        self.lifetime.cell_ended()
        self.running = None
        self.server.sweep()
        self._forget_logs()

    def add(self, request, payload):
        """Queue a cell; return it."""
        self.lifetime.change(request["keep"], request["max_age"])
        self.modules = payload["modules"] = payload["modules"] or self.modules
        if payload["exchange"] and self.in_pod:
            payload["exchange"] = self.files.make(request["run"])
        path = os.path.join(self.host.home, "cells", "%s.log" % request["run"])
        log = CellLog(path, payload["nonce"], 1 if self.in_pod else -1, self.most)
        run = self.runs[request["run"]] = Run(request, payload, log)
        ahead = len(self.queue) + (self.running is not None)
        self.queue.append(run)
        self.host.has_news = True
        system = os.uname()
        log.emit(
            "hello", protocol=PROTOCOL, python=".".join(map(str, sys.version_info[:3])), pid=os.getpid(),
            platform="%s %s" % (system.sysname, system.machine), host=system.nodename, after="",
        )  # fmt: skip
        if request.get("note"):
            log.emit("note", text=request["note"])
        if ahead:
            cells = "1 cell" if ahead == 1 else "%d cells" % ahead
            log.emit("note", text="waiting for %s of session %s" % (cells, self.options["name"]))
        return run

    def state(self, run):
        """The state of a cell: waiting, running or ended."""
        return "running" if run is self.running else "waiting" if run in self.queue else "ended"

    def stop(self, run):
        """End a queued cell, or interrupt the running one. A second request, some time later, ends its process.

        Return "asked", "forced" if this ends the process, or "ended" if the cell had ended before.
        """
        host, state = self.host, self.state(run)
        if state == "running":
            host.has_news = True
            if not host.stop_requests:
                host.stop_requests, host.stop_requested_at, host.stopping = 1, time.monotonic(), True
            elif time.monotonic() - host.stop_requested_at >= PATIENCE:
                host.forced = True
                return "forced"
        elif state == "waiting":
            self.queue.remove(run)
            run.reason = supervisor.STOPPED[0]
            run.log.end(*supervisor.STOPPED)
        else:
            return "ended"
        return "asked"

    def execute(self, run, sites):
        """Run a cell in the interpreter; return (reason, code, detail) of the exit record."""
        host = self.host
        if self.cell is None:
            self.cell = SessionCell(host, run.payload, self._show_late)
        self.executed.append(run.id)
        run.cell = len(self.executed)
        self.cell.begin(run.cell, run.log, run.payload, os.path.join(host.home, "output-%s.log" % run.id))
        file = os.path.join(host.home, "cells", "cell-%s.py" % run.id)
        outcome, is_alive = self.cell.run_order(run, sites, file)
        self.packages.update(self.cell.added)
        if not is_alive:
            host.end(self._cause(outcome))
        return outcome

    def _show_late(self, number, fields):
        """Send output of a cell that has ended to the client; without a client, the next cell shows it."""
        kind = fields.pop("k")
        message = {"event": "output", "run": self.executed[number - 1], "kind": kind, "fields": fields}
        if not self.clients.tell(message) and self.cell is not None:
            self.cell.held.emit(kind, **fields)

    def _cause(self, outcome):
        """Why the interpreter ended during a cell."""
        reason, code, detail = outcome
        if reason == "deadline":
            return "the cell exceeded %s and did not react to the interrupt" % detail
        if reason == "stopped":
            return self.host.ending or "the cell was stopped twice"
        if detail == "memory":
            return "memory ran out"
        return _death(code)

    def _variables(self):
        """The variables, without the last ones if the record would be too long."""
        items = self.cell.items if self.cell else []
        while len(json.dumps(items)) > 6000:
            items = items[: len(items) * 3 // 4]
        return items

    def _forget_logs(self):
        """Remove logs that were read, except the newest; beyond the limit, drop the oldest output of the others."""
        followed = [connection.log for connection in self.server.connections]
        runs = list(self.runs.values())
        room = self.most
        for age, run in enumerate(reversed(runs)):
            log = run.log
            if log.ended and log not in followed:
                if age >= (KEPT_LOGS if log.is_read else MOST_LOGS):
                    del self.runs[run.id]
                    log.remove()
                    self.files.remove(run.id)
                    continue
                log.drop(max(0, room))
            room -= log.size

    def _end(self):
        """End the interpreter and all its processes, and write a report."""
        host, cell = self.host, self.cell
        self._report()
        for run in self.queue:
            run.log.emit("lost", reason=host.ending)
            run.log.end(*supervisor.STOPPED)
        if host.process is not None and host.process.popen.poll() is None:
            host.process.close_orders()
            deadline = time.monotonic() + GRACE
            while host.process.popen.poll() is None and time.monotonic() < deadline:
                if cell:
                    cell.read()
                time.sleep(0.005)
            processes.kill_group(host.process.pid)
        processes.end_descendants()
        self.server.close()
        processes.remove(host.home)

    def _report(self):
        """Write a report for the next client: why the session ended, and which variables were lost."""
        report = {
            "reason": self.host.ending, "t": time.time(), "items": self.cell.items if self.cell else [],
            "total": self.cell.total if self.cell else 0,
        }  # fmt: skip
        path = self.options.get("report")
        if not path:
            return
        try:
            if self.in_pod:
                # The kubelet copies this file into the pod's status; it has a size limit, and cannot be replaced.
                while len(json.dumps(report)) > MOST_REPORT:
                    report["items"] = report["items"][: len(report["items"]) * 3 // 4]
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(report, file)
                return
            descriptor, aside = tempfile.mkstemp(dir=os.path.dirname(path))
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(report, file)
            os.replace(aside, path)
        except OSError:
            pass


def _death(code):
    return "signal %d ended its process" % -code if code < 0 else "its process exited with status %d" % code
