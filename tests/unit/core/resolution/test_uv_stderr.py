from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.resolution.uv_stderr import capitalize, display_name, parse_stderr, redact, shorten


@each(
    ("text", "expected"),
    [
        ("https://u:p@h/x", "https://h/x"),
        ("https://token@h/x", "https://h/x"),
        ("https://u:p@ss@h/x", "https://h/x"),
        ("(https://h/x?sig=1) and `git+https://u@h/y?z`", "(https://h/x) and `git+https://h/y`"),
        ("a @ https://h/x.whl", "a @ https://h/x.whl"),
        ("nobody@example.com?", "nobody@example.com?"),
    ],
)
def test_redact_removes_credentials(text, expected):
    assert redact(text) == expected


@each(
    ("spec", "name"),
    [
        ("alpha==1.0", "alpha 1.0"),
        ("alpha-1.0", "alpha 1.0"),
        ("alpha>=1", "alpha>=1"),
        ("all versions of alpha", "alpha"),
        ("a-b", "a-b"),
        ("alpha @ https://h/x", "alpha (https://h/x)"),
    ],
)
def test_display_name_of_requirement(spec, name):
    assert display_name(spec) == name


def test_shorten_and_capitalize():
    assert shorten("a  b\nc. ") == "a b c"
    assert shorten("abcdef", 3) == "abc..."
    assert capitalize("uv says") == "Uv says"
    assert capitalize("") == ""


def test_build_output_is_separate():
    text = (
        "Resolved 1 package\nerror: Failed to build `a==1`\n  cause: one\n     and more\n\n         [stdout]\n"
        "         error: not uv's\n\n         [stderr]\n         last\nhint: try\n         again\nwarning: late\n"
    )
    output = parse_stderr(1, text)
    assert output.lines == ("error: Failed to build `a==1`", "cause: one and more", "hint: try again", "warning: late")
    assert output.build_output == ("error: not uv's", "last")
    assert (output.last, output.hints, output.package, output.for_package) == (
        "one and more",
        ("try again",),
        "a 1",
        " (for a 1)",
    )
    assert output.host == "the package index"


def test_text_without_error_is_unchanged():
    output = parse_stderr(2, "  first\n\nsecond\n")
    assert output.lines == ("first", "second")
    assert (output.last, output.package, output.for_package) == ("", "", "")


@given(st.text(), st.integers(-64, 255))
def test_any_text_can_be_parsed(text, rc):
    output = parse_stderr(rc, text)
    assert output.exit_status == rc
    assert isinstance(output.package, str)
