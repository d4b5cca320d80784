"""core/view/truncate.py: limits on the output of a cell; omitted output is counted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Gap, Restarted
from uv_argo_magic.core.view.truncate import Chunk, OutputTruncator

STAMP = {"boot": "b", "n": 1, "t": 0.0}


def out(text):
    return ev.Lines(text=text)


def err(text, stream="stderr"):
    return ev.Text(**STAMP, stream=stream, text=text)


def display(body='"x"', *, display_id="", update=False):
    return ev.Display(**STAMP, data=(("text/plain", body),), display_id=display_id, update=update)


def run(truncator, *outputs):
    now = [chunk for output in outputs for chunk in truncator.feed(output)]
    return now, list(truncator.finish())


def text_of(emitted, stream=None):
    return "".join(chunk.text for chunk in emitted if isinstance(chunk, Chunk) and stream in {None, chunk.stream})


PIECES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(st.sampled_from("ab\n\n"), max_size=30)), max_size=40
)


@given(PIECES, st.integers(0, 6), st.integers(0, 6))
def test_shown_and_omitted_lines_add_up(pieces, head, tail):
    truncator = OutputTruncator(head=head, tail=tail)
    now, end = run(truncator, *(err(text, stream) for stream, text in pieces))
    total = sum(text.count("\n") for _, text in pieces)
    notes = [chunk for chunk in end if isinstance(chunk, Chunk) and "omitted" in chunk.text]
    omitted = sum(int(re.search(r"([\d,]+) lines? omitted", chunk.text)[1].replace(",", "")) for chunk in notes
               if "line" in chunk.text.split(" omitted")[0])  # fmt: skip
    tail_chunks = [chunk for chunk in end if chunk not in notes]
    assert text_of(now).count("\n") <= head
    assert len(tail_chunks) <= tail
    assert text_of(now).count("\n") + text_of(tail_chunks).count("\n") + omitted == total
    assert len(notes) <= 1


@given(PIECES)
def test_output_within_the_limit_is_unchanged(pieces):
    now, end = run(OutputTruncator(head=3, tail=5000), *(err(text, stream) for stream, text in pieces))
    for stream in ("stdout", "stderr"):
        assert text_of(now + end, stream) == "".join(text for name, text in pieces if name == stream)


@given(st.lists(st.text(st.sampled_from("ab\r\n"), max_size=20), max_size=20))
def test_few_redraws_are_unchanged(pieces):
    now, _ = run(OutputTruncator(), *(err(text, "stdout") for text in pieces))
    assert text_of(now) == "".join(pieces) or "\r\n" in "".join(pieces)


def screen(text):
    """The lines that a terminal shows."""
    lines = []
    for line in text.split("\n"):
        visible = ""
        for redraw in line.split("\r"):
            visible = redraw + visible[len(redraw) :]
        lines.append(visible)
    return "\n".join(lines)


REDRAWN = st.lists(st.text(st.sampled_from("abc\r\r\n"), max_size=12), max_size=30)


@given(REDRAWN, st.integers(1, 3), st.booleans())
def test_dropped_redraws_leave_the_same_screen(pieces, redraws, in_tail):
    truncator = OutputTruncator(redraws=redraws, head=0 if in_tail else 10_000, tail=10_000)
    now, end = run(truncator, *(err(text, "stdout") for text in pieces))
    assert screen(text_of(now + end)) == screen("".join(pieces))


def test_chunking_of_lines_does_not_matter():
    lines = [f"{n}\n" for n in range(1000)]
    at_once = run(OutputTruncator(head=10, tail=10), out("".join(lines)))
    one_by_one = run(OutputTruncator(head=10, tail=10), *map(out, lines))
    assert text_of(at_once[0]) == text_of(one_by_one[0]) == "".join(lines[:10])
    assert at_once[1] == one_by_one[1]
    assert at_once[1][0] == Chunk(stream="stderr", text="[980 lines omitted; full log: %argo logs]\n")
    assert text_of(at_once[1][1:]) == "".join(lines[-10:])


def test_200_000_lines_are_truncated():
    truncator = OutputTruncator(full_log="%argo logs swift-otter")
    now, end = run(truncator, out("a line of output\n" * 200_000))
    assert text_of(now).count("\n") == 1000
    assert end[0].text == "[198,000 lines omitted; full log: %argo logs swift-otter]\n"
    assert text_of(end[1:]).count("\n") == 1000


def test_very_long_line_is_truncated():
    now, end = run(OutputTruncator(width=10), *[out("x" * 8)] * 5, out("\nnext\n"))
    assert text_of(now + end) == "x" * 10 + " [30 characters omitted]\nnext\n"


def test_unterminated_long_line_is_truncated():
    now, end = run(OutputTruncator(width=10), err("x" * 11, "stdout"))
    assert text_of(now + end) == "x" * 10 + " [1 character omitted]"


def test_long_line_in_the_tail_is_truncated():
    now, end = run(OutputTruncator(width=4, head=0), err("abcdef", "stdout"))
    assert text_of(now + end) == "abcd [2 characters omitted]"


def test_many_long_lines_are_limited_by_characters():
    now, end = run(OutputTruncator(head=100, tail=100, chars=1000), out(("y" * 99 + "\n") * 100))
    assert len(text_of(now)) <= 1000
    assert len(text_of(end[1:])) <= 1000
    assert "80 lines omitted" in end[0].text


def test_omitted_text_without_newline_is_counted_in_characters():
    truncator = OutputTruncator(head=1, tail=1, chars=20)
    _, end = run(truncator, out("one\n"), *(err("abcdefgh", name) for name in ("stdout", "stderr", "stdout")))
    assert end[0].text.startswith("[16 characters omitted")


def test_omission_note_starts_a_new_line():
    _, end = run(OutputTruncator(head=5, tail=1, chars=11), err("no newline", "stdout"), err("a\nb\nc\n"))
    assert end[0].text.startswith("\n[2 lines omitted")


def test_progress_bar_is_throttled_and_ends_correctly():
    truncator = OutputTruncator(redraws=100)
    now, end = run(truncator, *(err(f"\r{n:>3}%") for n in range(10_000)))
    assert text_of(now).count("\r") < 100 * 15
    assert screen(text_of(now + end)) == "9999%"


def test_last_redraws_of_a_coloured_progress_bar_are_kept():
    _, end = run(OutputTruncator(head=0), *(err(f"\r\x1b[3{n}m{n}\x1b[0m") for n in range(5)))
    assert text_of(end) == "\r\x1b[33m3\x1b[0m\r\x1b[34m4\x1b[0m"


def test_windows_line_ends_are_not_redraws():
    for head in (0, 10):
        now, end = run(OutputTruncator(head=head), err("a\r", "stdout"), err("\nb\r\n", "stdout"))
        assert screen(text_of(now + end).replace("\r\n", "\n")) == "a\nb\n"


def test_displays_are_limited_by_count():
    truncator = OutputTruncator(displays=2)
    now, end = run(
        truncator,
        display(),
        display(display_id="a"),
        display(display_id="b"),
        display(display_id="a", update=True),
        display(display_id="b", update=True),
        display(),
    )
    assert now == [display(), display(display_id="a"), display(display_id="a", update=True)]
    assert end == [Chunk(stream="stderr", text="[2 displays omitted; full log: %argo logs]\n")]


def test_displays_are_limited_by_size():
    now, end = run(OutputTruncator(display_chars=10), display('"12345678"'), display('"x"'))
    assert len(now) == 1
    assert "1 display omitted" in end[0].text


def test_tracebacks_of_values_count_as_displays():
    error = ev.Traceback(**STAMP, error='"12345678"')
    now, end = run(OutputTruncator(displays=2), error, display(), error)
    assert now == [error, display()]
    assert "1 display omitted" in end[0].text


def test_clearing_output_resets_the_limits():
    truncator = OutputTruncator(head=1, tail=1, displays=1)
    clear = ev.ClearOutput(**STAMP)
    now, end = run(truncator, out("1\n2\n3\n4\n"), display(), clear, out("5\n"), display())
    assert now[-3:] == [clear, Chunk(stream="stdout", text="5\n"), display()]
    assert end == []


@pytest.mark.parametrize(
    "output",
    [
        ev.Result(**STAMP, data=(("text/plain", '"1"'),)),
        Gap(lines=1, reason="x"),
        Restarted(boot="c"),
    ],
)
def test_results_and_remarks_are_never_omitted(output):
    truncator = OutputTruncator(head=0, tail=0, displays=0)
    assert truncator.feed(out("gone\n")) == ()
    assert truncator.feed(output) == (output,)


def test_output_that_the_runner_omitted_is_part_of_the_same_line():
    lines = [f"{n}\n" for n in range(40)]
    skipped = ev.Skipped(**STAMP, lines=960, bytes=9000)
    now, end = run(OutputTruncator(head=10, tail=30), out("".join(lines[:30])), skipped, out("".join(lines[30:])))
    assert text_of(now) == "".join(lines[:10])
    assert text_of(end) == "[980 lines omitted; full log: %argo logs]\n" + "".join(lines[30:])


def test_remark_of_the_runner_is_shown_if_nothing_else_is_omitted():
    skipped = ev.Skipped(**STAMP, lines=960, bytes=9000)
    now, end = run(OutputTruncator(), out("first\n"), skipped, out("last\n"))
    assert (now, end) == ([Chunk(stream="stdout", text="first\n"), skipped, Chunk(stream="stdout", text="last\n")], [])
