"""core/spec/settings_parser.py: the values of --set, by type."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.errors import SpecError


@each(
    ("key", "value", "expected"),
    [
        ("offline", "true", True),
        ("offline", "No", False),
        ("offline", True, True),
        ("retries", "3", 3),
        ("retries", 3, 3),
        ("output_lines", "1_000", 1000),
        ("concurrent_builds", "None", 0),
        ("log-budget", "8MiB", 8 * 1024**2),
        ("log_budget", "500k", 500_000),
        ("log_budget", "1.5 Gi", 1024**3 * 3 // 2),
        ("log_budget", "12", 12),
        ("log_budget", "1_000", 1000),
        ("log_budget", 7, 7),
        ("log_budget", "64 B", 64),
        ("run_timeout", "30", 30.0),
        ("run_timeout", "30s", 30.0),
        ("run_timeout", "5m", 300.0),
        ("run_timeout", "1h30m", 5400.0),
        ("run_timeout", "1h 30m", 5400.0),
        ("run_timeout", "500ms", 0.5),
        ("run_timeout", 2, 2.0),
        ("run_timeout", "2.5", 2.5),
        ("exclude_newer", "30 days", "30 days"),
        ("panel", "static", "static"),
        ("prerelease", "", ""),
        ("constraints", "numpy<2,pandas", ("numpy<2", "pandas")),
        ("constraints", "numpy>=1,<2, pandas[a,b] >= 1", ("numpy>=1,<2", "pandas[a,b] >= 1")),
        ("constraints", '["numpy>=1,<2"]', ("numpy>=1,<2",)),
        ("constraints", ["a", "b"], ("a", "b")),
        ("constraints", "", ()),
        ("constraints", "a\nb\n", ("a", "b")),
        ("variables", "A=1,B=2", (("A", "1"), ("B", "2"))),
        ("variables", "A=1,2,B=x=y", (("A", "1,2"), ("B", "x=y"))),
        ("variables", '{"A": "1"}', (("A", "1"),)),
        ("variables", {"A": "1"}, (("A", "1"),)),
        ("variables", [("A", "1"), "B="], (("A", "1"), ("B", ""))),
        ("variables", "", ()),
        ("volumes", "/a=claim/b:ro,/c.d=empty/5Gi", (("/a", "claim/b:ro"), ("/c.d", "empty/5Gi"))),
        ("node_selector", "disk=ssd,example.com/pool=a", (("disk", "ssd"), ("example.com/pool", "a"))),
        ("images", "3.11.2=a:1,3.12.1=b:2", (("3.11.2", "a:1"), ("3.12.1", "b:2"))),
        ("tolerations", "gpu=true:NoSchedule,spot", ("gpu=true:NoSchedule", "spot")),
        ("pod_gc", "never", "never"),
    ],
)
def test_values_are_parsed_by_type(key, value, expected):
    parsed = settings_parser.parse_setting(key, value)
    assert parsed == expected
    assert type(parsed) is type(expected)


@each(
    ("key", "value", "message"),
    [
        ("ofline", "true", "unknown setting ofline; did you mean offline?"),
        ("offline", "maybe", "invalid value for offline: maybe"),
        ("offline", 2, "invalid value for offline: 2"),
        ("log_budget", "much", "invalid value for log_budget: much"),
        ("log_budget", True, "invalid value for log_budget: True"),
        ("log_budget", -1, "invalid value for log_budget: -1"),
        ("log_budget", "9" * 400, f"invalid value for log_budget: '{'9' * 60}'"),
        ("concurrent_downloads", "4MiB", "invalid value for concurrent_downloads: 4MiB"),
        ("concurrent_downloads", "1.5", "invalid value for concurrent_downloads: 1.5"),
        ("history", True, "invalid value for history: True"),
        ("history", -1, "invalid value for history: -1"),
        ("retries", "9" * 19, f"invalid value for retries: {'9' * 19}"),
        ("run_timeout", "soon", "invalid value for run_timeout: soon"),
        ("run_timeout", False, "invalid value for run_timeout: False"),
        ("run_timeout", "-1", "invalid value for run_timeout: -1"),
        ("run_timeout", "nan", "invalid value for run_timeout: nan"),
        ("run_timeout", "inf", "invalid value for run_timeout: inf"),
        ("run_timeout", "", "invalid value for run_timeout: ''"),
        ("exclude_newer", 3, "invalid value for exclude_newer: 3"),
        ("panel", "widgets", "invalid value for panel: widgets; did you mean widget?"),
        ("panel", "zzz", "invalid value for panel: zzz"),
        ("constraints", 3, "invalid value for constraints: 3"),
        ("constraints", "[1]", "invalid value for constraints: [1]"),
        ("constraints", "[", "invalid value for constraints: ["),
        ("variables", "A", "invalid value for variables: A"),
        ("variables", "=1", "invalid value for variables: =1"),
        ("variables", "A=\0", "invalid value for variables: A=\0"),
        ("variables", {"A": "\ud800"}, "invalid value for variables: {'A': '\\ud800'}"),
        ("variables", {"A=B": "1"}, "invalid value for variables: {'A=B': '1'}"),
        ("variables", 3, "invalid value for variables: 3"),
        ("variables", {"A": 1}, "invalid value for variables: {'A': 1}"),
        ("env", "A=1", "env is the kind of environment, not a variable: A=1"),
        ("env", "share", "invalid value for env: share; did you mean shared?"),
    ],
)
def test_invalid_values_are_rejected(key, value, message):
    with pytest.raises(SpecError) as exc_info:
        settings_parser.parse_setting(key, value)
    assert str(exc_info.value) == message
    assert exc_info.value.hint


def test_repeated_assignments_extend_lists_and_replace_others():
    assert dict(
        settings_parser.parse_assignments(
            ["variables=A=1", "panel=html", "variables=B=2", "panel=text", "constraints=a", "offline=yes"]
        )
    ) == {
        "variables": (("A", "1"), ("B", "2")),
        "panel": "text",
        "constraints": ("a",),
        "offline": True,
    }
    with pytest.raises(SpecError, match="--set panel has no value"):
        settings_parser.parse_assignments(["panel"])


def test_another_kind_of_environment_replaces_a_path():
    settings = settings_parser.updated(Settings(), {"venv": "/x"})
    assert settings_parser.updated(settings, {"env": "ephemeral"}).environment == "ephemeral"
    assert settings_parser.updated(settings, {"env": "persistent"}).venv == "/x"


def test_every_field_has_help_and_can_be_formatted():
    for field in settings_parser.FIELDS.values():
        assert field.metadata["help"]
        assert settings_parser.parse_setting(field.name, settings_parser.format_value(field.default)) == field.default
    assert settings_parser.format_value((("A", "1"), ("B", "2"))) == "A=1,B=2"
    assert settings_parser.format_value(True) == "true"
    assert settings_parser.format_value(0.5) == "0.5"


def test_suggested_values():
    assert "static" in settings_parser.suggested_values("panel")
    assert settings_parser.suggested_values("offline") == ("true", "false")
    assert settings_parser.suggested_values("nope") == settings_parser.suggested_values("variables") == ()


@each("key", [key for key, kind in settings_parser.TYPES.items() if kind in (int, float, bool)])
def test_default_text_is_a_valid_value(key):
    assert settings_parser.parse_setting(key, settings_parser.default_text(key)) == settings_parser.FIELDS[key].default


@each("key", settings_parser.FIELDS)
def test_examples_are_valid_values(key):
    value = settings_parser.example(key)
    assert key in settings_parser.CHOICES or settings_parser.parse_setting(key, value)


def test_times_and_sizes_with_units():
    assert settings_parser.parse_setting("run_timeout", "1 hour 30 minutes") == 5400
    assert settings_parser.parse_setting("run_timeout", "None") == 0
    assert settings_parser.parse_setting("log_budget", "none") == 0
    assert settings_parser.parse_setting("log_budget", "1000 bytes") == 1000
