"""Optional parts of backends."""

from __future__ import annotations

import pytest

from uv_argo_magic.backends import lookup, sessions
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.errors import SpecError


def test_hints_omit_backends_that_cannot_be_loaded(monkeypatch):
    monkeypatch.setattr(lookup, "_installed", lambda: {"broken": "missing_module:Backend", **lookup.OURS})
    with pytest.raises(SpecError) as raised:
        sessions.with_sessions(object(), "mine")
    assert raised.value.hint == "Choose a backend that does: -b argo, -b local."
    with pytest.raises(SpecError) as raised:
        lookup.exporter(object(), "mine")
    assert raised.value.hint == "Choose a backend that does (-b argo), or export a script: --to FILE.py."
    with pytest.raises(SpecError) as raised:
        sessions.sessions_of_all_users("local", Settings(), all_namespaces=False)
    assert raised.value.hint == "Choose a backend that does: -b argo."
