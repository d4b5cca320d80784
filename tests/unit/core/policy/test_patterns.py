"""core/policy/patterns.py: canonical names, versions, and URLs that cannot pretend to be others."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.policy.patterns import NamePattern, glob, parse_name, url_matches


@each(
    ("value", "name", "versions"),
    [
        ("numpy", "numpy", ""),
        ("Corp_*", "corp-*", ""),
        ("numpy >=2,<3", "numpy", "<3,>=2"),
        ({"name": "python.dateutil", "versions": "<2.9"}, "python-dateutil", "<2.9"),
        ({"name": "*"}, "*", ""),
    ],
)
def test_names_are_canonical_with_optional_versions(value, name, versions):
    assert parse_name(value) == NamePattern(name=name, versions=versions)


def test_reason_is_read():
    assert parse_name({"name": "a", "reason": " CVE-2024-1 "}).reason == "CVE-2024-1"


@each(
    "value",
    [
        "",
        "-a",
        "a b",
        "numpy[extra]",
        "n\u0443mpy",
        "a>>1",
        3,
        {"name": 3},
        {"name": "a", "version": "1"},
        {"versions": "<1"},
    ],
)
def test_invalid_patterns_are_rejected(value):
    with pytest.raises(ValueError):  # noqa: PT011 - the message is internal
        parse_name(value)


@each(
    ("pattern", "version", "matches"),
    [
        ("a", "1.0", True),
        ("a<2", "1.0", True),
        ("a<2", "2.0", False),
        ("a<2", "2.0rc1", False),
        ("a<=2", "2.0rc1", True),
        ("a<2", "", True),
        ("a<2", "no version", True),
        ("b", "1.0", False),
    ],
)
def test_unknown_version_matches(pattern, version, matches):
    assert parse_name(pattern).matches("a", version) is matches


def test_wildcards_are_star_and_question_mark():
    assert glob("corp-*", "corp-data")
    assert glob("cor?", "corp")
    assert not glob("corp.*", "corpX1")
    assert not glob("[a-z]*", "abc")


@pytest.mark.parametrize(
    "url",
    [
        "https://index.example.com/simple",
        "https://index.example.com/simple/",
        "HTTPS://INDEX.example.com:443/simple",
        "https://ana:secret@index.example.com/simple",
    ],
)
def test_equivalent_urls_match(url):
    assert url_matches("https://index.example.com/simple", url)


@each(
    ("pattern", "url"),
    [
        ("https://index.example.com/simple", "http://index.example.com/simple"),
        ("https://index.example.com/simple", "https://index.example.com:8443/simple"),
        ("https://index.example.com/simple", "https://index.example.com@evil.example.net/simple"),
        ("https://index.example.com/simple", "https://index.example.com/simple/../evil"),
        ("https://index.example.com/*", "https://index.example.com/team/%2e%2e/evil"),
        ("https://index.example.com/*", "https://index.example.com/team\\evil"),
        ("https://*.example.com/simple", "https://evil.example.net/.example.com/simple"),
        ("https://index.example.com/simple", "https://index.example.com.evil.example.net/simple"),
        ("https://index.example.com/simple", "https://index.example.com:port/simple"),
        ("https://index.example.com/simple", "file:///simple"),
    ],
)
def test_similar_urls_do_not_match(pattern, url):
    assert not url_matches(pattern, url)


def test_wildcard_does_not_cross_url_parts():
    assert url_matches("https://*.example.com/team/*", "https://a.b.example.com/team/x/y")
    assert not url_matches("https://*/simple", "http://x/simple")
