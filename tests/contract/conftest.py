"""Where the contract tests keep what runs leave behind."""

from __future__ import annotations

import pytest

from uv_argo_magic.cli import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of this test's own for history, locks and trees."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def argo(folder, capsys):
    """Runs `uv-argo` in this process, in the test's own `folder`: its status, and what it printed."""

    def call(*words):
        status = main(words)
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return call
