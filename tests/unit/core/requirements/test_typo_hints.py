"""core/requirements/typo_hints.py: options of pip, names of modules, and the advice for each."""

from __future__ import annotations

import re

from support.cases import each
from support.requirement_lists import refusal

from uv_argo_magic.core.requirements.typo_hints import OPTIONS


@each(("option", "advice"), OPTIONS.items())
def test_every_option_is_refused_by_name(option, advice):
    error = refusal(f"numpy {option} value")
    assert error.message == f'--deps, character 7: "{option}" is an option, not a requirement; {advice}'


def test_settings_named_in_refusals_exist():
    from dataclasses import fields

    from uv_argo_magic.core.spec.run_spec import Settings

    named = {key for advice in OPTIONS.values() for key in re.findall(r"--set (\w+)=", advice)}
    assert named
    assert named <= {field.name for field in fields(Settings)}
