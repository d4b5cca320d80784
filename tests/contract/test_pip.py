"""`pip` in a cell uses the environment of the run, not the one of another Python on PATH."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.guest_process import start_guest, text_of
from support.index_server import IndexServer

from uv_argo_magic.backends import prestart
from uv_argo_magic.engine.preparation import ipython_syntax
from uv_argo_magic.engine.preparation.guest_archive import notebook_modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = "#!/bin/sh\necho pip of the kernel\n"


@pytest.fixture
def index() -> Iterator[IndexServer]:
    with IndexServer() as server:
        yield server


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a cell whose PATH has the `pip` of another environment."""
    folder = tmp_path / "kernel" / "bin"
    folder.mkdir(parents=True)
    for name in ("pip", "pip3", f"pip{sys.version_info[0]}.{sys.version_info[1]}"):
        (folder / name).write_text(OTHER)
        (folder / name).chmod(0o755)

    def start(cell: str, **options: object) -> str:
        cell = "import sys\n" + cell
        state = start_guest(
            tmp_path, cell, code=ipython_syntax.translate(cell), modules=notebook_modules(),
            env={"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin", **options.pop("env", {})}, **options,
        ).state()  # fmt: skip
        return text_of(state)

    return start


def add_folder(site: Path) -> str:
    """Code that adds a package folder for child processes of the cell, as for an environment of the store."""
    return f"import sysconfig\nopen(sysconfig.get_path('purelib') + '/_tree.pth', 'w').write({str(site)!r})\n"


@pytest.mark.parametrize("pip", ["pip", "pip3", "python -m pip", "{sys.executable} -m pip", "uv pip"])
def test_pip_installs_into_the_venv_of_the_run(run, index, pip):
    index.add("alpha", "1.0")
    output = run(
        f"!{pip} install --quiet --index-url {index.url} alpha\nimport alpha\nprint(alpha.__file__)\n!{pip} freeze\n"
        f"!{pip} uninstall --quiet alpha\n!{pip} freeze"
    )
    assert "/run/venv/lib/" in output
    assert output.count("alpha==1.0") == 1
    assert "pip of the kernel" not in output


def test_pip_keeps_the_packages_of_the_cell(run, index, tmp_path):
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    index.add("beta", "1.0", requires=["alpha"])
    site = tmp_path / "site"
    (site / "alpha-1.0.dist-info").mkdir(parents=True)
    (site / "alpha-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
    output = run(
        add_folder(site) + f"!pip list --format=freeze\n!pip install -q --index-url {index.url} beta\n!pip list"
    )
    assert output.splitlines()[0] == "alpha==1.0"
    assert [line.split() for line in output.splitlines()[1:]] == [["alpha", "1.0"], ["beta", "1.0"]]


def test_installed_pip_is_used(run, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pip.py").write_text("print('installed pip')")
    assert run(add_folder(tmp_path / "site") + "!pip --version\n!python -m pip --version") == "installed pip\n" * 2


def test_other_commands_and_a_missing_uv_are_explained(run):
    output = run("!pip download six 2>&1")
    assert output == "error: pip download six is not available under %%argo. Use uv pip, or add pip to --deps.\n"
    output = run("!pip install six 2>&1", env={"UV_ARGO_UV": "/nonexistent/uv"})
    assert output == "error: pip needs uv, which is not installed here. Add the packages to --deps.\n"


def test_cell_itself_does_not_find_this_pip(run):
    assert run("import importlib.util\nprint(importlib.util.find_spec('pip'))") == "None\n"


def test_path_of_a_cell_has_no_venv(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    environ = {"PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{tmp_path}{os.pathsep}/bin"}
    variables = prestart.environment(environ, store="s", folder="f", uv="u")
    assert variables["PATH"] == f"{tmp_path}{os.pathsep}/bin"
