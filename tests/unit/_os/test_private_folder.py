"""_os/private_folder.py: a private folder with a short path, for sockets."""

from __future__ import annotations

import os

import pytest

from uv_argo_magic._os.private_folder import MAX_PATH, socket_folder


def test_runtime_folder_is_preferred(tmp_path):
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    if len(str(runtime)) < MAX_PATH - 24:
        assert socket_folder({"XDG_RUNTIME_DIR": str(runtime)}, str(tmp_path)) == runtime


@pytest.mark.parametrize("kind", ["open", "missing", "long"])
def test_unsuitable_runtime_folder_is_not_used(tmp_path, kind):
    runtime = tmp_path / ("x" * 120 if kind == "long" else "run")
    if kind != "missing":
        runtime.mkdir(mode=0o755)
    folder = socket_folder({"XDG_RUNTIME_DIR": str(runtime)}, "/tmp")
    assert folder.name == f"uv-argo-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_folder_of_another_user_is_rejected(tmp_path):
    folder = tmp_path / f"uv-argo-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        socket_folder({}, str(tmp_path))
    folder.unlink()
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(OSError, match="other users have access"):
        socket_folder({}, str(tmp_path))
