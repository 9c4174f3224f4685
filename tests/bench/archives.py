"""Measure how long a listing's archive takes, and for how long it keeps the hub from running.

The archive is written in a thread, as in a collector, while a greenlet wakes up every millisecond: its longest sleep is how long
the hub was blocked. `hub_idle_ms` is the same without an archive, which is the machine's share of it. Two instruments have 60 %
of the trades; each has 20 minutes of trades before the window as well. Figures are medians over the rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import FUTURES, SPOT, Instrument, TradeBatch
from tests.listing.market import listing_of, trades

WINDOW_S = 20
SHARES = (0.4, 0.2, *[0.04] * 10)
RATE_BEFORE = 20.0
IDLE_S = 0.5


def archive(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Return wall_s, cpu_s and hub_ms of an archive of that many trades, measured in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.archives", str(folder), str(count), str(rounds)],
                          capture_output=True, text=True, check=True, timeout=900)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def market(count: int) -> tuple[Catalogue, TradeBatch]:
    """Return 12 instruments and their trades: `count` in the window, and those of the 20 minutes before."""
    catalogue, batches = Catalogue(), []
    for number, share in enumerate(SHARES):
        instrument = Instrument(symbol="KITEUSDT", base="KITE", quote="USDT")
        catalogue.add((f"exchange{number // 2}", (SPOT, FUTURES)[number % 2]), instrument)
        batches.append(trades(number, jump_ms=None, rate=RATE_BEFORE, from_s=-1202, to_s=-WINDOW_S))
        batches.append(trades(number, jump_ms=100 * number, rate=count * share / (2 * WINDOW_S + 3), from_s=-WINDOW_S,
                              to_s=WINDOW_S + 3))
    return catalogue, TradeBatch.concat(batches)


def watched(work: Callable[[], None]) -> float:
    """Return the longest time in ms for which a greenlet that wakes up every millisecond slept during the work."""
    longest, ended = 0.0, False

    def wake() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not ended:
            gevent.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    waking = gevent.spawn(wake)
    gevent.sleep(0.01)
    work()
    ended = True
    waking.join()
    return longest * 1000


def measure(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Write archives and return the figures."""
    catalogue, batch = market(count)
    listing = listing_of()
    span = Span("KITE", [listing], intervals_of([listing], WINDOW_S))
    thread = ThreadPool(1)
    rows: list[tuple[float, float, float]] = []
    written = 0
    for _ in range(rounds):
        with TemporaryDirectory(dir=folder) as place:
            wall_s, cpu_s = time.perf_counter(), time.process_time()

            def work(place: str = place) -> None:
                nonlocal written
                written = thread.apply(write_archive, (Path(place), span, batch, catalogue, [], [], Pass(1))).trades

            hub_ms = watched(work)
            rows.append((time.perf_counter() - wall_s, time.process_time() - cpu_s, hub_ms))
    wall, cpu, hub = (median(column) for column in zip(*rows, strict=True))
    return {"trades": written, "rounds": rounds, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3), "hub_ms": round(hub, 1),
            "hub_worst_ms": round(max(row[2] for row in rows), 1), "hub_idle_ms": round(watched(lambda: gevent.sleep(IDLE_S)), 1)}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
