"""guest/install/environment.py: publishing an environment; contract/test_environments.py tests its use."""

from __future__ import annotations

from pathlib import Path

import pytest

from uv_argo_magic.guest.install import environment


def test_environment_that_is_removed_at_once_is_reported(tmp_path, monkeypatch):
    def run_uv(command, **_):
        Path(command[command.index("--target") + 1]).mkdir(exist_ok=True)
        return 0

    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    store = environment.Store(str(tmp_path / "store"))
    monkeypatch.setattr(store, "find", lambda _: None)
    with pytest.raises(environment.Problem, match="key was removed while it was installed"):
        store.build("key", ["alpha==1.0"], "uv", run_uv, "boot")
