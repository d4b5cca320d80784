"""The bound on the cell's output: nothing is lost without being counted."""

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


def run(cap, *outputs):
    now = [one for output in outputs for one in cap.feed(output)]
    return now, list(cap.finish())


def text_of(emitted, stream=None):
    return "".join(one.text for one in emitted if isinstance(one, Chunk) and stream in {None, one.stream})


PIECES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(st.sampled_from("ab\n\n"), max_size=30)), max_size=40
)


@given(PIECES, st.integers(0, 6), st.integers(0, 6))
def test_head_and_tail_and_left_out_are_all_lines(pieces, head, tail):
    cap = OutputTruncator(head=head, tail=tail)
    now, end = run(cap, *(err(text, stream) for stream, text in pieces))
    total = sum(text.count("\n") for _, text in pieces)
    sentence = [one for one in end if isinstance(one, Chunk) and "omitted" in one.text]
    left = sum(int(re.search(r"([\d,]+) lines? omitted", one.text)[1].replace(",", "")) for one in sentence
               if "line" in one.text.split(" omitted")[0])  # fmt: skip
    kept = [one for one in end if one not in sentence]
    assert text_of(now).count("\n") <= head
    assert len(kept) <= tail
    assert text_of(now).count("\n") + text_of(kept).count("\n") + left == total
    assert len(sentence) <= 1


@given(PIECES)
def test_what_fits_is_unchanged_in_each_stream(pieces):
    now, end = run(OutputTruncator(head=3, tail=5000), *(err(text, stream) for stream, text in pieces))
    for stream in ("stdout", "stderr"):
        assert text_of(now + end, stream) == "".join(text for name, text in pieces if name == stream)


@given(st.lists(st.text(st.sampled_from("ab\r\n"), max_size=20), max_size=20))
def test_redraws_that_are_few_pass_as_they_came(pieces):
    now, _ = run(OutputTruncator(), *(err(text, "stdout") for text in pieces))
    assert text_of(now) == "".join(pieces) or "\r\n" in "".join(pieces)


def screen(text):
    """What a terminal shows, line by line."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for redraw in line.split("\r"):
            shown = redraw + shown[len(redraw) :]
        lines.append(shown)
    return "\n".join(lines)


REDRAWN = st.lists(st.text(st.sampled_from("abc\r\r\n"), max_size=12), max_size=30)


@given(REDRAWN, st.integers(1, 3), st.booleans())
def test_held_redraws_end_in_the_same_picture(pieces, redraws, in_tail):
    cap = OutputTruncator(redraws=redraws, head=0 if in_tail else 10_000, tail=10_000)
    now, end = run(cap, *(err(text, "stdout") for text in pieces))
    assert screen(text_of(now + end)) == screen("".join(pieces))


def test_many_lines_in_one_piece_and_one_by_one_end_alike():
    lines = [f"{n}\n" for n in range(1000)]
    at_once = run(OutputTruncator(head=10, tail=10), out("".join(lines)))
    singly = run(OutputTruncator(head=10, tail=10), *map(out, lines))
    assert text_of(at_once[0]) == text_of(singly[0]) == "".join(lines[:10])
    assert at_once[1] == singly[1]
    assert at_once[1][0] == Chunk(stream="stderr", text="[980 lines omitted; full log: %argo logs]\n")
    assert text_of(at_once[1][1:]) == "".join(lines[-10:])


def test_very_many_lines():
    cap = OutputTruncator(full_log="%argo logs swift-otter")
    now, end = run(cap, out("a line of output\n" * 200_000))
    assert text_of(now).count("\n") == 1000
    assert end[0].text == "[198,000 lines omitted; full log: %argo logs swift-otter]\n"
    assert text_of(end[1:]).count("\n") == 1000


def test_one_endless_line_is_cut_and_counted():
    now, end = run(OutputTruncator(width=10), *[out("x" * 8)] * 5, out("\nnext\n"))
    assert text_of(now + end) == "x" * 10 + " [30 characters omitted]\nnext\n"


def test_an_endless_line_that_never_ends_is_counted_too():
    now, end = run(OutputTruncator(width=10), err("x" * 11, "stdout"))
    assert text_of(now + end) == "x" * 10 + " [1 character omitted]"


def test_what_is_cut_in_the_tail_is_told_as_well():
    now, end = run(OutputTruncator(width=4, head=0), err("abcdef", "stdout"))
    assert text_of(now + end) == "abcd [2 characters omitted]"


def test_many_long_lines_are_bounded_by_their_characters():
    now, end = run(OutputTruncator(head=100, tail=100, chars=1000), out(("y" * 99 + "\n") * 100))
    assert len(text_of(now)) <= 1000
    assert len(text_of(end[1:])) <= 1000
    assert "80 lines omitted" in end[0].text


def test_pieces_without_a_newline_are_told_in_characters():
    cap = OutputTruncator(head=1, tail=1, chars=20)
    _, end = run(cap, out("one\n"), *(err("abcdefgh", name) for name in ("stdout", "stderr", "stdout")))
    assert end[0].text.startswith("[16 characters omitted")


def test_the_sentence_begins_a_line_of_its_own():
    _, end = run(OutputTruncator(head=5, tail=1, chars=11), err("no newline", "stdout"), err("a\nb\nc\n"))
    assert end[0].text.startswith("\n[2 lines omitted")


def test_a_long_progress_bar_passes_rarely_and_ends_right():
    cap = OutputTruncator(redraws=100)
    now, end = run(cap, *(err(f"\r{n:>3}%") for n in range(10_000)))
    assert text_of(now).count("\r") < 100 * 15
    assert screen(text_of(now + end)) == "9999%"


def test_a_progress_bar_with_colours_that_is_held_back_ends_with_the_last():
    _, end = run(OutputTruncator(head=0), *(err(f"\r\x1b[3{n}m{n}\x1b[0m") for n in range(5)))
    assert text_of(end) == "\r\x1b[33m3\x1b[0m\r\x1b[34m4\x1b[0m"


def test_windows_line_ends_are_no_redraws():
    for head in (0, 10):
        now, end = run(OutputTruncator(head=head), err("a\r", "stdout"), err("\nb\r\n", "stdout"))
        assert screen(text_of(now + end).replace("\r\n", "\n")) == "a\nb\n"


def test_displays_pass_up_to_a_count_and_updates_of_those_shown():
    cap = OutputTruncator(displays=2)
    now, end = run(
        cap,
        display(),
        display(display_id="a"),
        display(display_id="b"),
        display(display_id="a", update=True),
        display(display_id="b", update=True),
        display(),
    )
    assert now == [display(), display(display_id="a"), display(display_id="a", update=True)]
    assert end == [Chunk(stream="stderr", text="[2 displays omitted; full log: %argo logs]\n")]


def test_displays_pass_up_to_a_size():
    now, end = run(OutputTruncator(display_chars=10), display('"12345678"'), display('"x"'))
    assert len(now) == 1
    assert "1 display omitted" in end[0].text


def test_tracebacks_of_values_count_as_displays():
    error = ev.Traceback(**STAMP, error='"12345678"')
    now, end = run(OutputTruncator(displays=2), error, display(), error)
    assert now == [error, display()]
    assert "1 display omitted" in end[0].text


def test_clearing_begins_anew():
    cap = OutputTruncator(head=1, tail=1, displays=1)
    clear = ev.ClearOutput(**STAMP)
    now, end = run(cap, out("1\n2\n3\n4\n"), display(), clear, out("5\n"), display())
    assert now[-3:] == [clear, Chunk(stream="stdout", text="5\n"), display()]
    assert end == []


@pytest.mark.parametrize(
    "output",
    [
        ev.Result(**STAMP, data=(("text/plain", '"1"'),)),
        ev.Skipped(**STAMP, lines=1, bytes=2),
        Gap(lines=1, reason="x"),
        Restarted(boot="c"),
    ],
)
def test_what_must_never_be_silent_passes(output):
    cap = OutputTruncator(head=0, tail=0, displays=0)
    assert cap.feed(out("gone\n")) == ()
    assert cap.feed(output) == (output,)
