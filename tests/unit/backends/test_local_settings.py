"""backends/local.py: the settings that it declares are those that it reads."""

from __future__ import annotations

import inspect
import re

from uv_argo_magic.backends import local
from uv_argo_magic.backends.base import BACKEND_SETTINGS


def test_a_setting_that_it_reads_is_not_reported_as_ignored():
    read = set(re.findall(r"\bsettings\.(\w+)", inspect.getsource(local))) & BACKEND_SETTINGS
    assert read
    assert read <= local.LocalBackend.settings
