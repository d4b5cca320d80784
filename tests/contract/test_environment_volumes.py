"""Stores on a full volume, a read-only volume, and a volume that two mount namespaces have at different paths.

Each process mounts real volumes in a separate mount namespace, as root or in a user namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.index_server import IndexServer

if TYPE_CHECKING:
    from pathlib import Path

RUN = """
import sys, uv_argo_magic
from uv_argo_magic import errors
for package in sys.argv[2:]:
    try:
        run = uv_argo_magic.run(f"import {package}\\nprint({package}.__file__)", deps=package,
                                settings={"index_url": sys.argv[1], "panel": "none"}, backend="local")
        print("cached" if run.state.installed.cached else "installed", run.logs().strip())
    except errors.ArgoMagicError as error:
        print(f"{type(error).__name__}: {error} {error.hint}")
"""
UNSHARE = shutil.which("unshare") or "unshare"


def unshare_command():
    """The command that runs a process in a mount namespace; None if that is not permitted."""
    for options in ([], ["--map-root-user"]):
        command = [UNSHARE, "--mount", *options]
        if (
            subprocess.run(
                [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return command
    return None


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add("small", "1.0")
        server.add("large", "1.0", size=3_000_000)
        yield server


@dataclass
class Machine:
    """Run cells with the store on a volume."""

    command: list[str]
    folder: Path
    index: IndexServer

    def start(self, mount: str, *packages: str, home: str = "home") -> subprocess.Popen[str]:
        """Run the shell lines `mount`, which mount a volume at $STORE, and then one cell per package."""
        store = self.folder / home / "cache" / "store"
        store.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [
                *self.command,
                "sh",
                "-c",
                f'set -e\n{mount}\nexec "$@"',
                "sh",
                sys.executable,
                "-c",
                RUN,
                self.index.url,
                *packages,
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"STORE": str(store), "UV_ARGO_HOME": str(self.folder / home), "UV_CACHE_DIR": str(self.folder / "uv")},
        )

    def run(self, mount: str, *packages: str) -> list[str]:
        out, _ = self.start(mount, *packages).communicate(timeout=120)
        return out.splitlines()


@pytest.fixture
def machine(tmp_path, index):
    command = unshare_command()
    if sys.platform != "linux" or command is None:
        pytest.xfail("this process cannot mount volumes")
    return Machine(command=command, folder=tmp_path, index=index)


def test_full_volume_fails_only_the_large_install(machine):
    first, second, third = machine.run('mount -t tmpfs -o size=2m tmpfs "$STORE"', "small", "large", "small")
    assert first.startswith("installed ")
    assert second.startswith("InstallFailed: The disk is full: large 1.0 could not be installed.")
    assert third.startswith("cached ")


@pytest.mark.parametrize("size", ["40k", "500k"])
def test_full_volume_is_reported(machine, size):
    (output,) = machine.run(
        f'mount -t tmpfs -o size={size} tmpfs "$STORE"; dd if=/dev/zero of="$STORE/rest" 2>/dev/null || true', "small"
    )
    assert "No space left on device" in output or "The disk is full" in output
    assert "bug" not in output


def test_read_only_volume_is_reported(machine):
    (output,) = machine.run('mount -t tmpfs tmpfs "$STORE"; mount -o remount,ro "$STORE"', "small")
    assert output.startswith("BackendUnavailable: cannot write to the store of environments, ")


def test_two_mount_namespaces_share_a_volume(machine):
    (machine.folder / "volume").mkdir()
    mount = f'mount --bind {machine.folder}/volume "$STORE"'
    processes = [machine.start(mount, "small", home=home) for home in ("one", "two")]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    # One of them installed the package, and each one imports it from its own path.
    assert sorted(words[0] for words in outputs) == ["cached", "installed"]
    assert sorted(f"/{home}/" in words[1] for home, words in zip(("one", "two"), outputs, strict=True)) == [True, True]
    assert [path.name for path in machine.folder.glob("volume/trees/*/site/small.py")] == ["small.py"]
    # Outside of the namespaces, the folder is empty.
    assert list(machine.folder.glob("one/cache/store/*")) == []
