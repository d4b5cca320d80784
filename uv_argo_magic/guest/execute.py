"""The process that runs the cell: as `__main__`, from a real file, with displays and the last expression's value.

Rules:
- The user's code sees a fresh module and nothing of ours but the `display` that a notebook has.
- One record (`error` or `done`) reports the end of the cell's code; then the user's threads and exit handlers run to
  their end, as in any script.
"""

import ast
import atexit
import builtins
import io
import json
import os
import sys
import threading
import time
import tokenize
import types

from . import display, exceptions, figures, import_hooks, streams, values

AWAIT = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0x2000)
CO_COROUTINE = 0x80
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
    if order["sites"]:
        _add_packages(order["sites"])
    displays = display.Displays(out.emit)
    drawn = figures.Figures(displays)
    drawn.install()
    displays.hook_ipython()
    sys.argv[:] = [order["file"]]
    del sys.path[0]  # the guest's own folder, put there to find this module; what is left begins with ""
    module = _main_module(order["file"])
    builtins.display = displays.display  # type: ignore[attr-defined]
    _refuse_questions()
    _settle_libraries()
    code = _run(order, module, out, displays, drawn)
    _leave(code, out)


def _add_packages(folders):
    """Add package folders as Python does at its start: this process started before they existed."""
    import site

    for folder in folders:
        site.addsitedir(folder)
    if "sitecustomize" not in sys.modules:
        site.execsitecustomize()


def _main_module(file):
    module = types.ModuleType("__main__")
    module.__file__ = file
    module.__builtins__ = builtins  # type: ignore[attr-defined]
    module.__spec__ = None
    sys.modules["__main__"] = module
    return module


def _run(order, module, out, displays, drawn):
    """Run it; the exit status."""
    error = None
    code = 0
    try:
        with open(order["file"], encoding="utf-8", errors="surrogatepass", newline="") as file:
            source = file.read()
        for name, text in order["push"]:
            setattr(module, name, values.decode(text))
        _execute(source, order["file"], module, displays)
    except SystemExit as leaving:
        code, error = _exit_status(leaving)
    except BaseException as problem:  # noqa: BLE001 - this is where the user's code ends
        error, code = problem, 1
    sys.settrace(None)  # what follows is ours: a tracer of the cell's has nothing to see, and nothing to break
    sys.setprofile(None)
    drawn.flush()
    if error is not None:
        out.emit("error", error=exceptions.describe(error, order["file"], (os.path.dirname(__file__),)))
    else:
        _send_values(order, module, out)
    out.emit("done")
    return code


def _execute(source, file, module, displays):
    """Run all but the last expression, then that one for its value."""
    try:
        tree = ast.parse(source, file)
    except (SyntaxError, ValueError) as problem:
        raise problem.with_traceback(None)  # noqa: B904 - the same one, without the frames of `ast`
    value = None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not _silenced(source):
        value = ast.Expression(tree.body.pop().value)
    call = _Caller(module)
    flags = 0
    if tree.body:
        code = compile(tree, file, "exec", AWAIT, dont_inherit=True)
        flags = _future_flags(code.co_flags)
        call(code)
    if value is not None:
        result = call(compile(value, file, "eval", AWAIT | flags, dont_inherit=True))
        if result is not None:
            module.__dict__["_"] = result
            displays.result(result)


class _Caller:
    """Runs code in the module; code that awaits at its top runs on one event loop, made when it is first needed."""

    def __init__(self, module):
        self.module = module
        self.loop = None

    def __call__(self, code):
        value = eval(code, self.module.__dict__)  # noqa: S307 - running the user's code is the purpose
        if not code.co_flags & CO_COROUTINE:
            return value
        if self.loop is None:
            import asyncio

            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(value)


def _future_flags(flags):
    import __future__

    future_flags = 0
    for name in __future__.all_feature_names:
        future_flags |= getattr(__future__, name).compiler_flag
    return flags & future_flags


def _silenced(source):
    """Whether the last token is a semicolon, which in a notebook silences the value."""
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT):
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"


def _exit_status(leaving):
    """sys.exit's argument -> (exit status, the exception to report or None), as Python itself reads it."""
    if leaving.code is None:
        return 0, None
    if isinstance(leaving.code, int):
        return (leaving.code & 0xFF or 1, leaving) if leaving.code else (0, None)
    return 1, leaving  # a text: the error says it, as in a notebook


def _send_values(order, module, out):
    room = order["value_limit"] or sys.maxsize
    for name in order["pull"]:
        if name not in module.__dict__:
            out.emit("value", name=name, problem="the cell does not define %s" % name)
            continue
        try:
            body = values.encode(name, module.__dict__[name], room)
        except Exception as problem:  # noqa: BLE001 - a value's own methods run here
            out.emit("value", name=name, problem=str(problem))
            continue
        room -= len(body)
        out.emit("value", name=name, body=body)


def _refuse_questions():
    """Let input(), getpass and breakpoint() raise: a run has no terminal."""
    builtins.input = _refuse("input()", "ask in another cell and send the answer by --push")
    password = _refuse("getpass()", "ask in another cell and send the answer by --push, or name a variable of `env`")
    import_hooks.AfterImport({"getpass": lambda module: setattr(module, "getpass", password)}).install()
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _refuse("breakpoint()", "print what you would look at, or run the cell without %%argo")


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


def _leave(code, out):
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
