"""A shell of IPython for each test, in this process, with the extension loaded and nothing of the user's own."""

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
    made = InteractiveShell.instance(config=config)
    made.run_line_magic("load_ext", "uv_argo_magic")
    yield made
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index of this test's own, and an empty uv cache: alpha needs beta."""
    with IndexServer() as serving:
        for name, value in {
            "UV_DEFAULT_INDEX": serving.url,
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "UV_HTTP_RETRIES": "0",
            "UV_ARGO_BACKEND": "local",
        }.items():
            monkeypatch.setenv(name, value)
        serving.add("alpha", "1.0", requires=["beta"])
        serving.add("beta", "1.0")
        yield serving
