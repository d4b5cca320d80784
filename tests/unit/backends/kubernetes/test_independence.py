"""backends/kubernetes knows pods only, so that another backend than argo can build on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uv_argo_magic.backends import kubernetes

MODULES = sorted(Path(kubernetes.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_word_of_argo(path):
    text = re.sub(r"uv[-_]argo\w*", "", path.read_text(encoding="utf-8"), flags=re.IGNORECASE)
    assert re.findall(r".*(?:argo|workflow|hera\b|template).*", text, re.IGNORECASE) == []
