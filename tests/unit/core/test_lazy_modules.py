"""core/lazy_modules.py: packages that import their modules on first use."""

from __future__ import annotations

import importlib
import sys

import pytest

from uv_argo_magic.core.lazy_modules import attributes


@pytest.mark.parametrize("name", ["values", "sessions", "remote_traceback"])
def test_module_is_imported_on_first_use(monkeypatch, name):
    package = importlib.import_module(f"uv_argo_magic.{name}")
    for module in package.__all__:
        path = f"{package.__name__}.{module}"
        monkeypatch.delitem(sys.modules, path, raising=False)
        monkeypatch.delattr(package, module, raising=False)
        assert getattr(package, module) is sys.modules[path]


def test_unknown_attribute_is_an_error():
    load = attributes("uv_argo_magic.core", "suggest")
    assert load("suggest").__name__ == "uv_argo_magic.core.suggest"
    with pytest.raises(AttributeError, match=r"module 'uv_argo_magic\.core' has no attribute 'other'"):
        load("other")
