"""The process that runs the cell: as `__main__`, with displays and the last expression's value.

Rules:
- The user's code sees a fresh module and nothing of ours but what a notebook has: `display`, `get_ipython`.
- A notebook's cell has no `__file__`, or child processes would run it again; a script has one.
- One record (`error` or `done`) reports the end of the cell's code; then the user's threads and exit handlers run to
  their end, as in any script.
"""

import atexit
import builtins
import json
import os
import signal
import sys
import threading
import time
import types

from . import display, exceptions, executor, figures, import_hooks, streams, values

THREADS_GRACE = 1.0  # seconds for which threads may outlive the cell's code before a note mentions them


class StdinNotImplementedError(NotImplementedError):
    """`input()` was called, which a run cannot answer; the name is ipykernel's."""


def main(pipe, acknowledged, orders):
    """Wait for what to run, as JSON on the descriptor `orders`, run it, and leave with its exit status."""
    for fd in (pipe, acknowledged, orders):
        os.set_inheritable(fd, False)
    out = streams.Streams(pipe, acknowledged)
    with open(orders, encoding="utf-8") as file:
        text = file.read()
    if not text:  # the supervisor is gone, or has nothing to run
        os._exit(0)
    order = json.loads(text)
    out.install()
    interpreter = Interpreter(
        out, order["file"] if order["script"] else "", order["sites"], order["modules"], order["args"]
    )
    code = interpreter.run(order)
    out.emit("done")
    leave(code, out)


class Interpreter:
    """What cells run in: `__main__`, what shows their values, and what runs them (executor.py).

    `file` is that of a script, with the arguments `args`; "" for cells of a notebook. `modules` is a folder with the
    modules of a notebook, or "".
    """

    def __init__(self, out, file, sites, modules="", args=()):
        self.out = out
        if sites:
            add_packages(sites)
        self.displays = display.Displays(out.emit)
        self.drawn = figures.Figures(self.displays)
        self.drawn.install()
        self.displays.hook_ipython()
        self.order = {}
        self.at_end = [self.drawn.flush]
        """Functions that are called when the code of a cell has ended, in any way; they do not raise."""
        self.hidden = [os.path.dirname(__file__)]
        # Libraries look at the program's name to learn that they are in a notebook.
        sys.argv[:] = [file or os.path.join(os.getcwd(), "ipykernel_launcher.py"), *args]
        sys.path.remove(os.path.dirname(self.hidden[0]))  # it was there to find this module
        self.module = _main_module(file)
        self.executor = executor.Executor(self.module, self.displays)
        builtins.display = self.displays.display  # type: ignore[attr-defined]
        _refuse_questions()
        _settle_libraries()
        if modules:
            self.add_modules(modules)

    def add_modules(self, folder):
        """Let the process be a notebook's, with the modules in this folder; once."""
        if folder in self.hidden:
            return
        self.hidden.append(folder)
        sys.path.append(folder)
        import uv_argo_notebook

        uv_argo_notebook.install(self)

    def run(self, order):
        """Run a cell; its exit status."""
        error = None
        try:
            take_interrupts()
            self.executor.run(self.begin(order))
        except BaseException as problem:  # noqa: BLE001 - this is where the user's code ends
            error = problem
        sys.settrace(None)  # what follows is ours: a tracer of the cell's has nothing to see, and nothing to break
        sys.setprofile(None)
        return self.end(order, error)

    def begin(self, order):
        """Bind what is pushed, and read the cell; its steps, for `Executor.run`."""
        self.order = order
        self.executor.file = order["file"]
        source = order.get("source")
        if source is None:
            with open(order["file"], encoding="utf-8", errors="surrogatepass", newline="") as file:
                source = file.read()
        if order["push"]:
            self._transfer().bind(values, order, self.module)
        if order["script"]:
            return self.executor.script(source)
        return self.executor.cell(source, order["code"])

    def end(self, order, error):
        """Report how the cell's code ended, with its last figures; its exit status."""
        code = 0
        if isinstance(error, SystemExit):
            code, error = _exit_status(error)
        elif error is not None:
            code = 1
        for finish in self.at_end:
            finish()
        if error is not None:
            self.out.emit("error", error=exceptions.describe(error, order["file"], tuple(self.hidden)))
        elif order["pull"]:
            self._transfer().send(values, order, self.module, self.displays, self.out.emit)
        return code

    def _transfer(self):
        """The module that takes and sends values, of the package that this run has for them."""
        folder = self.order["values"]
        if folder not in self.hidden:
            self.hidden.append(folder)
            sys.path.append(folder)
        from uv_argo_values import transfer

        transfer.start(values, self.order)
        return transfer


def take_interrupts():
    """Let interrupts through: while Python started, they were held back, and would have shown our own code."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def add_packages(folders):
    """Add package folders as Python does at its start: this process started before they existed."""
    import site

    for folder in folders:
        site.addsitedir(folder)
    if "sitecustomize" not in sys.modules:
        site.execsitecustomize()


def _main_module(file):
    module = types.ModuleType("__main__")
    if file:
        module.__file__ = file
    module.__builtins__ = builtins  # type: ignore[attr-defined]
    module.__spec__ = None
    sys.modules["__main__"] = module
    return module


def _exit_status(leaving):
    """sys.exit's argument -> (exit status, the exception to report or None), as Python itself reads it."""
    if leaving.code is None:
        return 0, None
    if isinstance(leaving.code, int):
        return (leaving.code & 0xFF or 1, leaving) if leaving.code else (0, None)
    return 1, leaving  # a text: the error says it, as in a notebook


def _refuse_questions():
    """Let input(), getpass and breakpoint() raise: a run has no terminal."""
    builtins.input = _refuse("input()", "ask in another cell and send the answer with --push")
    password = _refuse(
        "getpass()", "ask in another cell and send the answer with --push, or use --set variables=NAME=VALUE"
    )
    import_hooks.AfterImport({"getpass": lambda module: setattr(module, "getpass", password)}).install()
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _refuse("breakpoint()", "print the values to inspect, or run the cell without %%argo")


def _refuse(call, instead):
    def ask(*_args, **_kwargs):
        raise StdinNotImplementedError(
            "%s is not available, because the cell runs without a terminal; %s" % (call, instead)
        )

    return ask


def _settle_libraries():
    """Set libraries up as in a notebook where they would ask IPython."""
    import_hooks.AfterImport({"pandas": _pandas}).install()


def _pandas(module):
    # Without IPython pandas assumes a terminal, and shows every column.
    if module.get_option("display.max_columns") == 0:
        module.set_option("display.max_columns", 20)


def leave(code, out):
    """End as the interpreter does (threads, exit handlers, output), but without taking modules apart."""
    try:
        _report_threads(out)
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter calls; there is no public name
        atexit._run_exitfuncs()  # noqa: SLF001 - the same
    except BaseException:  # noqa: BLE001 - an exit handler of the user's, or an interrupt while waiting
        sys.excepthook(*sys.exc_info())
    out.flush()
    out.closing = True
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(code)


def _report_threads(out):
    threads = [
        thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon
    ]
    deadline = time.monotonic() + THREADS_GRACE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    names = [thread.name for thread in threads if thread.is_alive()]
    if names:
        out.emit("note", text="the cell's code has finished; waiting for its threads: " + ", ".join(names))
