"""Environments: trees, which are package folders in a store; each run adds them to a small venv of its own.

Rules:
- The name of a tree is the key of its content. It is built in a temporary folder and published by a rename, with an
  `.ok` file inside. A folder without this file is garbage and is never repaired.
- A tree that a run has changed gets a `.changed` file, so that the next run builds a new one. It is kept while in use.
- A tree has no link to an interpreter, so it works on every machine with its Python and platform.
- A persistent environment (persistent/venv.py) is a complete venv at a path of the user's choice.
"""

import json
import os
import re
import sys
import time

from .. import processes
from . import integrity

OK = ".ok"
CHANGED = ".changed"
SITE = "site"
BAKED = "/opt/uv-argo/store"
"""The environments in the image (`uv-argo bake`)."""
USED = ".used"
"""A file in a tree with the machine or pod, and the user, that used it last; its mtime is the time of that use."""
STALE_SECONDS = 24 * 3600


class Tree:
    """One published tree: its site-packages folder, its packages as [name, version], and whether it was `cached`.

    `lock` is the locked file that shows that the tree is in use. `folders` are those to watch, relative to `site`.
    """

    def __init__(self, site, packages, seconds, cached, lock=None, folders=()):
        self.site = site
        self.packages = packages
        self.seconds = seconds
        self.cached = cached
        self.lock = lock
        self.folders = folders


class Problem(Exception):
    """An environment cannot be used; the text is the reason."""


class Damaged(Exception):
    """The installed files differ from the packages' RECORD files, because someone changed uv's cache."""

    def __init__(self, names):
        Exception.__init__(self, names)
        self.names = names


class Store:
    """The trees in one folder; `is_shared` if other runs use them too. `user` is the name of who uses them."""

    def __init__(self, root, is_shared=True, user=""):
        self.root = root
        self.is_shared = is_shared
        self.user = user

    def find(self, key):
        """The published tree with this key, or None; a tree of the image comes first. Its lock marks it as in use."""
        baked = os.environ.get("UV_ARGO_BAKED") or BAKED
        return self._find(os.path.join(baked, "trees", key)) or next(
            filter(None, map(self._find, self._homes(key))), None
        )

    def _homes(self, key):
        """The possible folders of a tree with this key: first those of changed trees, then the current or next one."""
        home = path = os.path.join(self.root, "trees", key)
        number = 0
        while True:
            number += 1
            following = "%s-%d" % (home, number)
            yield path
            if not os.path.exists(os.path.join(path, CHANGED)) and not os.path.exists(following):
                return
            path = following

    def _find(self, home):
        try:
            held = _hold(os.path.join(home, OK))
        except OSError:
            return None
        tree = Tree(os.path.join(home, SITE), [], 0.0, True, held)
        try:
            record = json.load(held)
            tree.packages = record["packages"]
        except (OSError, ValueError, KeyError, TypeError):  # the file was damaged
            reject(tree)
            return None
        if os.path.exists(os.path.join(home, CHANGED)):
            return None
        try:
            with open(os.path.join(home, USED), "w", encoding="utf-8") as file:
                file.write("%s\n%s\n" % (os.uname().nodename, self.user))
            tree.folders = record.get("folders", ())
        except OSError:  # the store can be read-only
            pass
        return tree

    def locks(self, key):
        """The locks for a build, each as a list of alternative files: the tree's, and those that limit builds."""
        folder = os.path.join(self.root, "locks")
        os.makedirs(folder, exist_ok=True)
        slots = [os.path.join(folder, "build-%d" % number) for number in range(max(2, os.cpu_count() or 1))]
        return [os.path.join(folder, key)], slots

    def build(self, key, lines, uv, run_uv, boot, refresh=()):
        """Install the locked `lines` and publish them as `key`; return the tree, or uv's exit status if it failed.

        Raises:
            Damaged: uv's cache has changed files of some packages; pass these as `refresh` to download them again.
            Problem: another process has removed the new tree.
        """
        started = time.monotonic()
        self._sweep()
        aside = os.path.join(self.root, "aside", "%s-%s" % (key, boot))
        site = os.path.join(aside, SITE)
        os.makedirs(site)
        try:
            code, found = install(aside, lines, uv, run_uv, refresh, self.is_shared)
            if code:
                return code
            packages = installed(site)
            record = {
                "packages": packages,
                "seconds": time.monotonic() - started,
                "python": "%d.%d" % sys.version_info[:2],
            }
            if self.is_shared:
                from . import byte_code  # only here, as it takes a millisecond

                integrity.write(aside, found)
                byte_code.add(self.root, site, found)
                record["folders"] = sorted({parent for path in found for parent in _parents(path)})
            with open(os.path.join(aside, OK), "w", encoding="utf-8") as file:
                json.dump(record, file)
                file.flush()
                os.fsync(file.fileno())
            os.makedirs(os.path.join(self.root, "trees"), exist_ok=True)
            # The first folder from which a changed tree can be removed, or which has none.
            home = next(filter(remove_changed, self._homes(key)), os.path.join(self.root, "trees", key))
            _publish(aside, home)
        finally:
            processes.remove(aside)
        tree = self.find(key)
        if tree is None:
            raise Problem("the environment %s was removed while it was installed" % home)
        tree.seconds, tree.cached = time.monotonic() - started, False
        return tree

    def _sweep(self):
        """Remove old temporary folders of killed builds."""
        aside = os.path.join(self.root, "aside")
        try:
            names = os.listdir(aside)
        except OSError:
            return
        for name in names:
            path = os.path.join(aside, name)
            try:
                if time.time() - os.stat(path).st_mtime > STALE_SECONDS:
                    processes.remove(path)
            except OSError:
                pass


def _hold(path):
    """Open a file with a shared lock, which prevents others from removing its folder.

    Raises:
        OSError: the file does not exist, or was just removed.
    """
    file = open(path, encoding="utf-8")  # noqa: SIM115 - it holds the lock
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH)  # exclusive locks are held only for a moment
    except (ImportError, OSError):
        pass  # a file system without locks
    if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
        raise OSError
    return file


def _parents(path):
    """The folders that contain a file, up to "."."""
    while path:
        path = os.path.dirname(path)
        yield path or "."


def reject(tree, keep=False):
    """Mark a changed tree, so that no other run uses it; unless this run has to `keep` it, remove it if not in use."""
    home = os.path.dirname(tree.site)
    try:
        with open(os.path.join(home, CHANGED), "w", encoding="utf-8"):
            pass
    except OSError:  # the disk is full, or the store is read-only
        try:
            os.remove(os.path.join(home, OK))
        except OSError:
            return
    if not keep:
        tree.lock.close()
        remove_changed(home)


def verify(home):
    """The files of a published tree that were changed since the install (integrity.py); if any, reject the tree.

    Raises:
        OSError: the tree no longer exists.
    """
    tree = Tree(os.path.join(home, SITE), [], 0.0, True, _hold(os.path.join(home, OK)))
    found = integrity.problems(home, tree.site)
    if found:
        reject(tree)
    tree.lock.close()
    return found


def remove_changed(home):
    """Remove a changed tree, unless a run uses it; return whether a new tree can have this folder."""
    if not os.path.exists(os.path.join(home, CHANGED)):
        return True
    held = None
    try:
        held = lock(os.path.join(home, OK))
        if held is None:
            return False
        trees, key = os.path.split(home)
        garbage = os.path.join(os.path.dirname(trees), "aside", "%s-changed-%s" % (key, os.urandom(6).hex()))
        os.rename(home, garbage)
    except OSError:  # in use, or another run was first
        return not os.path.exists(home)
    finally:
        if held:
            held.close()
    processes.remove(garbage)
    return True


def lock(path):
    """Lock a file; return the open file, which holds the lock, or None if the file system has no locks.

    Raises:
        BlockingIOError: another run has the lock.
        OSError: the file cannot be created.
    """
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it holds the lock
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except (ImportError, OSError):
        file.close()
        return None
    return file


def install(aside, lines, uv, run_uv, refresh=(), read_only=False):
    """Install the locked `lines` into a folder of `aside`; return uv's exit status, and path -> SHA-256 of the files.

    Raises:
        Damaged: files differ from their RECORD, and the packages were not downloaded again (`refresh`).
    """
    lock, site = os.path.join(aside, "lock.txt"), os.path.join(aside, SITE)
    cache = os.environ.get("UV_CACHE_DIR")
    # Only files from the cache need this check, because uv checks downloads.
    has_cache = not cache or os.path.isdir(os.path.join(cache, "archive-v0"))
    with open(lock, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    # Copies instead of hard links, because code that changes a file of its environment must not change uv's cache.
    code = run_uv(
        [uv, "pip", "install", "--target", site, "--python", sys.executable, "--no-deps"]
        + ["--link-mode", "copy", "--require-hashes", "-r", lock]
        + ["--refresh-package=" + name for name in refresh],
        terminal=True,
    )
    if code:
        return code, {}
    try:
        os.remove(os.path.join(site, ".lock"))  # uv's own
    except OSError:
        pass
    found = integrity.digests(site, read_only) if read_only or has_cache else {}
    damaged = integrity.damaged(site, found) if has_cache and not refresh else []
    if damaged:
        raise Damaged(damaged)
    return 0, found


def _publish(aside, home):
    """Rename into place. If another run was first, its tree stays, because trees with equal keys are equal."""
    if os.path.isdir(home) and not os.path.exists(os.path.join(home, OK)):
        garbage = aside + ".garbage"
        try:
            os.rename(home, garbage)
        except OSError:
            pass
        processes.remove(garbage)
    try:
        os.rename(aside, home)
    except OSError:
        if not os.path.exists(os.path.join(home, OK)):
            raise


def installed(site):
    """The packages installed in a folder, as sorted [name, version] pairs."""
    pairs = []
    for name in os.listdir(site):
        if name.endswith(".dist-info"):
            parts = name[: -len(".dist-info")].split("-", 1)
            if len(parts) == 2:
                pairs.append([re.sub(r"[-_.]+", "-", parts[0]).lower(), parts[1]])
    return sorted(pairs)
