"""The bytes of one connection, plain or TLS.

A stream has two phases. Until `release` it behaves like a blocking socket under an allowance of time and bytes (under gevent,
only its greenlet waits); REST uses this phase only. After `release` it is non-blocking and belongs to the sweep, which decrypts
straight into the frame buffer.

TLS goes through memory BIOs. An SSLSocket returns one record for each system call, and ends each series with an exception;
real venues send one record for each frame.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
import ssl
from typing import Protocol

from pumpwatch.net.allowance import TLS_BYTES, ReadAllowance

SCRATCH_BYTES = 262_144
RECORD_BYTES = 16_384 + 512  # the largest TLS record, decrypted, with room to spare
ROOM_BYTES = SCRATCH_BYTES + 2 * RECORD_BYTES  # the most that one `receive` writes

_scratch = bytearray(SCRATCH_BYTES)
_scratch_view = memoryview(_scratch)


class StreamClosed(Exception):
    """The other side closed the connection, or it broke; the text says which."""


class Stream(Protocol):
    """The operations that handshakes, REST and the sweep need."""

    allowance: ReadAllowance  # limits reading and sending before `release`
    peer: str  # the IP address of the other end; empty if unknown

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, b"" at the end of the stream. Raises OSError, and Overdue and TooMuch of the allowance."""

    def send(self, data: bytes) -> int: ...
    def unread(self, data: bytes) -> None:
        """Put back data that was read too early; `recv` and `receive` return it first."""

    def idle(self) -> bool:
        """Return whether it is open and has no unread data."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...

    def release(self) -> None:
        """Become non-blocking; from now on only `receive`, `post` and `close` may be called."""

    def receive(self, target: memoryview, at: int) -> int:
        """Write arrived data to `target[at:]` (ROOM_BYTES must be free) and return the new end.

        Returns `at` if there is no data. Raises StreamClosed at the end of the stream, after all data before it was returned.
        """

    def post(self, data: bytes) -> bool:
        """Send without waiting; return False while some data waits for room in the kernel. Raises StreamClosed."""


class PlainStream:
    """A TCP connection without TLS, for tests and for proxies on this host."""

    def __init__(self, sock: socket.socket, allowance: ReadAllowance, ahead: bytes = b"") -> None:
        self.allowance, self.peer = allowance, ""
        self._sock = sock
        self._raw: _socket.socket | None = None
        self._unsent = b""
        self._ahead = ahead  # already read, not yet returned

    def recv(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._pull(size)

    def unread(self, data: bytes) -> None:
        self._ahead = data + self._ahead

    def _pull(self, size: int) -> bytes:
        """Read from the kernel within the allowance, and let other greenlets run."""
        self._sock.settimeout(self.allowance.left_s())
        try:
            data = self._sock.recv(min(size, RECORD_BYTES))
        except TimeoutError:
            raise self.allowance.overdue() from None
        self.allowance.spend(len(data))
        return data

    def send(self, data: bytes) -> int:
        self._push(data)
        return len(data)

    def _push(self, data: bytes) -> None:
        self._sock.settimeout(self.allowance.left_s())
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise self.allowance.overdue() from None

    def idle(self) -> bool:
        self._sock.settimeout(0.0)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._ahead
        except OSError:
            pass
        return False

    def secured(self, context: ssl.SSLContext, hostname: str) -> ClientTlsStream:
        """Return this connection with TLS on top. Raises ssl.SSLError and the errors of `recv`."""
        return ClientTlsStream(self._sock, self.allowance, context, hostname, self._ahead)

    def fileno(self) -> int:
        return (self._raw or self._sock).fileno()

    def close(self) -> None:
        (self._raw or self._sock).close()

    def release(self) -> None:
        self._raw = _socket.socket(fileno=self._sock.detach())
        self._raw.setblocking(False)

    def receive(self, target: memoryview, at: int) -> int:
        if self._ahead:
            return self._put_ahead(target, at)
        return at + self._receive_raw(target[at : at + SCRATCH_BYTES])

    def _put_ahead(self, target: memoryview, at: int) -> int:
        """Write the data that came together with the handshake's answer."""
        if not self._ahead:
            return at
        ahead, self._ahead = self._ahead, b""
        target[at : at + len(ahead)] = ahead
        return at + len(ahead)

    def _receive_raw(self, into: memoryview) -> int:
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


class ClientTlsStream(PlainStream):
    """A TLS connection over memory BIOs."""

    def __init__(self, sock: socket.socket, allowance: ReadAllowance, context: ssl.SSLContext, hostname: str,
                 ahead: bytes = b"") -> None:
        super().__init__(sock, allowance)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(ahead)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        allowance.begin("its TLS handshake", TLS_BYTES)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._push_records()
                if not self._pull_records():
                    raise ssl.SSLEOFError("connection closed during the TLS handshake") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._push_records()  # the TLS alert with the reason
                raise
        self._push_records()

    def _push_records(self) -> None:
        if self._outgoing.pending:
            self._push(self._outgoing.read())

    def _pull_records(self) -> bool:
        """Read records; return False at the end of the connection."""
        data = self._pull(RECORD_BYTES)
        self._incoming.write(data)
        return bool(data)

    def recv(self, size: int) -> bytes:
        if self._ahead:
            return super().recv(size)
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._push_records()
                if not self._pull_records():
                    raise ConnectionResetError("connection closed without a TLS close alert") from None

    def send(self, data: bytes) -> int:
        self._tls.write(data)
        self._push_records()
        return len(data)

    def idle(self) -> bool:
        return not self._incoming.pending and not self._tls.pending() and super().idle()

    def receive(self, target: memoryview, at: int) -> int:
        incoming = self._incoming
        closed = None
        start, at = at, self._put_ahead(target, at)
        try:
            size = self._receive_raw(_scratch_view)
            if size:
                incoming.write(_scratch_view[:size])
        except StreamClosed as error:
            closed = error
        read = self._tls.read
        end = at
        try:
            # The handshake may have left whole records in the BIO and plain bytes in OpenSSL; they are read here too.
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
        if closed and end == start:
            raise closed
        return end

    def post(self, data: bytes) -> bool:
        if data:
            self._tls.write(data)
        self._unsent += self._outgoing.read()
        return self._flush()
