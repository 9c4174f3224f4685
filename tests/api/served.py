"""The API's server in a process of its own, which gevent has patched: `python -m tests.api.served OPTIONS`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import json
import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HEAD_S = BODY_S = SEND_S = IDLE_S = 1.0  # instead of the server's own


class Served:
    """A running server. `url` is its address, `ask` a raw request.

    The options are those of `api` in the config, `every_request`: reading needs the token too, and `cluster`: its figures.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder, self._options = folder, options

    def __enter__(self) -> Served:
        self._log = (self._folder / "served.log").open("wb")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.api.served", json.dumps({"folder": str(self._folder / "data"), "api": self._options})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=os.environ)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, (self._folder / "served.log").read_text()
        self.port, self.pid = int(line), self._child.pid
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(20)
        self._log.close()

    def log(self) -> str:
        """Return what it has written to stderr."""
        return (self._folder / "served.log").read_text("utf-8", "replace")

    def connect(self) -> socket.socket:
        """Return an open connection."""
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def ask(self, request: bytes) -> bytes:
        """Send bytes and return everything that comes until the server closes."""
        with self.connect() as connection:
            try:
                connection.sendall(request)
            except OSError:
                pass  # it was refused before it was read
            return rest_of(connection)

    def status_of(self, request: bytes) -> int:
        """Return the status of the answer to a request; 0 without one."""
        return status_in(self.ask(request))

    def wait_until_free(self) -> None:
        """Wait until it takes a connection again."""
        deadline = time.monotonic() + 30
        while self.status_of(b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n") != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def rest_of(connection: socket.socket) -> bytes:
    """Return everything that comes until the other side closes."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def status_in(answer: bytes) -> int:
    """Return the status of an answer, 0 where it has none."""
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 2 and words[0] == b"HTTP/1.1" else 0


def main(options: dict[str, Any]) -> None:
    """Serve until stdin ends."""
    import gevent
    from gevent.hub import Hub

    from pumpwatch.api import server
    from pumpwatch.api.application import Application
    from pumpwatch.api.market import HeldTrades
    from pumpwatch.api.pages import read_pages
    from pumpwatch.api.rate_limits import RateLimits
    from pumpwatch.api.routes import ROUTES
    from pumpwatch.errors import PumpWatchError
    from pumpwatch.market.service import MarketService
    from tests.api.desk import config_of, desk_of, guard_of

    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PumpWatchError)
    server.HEAD_S, server.BODY_S, server.SEND_S, server.IDLE_S = HEAD_S, BODY_S, SEND_S, IDLE_S
    every_request = options["api"].pop("every_request", False)
    cluster = options["api"].pop("cluster", None)
    config = config_of(Path(options["folder"]), **options["api"])
    desk = desk_of(config)
    figures = desk.figures
    if cluster:
        desk = replace(desk, figures=lambda: {**figures(), "cluster": cluster})
    trades = HeldTrades(desk.catalogue, desk.recent.held(0, desk.clock.now_ns()), 0)
    desk = replace(desk, market=MarketService(trades, None, None, desk.clock))
    pages = read_pages()
    limits = RateLimits(config.api.requests_per_minute, pages, desk.sessions, desk.clock, desk.stats)
    application = Application(desk, ROUTES, pages, guard_of(desk, every_request=every_request))
    running = server.Server(("127.0.0.1", 0), application, desk.stats, limits, connections=config.api.connections)
    running.start()
    print(running.server_port, flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.buffer.read)
    running.stop(timeout=0.1)
    desk.readers.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
