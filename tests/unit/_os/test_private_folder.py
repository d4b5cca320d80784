"""The folder of sockets: private, and of a short path."""

from __future__ import annotations

import os

import pytest

from uv_argo_magic._os.private_folder import LONGEST, socket_folder


def test_the_runtime_folder_comes_first(tmp_path):
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    if len(str(runtime)) < LONGEST - 24:
        assert socket_folder({"XDG_RUNTIME_DIR": str(runtime)}, str(tmp_path)) == runtime


@pytest.mark.parametrize("kind", ["open", "missing", "long"])
def test_a_runtime_folder_that_does_not_do_is_left_alone(tmp_path, kind):
    runtime = tmp_path / ("x" * 120 if kind == "long" else "run")
    if kind != "missing":
        runtime.mkdir(mode=0o755)
    folder = socket_folder({"XDG_RUNTIME_DIR": str(runtime)}, "/tmp")
    assert folder.name == f"uv-argo-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_made_is_refused(tmp_path):
    trap = tmp_path / f"uv-argo-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    trap.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        socket_folder({}, str(tmp_path))
    trap.unlink()
    trap.mkdir(mode=0o777)
    trap.chmod(0o777)
    with pytest.raises(OSError, match="other users have access"):
        socket_folder({}, str(tmp_path))
