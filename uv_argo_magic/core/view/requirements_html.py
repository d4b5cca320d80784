"""The requirements editor as HTML: chips, the status, and the static form that a notebook stores.

The rules of view/html.py apply: every external string is escaped, and the static form has only inline styles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.core.requirements.edits import option_lines
from uv_argo_magic.core.view.tables import escape

if TYPE_CHECKING:
    from uv_argo_magic.core.requirements.model import Requirement
    from uv_argo_magic.core.resolution.check_result import CheckResult

_LINE = "1px solid rgba(128,128,128,0.35)"
_CODE = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_FAINT = "opacity:0.65"
_RED = "color:#cf222e"


def badge(result: CheckResult | None) -> str:
    """The status as one word; None means that the check is still running."""
    if result is None:
        return "Checking"
    if result.unreachable:
        return "Unchecked"
    return "Problem" if result.lock is None else "Resolved"


def chip(item: Requirement, result: CheckResult | None) -> str:
    """One requirement: its name, its specifier, and the resolved version."""
    rest = escape(str(item).removeprefix(item.name))
    is_blamed = result is not None and item.name in result.blamed
    mark = '<span class="uv-mark">problem</span>' if is_blamed else ""
    version = result.versions.get(item.name, "") if result else ""
    # A pinned version is shown only once.
    version_html = (
        f'<span class="uv-dim">{escape(version)}</span>' if version and item.specifier != f"=={version}" else ""
    )
    title = escape(f"{result.problem} {result.hint}".strip()) if is_blamed and result else escape(str(item))
    return f'<span class="uv-req" title="{title}">{escape(item.name)}<span>{rest}</span>{version_html}{mark}</span>'


def status(result: CheckResult | None, now: float) -> str:
    """The status of all requirements together, and the next step; `now` in Unix seconds."""
    title = badge(result)
    badge_html = f'<span class="uv-badge uv-{title.lower()}" role="status"><i></i>{title}</span>'
    if result is None:
        return f'{badge_html}<span class="uv-sentence">Resolving packages.</span>'
    hint = f'<div class="uv-hint">{escape(result.hint)}</div>' if result.hint else ""
    warnings = "".join(
        f'<div class="uv-remark">{escape(line)}</div>' for line in (result.lock.warnings if result.lock else ())
    )
    return f'{badge_html}<span class="uv-sentence">{escape(result.sentence(now))}</span>{hint}{warnings}'


def static_text(items: tuple[Requirement, ...], name: str) -> str:
    """The file's requirements in one line."""
    return f"argo edit {name}: {', '.join(map(str, items)) or 'no requirements'}"


def static_html(items: tuple[Requirement, ...], text: str, name: str, result: CheckResult | None) -> str:
    """The file as static HTML that needs neither script nor style sheet."""
    versions = result.versions if result else {}
    blamed = result.blamed if result else ()
    rows = "".join(
        '<tr style="background:transparent">'
        f'<td style="text-align:left;padding:1px 24px 1px 0;{_RED if item.name in blamed else ""}">'
        f'{escape(str(item))}</td><td style="text-align:left;padding:1px 0;{_FAINT}">'
        f"{escape(versions.get(item.name, ''))}</td></tr>"
        for item in items
    )
    options = "".join(f'<div style="{_CODE};{_FAINT}">{escape(line)}</div>' for line in option_lines(text))
    summary = "" if result is None else f"<div>{escape(result.sentence())}</div>"
    return (
        f'<div class="uv-edit-static uv-static" style="border:{_LINE};border-radius:6px;padding:8px 12px;'
        f'margin:2px 0 6px;max-width:960px;font-size:13px;line-height:1.5"><div><b>Requirements</b> &nbsp;'
        f'<span style="{_CODE};{_FAINT}">{escape(name)}</span></div>{summary}'
        f'<table style="{_CODE};border-collapse:collapse;margin:4px 0">{rows}</table>{options}</div>'
    )
