"""backends/local.py: the settings that it reads are declared."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from uv_argo_magic.backends import local
from uv_argo_magic.backends.base import BACKEND_SETTINGS
from uv_argo_magic.core.spec.settings import Settings


def test_every_setting_that_is_read_is_declared():
    read = set(re.findall(r"\bsettings\.(\w+)", inspect.getsource(local))) & BACKEND_SETTINGS
    assert read
    assert read <= local.LocalBackend.settings


def test_path_of_environment_can_name_an_unknown_user():
    settings = Settings(venv="~no.such.user/venv")
    assert local._persistent_venv(settings, "run") == Path("~no.such.user/venv").absolute()
