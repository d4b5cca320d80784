"""An image without uv: the guest installs it by the image's pip, or the pip of a venv, from the configured index."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.guest_process import begin, text_of
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
        # What pip finds is a package uv whose command is the real one.
        script = f'#!/bin/sh\nexec {find_uv_bin()} "$@"\n'
        server.add("uv", VERSION, files={f"uv-{VERSION}.data/scripts/uv": script})
        yield server


def run(home: Path, url: str, env: dict[str, str] | None = None, version: str = VERSION) -> RunState:
    surroundings = {"UV_ARGO_UV": "uv-that-is-not-there", "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
    wanted = Unresolved(lines=("alpha",), reason="a test")
    cell = "import alpha; print(alpha.VERSION)"
    return begin(home, cell, resolution=wanted, uv=version, env=surroundings | (env or {}), index_url=url).state()


def test_uv_comes_by_pip_and_is_kept_in_the_store(tmp_path: Path, index: IndexServer) -> None:
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
def test_without_pip_a_venv_brings_it(tmp_path: Path, index: IndexServer) -> None:
    # An image's Python that finds no pip of its own.
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import os, sys\nif sys.prefix == sys.base_prefix: sys.modules['pip'] = None\n"
    )
    state = run(tmp_path, index.url, {"PYTHONPATH": str(tmp_path / "hidden")})
    assert state.outcome == "Succeeded", "".join(state.install_log)


@pytest.mark.parametrize(
    ("version", "reachable", "words"),
    [("9.9.8", True, "No matching distribution found for uv==9.9.8"), (VERSION, False, "could not be reached")],
)
def test_a_uv_that_cannot_be_had_is_an_install_that_failed(
    tmp_path: Path, index: IndexServer, version: str, reachable: bool, words: str
) -> None:
    url = index.url if reachable else "http://127.0.0.1:9/simple"
    state = run(tmp_path, url, {"PIP_RETRIES": "1"}, version)
    assert state.outcome == "InstallFailed"
    failure = install_errors.classify(1, "".join(state.install_log))
    assert failure.sentence.startswith("The image has no uv")
    assert words in failure.sentence
    assert "shape=init" in failure.hint


def test_only_where_it_is_asked_for(tmp_path: Path, index: IndexServer) -> None:
    state = run(tmp_path, index.url, version="")
    assert state.outcome == "InstallFailed"
    assert "shape=runtime" in install_errors.classify(127, "".join(state.install_log)).hint
