"""Process groups: what they use, and how all of one ends.

Rule: nothing that a run started outlives it, whoever is killed: the supervisor ends its groups and adopts what left
them, and a watchdog process ends them when the supervisor itself was killed.
"""

import os
import signal
import sys
import time


def adopt():
    """Become the parent of orphaned descendants (Linux), so that daemons are found too."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except (ImportError, OSError, AttributeError):
        pass


def watchdog():
    """Fork a process that kills the groups written to a descriptor when its writer is gone: (its pid, descriptor)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reader)
        os.set_inheritable(writer, False)
        return pid, writer
    try:
        os.setsid()
        os.close(writer)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        _close_all_but(reader)
        groups = _read_to_end(reader)
        for group in groups.split():
            kill_group(int(group))
    finally:
        os._exit(0)


def _read_to_end(fd):
    data = b""
    while True:
        try:
            piece = os.read(fd, 4096)
        except InterruptedError:
            continue
        if not piece:
            return data
        data += piece


def _close_all_but(kept):
    """Hold nothing of the run open: a pipe that this process kept would never end."""
    os.closerange(3, kept)
    os.closerange(kept + 1, 256)


def kill_group(group, number=signal.SIGKILL):
    """Signal every process of a group; gone is well."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def descendants():
    """Process ids of everything below this process (Linux; elsewhere none are found)."""
    found, queue = [], [os.getpid()]
    while queue:
        children = _children(queue.pop())
        found += children
        queue += children
    return found


def _children(pid):
    children = []
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, thread)) as file:
                children += [int(child) for child in file.read().split()]
    except (OSError, ValueError):
        pass
    return children


def end_descendants(spared, seconds=2.0):
    """Kill whatever is left below this process but the `spared`; how many there were."""
    ended = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [pid for pid in descendants() if pid not in spared and not _zombie(pid)]
        if not left:
            break
        for pid in left:
            ended.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        time.sleep(0.002)
    for pid in ended:
        _reap(pid)
    return len(ended)


def _reap(pid):
    """Take the exit status of a process that became our child; another parent takes its own."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _zombie(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rsplit(b")", 1)[-1].split()[0] == b"Z"
    except (OSError, IndexError):
        return True


def resident(pids):
    """Resident bytes of these processes together (Linux; elsewhere 0)."""
    pages = 0
    for pid in pids:
        try:
            with open("/proc/%d/statm" % pid) as file:
                pages += int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            pass
    return pages * _page_size()


def _page_size():
    try:
        return os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 4096


def disk_use(folder):
    """Bytes of all files below a folder."""
    total = 0
    for home, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(home, name)).st_size
            except OSError:
                pass
    return total
