# ruff: noqa: E501 - sentences
"""Why a cell under `%%argo` differs from a plain cell: one reason for each cell that differs."""

from __future__ import annotations

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
    "asyncio.run": _LOOP,
    "asyncio.get_running_loop": _LOOP,
    "asyncio.create_task": _LOOP,
    "an exception in a thread": _SOURCE,
    "an exception in __del__": _SOURCE,
    "sys.argv": "`sys.argv` contains only the program's name. In a kernel, it contains the kernel's arguments.",
    "raise from": _RAISED_LINE,
    "an exception in an except block": _RAISED_LINE,
    "an exception with finally": _RAISED_LINE,
    "an exception group": _GROUP,
    "except*": _GROUP,
    "an error in __str__ of an exception": "`%%argo` reports the exception itself. IPython reports the error raised by its `__str__`.",
    "a missing module": _HINT,
    "a missing file": _HINT,
    "sys.exit without a status": _EXIT,
    "sys.exit with a status": _EXIT,
    "sys.exit with a message": _EXIT,
    "input": _NO_INPUT,
    "getpass": _NO_INPUT,
    "breakpoint": "A cell cannot ask for input. A kernel without a debugger ignores the breakpoint.",
    "an environment variable of the kernel": "The cell gets no environment variables of the kernel. Set them with `--set variables=NAME=VALUE`.",
    "MPLBACKEND and JPY_PARENT_PID": _NO_KERNEL,
    "sys.ps1": "The cell is not interactive, so `sys.ps1` is not set.",
    "help": "A cell has no pager, so help is printed.",
    "an unknown magic": "A magic that a cell does not have is refused before the run.",
    "an error below a magic": "`%%argo` shows the lines as you wrote them. IPython shows their translation.",
    "half an emoji": "An unpaired surrogate is shown escaped. A kernel cannot send it, and reports an error.",
}

IN_SESSIONS = {
    "asyncio.run": "The same as in a plain cell: cells of a session run in an event loop.",
    "asyncio.get_running_loop": "The same as in a plain cell: cells of a session run in an event loop.",
    "asyncio.create_task": "The same as in a plain cell: cells of a session run in an event loop.",
    "input": "A front end that takes no input, as here, gets the same error with another message. Others ask.",
    "getpass": "A front end that takes no input, as here, gets the same error with another message. Others ask.",
}
"""The reasons for cells whose differences in a session are not the same as without one."""
