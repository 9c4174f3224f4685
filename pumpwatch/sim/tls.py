"""TLS for the simulated venues: a certificate authority for each simulation, and a stream that never waits to send.

One `write` makes one TLS record, as real venues send one frame a record. Records collect in a MemoryBIO and leave with one
non-blocking send. Bytes that the kernel does not take are queued and counted here, so a slow reader delays no other.
`SSLObject.write` (public) costs 1.0 us a frame; the private object behind it would save 0.1, which is not worth it.
"""

from __future__ import annotations

import socket as socket_module
import ssl
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import trustme
from gevent import monkey
from gevent.event import Event

PlainSocket = monkey.get_original("socket", "socket")  # the same class, whether the process is patched or not
RECORD_BYTES = 16_384
READ, WRITE = 1, 2


def make_certificates(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate authority and a server's certificate for loopback; return the context and the CA's file."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    folder.mkdir(parents=True, exist_ok=True)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    return context, ca_file


class ServerTlsStream:
    """One accepted connection. `made` and `handed` count ciphertext bytes made and taken by the kernel."""

    def __init__(self, fileno: int, context: ssl.SSLContext, peer: str, send_buffer_bytes: int = 0) -> None:
        self.peer = peer
        self.made = self.handed = 0
        self.closed = self.broken = False
        self.on_progress: Callable[[], None] | None = None
        self._socket = PlainSocket(fileno=fileno)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        if send_buffer_bytes:
            self._socket.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_SNDBUF, send_buffer_bytes)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.write: Callable[[Any], int] = self._tls.write
        self._backlog: deque[memoryview] = deque()
        loop = gevent.get_hub().loop
        self._readable: Any = loop.io(fileno, READ)
        self._writable: Any = loop.io(fileno, WRITE)
        self._thawed = Event()
        self._thawed.set()

    @property
    def queued(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self.made - self.handed

    def handshake(self) -> bool:
        """Do the server's side of the TLS handshake; return False if the client gave up or did not send TLS."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                if not self._receive():
                    return False
            except ssl.SSLError:
                self.flush()
                return False
            else:
                self.flush()
                return True

    def read(self) -> bytes:
        """Return the next bytes from the client; b"" after the end of the connection."""
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                self.flush()
                if not self._receive():
                    return b""
            except ssl.SSLError:
                return b""

    def flush(self) -> None:
        """Pass the records made so far to the kernel, and queue those that it does not take now."""
        data = self._outgoing.read()
        if not data:
            return
        self.made += len(data)
        if self.closed:
            return
        if self._backlog or not self._thawed.is_set():
            self._backlog.append(memoryview(data))
            return
        sent = self._send(data)
        if sent < len(data):
            self._backlog.append(memoryview(data)[sent:])
            self._await_room()

    def freeze(self) -> None:
        """Stop reading and sending, as if the network in between had died."""
        self._thawed.clear()
        self._writable.stop()

    def thaw(self) -> None:
        """Continue after `freeze`."""
        self._thawed.set()
        if self._backlog and not self.closed:
            self._await_room()

    def close(self, *, abort: bool = False) -> None:
        """Close in order (close_notify, FIN), or abort (RST). A second call does nothing."""
        if self.closed:
            return
        if abort:
            self._socket.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_LINGER, struct.pack("ii", 1, 0))
        elif not self._backlog and self._thawed.is_set():
            try:
                self._tls.unwrap()
            except (ssl.SSLError, ValueError):
                pass
            self.flush()
        self.closed = True
        for watcher in (self._readable, self._writable):
            watcher.stop()
            watcher.close()
        self._socket.close()
        self._thawed.set()

    def _receive(self) -> bool:
        while not self.closed:
            self._thawed.wait()
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:
                gevent.get_hub().wait(self._readable)
                continue
            except OSError:
                return False
            if data:
                self._incoming.write(data)
            return bool(data)
        return False

    def _send(self, data: bytes | memoryview) -> int:
        try:
            sent: int = self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the reader's recv fails too, and ends the connection
            self.broken = True
            return 0
        self.handed += sent
        return sent

    def _await_room(self) -> None:
        if not self._writable.active and not self.broken:
            self._writable.start(self._drain)

    def _drain(self) -> None:
        """Send more of the backlog; runs in the hub, when the socket has room."""
        while self._backlog:
            first = self._backlog[0]
            sent = self._send(first)
            if sent < len(first):
                self._backlog[0] = first[sent:]
                break
            self._backlog.popleft()
        if not self._backlog or self.broken:
            self._writable.stop()
        if self.on_progress is not None:
            self.on_progress()
