"""A run's state as static HTML and text: the panel, the log and the packages.

Rules:
- Every external string is escaped, so that no state can put markup or script into a notebook.
- The HTML consists of <details>, <table>, <pre> and inline styles, which JupyterLab keeps in an untrusted notebook.
- Everything that differs between two runs of one cell (times, names, uv's log) is in elements that `VOLATILE` matches,
  and is not part of `text_static`.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import durations, elapsed
from uv_argo_magic.core.resolution import dependency_tree
from uv_argo_magic.core.resolution.lock import Lock, Package, Resolution
from uv_argo_magic.core.view import ansi, messages, run_text
from uv_argo_magic.core.view.tables import escape

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.state import Output, RunState

VOLATILE = r'(?s)<(span|details) class="uv-volatile".*?</\1>'
"""A regular expression for the parts that differ between two runs of one cell; remove them before comparing."""

LISTED = 12
"""Maximum packages in a line of text; the HTML has all."""

FILES_HINT = (
    "They were removed with the folder of the run. To keep a file, write it to an absolute path or a volume, or read "
    "it into a variable and add --pull."
)
"""How to keep the files that a cell writes."""

SHORTEST = 0.05
"""Minimum seconds of a phase to be shown; the total includes shorter phases."""

WIDEST = 2000
"""Maximum characters of a line in the panel's log; the cell and `%argo logs` show more."""

TONES = {
    "Succeeded": "#1a7f37", "Failed": "#cf222e", "Error": "#cf222e", "InstallFailed": "#cf222e", "Stopped": "#6e7781",
    "Lost": "#8250df", "NotStarted": "#cf222e", "Stopping": "#cf222e",
}  # fmt: skip
"""Title -> colour of its mark, visible on light and dark pages; other titles use the colour of their phase."""

STAGE_TONES = {
    "preparing": "#bf8700", "queued": "#8c959f", "pulling": "#1b7c83", "starting": "#57606a", "resolving": "#bf8700",
    "installing": "#8250df", "running": "#0969da",
}  # fmt: skip
"""Phase -> colour in the bar, readable on light and dark pages."""

_FAINT = "opacity:0.65"
_LINE = "1px solid rgba(128,128,128,0.35)"
_REMARK = "font-size:12px;border-left:3px solid #bf8700;padding-left:8px;margin-top:4px"
_CODE = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"


def packages(state: RunState) -> tuple[tuple[str, str], ...]:
    """(name, version) of the installed packages, or of those the guest resolved; empty before that."""
    if state.installed is not None:
        return state.installed.packages
    try:
        lines = [str(line).split(" ", 1)[0] for line in json.loads(state.locked)["lines"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple((name, version) for name, _, version in (line.partition("==") for line in lines) if version)


def text_static(state: RunState) -> str:
    """The state in one line without times or generated names: `argo Succeeded: numpy==2.3.4 pandas==3.1.1`."""
    title, ename = messages.title(state), messages.ename(state)
    summary = f"argo {title}" + (f" ({humanize.one_line(ename)})" if ename and ename != title else "")
    installed = packages(state)
    names = " ".join(f"{name}=={version}" for name, version in installed[:LISTED])
    more = f" and {len(installed) - LISTED} more" if len(installed) > LISTED else ""
    return ansi.clean(f"{summary}: {names}{more}" if names else summary)


def text(state: RunState, now: float) -> str:
    """The state for terminals: the line of `text_static`, then sentence, hint, times, notes and gaps."""
    lines = [text_static(state), messages.sentence(state), messages.hint(state)]
    times = ", ".join(f"{_phase_name(stage)} {humanize.seconds(took)}" for stage, took in durations(state, now))
    total = humanize.seconds(elapsed(state, now))
    lines.append(f"{state.name or state.run or 'run'}: {total}" + (f" ({times})" if times else ""))
    lines += [f"note: {humanize.one_line(note)}" for note in state.notes]
    lines += [line for output in state.outputs if (line := run_text.remark(output))]
    return "\n".join(line for line in map(ansi.clean, lines) if line)


def mimebundle(state: RunState, now: float, lock: Resolution | None = None) -> dict[str, str]:
    """The output that a notebook stores: `text/html`, and `text/plain` without times."""
    return {"text/html": html(state, now, lock), "text/plain": text_static(state)}


def tail(state: RunState, lines: int = 500) -> str:
    """The last lines of uv's and the cell's output as terminal text; earlier output is not read."""
    parts: list[str] = []
    remaining = lines
    below = ""  # the stream of the next piece
    for output in reversed(state.outputs):
        if remaining <= 0:
            break
        stream = _stream(output)
        piece = _last(run_text.output_text(output), remaining + 1)
        if piece and below not in {"", stream} and not piece.endswith("\n"):
            piece += "\n"  # another stream does not continue this line
        remaining -= piece.count("\n")
        parts.append(piece)
        below = stream
    else:
        parts.append(_last("".join(state.install_log), remaining + 1))
    return _last("".join(reversed(parts)), lines)


def log_html(state: RunState, lines: int = 500) -> str:
    """The `tail` as safe HTML for a `<pre>`."""
    return ansi.to_html(tail(state, lines))


def packages_html(state: RunState, now: float, lock: Resolution | None = None) -> str:
    """The packages as a dependency tree, or a sentence if there are none; `now` in Unix seconds.

    Before the install, the packages are those of the lock.
    """
    shown_packages = planned(state, lock)
    if not shown_packages:
        is_known = state.installed is not None or state.phase in {"running", "ended"}
        message = "No packages." if is_known else "Not resolved yet."
        if isinstance(lock, Lock) and (note := messages.base_packages_note(lock)):
            message = escape(note)
        return f'<div style="{_FAINT};padding:4px 0">{message}</div>'
    return f"{_packages_table(shown_packages)}{_foot(state, now, lock)}"


@functools.lru_cache(maxsize=8)
def _packages_table(shown_packages: tuple[Package, ...]) -> str:
    """The table of these packages; most cells of a session have those of the cell before."""
    indent = "&nbsp;&nbsp;&nbsp;"
    rows = "".join(
        _row(
            indent * depth + escape(package.name), escape(package.version), humanize.size(package.size),
            escape(_needed(package)),
        )
        for depth, package in dependency_tree.tree(shown_packages)
    )  # fmt: skip
    total = humanize.size(sum(package.size for package in shown_packages))
    rows += _row(humanize.count(len(shown_packages), "package"), "", total, "", f"border-top:{_LINE}")
    return _table(rows)


def _table(rows: str) -> str:
    """A table that scrolls if it has many rows."""
    return (
        f'<div style="max-height:270px;overflow:auto;margin:4px 0">'
        f'<table style="{_CODE};border-collapse:collapse;margin:0">{rows}</table></div>'
    )


def _row(name: str, version: str, size: str, needed: str, style: str = "") -> str:
    """A row of escaped texts; cells do not break inside words, numbers and names."""
    cell = f"white-space:nowrap;{style}"
    return (
        f'<tr><td style="text-align:left;padding:1px 24px 1px 0;{cell}">{name}</td>'
        f'<td style="text-align:left;padding:1px 24px 1px 0;{cell}">{version}</td>'
        f'<td style="text-align:right;padding:1px 0;{_FAINT};{cell}">{size}</td>'
        f'<td style="text-align:left;padding:1px 8px 1px 24px;{_FAINT};{cell}">{needed}</td></tr>'
    )


def files_html(files: ev.Files) -> str:
    """The files that the cell left in its folder, and how to keep them."""
    rows = "".join(
        _row(escape(name), "", humanize.size(int(size)) if size.isdecimal() else "", "") for name, size in files.files
    )
    if files.count > len(files.files):
        rows += _row(f"and {humanize.count(files.count - len(files.files), 'other file')}", "", "", "")
    return _details(
        f"Files ({files.count}, {humanize.size(files.bytes) or '0 B'})",
        f'{_table(rows)}<div style="font-size:12px;{_FAINT}">{FILES_HINT}</div>',
        volatile=True,
    )


def values_html(state: RunState) -> str:
    """The pushed and pulled values, with types and sizes; "" if there are none."""
    rows = [
        (name, kind, size, "pushed" if form == "plain" else f"pushed, {form}") for name, kind, size, form in state.sent
    ]
    for value in state.values:
        status = "not pulled" if value.problem else "pulled, sealed" if value.sealed else "pulled"
        rows.append((value.name, value.type, value.size, status))
    if not rows:
        return ""
    cells = "".join(
        _row(escape(name), escape(kind), humanize.size(size), escape(status)) for name, kind, size, status in rows
    )
    return _details(f"Values ({len(rows)})", _table(cells))


def planned(state: RunState, lock: Resolution | None = None) -> tuple[Package, ...]:
    """The installed packages, or those to install, with the details in the lock."""
    locked = {package.name: package for package in lock.packages} if isinstance(lock, Lock) else {}
    installed = packages(state)
    if not installed:
        return tuple(locked.values()) if state.installed is None else ()
    return tuple(
        package if (package := locked.get(name)) and package.version == version else Package(name=name, version=version)
        for name, version in installed
    )


def _needed(package: Package) -> str:
    origin = f"from {package.index}" if package.index else ""
    return ", ".join(filter(None, (f"for {', '.join(package.via)}" if package.via else "", origin)))


def _foot(state: RunState, now: float, lock: Resolution | None) -> str:
    """Size of the downloads, age of the lock and warnings of uv."""
    if not isinstance(lock, Lock):
        return ""
    notes = []
    if state.installed is not None and state.installed.cached:
        notes.append("environment reused, nothing downloaded")
    elif lock.size:
        notes.append(f"up to {humanize.size(lock.size)} to download")
    if lock.created_at:
        notes.append(messages.lock_age(lock, now))
    line = f'<span class="uv-volatile" style="font-size:12px;{_FAINT}">{escape("; ".join(notes))}</span>'
    remarks = filter(None, (messages.base_packages_note(lock), *lock.warnings))
    return line + "".join(f'<div style="{_REMARK}">{escape(remark)}</div>' for remark in remarks)


def stages_html(state: RunState, now: float) -> str:
    """The phases as a bar of their shares of the time, with a legend, in one volatile element."""
    passed = [(stage, took) for stage, took in durations(state, now) if took >= SHORTEST or stage == state.phase]
    if not passed:
        return '<span class="uv-volatile"></span>'
    total = sum(took for _, took in passed) or 1.0
    # Do not use a span inside, because VOLATILE matches up to the first `</span>`.
    shares = "".join(
        f'<i style="display:block;height:6px;min-width:3px;flex:{took / total:.3f} 1 0;'
        f'background-color:{STAGE_TONES.get(stage, "#8c959f")}"></i>'
        for stage, took in passed
    )
    labels = "".join(
        f'<b style="font-weight:normal;white-space:nowrap;margin-right:14px">'
        f'<i style="display:inline-block;width:8px;height:8px;border-radius:2px;margin-right:5px;'
        f'background-color:{STAGE_TONES.get(stage, "#8c959f")}"></i>{_phase_name(stage)} {humanize.seconds(took)}</b> '
        for stage, took in passed
    )
    if state.installed is not None and state.installed.packages:
        how = "environment reused" if state.installed.cached else "environment created"
        labels += f'<b style="font-weight:normal;{_FAINT}">{how} in {humanize.seconds(state.installed.seconds)}</b>'
    bar = "display:flex;gap:2px;border-radius:3px;overflow:hidden;margin:8px 0 4px"
    return (
        f'<span class="uv-volatile" style="display:block">'
        f'<b aria-hidden="true" style="{bar}">{shares}</b>'
        f'<b style="display:block;font-weight:normal;font-size:12px;line-height:1.6">{labels}</b></span>'
    )


def _phase_name(phase: str) -> str:
    """The displayed name of a phase; both resolutions, before the run and in the pod, have the same name."""
    return "resolving" if phase == "preparing" else phase


def remarks(state: RunState) -> tuple[str, ...]:
    """All lines to show with the output: notes, gaps, omitted output, other attempts."""
    return (
        *(humanize.one_line(note, 500) for note in state.notes),
        *filter(None, map(run_text.remark, state.outputs)),
    )


def html(state: RunState, now: float, lock: Resolution | None = None) -> str:
    """The state as static HTML without script or style sheet: one line that unfolds, and the remarks below it.

    It is unfolded if neither the cell's output nor its traceback explains a failure. It does not repeat the sentence
    of the exception that the cell raises; a run that was stopped raises none.
    """
    return _panel(state, now, lock)


def snapshot(state: RunState, now: float, lock: Resolution | None, when: str, *, is_blocking: bool) -> str:
    """The state of a run at `when` (text), for a page that no longer follows it, with the ways to continue.

    The buttons are links to commands of JupyterLab; other front ends show the text. With `is_blocking`, one of them
    interrupts the kernel.
    """
    attach = f"%argo attach {state.run}"
    buttons = []
    if state.run:
        below = ["notebook:insert-cell-below", "notebook:replace-selection", "notebook:run-cell"]
        arguments = {"commands": below, "args": {"text": attach}}
        buttons.append(_command("Attach", "apputils:run-all-enabled", json.dumps(arguments)))
    if is_blocking:
        buttons.append(_command("Interrupt kernel", "notebook:interrupt-kernel"))
    again = f"To see the run: <code>{escape(attach)}</code>" if state.run else "Run the cell again."
    below_line = (
        f'<div style="font-size:12px;margin:0 0 4px 18px"><span style="{_FAINT}">This panel is not live. '
        f"{again}</span> {' '.join(buttons)}</div>"
    )
    return _panel(state, now, lock, below_line, when=when, css_class="uv-argo-snapshot uv-static")


def _command(label: str, command: str, arguments: str = "") -> str:
    """A button that runs a command of JupyterLab. It also works in an untrusted notebook, after a confirmation."""
    more = f' data-commandlinker-args="{escape(arguments)}"' if arguments else ""
    style = (
        "font:inherit;line-height:18px;padding:0 8px;margin:0 2px;cursor:pointer;color:inherit;background:transparent;"
        f"border:{_LINE};border-radius:4px"
    )
    return f'<button data-commandlinker-command="{command}"{more} style="{style}">{label}</button>'


def _panel(
    state: RunState,
    now: float,
    lock: Resolution | None,
    below: str = "",
    *,
    when: str = "",
    css_class: str = "uv-argo-static",
) -> str:
    listed_packages = planned(state, lock)
    line = facts(state, now, len(listed_packages)) + (f" \N{MIDDLE DOT} as of {when}" if when else "")
    name = state.name or state.run
    sentences = (messages.sentence(state), messages.hint(state)) if state.outcome == "Stopped" and state.ended else ()
    body = [f"<div>{escape(text)}</div>" for text in sentences if text]
    body.append(f'<div style="font-size:12px">{stages_html(state, now)}</div>')
    if name:
        body.append(f'<span class="uv-volatile" style="{_CODE};{_FAINT}">{escape(name)}</span>')
    if listed_packages:
        body.append(_details(f"Packages ({len(listed_packages)})", packages_html(state, now, lock)))
    body.append(values_html(state))
    if state.files is not None:
        body.append(files_html(state.files))
    body.append(_log_details(state, is_explained=_is_explained(state)))
    notes = "".join(f'<div style="{_REMARK}">{escape(line)}</div>' for line in remarks(state))
    # Only the mark has a colour, since no text colour is readable on both light and dark pages.
    mark = "display:inline-block;width:8px;height:8px;border-radius:50%;margin:0 6px 0 2px"
    title = messages.phase_title(state)
    return (
        f'<div class="{css_class}" style="max-width:960px;font-size:13px;line-height:1.5;padding-left:8px">'
        f"<details{'' if _is_explained(state) else ' open'}>"
        '<summary style="cursor:pointer;line-height:23px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis">'
        f'<i style="{mark};background-color:{tone(state)}"></i><b>{title}</b> &nbsp;'
        f'<span class="uv-volatile" style="{_FAINT}">{escape(line)}</span></summary>'
        f'<div style="margin:2px 0 6px 4px;padding-left:12px;border-left:{_LINE}">{"".join(body)}</div></details>'
        f"{below}{notes}</div>"
    )


def tone(state: RunState) -> str:
    """The colour of the mark, for the current phase or the outcome."""
    return TONES.get(messages.phase_title(state)) or STAGE_TONES.get(state.phase, "#8c959f")


def facts(state: RunState, now: float, packages_count: int) -> str:
    """The line next to the title: the time, the number of packages, the location and other facts."""
    parts = [humanize.seconds(elapsed(state, now))]
    if downloaded := messages.download(state):
        parts.append(downloaded)
    elif packages_count:
        parts.append(humanize.count(packages_count, "package"))
    if state.files is not None:
        parts.append(humanize.count(state.files.count, "file") + " written")
    if state.sent and state.phase not in {"running", "ended"}:
        parts.append("sending " + ", ".join(f"{name} ({humanize.size(size)})" for name, _, size, _ in state.sent))
    if state.phase not in {"new", "preparing"}:  # the location is not known before
        parts.append(humanize.one_line(state.location, 80) if state.location else "local")
    if state.session:
        parts.append(f"session {state.session}")
        parts += filter(None, [humanize.size(state.rss)])
    if more := messages.detail(state):
        parts.append(humanize.one_line(more, 200))
    return " \N{MIDDLE DOT} ".join(parts)


def _is_explained(state: RunState) -> bool:
    """Whether the output or the traceback explains how the run ended, so that the log can stay folded."""
    if not state.ended or state.outcome in {"Succeeded", "Stopped", "NotStarted"}:
        return True
    return state.exited is not None and state.exited.reason in {"ok", "error", "exit", "deadline"}


def _log_details(state: RunState, *, is_explained: bool) -> str:
    """The log of uv; or the unfolded end of the whole log, if neither output nor traceback explain a failure."""
    # Scrolls to the end of the log without a script.
    frame = "display:flex;flex-direction:column-reverse;max-height:320px;overflow:auto;margin:4px 0"
    style = f"{_CODE};flex:0 0 auto;line-height:1.4;margin:0;padding:0;white-space:pre-wrap"
    if is_explained and not state.install_log:
        return ""
    log = log_html(state, 100) if not is_explained else ansi.to_html(_last("".join(state.install_log), 200))
    if not log.strip():
        return ""
    return _details(
        "Install log" if is_explained else "Log",
        f'<div style="{frame}"><pre style="{style}">{log}</pre></div>',
        opened=not is_explained,
        volatile=True,
    )


def _details(summary: str, body: str, *, opened: bool = False, volatile: bool = False) -> str:
    mark = ' class="uv-volatile"' if volatile else ""
    return (
        f'<details{mark} style="margin-top:4px"{" open" if opened else ""}>'
        f'<summary style="cursor:pointer;font-size:12px">{summary}</summary>{body}</details>'
    )


def _stream(output: Output) -> str:
    """The stream of an output; "ours" if it is neither stdout nor stderr."""
    match output:
        case ev.Lines():
            return "stdout"
        case ev.Text():
            return output.stream
        case ev.Traceback():
            return "stderr"
        case _:
            return "ours"


def _last(text_: str, lines: int) -> str:
    """The last lines of a text, each shortened to WIDEST characters."""
    end = "\n" if text_.endswith("\n") else ""
    start = len(text_) - len(end)
    for _ in range(lines):
        start = text_.rfind("\n", 0, start)
        if start < 0:
            break
    lines_text = text_[start + 1 : len(text_) - len(end)] if lines > 0 else ""
    if len(lines_text) <= WIDEST:
        return lines_text + (end if lines > 0 else "")
    return "\n".join(map(_shortened, lines_text.split("\n"))) + end


def _shortened(line: str) -> str:
    """A line, cut at its beginning if it is too long, because the last redraw is the visible one."""
    if len(line) <= WIDEST:
        return line
    return "\N{HORIZONTAL ELLIPSIS}" + line[-WIDEST:]
