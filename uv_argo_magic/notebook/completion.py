"""Completion of `%%argo` and `%argo` lines: the table says what could come, this module knows the values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from IPython.core.completer import SimpleCompletion, SimpleMatcherResult, context_matcher

from uv_argo_magic.backends import base
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.table import commands_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.completer import CompletionContext
    from IPython.core.interactiveshell import InteractiveShell

    from uv_argo_magic.history.store import History

IDENTIFIER = "uv_argo_magic"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_IPYTHON = {"In", "Out", "exit", "quit", "get_ipython", "open"}
_COMMAND = re.compile(r"\s*(?P<cell>%)?%argo(?:\s+|$)")
_ASSIGNED = re.compile(r"^(?:(?:def|class) +)?([A-Za-z_]\w*)(?= *(?:=[^=]|[(:]))", re.MULTILINE)


def matcher(shell: InteractiveShell, history: Callable[[], History]) -> object:
    """What IPython calls for each completion; it answers on our lines only, and there it alone."""

    @context_matcher(identifier=IDENTIFIER)
    def argo(context: CompletionContext) -> SimpleMatcherResult:
        nothing = SimpleMatcherResult(completions=[], suppress=False)
        line = context.text_until_cursor
        command = _COMMAND.match(line)
        if not command or (command.end() == len(line) and not line[-1:].isspace()):
            return nothing
        if command["cell"] and context.full_text.split("\n")[: context.cursor_line] not in ([], [""]):
            return nothing  # a %% further down is the cell's own text
        expected = command_help.expected(line[command.end() :], "notebook", cell=bool(command["cell"]))
        if expected.completer == "file":
            return nothing  # IPython's own matcher knows files
        body = context.full_text.partition("\n")[2]
        candidates = values(expected.completer, shell.user_ns, body, history)
        offered = [*expected.candidates, *(text for text in candidates if text.startswith(expected.fragment))]
        return SimpleMatcherResult(
            completions=[SimpleCompletion(text=text, type="argo") for text in offered if text not in expected.given],
            suppress=True,
            ordered=True,
            matched_fragment=expected.fragment,
        )

    return argo


def values(completer: str, names: dict[str, object], body: str, history: Callable[[], History]) -> Iterable[str]:
    """The values that a completer of the table knows."""
    completers: dict[str, Callable[[], Iterable[str]]] = {
        "backend": base.names,
        "python": lambda: PYTHONS,
        "name": lambda: (name for name in names if not name.startswith("_") and name not in _IPYTHON),
        "cell-name": lambda: set(_ASSIGNED.findall(body)),
        "run": lambda: (entry.id for entry in history().list()),
        "command": lambda: commands_in("notebook"),
    }
    candidates = list(completers[completer]()) if completer in completers else []
    # Versions and runs have an order of their own.
    return candidates if completer in ("python", "run", "command") else sorted(candidates)
