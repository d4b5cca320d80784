"""The limits of an install; each error names the limit and the amount used."""

from __future__ import annotations

import fcntl
import re
import sys

import pytest
from support.index_server import IndexServer

from uv_argo_magic import InstallFailed, run

MB = 1_000_000


@pytest.fixture
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", size=3 * MB)
        yield server


@pytest.fixture
def install(home, index, tmp_path, monkeypatch):
    """Run a cell with packages of the index and an empty uv cache."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))

    def install(deps="alpha", **settings):
        return run("", deps=deps, settings={"index_url": index.url, "panel": "none", **settings}, backend="local")

    return install


def test_install_disk_limits_installed_size(install, home):
    with pytest.raises(InstallFailed) as caught:
        install(install_disk="1MB")
    message = r"needed [1-3]\.\d MB of disk space and was terminated: install_disk is 1\.0 MB"
    assert re.search(message, str(caught.value))  # at any time of the install
    assert "--set install_disk=SIZE" in caught.value.hint
    assert not list(home.glob("cache/store/trees/*"))
    assert install(install_disk="10MB").status == "Succeeded"


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems, memory is only known after the process ends")
def test_install_memory_limits_memory(install):
    with pytest.raises(InstallFailed, match=r"used \d[\d.]* MB of memory and was terminated: install_memory is 1 MiB"):
        install(install_memory="1MiB")
    assert install(install_memory="2GiB").status == "Succeeded"


def test_install_timeout_limits_time(install, index):
    index.misbehave("alpha", "slow", where="file")
    with pytest.raises(InstallFailed) as caught:
        install(install_timeout="1s")
    assert "The install was terminated after " in str(caught.value)
    assert " with 0 of 1 package downloaded: install_timeout is 1 second." in str(caught.value)


def test_install_timeout_can_be_a_fraction_of_a_second(install, index):
    index.misbehave("alpha", "slow", where="file")
    with pytest.raises(InstallFailed, match=r"after (0\.[5-9]|\d+\.)\d* s.*: install_timeout is 0\.5 seconds\."):
        install(install_timeout="0.5")


def test_install_timeout_includes_retries(install, index, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    index.misbehave("alpha", "503", where="file")
    with pytest.raises(InstallFailed, match=r": install_timeout is 5 seconds") as caught:
        install(install_timeout="5s")
    assert caught.value.state.notes == ("The packages could not be downloaded. Retrying in 5 seconds.",)


def test_install_timeout_includes_waiting_for_another_run(install, home, tmp_path):
    tree = home / "cache" / "store" / "trees" / install().resolution.key
    tree.rename(tmp_path / "tree")
    with (home / "cache" / "store" / "locks" / tree.name).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InstallFailed, match=r": install_timeout is 1 second"):
            install(install_timeout="1s")


@pytest.mark.parametrize("limit", [1, 2])
def test_concurrent_downloads_are_limited(install, index, limit):
    names = [f"part{number}" for number in range(5)]
    for name in names:
        index.add(name, "1.0")
    index.pause = 0.1
    assert install(deps=" ".join(names), concurrent_downloads=limit).status == "Succeeded"
    assert 1 <= index.most_at_once <= limit
