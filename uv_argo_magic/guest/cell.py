"""The supervisor's side of the cell's process: start it, read its three pipes in order, and end it with its children.

Order: text printed by Python code and displays use one pipe, so they stay in order. Output of C code and of child
processes uses two other pipes, which are read first in each turn. Before a child process starts, the cell waits until
everything that it printed was read.
"""

import json
import os
import signal
import subprocess
import sys
import time

from . import log_writer, output, processes, streams
from .install import integrity, thin_venv

BOOT = (
    "import gc, sys; gc.disable(); sys.path.append(sys.argv[1]); from uv_argo_guest.execute import main; gc.enable(); "
    "main(*map(int, sys.argv[2:]))"
)
"""Garbage collection would take a twentieth of the time of these imports, and find nothing."""
INTERRUPT_SECONDS = 2.0
TERMINATE_SECONDS = 1.0
HELPERS_SECONDS = 0.3
HEARTBEAT = 10.0
DRAINS = 16  # number of reads that empty any pipe
LISTED = 50  # maximum number of listed files
PASSED_ON = frozenset({"display", "result", "traceback", "clear", "value", "error", "note"})
ENVIRONMENT = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
"""The environment variables of the cell on every backend; the setting `variables` adds to them."""


class Process:
    """The cell's process. It is started before the order is known, to save the time in which Python starts."""

    boot = BOOT
    pair = staticmethod(os.pipe)
    """Creates the pipe that tells the process when its output was read."""

    def __init__(self, host, python, env):
        work = os.path.join(host.home, "work")
        os.makedirs(work)
        thin_venv.add_pip(os.path.dirname(os.path.dirname(python)))
        self.pipe, pipe = os.pipe()
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        acknowledged, self.acknowledge = self.pair()
        orders, self.orders = os.pipe()
        passed = (pipe, acknowledged, orders)
        self.popen = subprocess.Popen(
            [python, "-c", self.boot, host.guest, *map(str, passed)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=passed, cwd=work,
            env=_environment(python, host.home, env), start_new_session=True, preexec_fn=lambda: _guard(host),
        )  # fmt: skip
        self.pid = self.popen.pid
        for fd in (*passed, out, err):
            os.close(fd)
        for fd in (self.pipe, self.out, self.err, self.acknowledge):
            os.set_blocking(fd, False)

    def order(self, order):
        """Send the process an order, which describes what to run."""
        try:
            with open(self.orders, "w", encoding="utf-8") as file:
                json.dump(order, file)
        except BrokenPipeError:  # it died while starting; its exit status shows why
            pass


def _guard(host):
    """Block interrupts in the new process until there is a cell to interrupt (`execute.take_interrupts`)."""
    host.guard()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _environment(python, home, extra):
    """The environment variables of the cell; `extra` are those of the settings."""
    env = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    env.update((name, value) for name, value in os.environ.items() if name.startswith("LC_"))
    env.setdefault("HOME", home)
    env.update(extra)
    scripts = os.path.dirname(python)
    env["VIRTUAL_ENV"] = os.path.dirname(scripts)
    path = [scripts, env.get("PATH", os.defpath)]
    uv = os.environ.get("UV_ARGO_UV")
    if uv:  # on this machine, it may be in no folder of PATH
        path.append(os.path.join(home, "bin"))
        os.mkdir(path[-1])
        os.symlink(uv, os.path.join(path[-1], "uv"))
    env["PATH"] = os.pathsep.join(path)
    return env


class Cell:
    """One execution of the cell."""

    def __init__(self, host, log, payload):
        process = host.process
        self.host = host
        self.process = process
        self.payload = payload
        self.settings = payload["settings"]
        self.log = log
        self.budget = self.settings["log_budget"] or sys.maxsize
        self.out = output.Output(log, self.budget, host.output)
        self.printed = {streams.STDOUT: output.Source("stdout"), streams.STDERR: output.Source("stderr")}
        self.written = {process.out: output.Source("stdout"), process.err: output.Source("stderr")}
        self.pipe = process.pipe
        self.open = {process.pipe, process.out, process.err}
        self.frames = b""
        self.done = False
        self.failed = False
        self.omitted = 0  # number of displays beyond the log's budget
        self.cleared_at = 0  # bytes in the log after the last clear
        self.oom_kills = 0
        self.begun_at = 0.0
        self.cause = None  # (reason, detail) of a request to end
        self.steps = []  # type: list  # remaining steps to end it, as (time, function)

    def run(self, sites):
        """Run the cell with the package folders `sites`; return (reason, code, detail) of the exit record."""
        file = os.path.join(self.host.home, "cell.py")
        with open(file, "w", encoding="utf-8", errors="surrogatepass", newline="") as out:
            out.write("\n" * self.payload["offset"] + self.payload["cell"])
        self.process.order(self._order(file, sites))
        self.oom_kills = processes.oom_kills()
        cause = self._follow()
        self._clean_up()
        self._list_files()
        self.out.close([*self.printed.values(), *self.written.values()])
        code = self.process.popen.returncode
        if cause:
            return cause[0], processes.TERMINATED, cause[1]
        if code < 0:
            return self._death(code)
        if self.failed:
            return "error", code, ""
        if not self.done:
            return ("exit" if code else "ok"), code, "os._exit"
        return "ok", 0, ""

    def _death(self, code):
        """The outcome of a process that was ended by a signal."""
        return "signal", code, "memory" if processes.oom_kills() > self.oom_kills else ""

    def _order(self, file, sites):
        """The order for the process: the file with the cell, the package folders, and more."""
        payload = self.payload
        return {
            "file": file, "sites": sites, "push": payload["push"], "pull": payload["pull"],
            "value_limit": self.settings["value_limit"], "script": payload["script"], "args": payload["args"],
            "code": "\n" * payload["offset"] + payload["code"] if payload["code"] else "",
            "modules": self._folder("modules"), "installs": payload["installs"],
            "values": self._folder("values"), "exchange": payload["exchange"], "reads": payload["reads"],
            "keeps_venv": self.host.keeps_venv,
        }  # fmt: skip

    def _list_files(self):
        """Report the files that the cell left in its working folder, which is removed with the run."""
        work = os.path.join(self.host.home, "work")
        files = []  # type: list[tuple[str, int]]
        for home, folders, names in os.walk(work):
            folders[:] = sorted(folder for folder in folders if folder != "__pycache__")
            for name in sorted(names):
                path = os.path.join(home, name)
                try:
                    files.append((os.path.relpath(path, work), os.lstat(path).st_size))
                except OSError:
                    continue
        if files:
            listed = [[os.fsencode(name).decode("utf-8", "replace"), str(one)] for name, one in files[:LISTED]]
            self.log.emit("files", files=listed, count=len(files), bytes=sum(size for _, size in files))

    def _folder(self, name):
        """The folder with the modules that the payload has under this name, or ""."""
        files = self.payload[name]
        if not files:
            return ""
        import hashlib

        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:32]
        folder = os.path.join(os.path.dirname(self.host.guest), digest)
        try:
            integrity.put(folder, files)
        except OSError:  # a read-only store, which another container has filled
            folder = os.path.join(self.host.home, name)
            integrity.put(folder, files)
        return folder

    def _follow(self):
        """Read until the cell or its process has ended; return (reason, detail) if the supervisor ended it."""
        self.cause, self.steps = None, []
        self.begun_at = time.monotonic()
        beat = self.begun_at + HEARTBEAT
        while not self._is_over() and self.process.popen.poll() is None:
            now = time.monotonic()
            due = self._act(now)
            if now >= beat:
                beat = now + HEARTBEAT
                self.log.emit("heartbeat", rss=processes.resident([self.process.pid, *processes.descendants()]))
            waits = [max(0.0, moment - now) for moment in [*due, beat]]
            partial = self.out.wait()
            self._read(min(waits if partial is None else [*waits, partial]))
        self.host.end_precompiler()
        self._drain()
        return self.cause

    def _is_over(self):
        """Whether the cell has ended while its process continues, as in a session."""
        return False

    def _act(self, now):
        """Handle stop requests and the steps that are due; return the times of the next steps."""
        limit = self.settings["run_timeout"]
        if self.cause is None:
            if self.host.stopping:
                self.cause = ("stopped", "")
            elif limit and now - self.begun_at > limit:
                self.cause = ("deadline", "run_timeout")
            if self.cause:
                self.steps = self._signals(now)
        while self.steps and now >= self.steps[0][0]:
            self.steps.pop(0)[1]()
        return [step[0] for step in self.steps[:1]] + ([self.begun_at + limit] if limit and not self.cause else [])

    def _signals(self, now):
        """The steps to end the cell, as (time, function): an interrupt for `finally` blocks, SIGTERM, SIGKILL."""
        pid = self.process.pid
        return [
            (now, lambda: send_signal(pid, signal.SIGINT)),
            (now + INTERRUPT_SECONDS, lambda: processes.kill_group(pid, signal.SIGTERM)),
            (now + INTERRUPT_SECONDS + TERMINATE_SECONDS, lambda: processes.kill_group(pid)),
        ]

    def _clean_up(self):
        """Read the last output, end the processes that the cell left running, and read their output."""
        self._drain()
        # Helper processes of multiprocessing notice the end of the process, and exit.
        processes.wait_for_descendants(HELPERS_SECONDS)
        # End descendants first, to count them all. Ending the group is for systems without /proc.
        ended = processes.end_descendants()
        processes.kill_group(self.process.pid)
        self._drain()
        for fd in [*self.open, self.process.acknowledge]:
            os.close(fd)
        self._note_omitted()
        if ended:
            running = "1 process" if ended == 1 else "%d processes" % ended
            self.log.emit("note", text="the cell left %s running; terminated" % running)

    def _note_omitted(self):
        if self.omitted:
            displays = "1 display" if self.omitted == 1 else "%d displays" % self.omitted
            self.log.emit("note", text="%s omitted: the log has reached log_budget" % displays)

    def _drain(self):
        """Read the output so far. The number of reads is limited, because another process can write without end."""
        for _ in range(DRAINS):
            if not self._read(0):
                break

    def _read(self, patience):
        """Wait, then read each pipe once; return whether there was any data."""
        ready = self.host.select(sorted(self.open), patience)
        has_data = False
        for fd in [fd for fd in self.written if fd in self.open]:
            if fd in ready or self.pipe in ready:
                data = self._read_pipe(fd)
                if data:
                    has_data = True
                    self._feed(fd, data)
        if self.pipe in ready:
            data = self._read_pipe(self.pipe)
            if data:
                has_data = True
                self._take_frames(data)
        self.out.tick()
        return has_data

    def _feed(self, fd, data):
        """Handle output of C code or a child process."""
        self.out.feed(self.written[fd], data)

    def _read_pipe(self, fd):
        try:
            data = os.read(fd, 1 << 18)
        except BlockingIOError:
            return b""
        if not data:
            self.open.discard(fd)
            os.close(fd)
        return data

    def _take_frames(self, data):
        data = self.frames + data if self.frames else data
        start, size = 0, streams.HEADER.size
        while len(data) - start >= size:
            kind, length = streams.HEADER.unpack_from(data, start)
            if len(data) - start - size < length:
                break
            body = data[start + size : start + size + length]
            start += size + length
            if kind in self.printed:
                self.out.feed(self.printed[kind], body)
            elif kind == streams.SYNC:
                self._acknowledge(body)
            else:
                self._other(kind, body)
        self.frames = data[start:]

    def _other(self, _kind, body):
        """Handle a frame that is not output."""
        self._record(json.loads(body))

    def _acknowledge(self, _body):
        try:
            os.write(self.process.acknowledge, b"\0")
        except OSError:
            pass

    def _record(self, fields):
        kind = fields.pop("k")
        if kind == "done":
            self.done = True
        elif kind in PASSED_ON:
            self.out.flush()
            if kind == "error":
                self.failed = True
            if kind in ("display", "result"):
                self._show(kind, fields)
            elif kind == "traceback":
                self._show_traceback(fields)
            elif kind == "clear":
                self._clear(fields)
            else:
                self.log.emit(kind, **fields)

    def _clear(self, fields):
        """Clear the output, unless nothing was sent since the last clear, to save the log's budget."""
        self.out.clear()
        if self.log.spent > self.cleared_at:
            self.log.emit("clear", **fields)
            self.cleared_at = self.log.spent

    def _show_traceback(self, fields):
        """Send it if it fits into the log's budget; else count it as an omitted display."""
        if len(json.dumps(fields)) <= self.budget - self.log.spent:
            self.log.emit("traceback", **fields)
        else:
            self.omitted += 1

    def _show(self, kind, fields):
        """Send a display within the log's budget; otherwise a sentence, once, and their number at the end."""
        text = json.dumps(fields)
        size = len(text)
        room = self.budget - self.log.spent
        if size > room > size / 10:  # otherwise compression cannot make it small enough
            size = len(log_writer.pack(text)) or size
        if size <= room:
            self.log.emit(kind, **fields)
            return
        self.omitted += 1
        # An omitted update leaves the display unchanged, so it needs no sentence.
        if kind == "result" or (self.omitted == 1 and not fields.get("update")):
            text = "[display of %d bytes omitted: the log is full; raise its limit with --set log_budget=SIZE]" % size
            self.log.emit(kind, **dict(fields, data={"text/plain": text}, metadata={}))


def send_signal(pid, number):
    """Signal a process, if it still exists."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
