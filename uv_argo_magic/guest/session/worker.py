"""The worker of a session: a process that keeps an interpreter, and runs the cells that clients send.

Rules:
- It is independent of its clients: it inherits none of their file descriptors, and limits its own idle time. If it is
  `bound`, it ends with the connection of its holder.
- There is one holder at a time. Only the holder can run cells; any client with the token can request the status, stop a
  cell and end the session.
- Each cell is one run with its own log, written by the supervisor's usual code. Cells are queued.
- When the worker ends, for whatever reason, it writes a report.
"""

import collections
import json
import os
import select
import sys
import tempfile
import time
import traceback

from .. import environment, processes, supervisor
from ..host import Host
from .cell_log import MOST, CellLog
from .server import Server
from .session_cell import PATIENCE, Process, SessionCell
from .transfers import Files

PROTOCOL = 1
KEPT_LOGS = 20  # maximum logs of ended cells that a client has read
MOST_LOGS = 1000  # maximum logs of ended cells
MOST_LATE = 1 << 20  # maximum bytes of late output that a client has not read
MOST_REPORT = 4096  # maximum bytes of a termination message in a pod's status
SILENCE = 40.0  # after this many seconds without a ping, another client can become the holder
WARNING = 300.0  # seconds before the end at which the holder is warned; at most a tenth of the whole time
RETURN = 120.0  # seconds in which a client can reconnect to a pod after its connection was cut
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
        self.asked = 0  # number of stop requests for the running cell
        self.asked_at = 0.0
        self.forced = False  # the process of the running cell has to end
        self.has_news = False  # a client has changed something

    def start_process(self, env, python=""):
        """Start the interpreter."""
        self.process = Process(self, python or environment.thin_venv(self.venv), env)

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
            readable, writable, _ = select.select(
                [*sources, *server.sources()], server.sinks(), [], min(limits) if limits else None
            )
            server.serve(readable, writable)
            ready = [source for source in sources if source in readable]
            if deadline is not None:
                seconds = max(0.0, deadline - time.monotonic())
            if ready or self.has_news or seconds == 0.0:
                return ready

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
            self._check_trees(in_session=True)

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
            worker.base_folders = environment.base_package_folders()
        return worker.base_folders

    def _run_cell(self, sites):
        worker = self.worker
        added = [site for site in sites if site not in worker.sites]
        if added:
            environment.add_folders(self.host.venv, worker.sites + added)
        if self.host.stopping:
            return supervisor.STOPPED
        worker.sites += added
        worker.packages = self.packages
        self.log.emit("phase", phase="running")
        return worker.execute(self.cell, added)


class Worker:
    """The session: its interpreter, queued cells, holder and time limits."""

    def __init__(self, host, options):
        self.host = host
        self.options = options
        self.most = options.get("most") or MOST  # maximum bytes of logs
        self.queue = collections.deque()  # type: collections.deque[Run]
        self.running = None  # type: Run | None
        self.logs = {}  # type: dict[str, Run]
        self.cell = None  # type: SessionCell | None  # reads the interpreter's output
        self.packages = {}  # type: dict[str, str]
        self.sites = []  # type: list[str]
        self.modules = {}  # type: dict[str, str]  # those of a notebook's cell, once a client has sent them
        self.base_folders = None
        self.cells = 0
        self.executed = []  # type: list[str]
        self.started = time.time()
        self.idle_since = time.time()
        self.holder = {}  # type: dict[str, object]
        self.holding = None  # the holder's connection
        self.left_at = 0.0  # when this connection ended
        self.warned = 0.0  # the end about which the holder was warned under the last cell
        self.old_at = 0.0  # when max_age ends it, once that is near
        os.makedirs(os.path.join(host.home, "cells"))
        self.files = Files(host.home)
        self.server = host.server = Server(
            options.get("port") or options["socket"], options["token"], self._handle, self._lost
        )

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
        """Wait for a request; end the session if it was idle too long, is too old or has lost its interpreter."""
        now = time.time()
        oldest = self.options["max_age"]
        if oldest and not self.old_at and now >= self.started + oldest - _ahead(oldest):
            # A cell may have run until now: the message comes as long before the end as without it.
            self.old_at = max(self.started + oldest, now + _ahead(oldest))
        moments = [now + 60.0]
        for moment, span, setting, reason in self._ends()[:1]:
            if now >= moment:
                self._tell("ended", setting, reason, moment)
                self.host.end(reason)
                return
            warning = moment - _ahead(span)
            if now >= warning and self.warned != moment:
                self.warned = moment
                self._tell("ending", setting, reason, moment)
            moments += [moment] if now >= warning else [warning]
        seconds = max(0.0, min(moments) - now)
        sources = sorted(self.cell.open) if self.cell else []
        if self.host.select(sources, seconds) and self.cell:
            self.cell.read()
        if self.cell and self.cell.process.popen.poll() is not None:
            self.host.end(_death(self.cell.process.popen.returncode) + " while no cell was running")

    def _ends(self):
        """The ends that come without a cell, sorted: (moment, seconds of its setting, setting, reason)."""
        keep, oldest = self.options["keep"], self.options["max_age"]
        ends = [(self.idle_since + keep, keep, "keep", "idle for %s" % _span(keep))] if keep else []
        if oldest:
            moment = self.old_at or self.started + oldest
            ends.append((moment, oldest, "max_age", "it reached its max_age of %s" % _span(oldest)))
        if self.options["bound"] and self.holding is None and self.left_at:
            ends.append((self.left_at + RETURN, 0.0, "", "the kernel has ended"))
        return sorted(ends)

    def _tell(self, event, setting, reason, moment):
        """Send the holder a message, for the last cell, about the end caused by a setting."""
        if self.holding is not None and self.executed:
            told = {"event": event, "session": self.options["name"], "run": self.executed[-1]}
            self.holding.answer(dict(told, setting=setting, reason=reason, at=moment))

    def _run_next(self):
        run = self.running = self.queue.popleft()
        host = self.host
        host.stopping, host.asked, host.forced = False, 0, False
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
        self.idle_since = time.time()
        self.warned = 0.0  # its client has removed the message
        self.running = None
        self.server.sweep()
        self._forget_logs()

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
        if self.holding is None and self.cell is not None:
            self.cell.held.emit(kind, **fields)
        elif self.holding is not None and len(self.holding.owed) < MOST_LATE:
            self.holding.answer({"event": "output", "run": self.executed[number - 1], "kind": kind, "fields": fields})

    def _cause(self, outcome):
        """Why the interpreter ended during a cell."""
        reason, code, detail = outcome
        if reason == "deadline":
            return "the cell did not react to the interrupt of %s" % detail
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

    def _resident(self):
        return processes.resident(processes.descendants())

    def _peak(self):
        """The peak of the interpreter's resident bytes (Linux; elsewhere 0)."""
        try:
            with open("/proc/%d/status" % self.host.process.pid, encoding="ascii") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
        except (AttributeError, OSError, ValueError, StopIteration):
            return 0

    def _forget_logs(self):
        """Remove logs that were read, except the newest; beyond the limit, drop the oldest output of the others."""
        followed = [connection.log for connection in self.server.connections]
        runs = list(self.logs.values())
        room = self.most
        for age, run in enumerate(reversed(runs)):
            log = run.log
            if log.ended and log not in followed:
                if age >= (KEPT_LOGS if log.is_read else MOST_LOGS):
                    del self.logs[run.id]
                    log.remove()
                    self.files.remove(run.id)
                    continue
                log.drop(max(0, room))
            room -= log.size

    # Requests.

    def _handle(self, connection, request, body):
        """Answer one request."""
        method = getattr(self, "_do_" + str(request.get("do")), None)
        if method is None:
            connection.answer({"error": "unknown"})
            return
        for run in request.get("read") or ():
            if run in self.logs:
                self.logs[run].log.is_read = True
                self.files.remove(run)
        try:
            method(connection, request, body)
        except (KeyError, TypeError, ValueError) as problem:
            connection.answer({"error": "invalid", "detail": repr(problem)})

    def _do_hold(self, connection, request, _body):
        """Make the client the holder, for as long as this connection exists."""
        is_other = self.holding is not None and self.holder["client"] != request["client"]
        if is_other and not request.get("take") and not self._is_silent(self.holding):
            connection.answer({"error": "busy", "holder": self.holder})
            return
        if self.holding is not None and self.holding is not connection:
            self.holding.answer({"event": "taken", "holder": request["client"]})
        names = ("client", "host", "pid", "notebook")
        goes_on = self.holding is not None and self.holder["client"] == request["client"]
        since = self.holder["since"] if goes_on else time.time()
        self.holder = dict({name: request.get(name) for name in names}, since=since)
        self.holding = connection
        connection.answer({"ok": True, "status": self.status()})

    def _is_silent(self, connection):
        """Whether a client of a pod's worker has stopped sending pings: its machine sleeps, or has lost the network."""
        return "port" in self.options and time.monotonic() - connection.heard_at > SILENCE

    def _do_status(self, connection, _request, _body):
        memory = {"rss": self._resident(), "peak": self._peak()}
        connection.answer({"ok": True, "status": dict(self.status(), **memory)})

    def _do_vars(self, connection, _request, _body):
        items, total = (self.cell.items, self.cell.total) if self.cell else ([], 0)
        connection.answer({"ok": True, "items": items, "total": total})

    def _do_run(self, connection, request, body):
        if self.holding is None or self.holder["client"] != request["client"]:
            connection.answer({"error": "busy", "holder": self.holder})
            return
        if self.host.ending:
            connection.answer({"error": "ended", "reason": self.host.ending})
            return
        known = self.logs.get(request["run"])
        if known is not None:  # sent again after a connection broke
            self._do_follow(connection, request, body)
            return
        payload = json.loads(self.files.take(request["run"], "order") if request.get("order") else body)
        self.modules = payload["modules"] = payload["modules"] or self.modules
        if payload["exchange"] and "port" in self.options:
            payload["exchange"] = self.files.make(request["run"])
        path = os.path.join(self.host.home, "cells", "%s.log" % request["run"])
        log = CellLog(path, payload["nonce"], 1 if "port" in self.options else -1, self.most)
        run = Run(request, payload, log)
        self.logs[run.id] = run
        self.queue.append(run)
        if request["max_age"] != self.options["max_age"]:
            self.old_at = 0.0
        self.options.update(keep=request["keep"], max_age=request["max_age"])
        self.options["bound"] = self.options["bound"] or not request["keep"]
        self.host.has_news = True
        connection.answer_with(log, {"ok": True, "modules": bool(self.modules)})
        system = os.uname()
        log.emit(
            "hello", protocol=PROTOCOL, python=".".join(map(str, sys.version_info[:3])), pid=os.getpid(),
            platform="%s %s" % (system.sysname, system.machine), host=system.nodename, after="",
        )  # fmt: skip
        if request.get("note"):
            log.emit("note", text=request["note"])
        ahead = len(self.queue) - 1 + (self.running is not None)
        if ahead:
            cells = "1 cell" if ahead == 1 else "%d cells" % ahead
            log.emit("note", text="waiting for %s of session %s" % (cells, self.options["name"]))

    def _do_find(self, connection, request, _body):
        """Respond whether a cell is queued, running, or ended, and its reason; "" if it is no longer known."""
        run = self.logs.get(request["run"])
        state = "" if run is None else "running" if run is self.running else "waiting" if run in self.queue else "ended"
        connection.answer({"ok": True, "state": state, "reason": run.reason if run else ""})

    def _do_follow(self, connection, request, _body):
        """Send the log of a cell after the lines that the client has."""
        run = self.logs.get(request["run"])
        if run is None:
            connection.answer({"error": "unknown"})
            return
        kept, position, after = run.log.after(int(request.get("after") or 0))
        connection.answer({"ok": True, "boot": run.log.boot, "after": after}, kept)
        connection.follow(run.log, position)

    def _do_put(self, connection, request, body):
        """Store a piece of a file for a cell that is not sent yet: a value, or its order."""
        problem = self.files.put(request["run"], request["file"], request["at"], body, request["sha256"])
        connection.answer({"error": "file", "detail": problem} if problem else {"ok": True})

    def _do_files(self, connection, request, _body):
        """List the values that a cell has left for its client."""
        connection.answer({"ok": True, "files": self.files.pulled(request["run"])})

    def _do_get(self, connection, request, _body):
        """Send one of these values, from a position on."""
        try:
            source = self.files.source(request["run"], request["file"])
        except OSError:
            connection.answer({"error": "unknown"})
            return
        connection.answer({"ok": True})
        connection.follow(source, int(request["at"]))

    def _do_stop(self, connection, request, _body):
        """End a queued cell, or interrupt the running one. A second request, some time later, ends its process."""
        run = self.logs.get(request["run"])
        state = "ended"
        if run is not None and run is self.running:
            now = time.monotonic()
            host = self.host
            host.has_news = True
            state = "asked"
            if host.asked and now - host.asked_at >= PATIENCE:
                host.forced = True
                state = "forced"
            elif not host.asked:
                host.asked_at = now
                host.asked = 1
                host.stopping = True
        elif run is not None and run in self.queue:
            self.queue.remove(run)
            run.reason = supervisor.STOPPED[0]
            run.log.end(*supervisor.STOPPED)
            state = "asked"
        connection.answer({"ok": True, "state": state, "total": self.cell.total if self.cell else 0})

    def _do_answer(self, connection, request, _body):
        """Forward the answer to the question of the running cell."""
        if self.cell is not None and self.running is not None and self.running.id == request["run"]:
            self.cell.answer({name: request.get(name) for name in ("text", "refused")})
        connection.answer({"ok": True})

    def _do_complete(self, connection, request, _body):
        """Complete from the session's values; there are no completions while a cell is running or queued."""
        cell = self.cell
        if cell is None or cell.completed is not None or self.running is not None or self.queue:
            connection.answer({"ok": True, "items": []})
        else:
            cell.complete(request, lambda items: connection.answer({"ok": True, "items": items}))

    def _do_end(self, connection, request, _body):
        self.host.end(request.get("reason") or "stopped")
        connection.answer({"ok": True})

    def _do_ping(self, connection, _request, _body):
        connection.answer({"event": "pong"})

    def _lost(self, connection):
        """Handle the end of a connection."""
        if connection is self.holding:
            self.holding = None
            self.left_at = time.time()
            if self.options["bound"] and "port" not in self.options:
                self.host.end("the kernel has ended")

    def status(self):
        """The status that `%argo sessions` shows."""
        cell, running = self.cell, self.running
        return {
            "name": self.options["name"], "pid": os.getpid(), "python": ".".join(map(str, sys.version_info[:3])),
            "running": running.id if running else "", "queued": len(self.queue), "cells": self.cells,
            "started": self.started, "idle_since": self.idle_since, "keep": self.options["keep"],
            "max_age": self.options["max_age"], "packages": sorted(self.packages.items()),
            "ends_at": next((moment for moment, _, _, _ in self._ends()), 0.0),
            "total": cell.total if cell else 0,
            "holder": self.holder if self.holding is not None else None, "ending": self.host.ending,
        }  # fmt: skip

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
            if "port" in self.options:
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


def _ahead(span):
    """How long before an end its message comes, in seconds; `span` is the time that the setting gives."""
    return min(WARNING, span / 10)


def _span(seconds):
    if seconds >= 3600 and seconds % 3600 == 0:
        return "%d h" % (seconds // 3600)
    return "%d min" % (seconds // 60) if seconds >= 60 else "%g s" % seconds
