"""core/requirements/scanner.py: the text and the position that an error shows."""

from __future__ import annotations

import pytest
from support.cases import each
from support.requirement_lists import parse_error

from uv_argo_magic.core.requirements import scanner


def test_long_lines_are_not_shown():
    assert "Write" not in parse_error("x " * 200 + "numpy=2").hint


def test_long_text_is_truncated():
    error = parse_error("./" + "x" * 1000)
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
def test_errors_contain_no_password(text):
    error = parse_error(text)
    assert "secret" not in error.message + error.hint
    assert "cr@et" not in error.message + error.hint


def test_errors_start_with_source_and_position():
    assert parse_error("numpy\npandas =2", source="environment of the cell").message.startswith(
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
def test_branch_of_a_repository_is_visible(address):
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
def test_password_of_a_url_is_hidden(address):
    visible = scanner.visible(address)
    assert "***@" in visible
    assert "hi" not in visible
