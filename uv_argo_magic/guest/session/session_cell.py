"""The supervisor's side of a session's interpreter: send it a cell, follow the cell to its end, and keep the process.

Rules:
- An interrupt or a stop sends one SIGINT and keeps the session. It never escalates automatically, except after
  `run_timeout`.
- A second request, PATIENCE seconds after the first, ends the process.
- Output of a cell that has ended is passed to `late`. All other output between two cells is kept for the second one.
"""

import array
import json
import os
import re
import signal
import socket
import time

from .. import cell, output, processes, streams
from . import attribution

DEFINES = re.compile(r"\b(?:def|class|lambda)\b")
BOOT = cell.BOOT.replace("execute", "session.interpreter")
LATE = {attribution.LATE_STDOUT: "stdout", attribution.LATE_STDERR: "stderr"}
FITS = 8192  # bytes that fit a pipe even while a background task keeps the interpreter from reading
PATIENCE = 5.0
MOST_LATE = 1 << 20  # maximum characters that a cell can show after its end
TIMEOUT_SECONDS = 10.0  # for which a cell can continue after the interrupt by run_timeout


class Process(cell.Process):
    """The interpreter's process; each order is a line of JSON, or of the path of a file with JSON."""

    boot = BOOT

    @staticmethod
    def pair():
        """A socket pair, which can also send file descriptors."""
        return [end.detach() for end in socket.socketpair()]

    def __init__(self, host, python, env):
        cell.Process.__init__(self, host, python, env)
        self.file = os.path.join(host.home, "order.json")

    def order(self, order):
        """Send an order to the process."""
        line = json.dumps(order).encode()
        if len(line) > FITS:
            with open(self.file, "wb") as out:
                out.write(line)
            line = os.fsencode(self.file)
        try:
            os.write(self.orders, line + b"\n")
        except BrokenPipeError:  # it has died; its exit status shows why
            pass

    def close_orders(self):
        """Make the process exit after its cell."""
        os.close(self.orders)


class Held:
    """A log between cells, which keeps output up to a limit."""

    MOST = 256 * 1024

    def __init__(self):
        self.records = []
        self.spent = 0

    def raw(self, data, _lines):
        """Keep whole lines of stdout."""
        self._add(len(data), "text", {"stream": "stdout", "text": data.decode("utf-8", "replace")})

    def emit(self, kind, **fields):
        """Keep a record."""
        self._add(len(json.dumps(fields)), kind, fields)

    def _add(self, size, kind, fields):
        if self.spent + size <= self.MOST:
            self.spent += size
            self.records.append((kind, fields))

    def move(self, log):
        """Move the content to a log."""
        records, self.records, self.spent = self.records, [], 0
        for kind, fields in records:
            log.emit(kind, **fields)


class SessionCell(cell.Cell):
    """Reads the process during its whole life; `begin` and `run` are for one cell each."""

    def __init__(self, host, payload, late):
        self.held = Held()
        self.late = late
        cell.Cell.__init__(self, host, self.held, dict(payload, settings=dict(payload["settings"], log_budget=0)))
        self.out.path = ""
        self.items, self.total = [], 0
        self.added = {}  # type: dict[str, str]  # packages installed by %pip
        self.completed = None  # called with the requested completions
        self.end = None  # the record of the cell's end
        self.has_begun = self.is_due = self.asks = False
        self.number = 0  # number of the running cell; 0 between cells
        self.cells = {}  # type: dict[int, int]  # pipe of child processes -> number of the cell that started them
        self.shown_late = {}  # type: dict[int, int]  # cell -> characters shown after its end
        self.modules = None  # type: dict[str, str] | None  # those of the last cell
        self.modules_folder = ""
        self.oom_kills = processes.oom_kills()

    def begin(self, number, log, payload, path):
        """Read output for this cell from now on; `number` is its number in the session."""
        self._drain()
        self.out.flush()
        self.number = number
        self.payload = payload
        self.settings = payload["settings"]
        self.log = log
        self.budget = self.settings["log_budget"] or 1 << 62
        self.out = output.Output(log, self.budget, path)
        self.done = self.failed = self.interrupted = False
        self.has_begun = self.is_due = self.asks = False
        self.stop_requests, self.kill_at = 0, 0.0
        self.end = None
        self.omitted = self.cleared_at = 0
        self.held.move(log)

    def run_order(self, run, sites, file):
        """Run the cell; return (reason, code, detail) of the exit record, and whether the process continues."""
        source = "\n" * self.payload["offset"] + self.payload["cell"]
        if DEFINES.search(source):  # libraries can need the file of a function, for example numba's cache
            with open(file, "wb") as out:
                out.write(source.encode("utf-8", "surrogatepass"))
        more = {
            "source": source, "number": run.number, "cell": run.cell, "stdin": run.stdin, "text": self.payload["cell"],
        }  # fmt: skip
        self.process.order(dict(self._order(file, sites), **more))
        cause = self._follow()
        if self.end is None:
            self._clean_up()
        written = [source for fd, source in self.written.items() if self.cells.get(fd, self.number) == self.number]
        self.out.close([*self.printed.values(), *written])
        if self.end is not None:
            self._note_omitted()
        return self._outcome(cause), self.end is not None

    def rest(self):
        """Keep output from now on for the next cell."""
        self.number = 0
        self.log = self.held
        self.out = output.Output(self.held, 1 << 62, "")

    def read(self):
        """Read the pipes once, while no cell runs."""
        self._read(0)

    def _folder(self, name):
        """As in the base class; the modules are mostly those of the cell before."""
        if name != "modules":
            return super()._folder(name)
        if self.payload["modules"] is not self.modules:
            self.modules, self.modules_folder = self.payload["modules"], super()._folder("modules")
        return self.modules_folder

    def _outcome(self, cause):
        if self.end is None:
            code = self.process.popen.returncode
            if cause:
                return cause[0], code, cause[1]
            if code >= 0:
                return "exit", code, "os._exit"
            return self._death(code)
        code = self.end["code"]
        if self.failed:
            return (cause[0], code, cause[1]) if cause and self.interrupted else ("error", code, "")
        return "ok", 0, ""

    def _is_over(self):
        return self.end is not None

    def _act(self, now):
        host = self.host
        limit = self.settings["run_timeout"] if self.has_begun else 0
        if host.ending:
            self.cause = self.cause or ("stopped", host.ending)
            self.kill_at = self.kill_at or self._interrupt() + cell.INTERRUPT_SECONDS
        elif host.stop_requests > self.stop_requests:
            self.stop_requests, self.cause = host.stop_requests, self.cause or ("stopped", "")
            self._interrupt()
        elif self.cause is None and limit and now - self.begun_at > limit:
            self.cause = ("deadline", "run_timeout")
            self.kill_at = self._interrupt() + TIMEOUT_SECONDS
        if host.forced:
            self.kill_at = now
        if self.kill_at and now >= self.kill_at:
            processes.kill_group(self.process.pid)
        return [moment for moment in (self.kill_at, self.begun_at + limit if limit and not self.cause else 0) if moment]

    def _interrupt(self):
        """Interrupt the running code, or the next one as soon as it runs; return the current time."""
        if self.has_begun:
            cell.send_signal(self.process.pid, signal.SIGINT)
        self.is_due = not self.has_begun
        return time.monotonic()

    def answer(self, message):
        """Send the interpreter the answer to its question, once."""
        if self.asks:
            self.asks = False
            self.process.order(message)

    def complete(self, request, answer):
        """Request completions from the interpreter, and call `answer` with them."""
        self.completed = answer
        self.process.order({name: str(request[name]) for name in ("base", "prefix", "kind")})

    def _acknowledge(self, body):
        """Let the process start a child; for the first child of a cell, send pipes for the output of its children.

        A pipe is closed when the last child that has it ends.
        """
        number = attribution.NUMBER.unpack(body)[0]
        if not number or number != self.number or number in self.cells.values():
            super()._acknowledge(body)
            return
        ends = []
        for stream in ("stdout", "stderr"):
            fd, end = os.pipe()
            os.set_blocking(fd, False)
            self.open.add(fd)
            self.written[fd] = output.Source(stream)
            self.cells[fd] = number
            ends.append(end)
        try:
            with socket.socket(fileno=os.dup(self.process.acknowledge)) as sock:
                sock.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ends))])
        except OSError:
            pass
        for end in ends:
            os.close(end)

    def _feed(self, fd, data):
        number = self.cells.get(fd, self.number)
        if number == self.number:
            super()._feed(fd, data)
            return
        source = self.written[fd]
        text = source.decoder.decode(data)
        if text:
            self._show_late(number, source.stream, text)

    def _show_late(self, number, stream, text):
        """Show text of a cell that has ended, up to a limit, since a child process can print without end."""
        spent = self.shown_late[number] = self.shown_late.get(number, 0) + len(text)
        if spent <= MOST_LATE:
            self.late(number, {"k": "text", "stream": stream, "text": text})
        elif spent - len(text) <= MOST_LATE:
            note = "\n[more output omitted: the cell has ended, and shows at most 1 MB after that]\n"
            self.late(number, {"k": "text", "stream": "stderr", "text": note})

    def _read_pipe(self, fd):
        data = super()._read_pipe(fd)
        if fd not in self.open and self.cells.pop(fd, 0):
            del self.written[fd]
        return data

    def _other(self, kind, body):
        stream = LATE.get(kind)
        if stream is None:
            super()._other(kind, body)
            return
        number, data = attribution.NUMBER.unpack_from(body)[0], body[attribution.NUMBER.size :]
        if number == self.number:  # from a forked process, which does not know that its cell is still running
            self.out.feed(self.printed[kind - attribution.LATE_STDOUT + streams.STDOUT], data)
            return
        self._show_late(number, stream, data.decode("utf-8", "replace"))

    def _record(self, fields):
        number = fields.pop("cell", 0)
        if number and number != self.number:
            self.late(number, fields)
            return
        if fields["k"] == "completed":
            answer, self.completed = self.completed, None
            if answer:
                answer(fields["items"])
            return
        if fields["k"] == "added":
            self.added.update(dict(fields["packages"]))
            return
        if fields["k"] == "begun":
            self.has_begun = True
            self.begun_at = time.monotonic()
            if self.is_due:
                self._interrupt()
            return
        if fields["k"] == "done":
            self.end = fields
            self.items, self.total = fields["items"], fields["total"]
            return
        if fields["k"] == "input":
            self.out.flush()
            self.asks = True
            self.log.emit("input", prompt=fields["prompt"], password=fields["password"])
            return
        if fields["k"] == "error":
            self.interrupted = fields["error"].get("ename") == "KeyboardInterrupt"
        super()._record(fields)
