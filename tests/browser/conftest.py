"""One JupyterLab and one chromium for all browser tests; a new notebook and page for each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import lab as jupyter

ARTIFACTS = jupyter.ROOT / "test-artifacts"


OF_JUPYTER = ("Canceled future", "Cannot read properties of null (reading 'widgets')")
"""Errors of JupyterLab's own: a request that a restarted kernel will never answer, and, of ipywidgets, a box that is
removed while the views of its children are still created (a panel whose cell ends at once)."""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    pytest.importorskip("playwright", reason="playwright is not installed: pip install --group browser")
    if not Path(jupyter.CHROMIUM).exists():
        pytest.skip(f"there is no {jupyter.CHROMIUM}: apt-get install chromium")
    made = jupyter.Lab(tmp_path_factory.mktemp("lab") / "lab")
    yield made
    made.close()


@pytest.fixture(scope="session")
def context(lab):
    from playwright.sync_api import sync_playwright

    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as play, jupyter.browser(play) as made:
        made.set_default_timeout(60_000)
        yield made


@pytest.fixture
def open_notebook(lab, context, request):
    """A function that opens a notebook of these cells; the first cell of each loads the extension."""
    pages, errors = [], []

    def opened(*cells, kernel="python3", run=True):
        page = context.new_page()
        pages.append(page)
        page.on(
            "pageerror",
            lambda error: None if any(known in str(error) for known in OF_JUPYTER) else errors.append(str(error)),
        )
        # With its module: a notebook's requirements file is there for every notebook of the same name.
        name = re.sub(r"\W+", "-", f"{request.path.stem}-{request.node.name}") + f"-{len(pages)}.ipynb"
        lab.write(name, "%load_ext uv_argo_magic", *cells, kernel=kernel)
        notebook = jupyter.Notebook(lab, page, name)
        notebook.run(0)
        notebook.ended(0)
        if run:
            notebook.run(1)
        return notebook

    yield opened
    for page in pages:
        page.close()
    lab.close_sessions()
    assert errors == []


@pytest.fixture(scope="session")
def kernel(lab, tmp_path_factory):
    """A function that gives the name of a kernel with this release of ipykernel, in an environment of its own.

    UV_ARGO_TEST_KERNELS names a folder that keeps them (k7.3.0, ...) for the next time.
    """
    kept = os.environ.get("UV_ARGO_TEST_KERNELS")
    root = Path(kept) if kept else tmp_path_factory.mktemp("kernels")

    def made(release):
        python = root / f"k{release}" / "bin" / "python"
        if not python.exists():
            uv = [sys.executable, "-m", "uv"]
            commands = (
                [*uv, "venv", "-q", "--python", sys.executable, str(python.parents[1])],
                [
                    *uv,
                    "pip",
                    "install",
                    "-q",
                    "--python",
                    str(python),
                    f"ipykernel=={release}",
                    "-e",
                    str(jupyter.ROOT),
                ],
            )
            for command in commands:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
                if done.returncode:
                    shutil.rmtree(python.parents[1], ignore_errors=True)
                    pytest.skip(f"ipykernel {release} cannot be installed here: {done.stderr.strip()[-200:]}")
        lab.kernel(f"k{release}", python)
        return f"k{release}"

    return made
