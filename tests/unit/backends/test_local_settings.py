"""backends/local.py: the settings that it reads are declared."""

from __future__ import annotations

import inspect
import re

from uv_argo_magic.backends import local
from uv_argo_magic.backends.base import BACKEND_SETTINGS


def test_every_setting_that_is_read_is_declared():
    read = set(re.findall(r"\bsettings\.(\w+)", inspect.getsource(local))) & BACKEND_SETTINGS
    assert read
    assert read <= local.LocalBackend.settings
