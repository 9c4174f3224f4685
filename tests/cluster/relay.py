"""A relay in front of a server that can stop to forward: connections stay open and nothing comes through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer


class Relay:
    """Forwards to a port of this host while `open` is set."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.open = Event()
        self.open.set()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def _serve(self, here: socket.socket, _: object) -> None:
        there = socket.create_connection(("127.0.0.1", self._port))
        ways = [gevent.spawn(self._forward, here, there), gevent.spawn(self._forward, there, here)]
        gevent.joinall(ways, count=1)
        gevent.killall(ways)
        here.close()
        there.close()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while body := source.recv(65_536):
                self.open.wait()
                target.sendall(body)


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    found = Relay(port)
    found._server.start()
    try:
        yield found
    finally:
        found._server.stop(timeout=0.1)
