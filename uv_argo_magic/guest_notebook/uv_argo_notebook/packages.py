"""Install packages while a cell runs, as links from the run's venv to an environment in the store."""

import importlib
import os
import shutil
import site
import sys
import sysconfig

from uv_argo_guest.install import thin_venv


def add(folder, copy=False):
    """Add the packages of an environment to the venv of this run, as links, or with `copy` as copies."""
    target = sysconfig.get_paths()["purelib"]
    take = shutil.copy2 if copy else _link
    shutil.copytree(folder, target, copy_function=take, ignore=_without_commands(folder), dirs_exist_ok=True)
    scripts = sysconfig.get_paths()["scripts"]
    thin_venv.console_scripts(os.path.join(folder, "bin"), scripts, os.path.join(scripts, "python"))
    importlib.invalidate_caches()
    if target not in sys.path:
        sys.path.insert(1, target)
    for name in os.listdir(folder):
        if name.endswith(".pth"):
            site.addpackage(target, name, None)


def _link(source, target):
    if not os.path.lexists(target):
        os.symlink(source, target)
    return target


def _without_commands(folder):
    return lambda current, names: [name for name in names if name == "bin" and current == folder]
