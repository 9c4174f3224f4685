"""A connection's bytes: plain or TLS, first for the handshake, then for the sweep.

A stream lives twice. Until `release` it behaves like a blocking socket, read and written under an allowance of time and bytes
(under gevent it waits cooperatively); REST never goes further. After `release` it is non-blocking and belongs to the sweep,
which decrypts straight into the frame buffer. TLS goes through memory BIOs, because an SSLSocket gives one record and costs
one system call (and at the end one exception) each time, and real venues send a record a frame.
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
ROOM_BYTES = SCRATCH_BYTES + 2 * RECORD_BYTES  # what one `receive` may write

_scratch = bytearray(SCRATCH_BYTES)
_scratch_view = memoryview(_scratch)


class StreamClosed(Exception):
    """The other side ended the connection, or it broke; the text says which."""


class Stream(Protocol):
    """What a handshake needs of a socket, and what the sweep needs of a connection."""

    allowance: ReadAllowance  # of what is read and sent before `release`

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end of the stream. Raises OSError, and by the allowance Overdue and TooMuch."""

    def send(self, data: bytes) -> int: ...
    def unread(self, data: bytes) -> None:
        """Put back what was read too far: it comes first again, for `recv` and for `receive`."""

    def quiet(self) -> bool:
        """Whether it is open and nothing has come that was not asked for."""

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

    def __init__(self, sock: socket.socket, allowance: ReadAllowance, ahead: bytes = b"") -> None:
        self.allowance = allowance
        self._sock = sock
        self._raw: _socket.socket | None = None
        self._unsent = b""
        self._ahead = ahead  # read, and not yet asked for

    def recv(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._pull(size)

    def unread(self, data: bytes) -> None:
        self._ahead = data + self._ahead

    def _pull(self, size: int) -> bytes:
        """Read from the kernel within the allowance, and let others run."""
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

    def quiet(self) -> bool:
        self._sock.settimeout(0.0)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._ahead
        except OSError:
            pass
        return False

    def secured(self, context: ssl.SSLContext, hostname: str) -> ClientTlsStream:
        """Return this connection with TLS on it. Raises ssl.SSLError, and what `recv` raises."""
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
            return self._hand_over(target, at)
        return at + self._take(target[at : at + SCRATCH_BYTES])

    def _hand_over(self, target: memoryview, at: int) -> int:
        """Write what came with the handshake's answer."""
        if not self._ahead:
            return at
        ahead, self._ahead = self._ahead, b""
        target[at : at + len(ahead)] = ahead
        return at + len(ahead)

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
                    self._push_records()  # the alert that says why
                raise
        self._push_records()

    def _push_records(self) -> None:
        if self._outgoing.pending:
            self._push(self._outgoing.read())

    def _pull_records(self) -> bool:
        """Read records; False at the end of the connection."""
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
                    raise ConnectionResetError("connection closed in the midst of TLS") from None

    def send(self, data: bytes) -> int:
        self._tls.write(data)
        self._push_records()
        return len(data)

    def quiet(self) -> bool:
        return not self._incoming.pending and not self._tls.pending() and super().quiet()

    def receive(self, target: memoryview, at: int) -> int:
        incoming = self._incoming
        closed = None
        start, at = at, self._hand_over(target, at)
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
        if closed and end == start:
            raise closed
        return end

    def post(self, data: bytes) -> bool:
        if data:
            self._tls.write(data)
        self._unsent += self._outgoing.read()
        return self._flush()
