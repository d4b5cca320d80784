"""Completion of `%%argo` and `%argo` lines: core/commands/help.py finds the kind of value, this module the values."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from IPython.core.completer import SimpleCompletion, SimpleMatcherResult, context_matcher

from uv_argo_magic import sessions
from uv_argo_magic._os import paths
from uv_argo_magic.backends import lookup
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.table import commands_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.completer import CompletionContext
    from IPython.core.interactiveshell import InteractiveShell

    from uv_argo_magic.history.store import History
    from uv_argo_magic.sessions.registry import SessionEntry

IDENTIFIER = "uv_argo_magic"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_IPYTHON = {"In", "Out", "exit", "quit", "get_ipython", "open"}
_COMMAND = re.compile(r"\s*(?P<cell>%)?%argo(?:\s+|$)")
_ASSIGNED = re.compile(r"^([A-Za-z_]\w*)(?= *(?:=[^=]|:))(?!(?:else|try|finally)\b)", re.MULTILINE)
_REQUIREMENTS = re.compile(r"\.(?:txt|in|toml|lock|ya?ml|py)\Z")
"""Names of files that can have requirements."""


def matcher(
    shell: InteractiveShell, history: Callable[[], History], find_session: Callable[[str], SessionEntry | None]
) -> object:
    """The matcher for IPython. It completes our lines and cells of sessions, and suppresses other matchers there.

    `find_session` is called with the line of a cell.
    """

    @context_matcher(identifier=IDENTIFIER)
    def argo(context: CompletionContext) -> SimpleMatcherResult:
        nothing = SimpleMatcherResult(completions=[], suppress=False)
        line = context.text_until_cursor
        first, _, body = context.full_text.partition("\n")
        cell = _COMMAND.match(first)
        if cell and cell["cell"] and context.cursor_line:
            entry = find_session(first[cell.end() :])
            return (entry and _in_session(entry, line, body)) or nothing
        command = _COMMAND.match(line)
        if not command or (command.end() == len(line) and not line[-1:].isspace()):
            return nothing
        if command["cell"] and context.full_text.split("\n")[: context.cursor_line] not in ([], [""]):
            return nothing  # %% on a later line is text of the cell
        expected = command_help.expected(line[command.end() :], "notebook", cell=bool(command["cell"]))
        candidates = values(expected.completer, expected.fragment, shell.user_ns, body, history)
        offered = [*expected.candidates, *(text for text in candidates if text.startswith(expected.fragment))]
        return SimpleMatcherResult(
            completions=_Alone(
                SimpleCompletion(text=text, type="argo") for text in offered if text not in expected.given
            ),
            suppress=True,
            ordered=True,
            matched_fragment=expected.fragment,
        )

    return argo


_ATTRIBUTE = re.compile(r"(?P<base>[^\W\d]\w*(?:\.\w+|\[[^\[\]]*\])*)\.(?P<prefix>\w*)$")
_KEY = re.compile(r"(?P<base>[^\W\d]\w*(?:\.\w+|\[[^\[\]]*\])*)\[(?P<quote>['\"])(?P<prefix>[^'\"]*)$")
_WORD = re.compile(r"(?<![\w.'\"])(?P<prefix>[^\W\d]\w*)$")


def _in_session(entry: SessionEntry, line: str, body: str) -> SimpleMatcherResult | None:
    """The session's completions at the end of this line, or None."""
    patterns = {"key": _KEY, "attribute": _ATTRIBUTE, "name": _WORD}
    matches = {kind: match.groupdict() for kind, pattern in patterns.items() if (match := pattern.search(line))}
    if not matches:
        return None
    kind, groups = next(iter(matches.items()))
    found = dict(sessions.workers.complete(entry, groups.get("base", ""), groups["prefix"], kind))
    if kind == "name" and found:
        found |= {name: "instance" for name in _assigned(body) if name.startswith(groups["prefix"])}
        found.pop(groups["prefix"], None)
    end = f"{groups['quote']}]" if kind == "key" else ""
    if not found:
        return None
    return SimpleMatcherResult(
        completions=[SimpleCompletion(text=f"{text}{end}", type=found[text]) for text in sorted(found)],
        suppress=True,
        matched_fragment=groups["prefix"],
    )


class _Alone(list[SimpleCompletion]):
    """Completions that are never empty, because IPython would then add the keywords of Python."""

    def __len__(self) -> int:
        return max(1, super().__len__())


def values(
    completer: str, fragment: str, names: dict[str, object], body: str, history: Callable[[], History]
) -> Iterable[str]:
    """The values of a completer of the table."""
    own_names = {name: value for name, value in names.items() if not name.startswith("_") and name not in _IPYTHON}
    completers: dict[str, Callable[[], Iterable[str]]] = {
        "backend": lookup.names,
        "python": lambda: PYTHONS,
        "package": lambda: _packages(history()),
        "requirements-file": lambda: _files(fragment, _REQUIREMENTS),
        "file": lambda: _files(fragment),
        "name": lambda: own_names,
        "value": lambda: _sendable(own_names),
        "cell-name": lambda: _assigned(body),
        "run": lambda: (entry.id for entry in history().list()),
        "command": lambda: commands_in("notebook"),
        "session": _sessions,
    }
    candidates = list(completers[completer]()) if completer in completers else []
    # Versions and runs are already in order.
    return candidates if completer in ("python", "run", "command") else sorted(candidates)


def _sendable(names: dict[str, object]) -> Iterable[str]:
    """The variables whose values can be sent."""
    from uv_argo_magic.core.protocol.values import can_encode  # noqa: PLC0415 - 5 ms, and `%load_ext` completes nothing

    return [name for name, value in names.items() if can_encode(value)]


def _sessions() -> Iterable[str]:
    """The names of this user's sessions."""
    return {entry.name for entry in sessions.registry.Registry.of_this_user().list()}


def _packages(history: History) -> Iterable[str]:
    """Names of packages: those of the last runs, and popular ones."""
    from uv_argo_magic.commands import edit  # noqa: PLC0415 - 32 ms, and `%load_ext` completes nothing

    return edit.names(history)


def _files(fragment: str, pattern: re.Pattern[str] | None = None) -> Iterable[str]:
    """The folders and files that begin with this path; if the names of some files match `pattern`, only these files."""
    folder, slash, beginning = fragment.rpartition("/")
    try:
        entries = [entry for entry in paths.expanded(folder + slash).iterdir() if " " not in entry.name]
    except OSError:
        return ()
    visible = [entry for entry in entries if beginning.startswith(".") or not entry.name.startswith(".")]
    files = [entry.name for entry in visible if entry.is_file() and entry.name.startswith(beginning)]
    files = [name for name in files if pattern and pattern.search(name)] or files
    folders = [f"{entry.name}/" for entry in visible if entry.is_dir() and not entry.name.startswith("__")]
    return (folder + slash + name for name in (*files, *folders))


def _assigned(body: str) -> Iterable[str]:
    """The variables that the cell assigns at its top level, even if it is incomplete."""
    try:
        nodes: list[ast.AST] = [ast.parse(body)]
    except (SyntaxError, ValueError):
        return set(_ASSIGNED.findall(body))
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.comprehension):
            nodes += ast.iter_child_nodes(node)
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
