"""backends/kubernetes does not depend on Argo, so that other backends can use it."""

from __future__ import annotations

import re
from pathlib import Path

from support.cases import each

from uv_argo_magic.backends import kubernetes

MODULES = sorted(Path(kubernetes.__file__).parent.glob("*.py"))


@each("path", MODULES)
def test_module_does_not_mention_argo(path):
    text = re.sub(r"uv[-_]argo\w*", "", path.read_text(encoding="utf-8"), flags=re.IGNORECASE)
    assert [
        line for line in text.splitlines() if re.search(r"argo|workflow|hera\b|template", line, re.IGNORECASE)
    ] == []
