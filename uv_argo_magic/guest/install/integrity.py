"""Check that the files of an environment were not changed after the install.

Rules:
- Next to an environment in the store, `files.sha256` has the SHA-256 of each file, in the format of `sha256sum`. Byte
  code is left out, because Python writes it when a cell first imports a module.
- The files are read-only; only root, or code that changes their mode, can write them.
- Reading an environment takes up to a second. A run therefore only watches its folders, and reads it after a change.
"""

import binascii
import os
import sys
import threading

MANIFEST = "files.sha256"
BYTE_CODE = "__pycache__"
THREADS = 4
BLOCK = 1 << 20
WRITES = 0o222
# For all files, so that byte code fits them in every environment (byte_code.py): 1980-01-02, because zip archives
# cannot have earlier times than 1980 in any time zone.
TIME = 315619200
# inotify's modified, closed after writing, moved from, moved to, created and deleted.
WATCHED = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
OVERFLOW = 0x4000
HEADER = 16  # bytes: watch, mask, cookie, length of the name


def digests(site, read_only=False):
    """The SHA-256 of each file, by its path in the folder; `read_only` also sets modes, and the mtime to TIME."""
    paths = list(_paths(site))
    found = {}  # type: dict[str, str]
    count = min(THREADS, os.cpu_count() or 1)
    threads = [threading.Thread(target=_read, args=(site, paths[i::count], read_only, found)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _paths(site):
    for home, folders, names in os.walk(site):
        linked = [name for name in folders if os.path.islink(os.path.join(home, name))]
        folders[:] = [name for name in folders if name != BYTE_CODE and name not in linked]
        for name in names + linked:
            yield os.path.relpath(os.path.join(home, name), site)


def _read(site, paths, read_only, found):
    import hashlib

    for path in paths:
        digest = hashlib.sha256()
        try:
            _feed(digest, os.path.join(site, path), read_only)
        except OSError:
            continue  # treated as missing
        found[path] = digest.hexdigest()


def _feed(digest, path, read_only):
    """Hash a file, or the target path of a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        digest.update(b"-> " + os.fsencode(os.readlink(path)))
        return
    try:
        data = os.read(fd, BLOCK)
        while data:
            digest.update(data)
            data = os.read(fd, BLOCK)
        try:
            if read_only:
                os.utime(fd, (TIME, TIME))
                os.fchmod(fd, os.fstat(fd).st_mode & ~WRITES)
        except OSError:  # a file system without modes
            pass
    finally:
        os.close(fd)


def write(home, found):
    """Write the manifest of an environment."""
    with open(os.path.join(home, MANIFEST), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines("%s  %s\n" % (found[path], path) for path in sorted(found))


def read(home):
    """The SHA-256 of each file in the manifest, by its path.

    Raises:
        OSError: there is no manifest.
    """
    with open(os.path.join(home, MANIFEST), encoding="utf-8", errors="surrogateescape") as file:
        return {line[66:].rstrip("\n"): line[:64] for line in file}


def problems(home, site):
    """The files that differ from the manifest, as sorted [path, "changed", "missing" or "added"]."""
    try:
        known = read(home)
    except OSError:
        return [[MANIFEST, "missing"]]
    found = digests(site)
    listed = [[path, "changed" if path in found else "missing"] for path in known if found.get(path) != known[path]]
    return sorted(listed + [[path, "added"] for path in found if path not in known])


def remove(site, added):
    """Remove the files listed by `problems`, and folders that become empty."""
    for path, _ in added:
        try:
            os.remove(os.path.join(site, path))
            os.removedirs(os.path.dirname(os.path.join(site, path)))
        except OSError:
            pass


def put(folder, files):
    """Write the files (path -> text) that are missing or different in a folder; read-only, each by a rename."""
    for name, text in files.items():
        path = os.path.join(folder, *name.split("/"))
        try:
            with open(path, encoding="utf-8") as file:
                if file.read() == text:
                    continue
        except (OSError, ValueError):
            pass
        os.makedirs(os.path.dirname(path), exist_ok=True)
        aside = "%s.%s" % (path, binascii.hexlify(os.urandom(8)).decode())
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(aside, 0o444)
        os.replace(aside, path)


def damaged(site, found):
    """The packages whose files differ from their RECORD; uv does not check files from its cache.

    A file that several packages install has the content of one of them.
    """
    listed = {}  # type: dict[str, tuple[set[str], set[str]]]  # path -> digests, packages
    for record in found:
        # Packages such as setuptools contain others in a folder of their own, with a RECORD of paths in that folder.
        if record.endswith(".dist-info/RECORD") and record.count("/") == 1:
            with open(os.path.join(site, record), encoding="utf-8", errors="replace") as file:
                rows = [line.split(",sha256=") for line in file]
            for row in rows:
                # Paths with a comma or a quotation mark are quoted.
                if len(row) == 2 and not row[0].startswith(("..", "/", '"')):
                    sums, packages = listed.setdefault(os.path.normpath(row[0]), (set(), set()))
                    sums.add(row[1].split(",")[0])
                    packages.add(record.split("-", 1)[0])
    names = set()  # type: set[str]
    for path, (sums, packages) in listed.items():
        if _base64(found.get(path, "")) not in sums:
            names |= packages
    return sorted(names)


def _base64(digest):
    """A digest in the format of RECORD."""
    return binascii.b2a_base64(bytes.fromhex(digest)).decode().translate({43: 45, 47: 95}).rstrip("=\n")


class Watch:
    """Watches folders for changes (only on Linux; elsewhere it reports none).

    `has_compiled` is set when Python has written the first byte code in a folder.
    """

    def __init__(self, site, folders):
        self.fd = -1
        self.has_compiled = False
        try:
            import ctypes

            libc = ctypes.CDLL(None, use_errno=True)
            self.fd = libc.inotify_init1(NONBLOCK_CLOEXEC)
            add = libc.inotify_add_watch
        except (ImportError, OSError, AttributeError):
            return
        if self.fd >= 0 and any(add(self.fd, os.fsencode(os.path.join(site, one)), WATCHED) < 0 for one in folders):
            os.close(self.fd)  # the user's limit of watches is reached
            self.fd = -1

    def has_changes(self):
        """Whether a file other than byte code has changed since the last call."""
        changed = False
        while self.fd >= 0:
            try:
                data = os.read(self.fd, BLOCK)
            except OSError:  # no more events
                break
            while data:
                mask, length = (int.from_bytes(data[at : at + 4], sys.byteorder) for at in (4, 12))
                name, data = data[HEADER : HEADER + length].rstrip(b"\0"), data[HEADER + length :]
                if name == BYTE_CODE.encode():
                    self.has_compiled = True
                elif mask & (WATCHED | OVERFLOW):
                    changed = True
        return changed
