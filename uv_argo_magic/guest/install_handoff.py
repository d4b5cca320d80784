"""The hand-over file, where one container installs and another runs the cell: the first leaves it for the second."""

import json
import os
import time

from . import environment


class Handoff:
    """What the file contains: the name of the process start that installed, and the tree."""

    def __init__(self, boot, tree):
        self.boot = boot
        self.tree = tree


def leave(store, nonce, boot, tree):
    """Write which tree the run with this nonce uses."""
    path = _path(store, nonce)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _forget(os.path.dirname(path))
    key = os.path.basename(os.path.dirname(tree.site))
    aside = "%s.%s" % (path, boot)
    with open(aside, "w", encoding="utf-8") as file:
        json.dump({"boot": boot, "key": key, "seconds": tree.seconds, "cached": tree.cached}, file)
    os.replace(aside, path)


def _forget(folder):
    """Remove old files of earlier runs: a store may outlive its pod."""
    for name in os.listdir(folder):
        try:
            if time.time() - os.stat(os.path.join(folder, name)).st_mtime > environment.STALE_SECONDS:
                os.remove(os.path.join(folder, name))
        except OSError:  # another run was first
            pass


def take(store, nonce):
    """Read the hand-over file of this run.

    Raises:
        OSError: the file cannot be read, or its tree no longer exists.
    """
    with open(_path(store, nonce), encoding="utf-8") as file:
        record = json.load(file)
    tree = environment.find(store, record["key"])
    if tree is None:
        raise OSError("the environment of this run no longer exists: %s" % record["key"])
    tree.seconds, tree.cached = round(record["seconds"], 3), record["cached"]
    return Handoff(record["boot"], tree)


def _path(store, nonce):
    # Not the nonce itself: a store may be shared, and the nonce is a secret of the run and its client.
    import hashlib

    return os.path.join(store, "handed", hashlib.sha256(nonce.encode()).hexdigest()[:32] + ".json")
