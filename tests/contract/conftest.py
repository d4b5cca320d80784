"""Fixtures of the contract tests."""

from __future__ import annotations

import pytest

from uv_argo_magic import run
from uv_argo_magic.cli import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A separate home folder for history, locks and environments."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run_cell(home, index, tmp_path, monkeypatch):
    """Run code on the local backend with packages of the module's `index` and an empty uv cache."""
    monkeypatch.setenv("UV_ARGO_BACKEND", "local")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.chdir(tmp_path)

    def run_cell(code, deps="alpha", *, start=run, **settings):
        return start(code, deps=deps, settings={"index_url": index.url, "panel": "none", **settings})

    return run_cell


@pytest.fixture
def uv_argo(folder, capsys):
    """Run `uv-argo` in this process and in `folder`; returns its status and its output."""

    def uv_argo(*arguments):
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return uv_argo
