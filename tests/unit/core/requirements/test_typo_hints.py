"""core/requirements/typo_hints.py: options of pip, and the advice for each."""

from __future__ import annotations

import re

from support.cases import each
from support.requirement_lists import parse_error

from uv_argo_magic.core.requirements.typo_hints import OPTIONS


@each(("option", "advice"), OPTIONS.items())
def test_pip_options_are_rejected_with_advice(option, advice):
    error = parse_error(f"numpy {option} value")
    assert error.message == f'--deps, character 7: "{option}" is an option, not a requirement; {advice}'


def test_settings_in_advice_exist():
    from dataclasses import fields

    from uv_argo_magic.core.spec.run_spec import Settings

    settings = {key for advice in OPTIONS.values() for key in re.findall(r"--set (\w+)=", advice)}
    assert settings
    assert settings <= {field.name for field in fields(Settings)}
