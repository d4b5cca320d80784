"""The worker's socket: requests of clients, and the logs of their cells.

Rules:
- One thread, no blocking: a client that does not read delays only its own connection.
- A request is one line of JSON with the token, and `size` bytes behind it; the answer is one line of JSON. After the
  answer to `run`, the log of that cell follows, and then the end of the connection.
- A log is read from its file, so that a slow client costs no memory, and one that is gone loses nothing.
- Only processes of this user are answered.
"""

import hashlib
import hmac
import json
import os
import socket
import struct
import sys

CHUNK = 1 << 16
LONGEST_LINE = 1 << 20


class Connection:
    """One client's connection: what it has sent so far, what it is owed, and the cell whose log it follows."""

    def __init__(self, sock):
        self.sock = sock
        self.received = b""
        self.owed = b""
        self.log = None
        self.position = 0
        self.request = None  # its line has been read, the bytes behind it not yet
        self.closing = False

    def fileno(self):
        """The socket's descriptor."""
        return self.sock.fileno()

    def answer(self, message):
        """Send one line of JSON."""
        self.owed += json.dumps(message).encode() + b"\n"
        self.pump()

    def follow(self, log):
        """Send the log from its start, as it grows."""
        self.log = log
        self.pump()

    @property
    def is_behind(self):
        """Whether there is something to send."""
        return bool(self.owed) or (self.log is not None and self.position < self.log.spent)

    def pump(self):
        """Send what the socket takes now."""
        try:
            while True:
                if not self.owed and self.log is not None and self.position < self.log.spent:
                    self.owed = os.pread(self.log.fd, CHUNK, self.position)
                    self.position += len(self.owed)
                if not self.owed:
                    break
                self.owed = self.owed[self.sock.send(self.owed) :]
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            self.owed, self.log = b"", None
            self.closing = True
            return
        if self.log is not None and self.log.ended:
            self.closing = True


class Server:
    """Listens on `path`; calls `handle(connection, request, body)` for requests, `lost(connection)` for ends."""

    def __init__(self, path, token_digest, handle, lost):
        self.path = path
        self.token_digest = token_digest
        self.handle = handle
        self.lost = lost
        self.connections = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            self.listener.bind(path)
        finally:
            os.umask(umask)
        self.listener.listen(16)
        self.listener.setblocking(False)

    def sources(self):
        """The descriptors to read from."""
        return [self.listener.fileno(), *(connection.fileno() for connection in self.connections)]

    def sinks(self):
        """The descriptors that something waits to be written to."""
        return [connection.fileno() for connection in self.connections if connection.is_behind]

    def serve(self, readable, writable):
        """Handle what is ready."""
        if self.listener.fileno() in readable:
            self._accept()
        for connection in list(self.connections):
            if connection.fileno() in writable:
                connection.pump()
            if connection.fileno() in readable:
                self._read(connection)
        self.sweep()

    def pump(self, log):
        """Send what was added to this log."""
        for connection in self.connections:
            if connection.log is log:
                connection.pump()

    def sweep(self):
        """Close the connections that are done."""
        for connection in [connection for connection in self.connections if connection.closing]:
            self.connections.remove(connection)
            connection.sock.close()
            self.lost(connection)

    def close(self):
        """Stop listening, and close every connection once it has been sent what it is owed."""
        try:
            os.unlink(self.path)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections:
            try:
                connection.sock.settimeout(1.0)
                connection.pump()
                connection.sock.close()
            except OSError:
                pass

    def _accept(self):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        if peer_uid(sock) not in (None, os.getuid()):
            sock.close()
            return
        sock.setblocking(False)
        self.connections.append(Connection(sock))

    def _read(self, connection):
        try:
            data = connection.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            connection.closing = True
            return
        connection.received += data
        while not connection.closing and self._take(connection):
            pass

    def _take(self, connection):
        """Handle the next request, if all of it is there."""
        if connection.request is None:
            line, newline, rest = connection.received.partition(b"\n")
            if not newline:
                connection.closing = len(connection.received) > LONGEST_LINE
                return False
            connection.received = rest
            connection.request = self._parse(line)
            if connection.request is None:
                connection.answer({"error": "token"})
                connection.closing = True
                return False
        size = connection.request.get("size") or 0
        if len(connection.received) < size:
            return False
        request, connection.request = connection.request, None
        body, connection.received = connection.received[:size], connection.received[size:]
        self.handle(connection, request, body)
        return True

    def _parse(self, line):
        """The request, if it has the token."""
        try:
            request = json.loads(line)
            digest = hashlib.sha256(request["token"].encode()).hexdigest()
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return request if hmac.compare_digest(digest, self.token_digest) else None


def peer_uid(sock):
    """The user of the process at the other end; None where the system does not tell."""
    try:
        if sys.platform == "darwin":
            return struct.unpack_from("iI", sock.getsockopt(0, 1, 76))[1]  # SOL_LOCAL, LOCAL_PEERCRED
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    except (OSError, AttributeError, struct.error):
        return None
