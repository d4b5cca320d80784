"""The venv of a run, which is empty at first.

A `.pth` file adds the environments of the run to it. It receives the packages that the user installs later.
"""

import json
import os
import re
import subprocess
import sys

PIP = os.path.join(os.path.dirname(os.path.dirname(__file__)), "pip_command")
"""The folder with the module `pip` for child processes of a cell."""
LONGEST_FIRST_LINE = 120  # older kernels read only 127 bytes of it


def base_python():
    """The path of the base Python of this process."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def site_packages(home):
    """The site-packages folder of the venv at `home`."""
    return os.path.join(home, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")


def create(home):
    """Create an empty venv at `home`; return the path of its python."""
    base = base_python()
    scripts = os.path.join(home, "bin")
    packages = site_packages(home)
    os.makedirs(scripts)
    os.makedirs(packages)
    with open(os.path.join(home, "pyvenv.cfg"), "w", encoding="utf-8") as file:
        version = ".".join(map(str, sys.version_info[:3]))
        file.write("home = %s\ninclude-system-site-packages = false\nversion = %s\n" % (os.path.dirname(base), version))
    python = os.path.join(scripts, "python")
    os.symlink(base, python)
    for name in ("python3", "python%d.%d" % sys.version_info[:2]):
        os.symlink("python", os.path.join(scripts, name))
    return python


def add_pip(home):
    """Add a `pip` to the venv at `home`, so that child processes of the cell do not use the `pip` of another Python."""
    with open(os.path.join(site_packages(home), "uv_argo.pth"), "w", encoding="utf-8") as file:
        # In alphabetical order, this file is after `_tree.pth`, so that an installed pip comes first.
        file.write("import sys; sys.path.append(%s)\n" % ascii(PIP))
    scripts = os.path.join(home, "bin")
    command = os.path.join(scripts, "pip")
    if os.path.exists(command):  # in a persistent environment
        return
    with open(os.open(command, os.O_WRONLY | os.O_CREAT, 0o755), "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
    for name in ("pip3", "pip%d.%d" % sys.version_info[:2]):
        path = os.path.join(scripts, name)
        if not os.path.exists(path):
            os.symlink("pip", path)


def base_package_folders():
    """The base image's package folders, in the order of `sys.path`; this process started without them (`-S`)."""
    code = "import json, sys; print(json.dumps(sys.path))"
    try:
        process = subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, timeout=60, check=True)
        folders = json.loads(process.stdout.decode().splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return []
    return [folder for folder in folders if folder not in sys.path and os.path.isdir(folder)]


def add_folders(home, sites):
    """Add the package folders `sites` to the venv at `home`, for every process that starts in it from now on."""
    packages = site_packages(home)
    with open(os.path.join(packages, "_tree.pth"), "w", encoding="utf-8") as file:
        file.writelines("import site; site.addsitedir(%s)\n" % ascii(site) for site in sites)
    scripts = os.path.join(home, "bin")
    # The commands of base image packages are already on PATH.
    for site in sites:
        console_scripts(os.path.join(site, "bin"), scripts, os.path.join(scripts, "python"))


def console_scripts(source_folder, scripts, python):
    """Copy the commands of a tree, with the venv's python in their first line."""
    try:
        names = os.listdir(source_folder)
    except OSError:
        return
    for name in names:
        source, target = os.path.join(source_folder, name), os.path.join(scripts, name)
        if os.path.exists(target) or not os.path.isfile(source):
            continue
        with open(source, "rb") as file:
            data = file.read()
        script = re.match(rb"#!.*python[^\n]*\n|#!/bin/sh\n'''exec' [^\n]*\n' '''\n", data)
        if script is None:
            os.symlink(source, target)
            continue
        with open(target, "wb") as file:
            file.write(_first_line(python) + data[script.end() :])
        os.chmod(target, 0o755)  # noqa: S103 - a command that everyone can run


def _first_line(python):
    """The first line of a script next to `python`; for a path that is too long or has spaces, a shell finds it."""
    path = os.fsencode(python)
    if len(path) <= LONGEST_FIRST_LINE and not re.search(rb"\s", path):
        return b"#!" + path + b"\n"
    # For Python, these two lines are one string.
    return b"#!/bin/sh\n'''exec' \"${0%/*}/python\" \"$0\" \"$@\"\n' '''\n"
