"""The process that runs the cell as `__main__`, with displays and the value of the last expression.

Rules:
- The user's code runs in a new module, which has only the additional names of a notebook: `display`, `get_ipython`.
- A notebook's cell has no `__file__`, since child processes would run it again; a script has one.
- One record (`error` or `done`) reports the end of the cell's code. After that, the user's threads and exit handlers
  run to their end, as in any script.
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

THREADS_GRACE = 1.0  # if threads run for more seconds after the cell's code, a note mentions them


class StdinNotImplementedError(NotImplementedError):
    """`input()` was called, which a run does not support; the name is that of ipykernel's exception."""


def main(pipe, acknowledged, orders):
    """Wait for an order (JSON on the file descriptor `orders`), run it, and exit with its status."""
    for fd in (pipe, acknowledged, orders):
        os.set_inheritable(fd, False)
    out = streams.Streams(pipe, acknowledged)
    with open(orders, encoding="utf-8") as file:
        text = file.read()
    if not text:  # the supervisor has ended, or has nothing to run
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
    """The interpreter for cells: `__main__`, its displays, and its executor.

    `file` is the file of a script, with the arguments `args`; "" for cells of a notebook. `modules` is a folder with
    the modules for a notebook, or "".
    """

    def __init__(self, out, file, sites, modules="", args=()):
        self.out = out
        if sites:
            add_packages(sites)
        self.displays = display.Displays(out.emit)
        self.drawn = figures.Figures(self.displays)
        self.drawn.install()
        self.displays.hook_ipython()
        self.order = {}  # type: dict
        self.at_end = [self.drawn.flush]
        """Functions to call when the code of a cell has ended, with or without an error; they must not raise."""
        self.hidden = [os.path.dirname(__file__)]
        self.displays.describe = lambda problem: exceptions.describe(problem, self.order["file"], tuple(self.hidden))
        # From this program name, libraries detect that they run in a notebook.
        sys.argv[:] = [file or os.path.join(os.getcwd(), "ipykernel_launcher.py"), *args]
        sys.path.remove(os.path.dirname(self.hidden[0]))  # it was needed to find this module
        pip = os.path.join(self.hidden[0], "pip_command")  # for child processes
        sys.path[:] = [path for path in sys.path if path != pip]
        self.module = _main_module(file)
        self.executor = executor.Executor(self.module, self.displays)
        builtins.display = self.displays.display  # type: ignore[attr-defined]
        _refuse_questions()
        _settle_libraries()
        if modules:
            self.add_modules(modules)

    def add_modules(self, folder):
        """Add the modules for a notebook, which are in this folder; only once."""
        if folder in self.hidden:
            return
        self.hidden.append(folder)
        sys.path.append(folder)
        import uv_argo_notebook

        uv_argo_notebook.install(self)

    def run(self, order):
        """Run a cell; return its exit status."""
        error = None
        try:
            take_interrupts()
            self.executor.run(self.begin(order))
        except BaseException as problem:  # noqa: BLE001 - everything that the user's code can raise
            error = problem
        sys.settrace(None)  # the cell's tracer must not trace our code
        sys.setprofile(None)
        return self.end(order, error)

    def begin(self, order):
        """Bind the pushed values and read the cell; return its steps, for `Executor.run`."""
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
        """Report how the cell's code ended, after showing its last figures; return the exit status."""
        try:
            return self.report(order, error)
        except KeyboardInterrupt as interrupt:  # while it drew figures or sent values
            self.report_error(order, interrupt)
            return 1

    def report(self, order, error):
        """Like `end`; can be interrupted."""
        code = 0
        if isinstance(error, SystemExit):
            code, error = _exit_status(error)
        elif error is not None:
            code = 1
        for finish in self.at_end:
            finish()
        if error is not None:
            self.report_error(order, error)
        elif order["pull"]:
            self._transfer().send(values, order, self.module, self.displays, self.out.emit)
        return code

    def report_error(self, order, error):
        """Send the exception that ended the cell."""
        self.out.emit("error", error=exceptions.describe(error, order["file"], tuple(self.hidden)))

    def _transfer(self):
        """The module that receives and sends values, from the package that is sent with this run."""
        folder = self.order["values"]
        if folder not in self.hidden:
            self.hidden.append(folder)
            sys.path.append(folder)
        from uv_argo_values import transfer

        transfer.start(values, self.order)
        return transfer


def take_interrupts():
    """Allow interrupts, which were blocked while Python started, because they would have shown our own code."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def add_packages(folders):
    """Add package folders as Python does when it starts; this process started before they existed."""
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
    """(exit status, the exception to report or None) for the argument of sys.exit, as in Python."""
    if leaving.code is None:
        return 0, None
    if isinstance(leaving.code, int):
        return (leaving.code & 0xFF or 1, leaving) if leaving.code else (0, None)
    return 1, leaving  # a text is shown as an error, as in a notebook


def _refuse_questions():
    """Make input(), getpass and breakpoint() raise, because a run has no terminal."""
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
    """Configure libraries as in a notebook, if they would look for IPython."""
    import_hooks.AfterImport({"pandas": _pandas}).install()


def _pandas(module):
    # Without IPython, pandas assumes a terminal and shows every column.
    if module.get_option("display.max_columns") == 0:
        module.set_option("display.max_columns", 20)


def leave(code, out):
    """End like the interpreter (threads, exit handlers, output), but without its clean-up of modules."""
    try:
        _report_threads(out)
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - the interpreter calls this; there is no public name
        atexit._run_exitfuncs()  # noqa: SLF001 - the same
    except BaseException:  # noqa: BLE001 - from the user's exit handler, or an interrupt while waiting
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
