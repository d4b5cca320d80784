"""core/lazy_modules.py: packages whose modules are imported when they are first used."""

from __future__ import annotations

import importlib
import sys

import pytest

from uv_argo_magic.core.lazy_modules import attributes


@pytest.mark.parametrize("name", ["values", "sessions", "remote_traceback"])
def test_a_module_is_imported_when_it_is_named(monkeypatch, name):
    package = importlib.import_module(f"uv_argo_magic.{name}")
    for module in package.__all__:
        path = f"{package.__name__}.{module}"
        monkeypatch.delitem(sys.modules, path, raising=False)
        monkeypatch.delattr(package, module, raising=False)
        assert getattr(package, module) is sys.modules[path]


def test_other_names_are_unknown():
    load = attributes("uv_argo_magic.core", "suggest")
    assert load("suggest").__name__ == "uv_argo_magic.core.suggest"
    with pytest.raises(AttributeError, match=r"module 'uv_argo_magic\.core' has no attribute 'other'"):
        load("other")
