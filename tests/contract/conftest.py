"""Where the contract tests keep what runs leave behind."""

from __future__ import annotations

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of this test's own for history, locks and trees."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
