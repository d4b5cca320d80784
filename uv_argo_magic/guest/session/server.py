"""The worker's server on a local socket or a port of its pod: it handles requests of clients, and sends logs of cells.

Rules:
- There is one thread, which never blocks. A client that does not read delays only its own connection.
- A frame is one line of JSON, followed by `size` bytes. A request contains the token, and the response is one frame.
  After the response to `run` or `follow`, there are frames with the log of the cell, and a frame with `end`. Then the
  connection can be used again.
- A log is sent in few frames: DELAY seconds after a record, together with later ones, and at its end. It is read from
  its storage, so that a slow client needs no memory, and a disconnected one loses nothing.
- On a local socket, only processes of this user are accepted.
"""

import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time

CHUNK = 1 << 16
DELAY = 0.005
LONGEST_LINE = LONGEST = 1 << 20
LONGEST_PIECE = 16 << 20
"""Maximum bytes after the line of a request, such as a `put`; longer requests are refused before they are received."""


class Connection:
    """The connection of one client: received data, data to send, and the cell whose log it follows."""

    def __init__(self, sock):
        self.sock = sock
        self.received = bytearray()
        self.owed = b""
        self.log = None
        self.position = 0
        self.send_at = 0.0  # when to send the rest of the log; 0: there is none
        self.request = None  # the request whose line was received, but not all bytes after it
        self.is_blocked = False  # the socket's buffer is full
        self.closing = False
        self.heard_at = time.monotonic()

    def fileno(self):
        """The socket's file descriptor."""
        return self.sock.fileno()

    def answer(self, message, body=b""):
        """Send a frame."""
        self._owe(message, body)
        self.pump()

    def answer_with(self, log, message):
        """Send a frame with the first ones of a log that it starts: the client of a quick cell wakes up once."""
        self._owe(message, b"")
        self.follow(log)

    def follow(self, log, position=0):
        """Send the log from a position on, as it grows, until its end."""
        self.log = log
        self.position = position

    def _owe(self, message, body):
        self.owed += json.dumps(dict(message, size=len(body))).encode() + b"\n" + body

    def pump(self):
        """Send as much data as the socket accepts now."""
        self.send_at = 0.0
        self.is_blocked = False
        try:
            while True:
                if not self.owed and self.log is not None:
                    self._take_from(self.log)
                if not self.owed:
                    return
                self.owed = self.owed[self.sock.send(self.owed) :]
        except BlockingIOError:
            self.is_blocked = True
        except OSError:  # the client has disconnected
            self.owed, self.log = b"", None
            self.closing = True

    def pump_log(self, now):
        """Send the log if it is due."""
        log = self.log
        if log is None or self.is_blocked or not (log.ended or self.position < log.spent):
            return
        self.send_at = self.send_at or now + DELAY
        if log.ended or now >= self.send_at or log.spent - self.position > CHUNK:
            self.pump()

    def _take_from(self, log):
        if self.position < log.start:  # the next part was dropped; the client reconnects
            self.log = None
            self.closing = True
            return
        data = log.read(self.position, CHUNK)
        if data:
            self.position += len(data)
            self._owe({}, data)
        if log.ended and self.position >= log.spent:
            self.log = None
            self._owe(log.last(), b"")


class Server:
    """Listens on a path, or on a port of 127.0.0.1. Other processes of a pod can connect to it, but need the token.

    It calls `handle(connection, request, body)` for a request, and `lost(connection)` when a connection ends.
    """

    def __init__(self, address, token_digest, handle, lost):
        self.address = address
        self.token_digest = token_digest
        self.handle = handle
        self.lost = lost
        self.connections = []
        self.is_local = not isinstance(address, int)
        self.listener = socket.socket(socket.AF_UNIX if self.is_local else socket.AF_INET, socket.SOCK_STREAM)
        if not self.is_local:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        umask = os.umask(0o177)
        try:
            self.listener.bind(address if self.is_local else ("127.0.0.1", address))
        finally:
            os.umask(umask)
        self.listener.listen(16)
        self.listener.setblocking(False)

    def sources(self):
        """The descriptors to read from."""
        return [self.listener.fileno(), *(connection.fileno() for connection in self.connections)]

    def sinks(self):
        """The descriptors with data to write."""
        return [connection.fileno() for connection in self.connections if connection.is_blocked]

    def serve(self, readable, writable):
        """Handle the descriptors that are ready."""
        if self.listener.fileno() in readable:
            self._accept()
        for connection in list(self.connections):
            if connection.fileno() in writable:
                connection.pump()
            if connection.fileno() in readable:
                self._read(connection)
        self.sweep()

    def pump(self):
        """Send the parts of logs that are due; return the seconds until the next one, or None."""
        now = time.monotonic()
        for connection in self.connections:
            connection.pump_log(now)
        moments = [connection.send_at for connection in self.connections if connection.send_at]
        return min(moments) - now if moments else None

    def sweep(self):
        """Close the connections that are done."""
        for connection in [connection for connection in self.connections if connection.closing]:
            self.connections.remove(connection)
            connection.sock.close()
            self.lost(connection)

    def close(self):
        """Stop listening, and close each connection after sending its remaining data."""
        if self.is_local:
            try:
                os.unlink(self.address)
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
        if not self.is_local:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        elif peer_uid(sock) not in (None, os.getuid()):
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
        connection.heard_at = time.monotonic()
        while not connection.closing and self._take(connection):
            pass

    def _take(self, connection):
        """Handle the next request, if it was received completely."""
        if connection.request is None:
            end = connection.received.find(b"\n")
            if end < 0:
                connection.closing = len(connection.received) > LONGEST_LINE
                return False
            connection.request = self._parse(connection.received[:end])
            del connection.received[: end + 1]
            problem = "token" if connection.request is None else self._refusal(connection.request)
            if problem:
                connection.answer({"error": problem})
                connection.closing = True
                return False
        size = connection.request.get("size") or 0
        if len(connection.received) < size:
            return False
        request, connection.request = connection.request, None
        body = bytes(memoryview(connection.received)[:size])
        del connection.received[:size]
        self.handle(connection, request, body)
        return True

    @staticmethod
    def _refusal(request):
        size = request.get("size") or 0
        most = LONGEST_PIECE if request.get("do") == "put" else LONGEST
        return "" if isinstance(size, int) and 0 <= size <= most else "size"

    def _parse(self, line):
        """The request, if it contains the token."""
        try:
            request = json.loads(line)
            digest = hashlib.sha256(request["token"].encode()).hexdigest()
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return request if hmac.compare_digest(digest, self.token_digest) else None


def peer_uid(sock):
    """The user id of the process at the other end; None if the system does not provide it."""
    try:
        if sys.platform == "darwin":
            return struct.unpack_from("iI", sock.getsockopt(0, 1, 76))[1]  # SOL_LOCAL, LOCAL_PEERCRED
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    except (OSError, AttributeError, struct.error):
        return None
