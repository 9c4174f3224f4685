"""Measure how long a listing's archive takes, and for how long it keeps the hub from running.

The archive is written in a process, as in a collector, while a greenlet wakes up every millisecond: its longest sleep is how long
the hub was blocked, without the time for which the kernel had no core for it. `hub_idle_ms` is the same without an archive.
`cpu_s` is of both processes. Two instruments have 60 % of the trades; each has 20 minutes of trades before the window as well.
Figures are medians over the rounds, of which the first is not counted, since the process starts in it. `complete_s` is counted
from the window's end: the settling time and `wall_s`, for venues without lag.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import gevent

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.archive import Pass, Span
from pumpwatch.listing.archive_writer import ArchiveProcess
from pumpwatch.listing.context import Reach
from pumpwatch.listing.open_window import SETTLE_S, intervals_of
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
    """Return the longest time in ms for which a greenlet that wakes up every millisecond slept during the work.

    The time in which the thread could run and had no core does not count.
    """
    longest, ended = 0.0, False

    def wake() -> None:
        nonlocal longest
        last = time.perf_counter() - unscheduled_s()
        while not ended:
            gevent.sleep(0.001)
            now = time.perf_counter() - unscheduled_s()
            longest, last = max(longest, now - last), now

    waking = gevent.spawn(wake)
    gevent.sleep(0.01)
    work()
    ended = True
    waking.join()
    return longest * 1000


def unscheduled_s() -> float:
    """Return for how long this thread could have run and had no core, 0 where the kernel does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def cpu_s(pid: int | None) -> float:
    """Return the CPU time of this process and of another one."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() if pid else ["0"] * 13
    return time.process_time() + sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Write archives and return the figures."""
    catalogue, batch = market(count)
    listing = listing_of()
    span = Span("KITE", [listing], intervals_of([listing], Reach(WINDOW_S, WINDOW_S)))
    writer = ArchiveProcess()
    rows: list[tuple[float, float, float]] = []
    written = 0
    for counted in (False, *[True] * rounds):
        with TemporaryDirectory(dir=folder) as place:
            began_s, cpu_before_s = time.perf_counter(), cpu_s(writer.pid)

            def work(place: str = place) -> None:
                nonlocal written
                written = writer.write(Path(place), span, batch, catalogue, [], [], Pass(1)).trades

            hub_ms = watched(work)
            if counted:
                rows.append((time.perf_counter() - began_s, cpu_s(writer.pid) - cpu_before_s, hub_ms))
    wall, cpu, hub = (median(column) for column in zip(*rows, strict=True))
    return {"trades": written, "rounds": rounds, "wall_s": round(wall, 3), "complete_s": round(wall + SETTLE_S, 3),
            "cpu_s": round(cpu, 3), "hub_ms": round(hub, 1),
            "hub_worst_ms": round(max(row[2] for row in rows), 1), "hub_idle_ms": round(watched(lambda: gevent.sleep(IDLE_S)), 1)}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
