"""Process groups: how to end them, and their memory and disk use; exit codes of a run.

Rule: no process that a run started outlives it. The supervisor ends its groups and adopts processes that left them. If
the supervisor was killed, its parent process does the same.
"""

import os
import signal
import sys
import time

# Exit codes, as in a shell and in sysexits.h.
INTERNAL_ERROR = 70
NOT_FOUND = 127
KILLED = 128 + signal.SIGKILL
TERMINATED = 128 + signal.SIGTERM
# The kernel's counters of killed processes: for a container (cgroup v2, v1), and for the machine.
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat")


def oom_kills():
    """A counter of processes that the kernel killed because memory ran out."""
    total = 0
    for path in OOM_COUNTERS:
        try:
            with open(path) as file:  # 200 lines
                _, found, rest = ("\n" + file.read()).partition("\noom_kill ")
            total += int(rest.split(None, 1)[0]) if found else 0
        except (OSError, ValueError):
            pass
    return total


def adopt():
    """Become the parent of orphaned descendants (Linux), so that daemons are found as well."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except (ImportError, OSError, AttributeError):
        pass


def outlive(status=-1):
    """Fork: the child continues, and this process waits for its end, however that happens, and ends its descendants.

    Returns only in the child: the descriptor to which it writes the process groups that it starts, and one that is
    closed when this process is killed. This process forwards SIGTERM and SIGINT. It writes its exit status to the
    descriptor `status`, unless this is -1.
    """
    groups, groups_writer = os.pipe()
    lived, living = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(groups)
        os.close(living)
        if status >= 0:
            os.close(status)
        os.set_inheritable(groups_writer, False)
        return groups_writer, lived
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: _pass_on(pid, number))
        os.close(groups_writer)
        os.close(lived)
        os.close(1)
        adopt()
        code = _wait(pid)
        for group in _read_to_end(groups).split():
            kill_group(int(group))
        end_descendants()
        time.sleep(0.01)  # children of a process that was killed during a fork are visible by now
        end_descendants()
        if status >= 0:
            os.write(status, b"%d" % code)
    finally:
        os._exit(code)


def _pass_on(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _wait(pid):
    """The exit status of the child, as in a shell: 128 plus the signal that ended it."""
    status = os.waitpid(pid, 0)[1]
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _read_to_end(fd):
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def kill_group(group, number=signal.SIGKILL):
    """Signal every process of a group, if it still exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def wait(process):
    """Wait for a child; return its exit status, and the peak of resident bytes of it and its own children."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def descendants(pid=0):
    """The process ids of all descendants of a process, by default of this one (Linux; elsewhere an empty list)."""
    pids, queue = [], [pid or os.getpid()]
    while queue:
        children = _children(queue.pop())
        pids += children
        queue += children
    return pids


def _children(pid):
    children = []
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, thread)) as file:
                children += [int(child) for child in file.read().split()]
    except (OSError, ValueError):
        pass
    return children


def wait_for_descendants(seconds):
    """Wait until all descendants of this process have ended, for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(map(_zombie, descendants())):
        time.sleep(0.005)


def end_descendants(seconds=2.0):
    """Kill all descendants of this process; return their number."""
    ended = set()
    deadline = time.monotonic() + seconds
    looks = 0  # consecutive empty listings; one can miss a process while a sibling exits
    while looks < 2 and time.monotonic() < deadline:
        left = [pid for pid in descendants() if not _zombie(pid)]
        looks = 0 if left else looks + 1
        for pid in left:
            ended.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        if ended:
            time.sleep(0.002)
    for pid in ended:
        _reap(pid)
    return len(ended)


def _reap(pid):
    """Collect the exit status of a process that became our child."""
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


def remove(folder):
    """Remove a folder as far as possible, if it exists (`shutil` imports bz2 and lzma, which takes 5 ms)."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                remove(entry.path)
            else:
                os.unlink(entry.path)
        except OSError:
            pass
    try:
        os.rmdir(folder)
    except OSError:
        pass


def resident(pids):
    """The total resident bytes of these processes (Linux; elsewhere 0)."""
    pages = 0
    for pid in pids:
        try:
            fd = os.open("/proc/%d/statm" % pid, os.O_RDONLY)  # faster than `open`, for each cell of a session
            try:
                pages += int(os.read(fd, 256).split()[1])
            finally:
                os.close(fd)
        except (OSError, ValueError, IndexError):
            pass
    return pages * _page_size()


def _page_size():
    try:
        return os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 4096


def disk_use(folder):
    """The total bytes of all files in a folder."""
    total = 0
    for home, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(home, name)).st_size
            except OSError:
                pass
    return total
