"""The program of the fork server: it imports the supervisor once, and forks a new one for each request.

It runs as a process of its own, with the guest's folder as argument. So it imports nothing of this package, and
supports Python 3.8.

A request is a message on stdin, which is a Unix socket: the folder of the run, and five descriptors: stdin, stdout,
stderr, the supervisor's end of the lifeline, and a pipe for its status. The supervisor writes its process id to that
pipe, and its exit status at its end. The process ends when the client closes the socket; its supervisors do not.
"""

import contextlib
import gc
import os
import signal
import socket
import struct
import sys

GUEST = sys.argv[1]
sys.path.append(GUEST)
from uv_argo_guest import supervisor  # noqa: E402 - the argument says where it is

with contextlib.suppress(ImportError):
    import ctypes  # noqa: F401 - both processes of each supervisor would import it (`processes.adopt`)

LONGEST_PATH = 4096
DESCRIPTORS = 5


def main():
    """Serve requests."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors report their own end
    gc.freeze()  # a collection in a fork does not copy the pages of these objects
    requests = socket.socket(fileno=0)
    while True:
        folder, descriptors = receive(requests)
        if not folder:
            return
        try:
            pid = os.fork()
        except OSError:  # the client sees that the status pipe is closed
            pid = -1
        if not pid:
            requests.detach()
            prepare(folder, *descriptors)
            supervisor.main(b"", GUEST, descriptors[-1])
        for fd in descriptors:
            os.close(fd)


def receive(requests):
    """The folder and the descriptors of the next request; (b"", []) at the end."""
    size = struct.calcsize("%di" % DESCRIPTORS)
    folder, messages, _, _ = requests.recvmsg(LONGEST_PATH, socket.CMSG_SPACE(size))
    descriptors = [fd for _, _, data in messages for fd in struct.unpack("%di" % (len(data) // 4), data)]
    return folder, descriptors


def prepare(folder, stdin, stdout, stderr, lifeline, status):
    """Make this new process like one that was started for this folder."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(folder)
    os.environ["UV_ARGO_RUN"] = os.fsdecode(folder)
    os.environ["UV_ARGO_LIFELINE"] = str(lifeline)
    os.set_inheritable(status, False)
    os.write(status, b"%d\n" % os.getpid())


if __name__ == "__main__":
    main()
