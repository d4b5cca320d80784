"""Unit tests take milliseconds: those that start a process are contract or ipython tests."""

from __future__ import annotations

import subprocess

import pytest


class ForbiddenPopen(subprocess.Popen):
    def __init__(self, args, *_, **__):
        pytest.fail(f"a unit test starts a process: {args}")

    def __del__(self, *_):
        """Does nothing, since no process was started."""


@pytest.fixture(scope="module", autouse=True)
def _no_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", ForbiddenPopen)
        yield
