"""core/policy/reader.py: policy files are read completely or rejected, and limits are defaults of settings."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.policy.model import Policy
from uv_argo_magic.core.policy.reader import limited, read
from uv_argo_magic.core.policy.rules import RULES
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.errors import PolicyError

EXAMPLE = """
[packages]
allowed = ["numpy", "pandas", "corp-*"]
blocked = [{name = "python-dateutil", versions = "<2.9", reason = "CVE-2024-1"}]
[indexes]
trusted = ["https://index.example.com/simple"]
[install]
max_packages = 80
max_download = "2GB"
per_hour = 30
"""


def test_example_of_the_documentation_is_valid():
    policy = read(EXAMPLE, "p.toml")
    texts = {rule.name: rule.kind.show(item.value) for rule in RULES.values() for item in rule.in_force(policy)}
    assert texts == {
        "packages.allowed": "corp-*, numpy, pandas",
        "packages.blocked": "python-dateutil<2.9 (CVE-2024-1)",
        "indexes.trusted": "https://index.example.com/simple",
        "indexes.urls": "none",
        "indexes.git": "none",
        "install.max_packages": "80",
        "install.max_download": "2.0 GB",
        "install.per_hour": "30",
    }
    assert policy.origins == ("p.toml",)


def test_example_of_each_rule_is_valid():
    for rule in RULES.values():
        section, _, key = rule.name.partition(".")
        (statement,) = rule.in_force(read(f"[{section}]\n{key} = {rule.example}", "p"))
        assert rule.kind.show(statement.value)


def test_urls_are_not_allowed_by_default():
    (statement,) = read("", "p").of("indexes.urls")
    assert statement.value == ()
    (statement,) = read('[indexes]\nurls = ["https://files.example.com/*"]', "p").of("indexes.urls")
    assert statement.value == ("https://files.example.com/*",)


@each(
    ("text", "message", "hint"),
    [
        ("[packages", "invalid TOML in the package policy p.toml", "administrator"),
        ("[package]\nallowed = []", "unknown section package; did you mean packages", "Choose from"),
        ("packages = 3", "unknown section packages", "Choose from"),
        ("[packages]\nalowed = []", "unknown rule packages.alowed; did you mean packages.allowed", "Choose from"),
        ('[packages]\nallowed = "numpy"', "invalid value for packages.allowed", "Example: allowed = "),
        ("[packages]\nallowed = [3]", "invalid value for packages.allowed", "Example"),
        ("[indexes]\ntrusted = [3]", "invalid value for indexes.trusted", "Example"),
        ("[indexes]\ntrusted = 'x'", "invalid value for indexes.trusted", "Example"),
        ("[install]\nonly_binary = false", "invalid value for install.only_binary", "Example: only_binary = true"),
        ("[sessions]\nallowed = true", "invalid value for sessions.allowed", "Example: allowed = false"),
        ("[install]\nmax_packages = -1", "invalid value for install.max_packages", "Example"),
        ("[install]\nmax_packages = true", "invalid value for install.max_packages", "Example"),
        ('[install]\nmax_packages = "80"', "invalid value for install.max_packages", "Example"),
        ('[install]\nmax_download = "much"', "invalid value for install.max_download", "Example"),
        ('[install]\nconfirm = "always"', "invalid value for install.confirm", 'Example: confirm = "foreign-lock"'),
        ('[run]\nmax_memory = "8"', "invalid value for run.max_memory", "Example"),
    ],
)
def test_invalid_policies_are_rejected(text, message, hint):
    with pytest.raises(PolicyError, match=message.replace(".", r"\.")) as exc_info:
        read(text, "p.toml")
    assert hint in exc_info.value.hint
    assert "p.toml" in exc_info.value.message


def settings(text, **values):
    return limited(RunSpec(cell="", settings=Settings(**values)), read(text, "p")).settings


def test_limit_is_the_default_of_its_setting():
    assert settings('[run]\nmax_time = "1h"').run_timeout == 3600
    assert settings('[install]\nmax_time = "10m"').install_timeout == 600
    assert settings('[install]\nmax_disk = "1GiB"').install_disk == 1024**3


def test_limit_does_not_change_a_value_of_the_user():
    assert settings('[run]\nmax_time = "1h"', run_timeout=60.0).run_timeout == 60
    assert settings('[run]\nmax_time = "1h"', run_timeout=7200.0).run_timeout == 7200
    assert settings('[sessions]\nmax_keep = "1h"', keep=0.0).keep == 0


def test_spec_is_unchanged_without_limits():
    spec = RunSpec(cell="")
    assert limited(spec, Policy()) is spec
    assert limited(spec, read("", "p")) is spec
