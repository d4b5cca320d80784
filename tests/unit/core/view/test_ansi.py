"""core/view/ansi.py: terminal text as HTML, with colours and without redraws."""

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


class ParsedHtml(HTMLParser):
    """The tags and text that a browser reads."""

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
def test_html_has_only_our_spans_and_the_visible_text(text):
    parsed = ParsedHtml(ansi.to_html(text))
    assert all(tag == "span" and set(attrs) <= {"class", "style"} for tag, attrs in parsed.tags)
    assert parsed.text == ansi.strip(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", parsed.text)


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]) | st.sampled_from("\n\t")))
def test_text_without_control_characters_is_escaped(text):
    assert ansi.to_html(text) == html.escape(text)
    assert ansi.strip(text) == text


@given(TRICKY | ESCAPES)
def test_strip_is_idempotent(text):
    stripped = ansi.strip(text)
    assert ansi.strip(stripped) == stripped


@given(TRICKY)
def test_clean_text_can_be_encoded(text):
    assert len(ansi.clean(text).encode()) >= len(text)


@each(
    ("text", "expected"),
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
def test_strip_returns_the_final_line(text, expected):
    assert ansi.strip(text) == expected


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
def test_escape_codes_become_styles(codes, style):
    (tag,) = ParsedHtml(ansi.to_html(f"\x1b[{codes}mx")).tags or [("", {})]
    assert tag[1].get("style", "") == style if tag else not style


def test_adjacent_text_of_one_style_shares_a_span():
    assert ansi.to_html("\x1b[1mab\nc\x1b[0md") == (
        '<span style="font-weight:bold">ab</span>\n<span style="font-weight:bold">c</span>d'
    )


def test_named_colours_have_a_class():
    assert 'class="uv-a1"' in ansi.to_html("\x1b[31mred")


def test_line_with_many_redraws_is_processed_quickly():
    text = "\r".join(f"\x1b[32m{n:>80}\x1b[0m" for n in range(5000))
    assert ansi.strip(text).strip() == "4999"
