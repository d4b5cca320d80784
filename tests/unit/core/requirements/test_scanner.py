"""core/requirements/scanner.py: what a refusal shows of the text, and where it says that it stands."""

from __future__ import annotations

import pytest
from support.cases import each
from support.requirement_lists import refusal

from uv_argo_magic.core.requirements import scanner


def test_a_line_too_long_to_be_shown_is_not():
    assert "Write" not in refusal("x " * 200 + "numpy=2").hint


def test_long_text_is_shown_in_part():
    error = refusal("./" + "x" * 1000)
    assert f'"./{"x" * 55}..."' in error.message


@each(
    "text",
    [
        "x @ https://user:se/cr@et@index.example.com/x-1.zip",
        "https://user:secret@index.example.com/x-1.zip",
        "git+https://secret@git.example.com/x",
        "x @ http://user:secret@index.example.com/x-1.zip",
        "x @ user:secret@index.example.com",
        "x @ ssh://git:secret@git.example.com/x",
        "--index-url https://user:secret@index.example.com/simple",
        "--index-url=https://user:secret@index.example.com/simple",
        '["https://user:secret@index.example.com/x"]',
        "x @ https://user:secret@index.example.com/x-1.zip numpy=2",
    ],
)
def test_no_refusal_repeats_a_password(text):
    error = refusal(text)
    assert "secret" not in error.message + error.hint
    assert "cr@et" not in error.message + error.hint


def test_source_and_place_stand_in_front():
    assert refusal("numpy\npandas =2", source="environment of the cell").message.startswith(
        "environment of the cell, line 2, character 8: "
    )


@pytest.mark.parametrize(
    "address",
    [
        "git+https://example.com/team/tool@main",
        "git+https://example.com:8443/team/tool.git@v1.0#subdirectory=a",
        "tool@git+ssh://example.com/tool@feature/x",
        "git+https://example.com/team/tool",
    ],
)
def test_the_branch_of_a_repository_is_shown(address):
    assert scanner.visible(address) == address


@each(
    "address",
    [
        "git+https://name:hidden@example.com/tool@main",
        "git+https://hidden@example.com/tool@main",
        "git+https://name:hid/den@example.com/tool",
        "https://name:hidden@example.com/x.whl",
        "git+https://name:hi@dd/en@example.com/tool@main",
    ],
)
def test_a_password_in_an_address_is_not_shown(address):
    shown = scanner.visible(address)
    assert "***@" in shown
    assert "hi" not in shown
