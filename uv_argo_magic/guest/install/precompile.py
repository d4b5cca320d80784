"""Compile the modules that a cell imports from a new environment, on a core that the cell does not use.

Python compiles each module when it is first imported. The cell begins with its first import statement, and this process
with the last one, until they meet. It finds modules by their import statements, and does not run their code.
"""

import importlib.machinery
import importlib.util
import os
import re
import signal
import subprocess
import sys

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from uv_argo_guest.install.precompile import main; main()"
STATEMENT = re.compile(
    r"^(?:from[ \t]+([\w.]+)[ \t]+import[ \t]*(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]+))", re.MULTILINE
)
"""An import statement that is not indented."""
NAMES = re.compile(r"[\w.]+")
QUOTA = "/sys/fs/cgroup/cpu.max"


def start(host, site, cell):
    """Start to compile what the source of a cell imports from `site`; None if there is nothing or no core for it.

    SIGTERM ends the process, once it has written the module that it compiles at the moment.
    """
    names = [name for name in imported(re.sub("^[ \t]+", "", cell, flags=re.MULTILINE)) if _file(site, name)]
    if not names or not has_free_core():
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PROGRAM, host.guest, site, *names],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=host.guard,
        )  # fmt: skip
    except OSError:  # for example, the limit of processes; the cell can do without
        return None


def imported(source, package=""):
    """The names of modules in the import statements of a source, in order, and of the names that are not modules."""
    names = []  # type: list[str]
    for module, members, modules in STATEMENT.findall(source):
        if modules:
            names += NAMES.findall(modules)
            continue
        rest = module.lstrip(".")
        level = len(module) - len(rest)
        if level:
            parents = package.split(".")
            rest = ".".join([*parents[: len(parents) - level + 1], *filter(None, [rest])])
        names += [rest, *(rest + "." + member for member in NAMES.findall(members))]
    return names


def compile_imports(site, names, is_stopped):
    """Compile modules, and what they import, from the last one on."""
    seen = set()
    while names and not is_stopped():
        name = names.pop()
        file = None if name in seen else _file(site, name)
        seen.add(name)
        if not file:
            continue
        package = name if file.endswith("__init__.py") else name.rpartition(".")[0]
        try:
            if not os.path.exists(importlib.util.cache_from_source(file)):
                # It writes byte code as Python does: to a temporary file, which it renames.
                importlib.machinery.SourceFileLoader(name, file).get_code(name)
            with open(file, encoding="utf-8", errors="replace") as text:
                names += [package, *imported(text.read(), package)]
        except Exception:  # noqa: BLE001, S112 - a module that cannot be compiled is the cell's matter
            continue


def main():
    """Compile the modules whose names are the arguments, until SIGTERM."""
    stops = []  # type: list[int]
    signal.signal(signal.SIGTERM, lambda number, _frame: stops.append(number))
    compile_imports(sys.argv[2], sys.argv[3:], lambda: stops)


def _file(site, name):
    """The file of a module or package, or ""."""
    path = os.path.join(site, *name.split("."))
    return next(filter(os.path.isfile, [os.path.join(path, "__init__.py"), path + ".py"]), "")


def has_free_core():
    """Whether this container has more than one core."""
    try:
        with open(QUOTA) as file:
            quota, period = file.read().split()
            if quota != "max" and int(quota) < 2 * int(period):
                return False
    except (OSError, ValueError):  # no cgroup v2
        pass
    return len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) > 1
