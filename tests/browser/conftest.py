"""One JupyterLab and one Chromium for all browser tests, and a new notebook for each test."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import lab as jupyter
from support.session_notebook import end_all

ARTIFACTS = jupyter.ROOT / "test-artifacts"


KNOWN_ERRORS = ("Canceled future", "Cannot read properties of null (reading 'widgets')")
"""Errors in JupyterLab and ipywidgets themselves: a request to a kernel that restarts, and a box that is removed while
the views of its children are still created (a panel whose cell ends at once)."""


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
        pytest.skip(f"{jupyter.CHROMIUM} not found: apt-get install chromium")
    server = jupyter.Lab(tmp_path_factory.mktemp("lab") / "lab")
    yield server
    server.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_ARGO_HOME", str(server.home))
        end_all()  # sessions outlive their kernels


@pytest.fixture(scope="session")
def context(lab):
    from playwright.sync_api import sync_playwright

    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as play, jupyter.browser(play) as chromium:
        chromium.set_default_timeout(60_000)
        yield chromium


@pytest.fixture(scope="session")
def shared_page(context):
    """A function that returns the page in which most tests open their notebooks, since JupyterLab loads slowly."""
    pages = []

    def get():
        if not pages or pages[-1].is_closed():
            pages.append(jupyter.new_page(context))
        return pages[-1]

    return get


@pytest.fixture
def open_notebook(lab, context, shared_page, request):
    """A function that opens a notebook with these cells, after a first cell that loads the extension.

    With `own_page`, the notebook has a page of its own, for a test that closes it, or adds a kernel.
    """
    notebooks, own_pages, errors = [], [], []
    failed_before = request.session.testsfailed

    def report(error):
        if not any(known in str(error) for known in KNOWN_ERRORS):
            errors.append(str(error))

    def open_in_page(*cells, kernel="python3", run=True, own_page=False):
        page = jupyter.new_page(context) if own_page else shared_page()
        if own_page:
            own_pages.append(page)
        page.on("pageerror", report)
        page.set_viewport_size(jupyter.VIEWPORT)
        # Contains the module's name, because notebooks of the same name share a requirements file.
        name = re.sub(r"\W+", "-", f"{request.path.stem}-{request.node.name}") + f"-{len(notebooks)}.ipynb"
        lab.write(name, "%load_ext uv_argo_magic", *cells, kernel=kernel)
        notebook = jupyter.Notebook(lab, page, name)
        notebooks.append(notebook)
        notebook.run(0)
        notebook.wait_for_end(0)
        if run:
            notebook.run(1)
        return notebook

    yield open_in_page
    for notebook in notebooks:
        page = notebook.page
        if page in own_pages or request.session.testsfailed > failed_before:
            page.close()
        else:
            notebook.close()
            page.unroute_all()
            page.remove_listener("pageerror", report)
    lab.close_sessions()
    assert errors == []


@pytest.fixture(scope="session")
def kernel(lab, tmp_path_factory):
    """A function that installs this release of ipykernel, unless the tests use it, and returns the name of the kernel.

    UV_ARGO_TEST_KERNELS is a folder that stores the environments (k7.3.0, ...) for later test runs.
    """
    folder = os.environ.get("UV_ARGO_TEST_KERNELS")
    root = Path(folder) if folder else tmp_path_factory.mktemp("kernels")

    def install_kernel(release):
        if release == importlib.metadata.version("ipykernel"):
            return "python3"
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
                result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
                if result.returncode:
                    shutil.rmtree(python.parents[1], ignore_errors=True)
                    pytest.skip(f"ipykernel {release} cannot be installed here: {result.stderr.strip()[-200:]}")
        lab.add_kernel(f"k{release}", python)
        return f"k{release}"

    return install_kernel
