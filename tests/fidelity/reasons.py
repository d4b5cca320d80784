# ruff: noqa: E501 - sentences
"""Why a cell under `%%argo` differs from a plain cell: one reason for each cell that differs."""

from __future__ import annotations

_SCRIPT = "The cell runs as a file, and has what files have."
_RESULT_LAST = "The value is returned by `%%argo`, so that `Out[n]` has it. It follows all other output of the cell."
_STDERR = "An error while showing a value does not end the run. Its traceback is printed on stderr."
_LOOP = "A cell without a top-level `await` has no event loop, as in a script. `asyncio.run` works; code that needs a running loop does not."
_SOURCE = "The cell is a file, so Python can show the source line."
_RAISED_LINE = "`%%argo` shows the line that raised the exception. IPython shows the line that the frame reached later."
_GROUP = "`%%argo` reports an exception group as an error, which stops Run All. ipykernel prints it on stderr and reports no error."
_EXIT = "There is no kernel to exit. A status other than 0 is an error with a traceback; 0 or none is success."
_NO_INPUT = "A cell cannot ask for input. The message says what to do instead."
_HINT = "The error is the same. A last line explains it and suggests a fix."
_NO_KERNEL = "The cell runs outside the kernel, and sees nothing of it."

REASONS = {
    "sys.stdout.buffer": "`%%argo` uses Python's own text streams, which have a buffer.",
    "sys.stdout.errors": "`%%argo` uses Python's own text streams, which have an error handler.",
    "a SyntaxWarning": "`%%argo` compiles the cell once. IPython compiles it three times.",
    "an error in _repr_html_": _STDERR,
    "an error in __repr__": _STDERR,
    "an integer that is too long to print": _STDERR,
    "one figure": _RESULT_LAST,
    "a figure as the result": _RESULT_LAST,
    "savefig": _RESULT_LAST,
    "asyncio.run": _LOOP,
    "asyncio.get_running_loop": _LOOP,
    "asyncio.create_task": _LOOP,
    "an exception in a thread": _SOURCE,
    "an exception in __del__": _SOURCE,
    "inspect.getsource": _SCRIPT,
    "__file__": _SCRIPT,
    "sys.argv": "`sys.argv` contains only the file of the cell. In a kernel, it contains the kernel's arguments.",
    "raise from": _RAISED_LINE,
    "an exception in an except block": _RAISED_LINE,
    "an exception with finally": _RAISED_LINE,
    "an exception group": _GROUP,
    "except*": _GROUP,
    "return outside a function": "`%%argo` compiles the whole cell before it runs any of it. IPython runs it statement by statement.",
    "an error in __str__ of an exception": "`%%argo` reports the exception itself. IPython reports the error raised by its `__str__`.",
    "a missing module": _HINT,
    "a missing file": _HINT,
    "sys.exit without a status": _EXIT,
    "sys.exit with a status": _EXIT,
    "sys.exit with a message": _EXIT,
    "input": _NO_INPUT,
    "getpass": _NO_INPUT,
    "breakpoint": "A cell cannot ask for input. A kernel without a debugger ignores the breakpoint.",
    "an environment variable of the kernel": "The cell gets no environment variables of the kernel. Set them with `--set env=NAME=VALUE`.",
    "MPLBACKEND and JPY_PARENT_PID": _NO_KERNEL,
    "get_ipython": _NO_KERNEL,
    "sys.ps1": "The cell is not interactive, so `sys.ps1` is not set.",
    "doctest": "The cell is a file, and doctest prints its name.",
}
