"""Where one container installs and another runs the cell: what the first leaves beside the trees for the second."""

import hashlib
import json
import os
import time

from . import environment


class Handed:
    """What was left: the name of the process start that installed, and the tree."""

    def __init__(self, boot, tree):
        self.boot = boot
        self.tree = tree


def leave(store, nonce, boot, tree):
    """Say which tree was made, or found, for the run that has this nonce."""
    path = _path(store, nonce)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _forget(os.path.dirname(path))
    key = os.path.basename(os.path.dirname(tree.site))
    aside = "%s.%s" % (path, boot)
    with open(aside, "w", encoding="utf-8") as file:
        json.dump({"boot": boot, "key": key, "seconds": tree.seconds, "cached": tree.cached}, file)
    os.replace(aside, path)


def _forget(folder):
    """Remove what earlier runs left long ago: a store may outlive its pod."""
    for name in os.listdir(folder):
        try:
            if time.time() - os.stat(os.path.join(folder, name)).st_mtime > environment.STALE_SECONDS:
                os.remove(os.path.join(folder, name))
        except OSError:  # another run was first
            pass


def take(store, nonce):
    """What was left for this run.

    Raises:
        OSError: it cannot be read, or its tree is gone.
    """
    with open(_path(store, nonce), encoding="utf-8") as file:
        said = json.load(file)
    tree = environment.find(store, said["key"])
    if tree is None:
        raise OSError("the packages that were installed for this run are gone: %s" % said["key"])
    tree.seconds, tree.cached = round(said["seconds"], 3), said["cached"]
    return Handed(said["boot"], tree)


def _path(store, nonce):
    # Not the nonce itself: a store may be shared, and only the run and its client know it.
    return os.path.join(store, "handed", hashlib.sha256(nonce.encode()).hexdigest()[:32] + ".json")
