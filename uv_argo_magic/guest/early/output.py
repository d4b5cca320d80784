"""Send a copy of the beginning of the log to a client that connects, a second before the node provides the pod's log.

Rules:
- It listens on a port of 127.0.0.1 for one client with the token. The log itself stays complete.
- The run never waits for it, but its process ends up to LINGER seconds later: a short cell ends before a client can
  connect, and before its log is available from the node.
"""

import threading

MOST = 1 << 20  # maximum bytes of the log that are kept
WINDOW = 120.0  # seconds to wait for a client
REQUEST = 5.0  # seconds in which a client must send its token
LINGER = 1.0


class EarlyOutput:
    """Serves the copy; `options` are the `port` and the SHA-256 of the `token`."""

    def __init__(self, options):
        self.port = options["port"]
        self.token = options["token"]
        self.changed = threading.Condition()
        self.data = bytearray()
        self.is_open = True
        self.is_over = False  # a client received everything, or none will connect
        threading.Thread(target=self._serve, daemon=True).start()

    def add(self, data):
        """Add data that was written to the log."""
        with self.changed:
            if self.is_open:
                self.data += data
                self.is_open = len(self.data) <= MOST
                self.changed.notify_all()

    def finish(self):
        """End the copy, and let the client receive the rest of it."""
        with self.changed:
            self.is_open = False
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.is_over, LINGER)

    def _serve(self):
        import socket
        import time

        until = time.monotonic() + WINDOW
        try:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", self.port))
                listener.listen(4)
                client = None
                while client is None:
                    listener.settimeout(max(0.001, until - time.monotonic()))
                    client = self._check(listener.accept()[0])
            self._send(client)
        except OSError:  # no client connected, it has left, or the port is in use
            pass
        with self.changed:
            self.is_open, self.is_over = False, True
            self.data = bytearray()
            self.changed.notify_all()

    def _check(self, sock):
        """The connection if it sends the token; otherwise close it."""
        import hashlib
        import hmac

        received = b""
        try:
            sock.settimeout(REQUEST)
            while len(received) < 100 and not received.endswith(b"\n"):
                data = sock.recv(100)
                if not data:
                    break
                received += data
        except OSError:
            pass
        if hmac.compare_digest(hashlib.sha256(received.strip()).hexdigest(), self.token):
            return sock
        sock.close()
        return None

    def _send(self, sock):
        position = 0
        with sock:
            sock.settimeout(None)
            while True:
                with self.changed:
                    while len(self.data) == position and self.is_open:
                        self.changed.wait()
                    data = bytes(self.data[position : position + 65536])
                if not data:
                    return
                sock.sendall(data)
                position += len(data)
