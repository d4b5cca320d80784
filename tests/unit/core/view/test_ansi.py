"""Terminal text to HTML: safe, coloured, redraws collapsed."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.view import ansi

TRICKY = st.text(
    st.sampled_from(list("ab<>&\"'/=;:0123456789mK[]()?\x1b\x07\x9b\r\n\b\t\x00 \\é\u202e\ud800")) | st.characters(),
    max_size=200,
)
ESCAPES = st.lists(
    st.sampled_from(
        ["\x1b[31m", "\x1b[0m", "\x1b[38;5;200m", "\x1b[2K", "\r", "\b", "<b>", "text", "\n", "\x1b]0;t\x07", "\x1b["]
    )
).map("".join)


class Collect(HTMLParser):
    """The tags and the text that a browser would see."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@given(TRICKY | ESCAPES)
def test_only_our_spans_are_markup_and_the_text_is_what_a_terminal_leaves(text):
    seen = Collect(ansi.to_html(text))
    assert all(tag == "span" and set(attrs) <= {"class", "style"} for tag, attrs in seen.tags)
    assert seen.text == ansi.strip(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", seen.text)


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]) | st.sampled_from("\n\t")))
def test_text_without_controls_is_only_escaped(text):
    assert ansi.to_html(text) == html.escape(text)
    assert ansi.strip(text) == text


@given(TRICKY | ESCAPES)
def test_stripping_twice_changes_nothing_more(text):
    once = ansi.strip(text)
    assert ansi.strip(once) == once


@given(TRICKY)
def test_clean_text_can_be_sent(text):
    assert len(ansi.clean(text).encode()) >= len(text)


@each(
    ("text", "left"),
    [
        ("10%\r 50%\r100%", "100%"),
        ("long line\rab", "abng line"),
        ("a\r\nb", "a\nb"),
        ("abc\b\bX", "aXc"),
        ("\b\ba", "a"),
        ("abc\x1b[2K\rx", "x"),
        ("abc\r\x1b[Kx", "x"),
        ("abcdef\rabc\x1b[0K", "abc"),
        ("abcd\b\b\x1b[1K", "  cd"),
        ("abc\x1b[2Kx", "   x"),
        ("a\x1b[5;3Hb\x1b[?25lc\x1b(Bd\x1bMe", "abcde"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\x1b]52;c;unended\nnext", "\nnext"),
        ("\x1bPdcs\x1b\\a", "a"),
        ("\x9b31mred", "red"),
        ("a\x07b\x00c", "abc"),
        ("\x1b[", ""),
    ],
)
def test_what_stands_on_the_line_at_the_end(text, left):
    assert ansi.strip(text) == left


@each(
    ("codes", "style"),
    [
        ("31", f"color:{ansi.NAMED[1]}"),
        ("91", f"color:{ansi.NAMED[9]}"),
        ("42", f"background-color:{ansi.NAMED[2]}"),
        ("103", f"background-color:{ansi.NAMED[11]}"),
        ("38;5;9", f"color:{ansi.NAMED[9]}"),
        ("38;5;16", "color:#000000"),
        ("38;5;231", "color:#ffffff"),
        ("38;5;110", "color:#87afd7"),
        ("38;5;232", "color:#080808"),
        ("38;5;999", "color:#ffffff"),
        ("48;2;1;2;300", "background-color:#0102ff"),
        ("38:2:1:2:3", "color:#010203"),
        ("1", "font-weight:bold"),
        ("2", "opacity:0.65"),
        ("3", "font-style:italic"),
        ("4;9", "text-decoration:underline line-through"),
        ("21", "text-decoration:underline"),
        ("7", "color:#ffffff;background-color:#6b7280"),
        ("31;7", f"color:#ffffff;background-color:{ansi.NAMED[1]}"),
        ("1;2;3;4;7;9;31;41;22;23;24;27;29;39;49", ""),
        ("31;0", ""),
        ("31;", ""),
        ("38", ""),
        ("38;9;1", ""),
        ("77", ""),
    ],
)
def test_styles(codes, style):
    (tag,) = Collect(ansi.to_html(f"\x1b[{codes}mx")).tags or [("", {})]
    assert tag[1].get("style", "") == style if tag else not style


def test_a_colour_stays_on_until_it_is_taken_back_and_equal_neighbours_share_a_span():
    assert ansi.to_html("\x1b[1mab\nc\x1b[0md") == (
        '<span style="font-weight:bold">ab</span>\n<span style="font-weight:bold">c</span>d'
    )


def test_named_colours_carry_a_class_for_style_sheets():
    assert 'class="uv-a1"' in ansi.to_html("\x1b[31mred")


def test_a_long_redrawn_line_is_quick():
    text = "\r".join(f"\x1b[32m{n:>80}\x1b[0m" for n in range(5000))
    assert ansi.strip(text).strip() == "4999"
