"""A connection's bytes: plain or TLS, first for the handshake, then for the sweep.

A stream lives twice. Until `release` it behaves like a blocking socket (websocket-client does its handshake over it; under
gevent it waits cooperatively). After `release` it is non-blocking and belongs to the sweep, which decrypts straight into
the frame buffer. TLS goes through memory BIOs, because an SSLSocket gives one record and costs one system call
(and at the end one exception) each time, and real venues send a record a frame.
"""

from __future__ import annotations

import _socket
import socket
import ssl
from typing import Protocol

SCRATCH_BYTES = 262_144
RECORD_BYTES = 16_384 + 512  # the largest TLS record, decrypted, with room to spare
ROOM_BYTES = SCRATCH_BYTES + 2 * RECORD_BYTES  # what one `receive` may write

_scratch = bytearray(SCRATCH_BYTES)
_scratch_view = memoryview(_scratch)


class StreamClosed(Exception):
    """The other side ended the connection, or it broke; the text says which."""


class Stream(Protocol):
    """What websocket-client needs of a socket, and what the sweep needs of a connection."""

    def recv(self, size: int) -> bytes: ...
    def send(self, data: bytes) -> int: ...
    def settimeout(self, seconds: float | None) -> None: ...
    def gettimeout(self) -> float | None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...

    def release(self) -> None:
        """Become non-blocking: from here on only `receive`, `post` and `close` are called."""

    def receive(self, target: memoryview, at: int) -> int:
        """Write what has arrived at `target[at:]` (ROOM_BYTES must be free) and return the new end.

        Returns `at` when nothing is there. Raises StreamClosed at the end of the stream; what came before is
        returned first.
        """

    def post(self, data: bytes) -> bool:
        """Send without waiting; False while some of it still waits for room in the kernel. Raises StreamClosed."""


class PlainStream:
    """A TCP connection without TLS: for tests and for proxies on this host."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw: _socket.socket | None = None
        self._unsent = b""

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def send(self, data: bytes) -> int:
        self._sock.sendall(data)
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._sock.gettimeout()

    def fileno(self) -> int:
        return (self._raw or self._sock).fileno()

    def close(self) -> None:
        (self._raw or self._sock).close()

    def release(self) -> None:
        self._raw = _socket.socket(fileno=self._sock.detach())
        self._raw.setblocking(False)

    def receive(self, target: memoryview, at: int) -> int:
        return at + self._take(target[at : at + SCRATCH_BYTES])

    def _take(self, into: memoryview) -> int:
        assert self._raw is not None
        try:
            size = self._raw.recv_into(into)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise StreamClosed(f"connection broken: {error.strerror or error}") from error
        if size == 0:
            raise StreamClosed("closed by the other side without a close frame")
        return size

    def post(self, data: bytes) -> bool:
        self._unsent += data
        return self._flush()

    def _flush(self) -> bool:
        assert self._raw is not None
        try:
            while self._unsent:
                self._unsent = self._unsent[self._raw.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError as error:
            raise StreamClosed(f"connection broken: {error.strerror or error}") from error
        return True


class TlsStream(PlainStream):
    """A TLS connection over memory BIOs."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, hostname: str) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._push_handshake()
                self._pull_handshake()
            except ssl.SSLError:
                self._push_handshake()  # the alert that tells the other side why
                raise
        self._push_handshake()

    def _push_handshake(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())

    def _pull_handshake(self) -> None:
        data = self._sock.recv(RECORD_BYTES)
        if not data:
            raise ssl.SSLEOFError("connection closed during the TLS handshake")
        self._incoming.write(data)

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._pull_handshake()

    def send(self, data: bytes) -> int:
        self._tls.write(data)
        self._push_handshake()
        return len(data)

    def receive(self, target: memoryview, at: int) -> int:
        incoming = self._incoming
        closed = None
        try:
            size = self._take(_scratch_view)
            if size:
                incoming.write(_scratch_view[:size])
        except StreamClosed as error:
            closed = error
        read = self._tls.read
        end = at
        try:
            # The handshake may have left whole records in the BIO and plain bytes in OpenSSL: both are read here too.
            while incoming.pending or self._tls.pending():
                size = read(RECORD_BYTES, target[end:])  # type: ignore[assignment]
                if not size:
                    raise StreamClosed("TLS closed by the other side without a close frame")
                end += size
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, StreamClosed) as error:
            closed = closed or StreamClosed(str(error))
        if self._outgoing.pending:
            self.post(b"")
        if closed and end == at:
            raise closed
        return end

    def post(self, data: bytes) -> bool:
        if data:
            self._tls.write(data)
        self._unsent += self._outgoing.read()
        return self._flush()
