"""core/view/run_text.py: a run as plain text, with remarks on missing output."""

from __future__ import annotations

from support.cases import each

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.view import run_text
from uv_argo_magic.testing import play, write

RECORD = {"boot": "b", "n": 1, "t": 0.0}
HELLO = ("hello", {"protocol": 1, "python": "3.12.1", "platform": "Linux", "pid": 1})


@each(
    ("output", "remark"),
    [
        (Gap(lines=0, reason="rotated"), "[some lines of the log missing: rotated]"),
        (Gap(lines=1, reason="rotated"), "[1 line of the log missing: rotated]"),
        (Restarted(boot="b"), "[cell restarted, attempt 2]"),
        (ev.Skipped(**RECORD, lines=0, bytes=9), "[9 bytes omitted]"),
        (ev.Skipped(**RECORD, lines=3, bytes=30, path="a/b"), "[3 lines omitted; full output: a/b]"),
        (ev.Lines(text="x"), ""),
        (ev.Traceback(**RECORD, text="x"), ""),
    ],
)
def test_remarks_on_missing_output(output, remark):
    assert run_text.remark(output) == remark


def test_log_has_output_of_uv_cell_and_error():
    log = write(
        HELLO,
        ("uv", {"text": "Resolved"}),
        "printed\n",
        ("text", {"stream": "stderr", "text": "warned\n"}),
        ("display", {"data": {"text/plain": "shown", "text/html": "<b>"}}),
        ("display", {"data": {"image/png": "x"}}),
        ("clear", {}),
        ("traceback", {"error": {}, "text": "TypeError: no html\n"}),
        ("text", {"stream": "stdout", "text": "half a line"}),
        ("error", {"error": {"ename": "ValueError", "evalue": "no"}}),
        ("exit", {"reason": "error", "code": 1}),
    )
    expected = "Resolved\nprinted\nwarned\nshown\n[image/png]\nTypeError: no html\nhalf a line\nValueError: no\n"
    assert run_text.log(play(log)) == expected


def test_log_with_missing_lines_has_a_remark():
    log = write(HELLO) + write("lost\n", ("exit", {"reason": "ok"}), n=1).splitlines(keepends=True)[-1]
    assert run_text.log(play(log)).startswith("[1 line of the log missing: ")


SHORTENED = (
    HELLO,
    "one\n",
    ("display", {"data": {"text/plain": "shown"}}),
    ("text", {"stream": "stderr", "text": "two\n"}),
    ("traceback", {"error": {}, "text": "TypeError: no html\n"}),
    ("skipped", {"lines": 1, "bytes": 6, "path": "p"}),
    ("text", {"stream": "stdout", "text": "four\n"}),
    ("result", {"data": {"text/plain": "5"}}),
    ("exit", {"reason": "ok"}),
)


@each(
    ("full_output", "expected"),
    [
        ("", "one\nshown\ntwo\nTypeError: no html\n[1 line omitted; full output: p]\nfour\n5\n"),
        ("one\ntwo\nthree\nfour\n", "one\nshown\ntwo\nthree\nfour\nTypeError: no html\n5\n"),
        ("\rone\ntwo\nthree\n", "shown\n\rone\ntwo\nthree\nTypeError: no html\n5\n"),
    ],
)
def test_full_output_replaces_omitted_output(full_output, expected):
    assert run_text.log(play(write(*SHORTENED)), full_output) == expected


def test_full_output_is_not_needed_if_nothing_was_omitted():
    log = write(HELLO, "one\n", ("display", {"data": {"text/plain": "shown"}}), "two\n", ("exit", {"reason": "ok"}))
    assert run_text.log(play(log), "one\ntwo\n") == "one\nshown\ntwo\n"
