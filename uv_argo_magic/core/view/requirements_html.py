"""A requirements file being edited -> strings: its chips, what is known of it, and the static form that is saved.

Rules: those of `view`: every string that is not written here is escaped, and the static form has inline styles only.
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


def badge(verdict: CheckResult | None) -> str:
    """One word on the whole: None is not known yet."""
    if verdict is None:
        return "Checking"
    if verdict.unreachable:
        return "Unchecked"
    return "Problem" if verdict.lock is None else "Resolved"


def chip(item: Requirement, verdict: CheckResult | None) -> str:
    """One requirement: its name, what is asked of its version, and the version that was found."""
    rest = escape(str(item).removeprefix(item.name))
    bad = verdict is not None and item.name in verdict.blamed
    said = '<span class="uv-mark">problem</span>' if bad else ""
    found = verdict.versions.get(item.name, "") if verdict else ""
    # A pinned version says already which one it is.
    dim = f'<span class="uv-dim">{escape(found)}</span>' if found and item.specifier != f"=={found}" else ""
    title = escape(f"{verdict.problem} {verdict.hint}".strip()) if bad and verdict else escape(str(item))
    return f'<span class="uv-req" title="{title}">{escape(item.name)}<span>{rest}</span>{dim}{said}</span>'


def status(verdict: CheckResult | None, now: float) -> str:
    """What is known of all of them together, and what to do; `now` in Unix seconds."""
    title = badge(verdict)
    word = f'<span class="uv-badge uv-{title.lower()}" role="status"><i></i>{title}</span>'
    if verdict is None:
        return f'{word}<span class="uv-said">Asking the index.</span>'
    hint = f'<div class="uv-hint">{escape(verdict.hint)}</div>' if verdict.hint else ""
    warned = "".join(
        f'<div class="uv-remark">{escape(line)}</div>' for line in (verdict.lock.warnings if verdict.lock else ())
    )
    return f'{word}<span class="uv-said">{escape(verdict.sentence(now))}</span>{hint}{warned}'


def static_text(items: tuple[Requirement, ...], name: str) -> str:
    """The text twin: what the file asks for."""
    return f"argo edit {name}: {', '.join(map(str, items)) or 'nothing'}"


def static_html(items: tuple[Requirement, ...], text: str, name: str, verdict: CheckResult | None) -> str:
    """The file as static HTML that needs neither script nor style sheet."""
    versions = verdict.versions if verdict else {}
    blamed = verdict.blamed if verdict else ()
    rows = "".join(
        '<tr style="background:transparent">'
        f'<td style="text-align:left;padding:1px 24px 1px 0;{_RED if item.name in blamed else ""}">'
        f'{escape(str(item))}</td><td style="text-align:left;padding:1px 0;{_FAINT}">'
        f"{escape(versions.get(item.name, ''))}</td></tr>"
        for item in items
    )
    more = "".join(f'<div style="{_CODE};{_FAINT}">{escape(line)}</div>' for line in option_lines(text))
    said = "" if verdict is None else f"<div>{escape(verdict.sentence())}</div>"
    return (
        f'<div class="uv-edit-static" style="border:{_LINE};border-radius:6px;padding:8px 12px;margin:2px 0 6px;'
        f'max-width:960px;font-size:13px;line-height:1.5"><div><b>Requirements</b> &nbsp;'
        f'<span style="{_CODE};{_FAINT}">{escape(name)}</span></div>{said}'
        f'<table style="{_CODE};border-collapse:collapse;margin:4px 0">{rows}</table>{more}</div>'
    )
