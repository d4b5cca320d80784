"""core/requirements/parsed_file.py: merging the requirements of several files."""

from __future__ import annotations

import pytest

from uv_argo_magic.core.requirements.parsed_file import ParsedRequirements, merge
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.errors import SpecError


def test_merge_joins_files_without_duplicates():
    first = ParsedRequirements(
        requirements=parse("numpy"), constraints=("six<2",), requires_python=((">=3.11", "a.toml"),), notes=("Note.",)
    )
    second = ParsedRequirements(
        requirements=parse("rich numpy"), constraints=("six<2", "rich<15"), overrides=("attrs",), notes=("Note.",)
    )
    assert merge(first, second) == ParsedRequirements(
        requirements=parse("numpy rich"),
        constraints=("six<2", "rich<15"),
        overrides=("attrs",),
        requires_python=((">=3.11", "a.toml"),),
        notes=("Note.",),
    )
    assert merge() == ParsedRequirements()


def test_merge_rejects_different_settings():
    first, second = (ParsedRequirements(settings=(("prerelease", value),)) for value in ("allow", "disallow"))
    assert merge(first, first).settings == (("prerelease", "allow"),)
    with pytest.raises(SpecError, match="the files have different values for prerelease"):
        merge(first, second)
