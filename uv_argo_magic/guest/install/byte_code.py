"""Byte code that the environments of a store share, by the SHA-256 of the source file.

Rules:
- Python uses byte code if it has the time and the size of the source file. The files of a store all have one time.
- Byte code is shared by hard links, as Python replaces these files and never writes into them. On a file system without
  hard links, nothing is shared.
"""

import importlib.util
import os
import sys

from . import environment, integrity

HEADER = importlib.util.MAGIC_NUMBER + bytes(4) + integrity.TIME.to_bytes(4, "little")
"""How byte code begins that was compiled from a file of a store as it was installed."""


def add(root, site, digests):
    """Link the byte code that the store has of the source files below `site`, whose SHA-256 is in `digests` by path."""
    for shared, compiled in _pairs(root, site, digests):
        if os.path.exists(shared):
            try:
                os.makedirs(os.path.dirname(compiled), exist_ok=True)
                os.link(shared, compiled)
            except OSError:  # removed meanwhile, or it has too many links
                pass


def keep(root, home):
    """Link the byte code of the environment at `home` into the store, for environments to come."""
    try:
        digests = integrity.read(home)
    except OSError:  # it was removed
        return
    for shared, compiled in _pairs(root, os.path.join(home, environment.SITE), digests):
        if not os.path.exists(shared) and _is_of_store(compiled):
            try:
                os.makedirs(os.path.dirname(shared), exist_ok=True)
                os.link(compiled, shared)
            except OSError:  # read-only, without hard links, or another run was first
                pass


def compile_all(root, home):
    """Compile the environment at `home` without its tests, for cells that cannot write to it."""
    import compileall  # only here, as they take 10 ms
    import py_compile
    import re

    site = os.path.join(home, environment.SITE)
    compileall.compile_dir(
        site,
        quiet=2,
        rx=re.compile(re.escape(site) + r"/(.*/)?tests?/"),
        workers=min(integrity.THREADS, os.cpu_count() or 1),
        invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP,
    )
    keep(root, home)


def _pairs(root, site, digests):
    """(path in the store, path in the environment) of the byte code of each source file."""
    folder = os.path.join(root, "bytecode", sys.implementation.cache_tag)
    for path, digest in digests.items():
        if path.endswith(".py"):
            yield (
                os.path.join(folder, digest),
                importlib.util.cache_from_source(os.path.join(site, path), optimization=""),
            )


def _is_of_store(path):
    try:
        with open(path, "rb") as file:
            return file.read(len(HEADER)) == HEADER
    except OSError:
        return False
