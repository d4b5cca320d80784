"""A uv for an image without one: installed by what the image's Python has, pip or the pip that its venv brings."""

import os
import platform
import re
import shutil
import subprocess
import sys


def uv(store, version, index, run, boot):
    """The path of a uv of this version below the store, made if it is not there.

    `run` runs a command, its words into the log: (exit status, words).

    Raises:
        ProvisionProblem: it cannot be had.
    """
    home = os.path.join(store, "uv", "%s-%s-%s" % (version, sys.platform, platform.machine()))
    binary = os.path.join(home, "bin", "uv")
    if os.access(binary, os.X_OK):
        return binary
    aside = os.path.join(store, "aside", "uv-" + boot)
    try:
        target = os.path.join(aside, "uv")
        words = [*_pip(aside, run), "install", "--target", target, "--no-deps", "--only-binary", ":all:"]
        words += ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar", "off"]
        words += ["--index-url", index] if index else []
        _ran(run([*words, "uv==" + version]))
        if not os.path.exists(os.path.join(target, "bin", "uv")):
            raise ProvisionProblem(1, "the package uv brought no command uv")
        os.makedirs(os.path.dirname(home), exist_ok=True)
        try:
            os.rename(target, home)
        except OSError:  # another run was first
            if not os.access(binary, os.X_OK):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return binary


class ProvisionProblem(Exception):
    """There is no uv, and none could be made: an exit status, and why in a few words."""

    def __init__(self, code, why):
        Exception.__init__(self, code, why)
        self.code = code
        self.why = why


def _pip(aside, run):
    """A command that is pip: the image's, or that of a venv made for this."""
    if subprocess.call([sys.executable, "-c", "import pip"], stderr=subprocess.DEVNULL) == 0:
        return [sys.executable, "-m", "pip"]
    home = os.path.join(aside, "venv")
    _ran(run([sys.executable, "-m", "venv", home]))
    return [os.path.join(home, "bin", "python"), "-m", "pip"]


def _ran(done):
    code, words = done
    if code:
        raise ProvisionProblem(code, _why(words))


def _why(words):
    """What pip or venv meant."""
    if re.search(r"No module named .?(venv|ensurepip)|ensurepip is not available", words):
        return "this Python has neither pip nor a venv that brings one"
    broken = re.findall(r"connection broken by '(\w+)", words)
    if broken:
        return "the package index could not be reached (%s)" % broken[-1]
    errors = re.findall(r"^ERROR: (.+)$", words, re.MULTILINE)
    lines = [line.strip() for line in words.split("\n") if line.strip()]
    return (errors or lines or ["nothing was said"])[-1]
