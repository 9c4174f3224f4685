"""A stream hands records to the kernel without waiting, and keeps the rest in order."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from pumpwatch.sim.tls import ServerTlsStream, make_certificates


class Pair:
    """A stream and a client of it, whose TLS is in memory."""

    def __init__(self, folder: Path) -> None:
        context, ca_file = make_certificates(folder)
        listener = socket.create_server(("127.0.0.1", 0))
        self.socket = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        listener.close()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.setblocking(False)
        self.stream = ServerTlsStream(server.detach(), context, "127.0.0.1", 8192)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.create_default_context(cafile=str(ca_file))
        self.tls = client.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def shake_hands(self) -> bool:
        """Complete the handshake of both sides."""
        serving = gevent.spawn(self.stream.handshake)
        while not serving.ready():
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.move()
            gevent.sleep(0.001)
        return bool(serving.value)

    def move(self) -> None:
        """Exchange bytes with the socket."""
        if self.outgoing.pending:
            self.socket.send(self.outgoing.read())
        try:
            self.incoming.write(self.socket.recv(1 << 20))
        except BlockingIOError:
            pass

    def read(self, size: int) -> bytes:
        """Read so many bytes of plain text."""
        text = b""
        while len(text) < size:
            self.move()
            try:
                text += self.tls.read(size - len(text))
            except ssl.SSLWantReadError:
                gevent.sleep(0.001)
        return text

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    assert made.shake_hands()
    yield made
    made.close()


def test_written_data_arrives_and_client_data_is_read(pair: Pair) -> None:
    pair.stream.write(b"hello")
    pair.stream.flush()
    assert pair.read(5) == b"hello" and pair.stream.queued == 0
    pair.tls.write(b"and you")
    pair.move()
    assert pair.stream.read() == b"and you"


def test_data_that_the_kernel_does_not_take_is_queued_and_sent_later_in_order(pair: Pair) -> None:
    text = bytes(range(256)) * 512
    for begin in range(0, len(text), 4096):
        pair.stream.write(text[begin:begin + 4096])
    pair.stream.flush()
    assert pair.stream.queued > 0
    progress: list[int] = []
    pair.stream.on_progress = lambda: progress.append(pair.stream.queued)
    assert pair.read(len(text)) == text and pair.stream.queued == 0
    assert progress == sorted(progress, reverse=True)


def test_a_frozen_stream_sends_only_after_it_is_thawed(pair: Pair) -> None:
    pair.stream.freeze()
    pair.stream.write(b"late")
    pair.stream.flush()
    gevent.sleep(0.01)
    pair.move()
    with pytest.raises(ssl.SSLWantReadError):
        pair.tls.read(4)
    assert pair.stream.queued > 0
    pair.stream.thaw()
    assert pair.read(4) == b"late"


def test_a_closed_stream_ends_the_clients_and_sends_no_more(pair: Pair) -> None:
    pair.stream.close()
    pair.stream.close()
    pair.move()
    assert pair.stream.closed and pair.tls.read(1) == b""  # its close_notify has come


def test_a_client_without_tls_fails_the_handshake(tmp_path: Path) -> None:
    made = Pair(tmp_path)
    made.socket.send(b"GET / HTTP/1.1\r\n\r\n")
    assert made.stream.handshake() is False
    made.close()
