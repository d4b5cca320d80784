"""The hand-over file, from the container that installs the packages to the one that runs the cell."""

import hashlib
import json
import os
import time

from . import environment


class Handoff:
    """The content of the hand-over file: the boot of the container that installed, and the tree."""

    def __init__(self, boot, tree):
        self.boot = boot
        self.tree = tree


def leave(store, nonce, boot, tree):
    """Write which tree the run with this nonce uses."""
    path = _path(store, nonce)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _forget_old(os.path.dirname(path))
    key = os.path.basename(os.path.dirname(tree.site)) if tree else ""
    aside = "%s.%s" % (path, boot)
    with open(aside, "w", encoding="utf-8") as file:
        seconds, cached = (tree.seconds, tree.cached) if tree else (0.0, True)
        json.dump({"boot": boot, "key": key, "seconds": seconds, "cached": cached}, file)
    os.replace(aside, path)


def _forget_old(folder):
    """Remove old files of earlier runs, because a store can outlive its pod."""
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
    if not record["key"]:
        return Handoff(record["boot"], None)
    tree = environment.Store(store).find(record["key"])
    if tree is None:
        raise OSError("the environment of this run no longer exists: %s" % record["key"])
    tree.seconds, tree.cached = round(record["seconds"], 3), record["cached"]
    return Handoff(record["boot"], tree)


def _path(store, nonce):
    # A digest, because a store can be shared, and the nonce is a secret of the run and its client.
    return os.path.join(store, "handed", hashlib.sha256(nonce.encode()).hexdigest()[:32] + ".json")
