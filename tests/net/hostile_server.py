"""A server that answers as an attacker would: each scenario is a function that is given the connection."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat

Scenario = Callable[[socket.socket], None]

DRIP_S = 0.03
FLOOD = b"x" * 262_144
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def send_for_ever(start: bytes, pieces: bytes) -> Scenario:
    """Return what sends `start`, and then `pieces` as fast as the other side reads them."""

    def scenario(sock: socket.socket) -> None:
        sock.sendall(start)
        for piece in repeat(pieces):
            sock.sendall(piece)

    return scenario


def drip(start: bytes, piece: bytes = b"x") -> Scenario:
    """Return what sends a piece at a time and never ends."""

    def scenario(sock: socket.socket) -> None:
        sock.sendall(start)
        for one in repeat(piece):
            time.sleep(DRIP_S)
            sock.sendall(one)

    return scenario


def answer(*parts: bytes) -> Scenario:
    """Return what sends these bytes and ends."""
    return lambda sock: sock.sendall(b"".join(parts))


def silent(sock: socket.socket) -> None:
    """Take everything and say nothing."""
    while sock.recv(65_536):
        pass


def bomb(encoding: str, size: int = 200_000_000) -> bytes:
    """Return an answer of 200 KB that becomes 200 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    zeros = bytes(1_000_000)
    body = b"".join(packer.compress(zeros) for _ in range(size // len(zeros))) + packer.flush()
    return with_body(body, f"Content-Encoding: {encoding}")


def with_body(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location: str, status: str = "302 Found") -> Scenario:
    """Return what sends whoever asks elsewhere."""
    return answer(with_body(b"", f"Location: {location}", status=status))


HEADS: dict[str, Scenario] = {  # of any answer: a handshake's, a proxy's, a REST one's
    "headers without end": send_for_ever(b"HTTP/1.1 101 Switching\r\n", b"X-Header: 0123456789\r\n" * 10_000),
    "one header without end": send_for_ever(b"HTTP/1.1 101 Switching\r\nX-Header: ", FLOOD),
    "a status line without end": send_for_ever(b"HTTP/1.1 ", FLOOD),
    "no HTTP": send_for_ever(b"", FLOOD),
    "interim answers without end": send_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000),
    "early hints without end": send_for_ever(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 10_000),
    "a drip of headers": drip(b"HTTP/1.1 200 OK\r\nX-Header: "),
    "a drip of nothing": drip(b"", b"\r\n"),
    "silence": silent,
    "a refusal of 10 GB": send_for_ever(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10000000000\r\n\r\n", FLOOD),
    "a refusal without end": send_for_ever(b"HTTP/1.1 403 Forbidden\r\n\r\n", FLOOD),
    "a refusal that drips": drip(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\n"),
}

TLS: dict[str, Scenario] = {
    "change cipher specs without end": send_for_ever(b"", b"\x14\x03\x03\x00\x01\x01" * 10_000),
    "alerts without end": send_for_ever(b"", b"\x15\x03\x03\x00\x02\x01\x5a" * 10_000),
    "empty records without end": send_for_ever(b"", b"\x16\x03\x03\x00\x00" * 10_000),
    "a hello without end": send_for_ever(b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff", FLOOD),
    "a drip of a record": drip(b"\x16\x03\x03\x40\x00"),
    "no TLS": send_for_ever(b"", FLOOD),
    "silence": silent,
}

BODIES: dict[str, Scenario] = {
    "a body without end": send_for_ever(b"HTTP/1.1 200 OK\r\n\r\n", FLOOD),
    "a drip of a body": drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    "a drip of chunks": drip(CHUNKED, b"1\r\nx\r\n"),
    "a chunk's length without end": send_for_ever(CHUNKED, b"0" * 262_144),
    "a chunk's extension without end": send_for_ever(CHUNKED + b"5;", FLOOD),
    "tiny chunks without end": send_for_ever(CHUNKED, b"1\r\nx\r\n" * 20_000),
    "trailers without end": send_for_ever(CHUNKED + b"0\r\n", b"X: y\r\n" * 20_000),
    "a negative chunk": send_for_ever(CHUNKED + b"-1\r\n", FLOOD),
    "empty gzip members without end": send_for_ever(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
                                                    gzip.compress(b"") * 10_000),
}


class HostileServer:
    """Serves one scenario to every connection; `requests` has the first lines of what came, `url` its address."""

    def __init__(self, scenario: Scenario, wait_for_request: bool = True) -> None:
        self.scenario, self.requests = scenario, list[bytes]()
        self._wait = wait_for_request
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            asked = b""
            while self._wait and b"\r\n\r\n" not in asked:
                came = sock.recv(65_536)
                if not came:
                    return
                asked += came
            self.requests.append(asked)
            self.scenario(sock)
            sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End every connection and listen no more."""
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def hostile(scenario: Scenario, wait_for_request: bool = True) -> Iterator[HostileServer]:
    """Run a server with one scenario."""
    server = HostileServer(scenario, wait_for_request)
    try:
        yield server
    finally:
        server.close()


def first_lines(requests: Sequence[bytes]) -> list[str]:
    """Return the first line of each request."""
    return [one.partition(b"\r\n")[0].decode("latin-1") for one in requests]
