"""The clients of a session's worker: their requests, and the one that holds the session.

Rules:
- There is one holder at a time. Only the holder can run cells; any client with the token can request the status, stop a
  cell and end the session.
- A request names its method: `hold` is answered by `_do_hold`.
"""

import json
import os
import sys
import time

from .. import processes
from .server import Server

MOST_LATE = 1 << 20  # maximum bytes of late output that a client has not read
OMITTED = "\n[more output omitted: it was printed faster than it could be shown]\n"
SILENCE = 40.0  # after this many seconds without a ping, another client can become the holder


class Clients:
    """Answers the requests to a worker."""

    def __init__(self, worker, options):
        self.worker = worker
        self.holder = {}  # type: dict[str, object]
        self.holding = None  # the holder's connection
        self.cut = set()  # type: set[str]  # ids of runs that lack output since their last message
        self.server = Server(options.get("port") or options["socket"], options["token"], self._handle, self._lost)

    def tell(self, message):
        """Send the holder a message; return whether there is a holder.

        If the holder reads too slowly, late output is omitted, and a note is the last message of each of its runs.
        """
        if self.holding is None:
            return False
        if message["event"] != "output":
            self.holding.answer(message)
        elif len(self.holding.owed) < MOST_LATE:
            self.cut.discard(message["run"])
            self.holding.answer(message)
        elif message["run"] not in self.cut:
            self.cut.add(message["run"])
            self.holding.answer(dict(message, kind="text", fields={"stream": "stderr", "text": OMITTED}))
        return True

    def _handle(self, connection, request, body):
        """Answer one request."""
        worker = self.worker
        method = getattr(self, "_do_" + str(request.get("do")), None)
        if method is None:
            connection.answer({"error": "unknown"})
            return
        for run in request.get("read") or ():
            if run in worker.runs:
                worker.runs[run].log.is_read = True
                worker.files.remove(run)
        try:
            method(connection, request, body)
        except (KeyError, TypeError, ValueError) as problem:
            connection.answer({"error": "invalid", "detail": repr(problem)})

    def _lost(self, connection):
        """Handle the end of a connection."""
        if connection is self.holding:
            worker = self.worker
            self.holding = None
            worker.lifetime.left_at = time.time()
            if worker.lifetime.is_bound and not worker.in_pod:
                worker.host.end("the kernel has ended")

    # The session.

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
        self.worker.lifetime.left_at = 0.0
        connection.answer({"ok": True, "status": self._status()})

    def _is_silent(self, connection):
        """Whether a client of a pod's worker has stopped sending pings: its machine sleeps, or has lost the network."""
        return self.worker.in_pod and time.monotonic() - connection.heard_at > SILENCE

    def _do_ping(self, connection, _request, _body):
        connection.answer({"event": "pong"})

    def _do_status(self, connection, _request, _body):
        rss = processes.resident(processes.descendants())
        connection.answer({"ok": True, "status": dict(self._status(), rss=rss, peak=self._peak())})

    def _status(self):
        """The status that `%argo sessions` shows."""
        worker = self.worker
        cell, running, lifetime = worker.cell, worker.running, worker.lifetime
        return {
            "name": worker.options["name"], "pid": os.getpid(), "python": ".".join(map(str, sys.version_info[:3])),
            "running": running.id if running else "", "queued": len(worker.queue), "cells": worker.cells,
            "started": lifetime.started, "idle_since": lifetime.idle_since, "keep": lifetime.keep,
            "max_age": lifetime.max_age, "packages": sorted(worker.packages.items()), "ends_at": lifetime.ends_at(),
            "total": cell.total if cell else 0,
            "holder": self.holder if self.holding is not None else None, "ending": worker.host.ending,
        }  # fmt: skip

    def _peak(self):
        """The peak of the interpreter's resident bytes (Linux; elsewhere 0)."""
        try:
            with open("/proc/%d/status" % self.worker.host.process.pid, encoding="ascii") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
        except (AttributeError, OSError, ValueError, StopIteration):
            return 0

    def _do_vars(self, connection, _request, _body):
        cell = self.worker.cell
        items, total = (cell.items, cell.total) if cell else ([], 0)
        connection.answer({"ok": True, "items": items, "total": total})

    def _do_complete(self, connection, request, _body):
        """Complete from the session's values; there are no completions while a cell is running or queued."""
        worker = self.worker
        cell = worker.cell
        if cell is None or cell.completed is not None or worker.running is not None or worker.queue:
            connection.answer({"ok": True, "items": []})
        else:
            cell.complete(request, lambda items: connection.answer({"ok": True, "items": items}))

    def _do_end(self, connection, request, _body):
        self.worker.host.end(request.get("reason") or "stopped")
        connection.answer({"ok": True})

    # Its cells.

    def _do_run(self, connection, request, body):
        worker = self.worker
        if self.holding is None or self.holder["client"] != request["client"]:
            connection.answer({"error": "busy", "holder": self.holder})
        elif worker.host.ending:
            connection.answer({"error": "ended", "reason": worker.host.ending})
        elif request["run"] in worker.runs:  # sent again after a connection broke
            self._do_follow(connection, request, body)
        else:
            payload = json.loads(worker.files.take(request["run"], "order") if request.get("order") else body)
            run = worker.add(request, payload)
            connection.answer_with(run.log, {"ok": True, "modules": bool(worker.modules)})

    def _do_follow(self, connection, request, _body):
        """Send the log of a cell after the lines that the client has."""
        run = self.worker.runs.get(request["run"])
        if run is None:
            connection.answer({"error": "unknown"})
            return
        kept, position, after = run.log.after(int(request.get("after") or 0))
        connection.answer({"ok": True, "boot": run.log.boot, "after": after}, kept)
        connection.follow(run.log, position)

    def _do_find(self, connection, request, _body):
        """Respond whether a cell is queued, running, or ended, and its reason; "" if it is no longer known."""
        run = self.worker.runs.get(request["run"])
        state, reason = (self.worker.state(run), run.reason) if run else ("", "")
        connection.answer({"ok": True, "state": state, "reason": reason})

    def _do_stop(self, connection, request, _body):
        worker = self.worker
        run, cell = worker.runs.get(request["run"]), worker.cell
        state = worker.stop(run) if run else "ended"
        connection.answer({"ok": True, "state": state, "total": cell.total if cell else 0})

    def _do_answer(self, connection, request, _body):
        """Forward the answer to the question of the running cell."""
        cell, running = self.worker.cell, self.worker.running
        if cell is not None and running is not None and running.id == request["run"]:
            cell.answer({name: request.get(name) for name in ("text", "refused")})
        connection.answer({"ok": True})

    # Files with their values.

    def _do_put(self, connection, request, body):
        """Store a piece of a file for a cell that is not sent yet: a value, or its order."""
        problem = self.worker.files.put(request["run"], request["file"], request["at"], body, request["sha256"])
        connection.answer({"error": "file", "detail": problem} if problem else {"ok": True})

    def _do_files(self, connection, request, _body):
        """List the values that a cell has left for its client."""
        connection.answer({"ok": True, "files": self.worker.files.pulled(request["run"])})

    def _do_get(self, connection, request, _body):
        """Send one of these values, from a position on."""
        try:
            source = self.worker.files.source(request["run"], request["file"])
        except OSError:
            connection.answer({"error": "unknown"})
            return
        connection.answer({"ok": True})
        connection.follow(source, int(request["at"]))
