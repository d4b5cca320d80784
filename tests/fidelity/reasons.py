# ruff: noqa: E501 - sentences
"""Why a cell under `%%argo` differs from a plain one, for each cell that does."""

from __future__ import annotations

_SCRIPT = "The cell is run as a file is; a file has this, a notebook's cell has not."
_SHOWN_LAST = (
    "The value is what `%%argo` returns, so that `Out[n]` holds it: it comes after what the cell shows at its end."
)
_STDERR = "One error ends a run; a value that cannot be shown does not, so its traceback is on stderr."
_LOOP = "Without `await` at its top a cell has no event loop, as in a script: `asyncio.run` works, and what needs a loop that runs does not."
_SOURCE = "The cell is a file that can be read: Python shows the line."
_EARLIER = (
    "IPython shows the later line, where the handling frame stands by then; under `%%argo` it is the line that raised."
)
_GROUP = "ipykernel prints an exception group to stderr and reports no error; under `%%argo` it is an error, and Run All stops."
_EXIT = "There is no kernel to leave: the status is an error with a traceback, and 0 or none is success."
_ASKED = "Nobody can answer where the cell runs, and the sentence says what to do."
_LACKS = "The error is the same; a last line says why the cell lacks it, and what to add."
_APART = "The cell runs apart from the kernel, which it does not find in its surroundings."

REASONS = {
    "raw bytes": "The streams are Python's own kind, and have a buffer.",
    "what cannot be encoded": "The streams are Python's own kind, and say how they encode.",
    "a warning of the compiler": "The cell is compiled once; IPython compiles it three times.",
    "a representation that fails": _STDERR,
    "a repr that fails": _STDERR,
    "an int too long to print": _STDERR,
    "one figure": _SHOWN_LAST,
    "a figure as the result": _SHOWN_LAST,
    "figure: dpi, savefig, backend": _SHOWN_LAST,
    "asyncio.run": _LOOP,
    "the running loop": _LOOP,
    "asyncio: a task without await": _LOOP,
    "an exception in a thread": _SOURCE,
    "an exception in __del__": _SOURCE,
    "inspect.getsource": _SCRIPT,
    "__file__": _SCRIPT,
    "import of main": "`sys.argv` holds the cell's file only; a kernel shows its own arguments there.",
    "a cause": _EARLIER,
    "a context": _EARLIER,
    "finally and else": _EARLIER,
    "a group": _GROUP,
    "except star": _GROUP,
    "return outside a function": "The whole cell is compiled before any of it runs; IPython goes statement by statement.",
    "an exception whose str fails": "The exception itself is reported; IPython reports the one that its `__str__` raises.",
    "a missing module": _LACKS,
    "a missing file": _LACKS,
    "sys.exit without a status": _EXIT,
    "sys.exit with a status": _EXIT,
    "sys.exit with a text": _EXIT,
    "input": _ASKED,
    "getpass": _ASKED,
    "breakpoint": "Nobody can answer where the cell runs; a kernel without a debugger goes on in silence.",
    "a variable of the kernel's environment": "Nothing of the kernel's environment travels unless it is named: `--set env=...`.",
    "modules of the front end": _APART,
    "get_ipython": _APART,
    "sys.path and flags": "The cell is no prompt: `sys.ps1` is not set.",
    "doctest": "The cell is a file, and doctest names it.",
}
