"""A shell of IPython for each test, in this process, with the extension loaded and nothing of the user's own."""

from __future__ import annotations

import atexit

import fake_engine
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@pytest.fixture
def engine(monkeypatch):
    return fake_engine.install(monkeypatch)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_ARGO_PANEL", "none")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    made.run_line_magic("load_ext", "uv_argo_magic")
    yield made
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)
