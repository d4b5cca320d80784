"""core/requirements/typo_hints.py: options of pip, names of modules, and the advice for each."""

from __future__ import annotations

import re
import sys

import pytest
from support.requirement_lists import refusal

from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.requirements.typo_hints import OPTIONS, PACKAGE_OF, STANDARD_LIBRARY


@pytest.mark.parametrize(("option", "advice"), OPTIONS.items())
def test_every_option_is_refused_by_name(option, advice):
    error = refusal(f"numpy {option} value")
    assert error.message == f'--deps, character 7: "{option}" is an option, not a requirement; {advice}'


def test_settings_named_in_refusals_exist():
    from dataclasses import fields

    from uv_argo_magic.core.spec.run_spec import Settings

    named = {key for advice in OPTIONS.values() for key in re.findall(r"--set (\w+)=", advice)}
    assert named
    assert named <= {field.name for field in fields(Settings)}


@pytest.mark.parametrize(("name", "package"), PACKAGE_OF.items())
def test_import_names_are_taken_with_a_warning(name, package):
    found = parse(name)
    assert found.lines == (name,)
    assert found.warnings == (f"{name} is an import name; its package is usually {package}.",)
    assert parse(package).warnings == ()


@pytest.mark.parametrize("name", ["PIL", "Yaml", "SKLEARN", "pkg_resources"])
def test_import_names_are_known_however_written(name):
    assert len(parse(name).warnings) == 1


@pytest.mark.parametrize("name", sorted(STANDARD_LIBRARY & sys.stdlib_module_names))
def test_modules_of_python_are_taken_with_a_warning(name):
    (warning,) = parse(name).warnings
    assert warning.startswith(f"{name} is part of Python's standard library")


def test_modules_of_python_come_with_this_one_too():
    assert not STANDARD_LIBRARY - sys.stdlib_module_names
    assert len(STANDARD_LIBRARY) > 150
