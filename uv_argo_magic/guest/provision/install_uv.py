"""Install uv in an image without it: with the image's pip, or that of a new venv. The store keeps it."""

import os
import platform
import re
import subprocess
import sys

from .. import processes


def uv(store, version, index, run, boot):
    """The path of uv `version` in `store`; install it if it is missing.

    `run` runs a command, logs its output, and returns (exit status, output).

    Raises:
        ProvisionProblem: uv could not be installed.
    """
    home = os.path.join(store, "uv", "%s-%s-%s" % (version, sys.platform, platform.machine()))
    binary = os.path.join(home, "bin", "uv")
    if os.access(binary, os.X_OK):
        return binary
    aside = os.path.join(store, "aside", "uv-" + boot)
    try:
        target = os.path.join(aside, "uv")
        command = [*_pip(aside, run), "install", "--target", target, "--no-deps", "--only-binary", ":all:"]
        command += ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar", "off"]
        command += ["--index-url", index] if index else []
        _check(run([*command, "uv==" + version]))
        if not os.path.exists(os.path.join(target, "bin", "uv")):
            raise ProvisionProblem(1, "the uv package contains no uv command")
        os.makedirs(os.path.dirname(home), exist_ok=True)
        try:
            os.rename(target, home)
        except OSError:  # another run was first
            if not os.access(binary, os.X_OK):
                raise
    finally:
        processes.remove(aside)
    return binary


class ProvisionProblem(Exception):
    """uv could not be installed; has the exit status and the cause."""

    def __init__(self, code, cause):
        Exception.__init__(self, code, cause)
        self.code = code
        self.cause = cause


def _pip(aside, run):
    """The pip command of the image, or of a new venv."""
    if subprocess.call([sys.executable, "-c", "import pip"], stderr=subprocess.DEVNULL) == 0:
        return [sys.executable, "-m", "pip"]
    home = os.path.join(aside, "venv")
    _check(run([sys.executable, "-m", "venv", home]))
    return [os.path.join(home, "bin", "python"), "-m", "pip"]


def _check(result):
    code, output = result
    if code:
        raise ProvisionProblem(code, _cause(output))


def _cause(output):
    """The cause in the output of pip or venv."""
    if re.search(r"No module named .?(venv|ensurepip)|ensurepip is not available", output):
        return "this Python has neither pip nor a venv module to install it"
    broken = re.findall(r"connection broken by '(\w+)", output)
    if broken:
        return "the package index could not be reached (%s)" % broken[-1]
    errors = re.findall(r"^ERROR: (.+)$", output, re.MULTILINE)
    lines = [line.strip() for line in output.split("\n") if line.strip()]
    return (errors or lines or ["no output"])[-1]
