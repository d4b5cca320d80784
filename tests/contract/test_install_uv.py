"""An image without uv: the guest installs uv from the index, with the pip of the image or of a venv."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.guest_process import start_guest, text_of
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic.core.resolution import install_errors
from uv_argo_magic.core.resolution.lock import Unresolved

if TYPE_CHECKING:
    from pathlib import Path

    from uv_argo_magic.core.protocol.state import RunState

VERSION = "9.9.9"


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", files={"alpha.py": "VERSION = 1\n"})
        # A package named uv, whose command runs the real uv.
        script = f'#!/bin/sh\nexec {find_uv_bin()} "$@"\n'
        server.add("uv", VERSION, files={f"uv-{VERSION}.data/scripts/uv": script})
        yield server


def run(home: Path, url: str, env: dict[str, str] | None = None, version: str = VERSION) -> RunState:
    variables = {"UV_ARGO_UV": "uv-that-is-not-there", "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
    unresolved = Unresolved(lines=("alpha",), reason="a test")
    cell = "import alpha; print(alpha.VERSION)"
    return start_guest(
        home, cell, resolution=unresolved, uv=version, env=variables | (env or {}), index_url=url
    ).state()


def test_uv_is_installed_by_pip_once(tmp_path: Path, index: IndexServer) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "store").symlink_to(tmp_path)
    first = run(tmp_path / "one", index.url)
    assert (first.outcome, text_of(first)) == ("Succeeded", "1\n"), "".join(first.install_log)
    assert f"uv-{VERSION}" in "".join(first.install_log)
    second = run(tmp_path / "two", index.url)
    assert second.outcome == "Succeeded"
    assert f"uv-{VERSION}" not in "".join(second.install_log)


@pytest.mark.slow  # the venv takes five seconds
def test_uv_is_installed_by_venv_without_pip(tmp_path: Path, index: IndexServer) -> None:
    # Hide pip from Python outside of a venv.
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import os, sys\nif sys.prefix == sys.base_prefix: sys.modules['pip'] = None\n"
    )
    state = run(tmp_path, index.url, {"PYTHONPATH": str(tmp_path / "hidden")})
    assert state.outcome == "Succeeded", "".join(state.install_log)


@pytest.mark.parametrize(
    ("version", "reachable", "message"),
    [("9.9.8", True, "No matching distribution found for uv==9.9.8"), (VERSION, False, "could not be reached")],
)
def test_failed_install_of_uv_is_reported(
    tmp_path: Path, index: IndexServer, version: str, reachable: bool, message: str
) -> None:
    url = index.url if reachable else "http://127.0.0.1:9/simple"
    state = run(tmp_path, url, {"PIP_RETRIES": "1"}, version)
    assert state.outcome == "InstallFailed"
    failure = install_errors.classify(1, "".join(state.install_log))
    assert failure.sentence.startswith("The image has no uv")
    assert message in failure.sentence
    assert "shape=init" in failure.hint


def test_uv_is_not_installed_by_default(tmp_path: Path, index: IndexServer) -> None:
    state = run(tmp_path, index.url, version="")
    assert state.outcome == "InstallFailed"
    assert "shape=runtime" in install_errors.classify(127, "".join(state.install_log)).hint
