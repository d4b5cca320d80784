"""An IPython shell for each test, in this process, with the extension loaded and without the user's settings."""

from __future__ import annotations

import atexit

import pytest
from IPython.core.interactiveshell import InteractiveShell
from support import fake_engine
from support.index_server import IndexServer
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
    InteractiveShell.clear_instance()
    instance = InteractiveShell.instance(config=config)
    instance.run_line_magic("load_ext", "uv_argo_magic")
    yield instance
    instance.atexit_operations()
    atexit.unregister(instance.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index where alpha depends on beta, and an empty uv cache."""
    with IndexServer() as server:
        for name, value in {
            "UV_DEFAULT_INDEX": server.url,
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "UV_HTTP_RETRIES": "0",
            "UV_ARGO_BACKEND": "local",
        }.items():
            monkeypatch.setenv(name, value)
        server.add("alpha", "1.0", requires=["beta"])
        server.add("beta", "1.0")
        yield server
