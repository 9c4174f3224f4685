"""Measure what watchers of the page cost the collector: one collector under load, in turns without a watcher and with many.

A watcher reads the events of `/api/stream` as a browser does. `alone` and `watched` are shares of a core, each over its turns;
`cost` is the median of the differences between neighbouring turns, because a busy machine is busy in both of them.
"""

from __future__ import annotations

import http.client
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

from tests.bench.collectors import Ours
from tests.bench.loads import CONNECT_S
from tests.bench.processes import BenchError, await_that
from tests.bench.venues import Load, Venues

SETTLE_S = 2.0  # after watchers have come or gone


class Watchers:
    """Connections that read the page's events; `figures` counts those of all."""

    def __init__(self, address: str, count: int) -> None:
        self.figures = self.bytes = 0
        self._ended = False
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            connection = http.client.HTTPConnection(address, timeout=20)
            connection.request("GET", "/api/stream", headers={"Accept": "text/event-stream"})
            if connection.getresponse().status != 200:
                raise BenchError("the page refuses a watcher")
            assert connection.sock is None or isinstance(connection.sock, socket.socket)
            self._selector.register(connection.sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.2):
                piece = key.fileobj.recv(1 << 20)
                self.figures += piece.count(b"event: figures\n")
                self.bytes += len(piece)

    def end(self) -> None:
        """Close every connection."""
        self._ended = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


@contextmanager
def watched_by(address: str, count: int) -> Iterator[Watchers]:
    """Watch with so many connections meanwhile."""
    watchers = Watchers(address, count)
    try:
        yield watchers
    finally:
        watchers.end()


def watching(folder: Path, load: Load, count: int, turns: int, seconds: float, warm_s: float) -> dict[str, Any]:
    """Return the shares of a core without and with watchers, the cost of all, and what one of them got each second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    collector, venues = Ours(folder / "collector", None, page=address), Venues(folder / "venues", load)
    alone, watched, got = [], [], []
    try:
        addresses = venues.addresses()
        collector.start(addresses)
        await_that("every connection", lambda: collector.sample().connections == addresses.connections, CONNECT_S)
        venues.resume(load.rate)
        time.sleep(warm_s)
        for _ in range(turns):
            alone.append(_share(collector, seconds))
            with watched_by(address, count) as watchers:
                time.sleep(SETTLE_S)
                began, figures, size = time.monotonic(), watchers.figures, watchers.bytes
                watched.append(_share(collector, seconds))
                passed = (time.monotonic() - began) * count
                got.append(((watchers.figures - figures) / passed, (watchers.bytes - size) / passed))
            time.sleep(SETTLE_S)
        collector.end()
    finally:
        collector.end()
        venues.end()
    return {"watchers": count, "rate": load.rate, "alone_share": mean(alone), "watched_share": mean(watched),
            "cost_share": median(after - before for before, after in zip(alone, watched, strict=True)),
            "figures_per_s": mean(figures for figures, _ in got), "bytes_per_s": mean(size for _, size in got)}


def _share(collector: Ours, seconds: float) -> float:
    """Return the share of a core that the collector uses over the next seconds."""
    first = last = collector.sample()
    while last.usage.at - first.usage.at < seconds:
        last = collector.sample()
    return (last.usage.cpu_s - first.usage.cpu_s) / (last.usage.at - first.usage.at)
