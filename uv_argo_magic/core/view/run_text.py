"""A run as plain text: its log for people, and remarks on missing or omitted output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted

if TYPE_CHECKING:
    from uv_argo_magic.core.protocol.state import Output, RunState


def log(state: RunState, full_output: str = "") -> str:
    """The log for people: the output of uv, then that of the cell, then its error.

    `full_output` is all that the cell printed, if known; it replaces output that was omitted.
    """
    text = "".join(line if line.endswith("\n") else line + "\n" for line in state.install_log)
    outputs = _with_full_output(tuple(state.outputs), full_output) if full_output else state.outputs
    text += "".join(output_text(output) for output in outputs)
    if state.error:
        error = json.loads(state.error)
        text += ("" if not text or text.endswith("\n") else "\n") + f"{error.get('ename')}: {error.get('evalue')}\n"
    return text


def _with_full_output(outputs: tuple[Output, ...], full_output: str) -> tuple[Output, ...]:
    """The outputs, with what was printed after the head as one text; the log does not tell what was shown within it."""
    skipped = next((index for index, output in enumerate(outputs) if isinstance(output, ev.Skipped)), None)
    if skipped is None:
        return outputs
    printed = (ev.Lines, ev.Text)
    end = max((index + 1 for index, output in enumerate(outputs[:skipped]) if isinstance(output, printed)), default=0)
    head = outputs[:end]
    text = "".join(output.text for output in head if isinstance(output, printed))
    if not full_output.startswith(text):  # some redraws of a progress bar were left out
        head, text = tuple(output for output in head if not isinstance(output, printed)), ""
    rest = tuple(output for output in outputs[end:] if not isinstance(output, (*printed, ev.Skipped)))
    return (*head, ev.Lines(text=full_output.removeprefix(text)), *rest)


def output_text(output: Output) -> str:
    match output:
        case ev.Lines() | ev.Text() | ev.Traceback():
            return output.text
        case ev.Display() | ev.Result():
            return bundle(output.data) + "\n"
        case ev.ClearOutput():
            return ""
        case Gap() | Restarted() | ev.Skipped():
            return remark(output) + "\n"
        case _:  # pragma: no cover
            assert_never(output)


def remark(output: Output) -> str:
    """The line for a gap, omitted output or another attempt; empty for output of the cell."""
    match output:
        case ev.Skipped():
            location = f"; full output: {humanize.one_line(output.path)}" if output.path else ""
            amount = humanize.count(output.lines, "line") if output.lines else humanize.count(output.bytes, "byte")
            return f"[{amount} omitted{location}]"
        case Gap():
            amount = humanize.count(output.lines, "line") if output.lines else "some lines"
            return f"[{amount} of the log missing: {humanize.one_line(output.reason)}]"
        case Restarted():
            return f"[cell restarted, attempt {output.attempt}]"
        case ev.Lines() | ev.Text() | ev.Display() | ev.Result() | ev.Traceback() | ev.ClearOutput():
            return ""
        case _:  # pragma: no cover
            assert_never(output)


def bundle(mimebundle: ev.Bundle) -> str:
    """The text of a mimebundle, or else the names of its MIME types."""
    data = dict(mimebundle)
    text = json.loads(data.get("text/plain", "null"))
    return text if isinstance(text, str) else f"[{', '.join(data)}]"
