"""Where the contract tests keep what runs leave behind."""

from __future__ import annotations

import pytest

from uv_argo_magic import run
from uv_argo_magic.cli import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of this test's own for history, locks and trees."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def cell(home, index, tmp_path, monkeypatch):
    """Runs code on the local backend with packages of the module's index, and an empty cache of uv."""
    monkeypatch.setenv("UV_ARGO_BACKEND", "local")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.chdir(tmp_path)

    def cell(code, deps="alpha", *, start=run, **settings):
        return start(code, deps=deps, settings={"index_url": index.url, "panel": "none", **settings})

    return cell


@pytest.fixture
def argo(folder, capsys):
    """Runs `uv-argo` in this process, in the test's own `folder`: its status, and what it printed."""

    def call(*words):
        status = main(words)
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return call
