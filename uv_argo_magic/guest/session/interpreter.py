"""The process that runs a session's cells: one interpreter, one event loop, one cell at a time.

Rules:
- Cells run inside the loop, as in a notebook's kernel: `create_task` works without `await`, and tasks continue between
  cells. All cells share one task, and therefore one context.
- An interrupt raises KeyboardInterrupt in the cell's code, or cancels what the cell awaits. It never splits a frame on
  the pipe, and is ignored between cells.
- Two records report when a cell's code can be interrupted (`begun`), and its end with the session's variables (`done`).
"""

import asyncio
import linecache
import os
import signal
import sys
import threading
import traceback

from .. import execute, executor
from . import attribution, completion, questions, variables


def main(pipe, acknowledged, orders):
    """Run the cells that arrive as lines on the socket `orders`, until it is closed."""
    for fd in (pipe, acknowledged, orders):
        os.set_inheritable(fd, False)
    out = attribution.Streams(pipe, acknowledged)
    session = Session(out, orders)
    signal.signal(signal.SIGINT, session.interrupt)
    execute.take_interrupts()
    out.install()
    attribution.follow_threads()
    session.serve()
    execute.leave(0, out)


class Executor(executor.Executor):
    """Also keeps the values that cells show, by the cell's number in the notebook."""

    number = 0

    def show(self, value):
        """Show a value, and bind `_`, `__`, `___`, `_N` and `Out[N]` as IPython does."""
        if value is None:
            return
        names = self.module.__dict__
        outputs = names.get("Out")
        if isinstance(outputs, dict) and value is not outputs:
            outputs[self.number] = value
        names["_%d" % self.number] = value
        names["___"], names["__"], names["_"] = names.get("__", ""), names.get("_", ""), value
        self.displays.result(value)


class Session:
    """The interpreter and its loop."""

    def __init__(self, out, orders):
        self.out = out
        self.orders = orders
        self.received = b""
        self.waiting = None
        self.has_ended = False  # there are no more orders
        self.is_running = False  # the code of a cell is running or awaiting
        self.was_cancelled = False  # by an interrupt
        self.number = 0

    def serve(self):
        """Run the loop until there are no more orders."""
        self.interpreter = execute.Interpreter(self.out, "", ())
        self.questions = questions.Questions(self.out, self._answer)
        self.questions.install()
        self.executor = Executor(self.interpreter.module, self.interpreter.displays)
        self.interpreter.executor = self.executor
        self.names = self.interpreter.module.__dict__
        self.names.update(In=[], Out={})
        self.hidden = frozenset(self.names) | {"get_ipython"}
        os.set_blocking(self.orders, False)
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.loop.add_reader(self.orders, self._receive)
        self.task = self.loop.create_task(self._serve())
        while not self.task.done():
            try:
                self.loop.run_forever()  # until a cell stops it
            except BaseException:  # noqa: BLE001 - SystemExit or KeyboardInterrupt in a task of the user's
                traceback.print_exc()

    async def _serve(self):
        while True:
            try:
                order = await self._next()
            except asyncio.CancelledError:  # a cell cancelled all tasks
                continue
            if order is None:
                self.loop.stop()
                return
            if "prefix" in order:
                self.out.pipe.record("completed", items=completion.complete(self.names, order))
            else:
                await self._run(order)

    async def _next(self):
        while b"\n" not in self.received:
            if self.has_ended:
                return None
            self.waiting = self.loop.create_future()
            if await self.waiting:
                return None
        line, _, self.received = self.received.partition(b"\n")
        return questions.read_order(line)

    def _receive(self):
        try:
            data = os.read(self.orders, 65536)
        except BlockingIOError:
            return
        self.received += data
        if not data:
            self.has_ended = True  # a cell can still be running
            self.loop.remove_reader(self.orders)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(not data)

    def _answer(self):
        """Read the answer to a question; while a cell runs, there are no other lines."""
        line, self.received = questions.wait_for_line(self.orders, self.received)
        return line

    async def _run(self, order):
        """Run one cell, and report its end."""
        if order["sites"]:
            execute.add_packages(order["sites"])
        if order["modules"]:
            self.interpreter.add_modules(order["modules"])
        signal.signal(signal.SIGINT, self.interrupt)  # the previous cell may have replaced it
        self.questions.are_allowed = order["stdin"]
        attribution.cell.set(order["cell"])
        attribution.Running.number = order["cell"]
        self.number = self.executor.number = order["number"] or self.number + 1
        self._remember(order)
        source = order["source"]
        linecache.cache[order["file"]] = (lambda: source,)
        error = None
        try:
            try:
                self.is_running = True
                self.out.emit("begun")
                _, error = await self._execute(order)
            finally:
                self.is_running = False
        except BaseException as problem:  # noqa: BLE001 - everything that the user's code can raise
            error = problem
        self.is_running = False
        sys.settrace(None)
        sys.setprofile(None)
        if isinstance(error, asyncio.CancelledError) and self.was_cancelled:
            error = KeyboardInterrupt().with_traceback(error.__traceback__)
        if self.was_cancelled and hasattr(self.task, "uncancel"):
            self.task.uncancel()
        self.was_cancelled = False
        if isinstance(error, Exception):  # for debuggers, as in IPython
            sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        code = self.interpreter.end(order, error)
        error = None
        items, total = variables.describe(self.names, self.hidden)
        threads = sum(not thread.daemon for thread in threading.enumerate()) - 1
        self.out.flush()
        attribution.Running.number = 0
        self.out.pipe.leave()
        self.out.pipe.record("done", code=code, items=items, total=total, threads=threads)

    async def _execute(self, order):
        """Run the code of a cell; return (None, the exception or None)."""
        steps = self.interpreter.begin(order)
        next(steps)  # skip whether the code awaits, since the loop is already running
        return await self.executor.take(steps)

    def _remember(self, order):
        """Add the cell's text to `In`, by its number in the notebook."""
        cells = self.names.get("In")
        if isinstance(cells, list):
            cells.extend([""] * (self.number + 1 - len(cells)))
            cells[self.number] = order["text"]

    def interrupt(self, _number, frame):
        """Handle SIGINT; the main thread is in `frame`."""
        if _is_within(frame, execute.Interpreter.report) or (self.is_running and _is_within(frame, Session._execute)):
            raise KeyboardInterrupt
        if self.is_running:
            # The cell awaits. An exception in the event loop would leave its task pending forever, so cancel it.
            self.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self):
        if self.is_running:
            self.was_cancelled = self.task.cancel()


def _is_within(frame, function):
    """Whether this frame is one of a function or of what it calls."""
    while frame is not None:
        if frame.f_code is function.__code__:
            return True
        frame = frame.f_back
    return False
