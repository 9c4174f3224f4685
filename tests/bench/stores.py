"""Memory of the last 20 minutes, and how long a listing's window takes from each store at full size.

The stores are filled with generated trades at 5,000/s of simulated time, through the code that fills them in the
collector. `python -m tests.bench.stores recent MINUTES` runs in a process of its own, whose memory is the figure.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config import Config
from pumpwatch.model import TradeBatch
from pumpwatch.plugins import load_plugins
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.recent import Recent
from tests.bench.database import Database
from tests.bench.generate import COINS, Trades
from tests.bench.processes import await_that, usage

RATE = 5_000
START_NS = 1_795_000_000 * NS_PER_S
WINDOW_NS = 20 * NS_PER_S
ASKED_RANK, BUSIEST_RANK = 10, 0  # the eleventh coin has 1 % of all trades, the first one 5.5 %
ROUNDS = 40
FLUSH_ROWS = 90_000
COMPACT_S = 1.0  # how often the collector compacts


def recent(minutes: int) -> dict[str, Any]:
    """Return the memory of `recent` after this many minutes at 5,000/s, and its query times."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.stores", "recent", str(minutes)], capture_output=True,
                          text=True, check=True, timeout=900)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def query(folder: Path, trades: int, database: Database | None) -> dict[str, Any]:
    """Return the milliseconds that ±20 s of a coin take from recent, journal and QuestDB, warm, at that many trades."""
    catalogue, clock = Catalogue(), FakeClock(START_NS)
    stream = Trades(catalogue, START_NS, RATE)
    store = Recent(20)
    journal = Journal(folder / "journal", catalogue, clock, Stats())
    journal.open()
    sink = _sink(database) if database else None
    began, filled = time.monotonic(), 0
    unsent: list[TradeBatch] = []
    for batch in stream.batches(trades):
        clock.advance((stream.now_ns - clock.now_ns()) / NS_PER_S)
        filled += len(batch)
        _add(store, batch)
        journal.commit(batch)  # 14 a second, as in a collector: what a query opens is as it is there
        journal.maintain()
        if sink is not None:
            unsent.append(batch)
            if len(unsent) * len(batch) >= FLUSH_ROWS:
                _write(sink, unsent, catalogue)
                unsent = []
    if sink is not None:
        _write(sink, unsent, catalogue)
    figures: dict[str, Any] = {"trades": filled, "fill_s": time.monotonic() - began,
                               "coin_share": stream.share(ASKED_RANK),
                               "journal_bytes_per_trade": journal.size_bytes() / filled}
    figures |= _times("recent", lambda rank, at: store.query(stream.coin(rank), at - WINDOW_NS, at + WINDOW_NS),
                      stream.now_ns - 19 * 60 * NS_PER_S, stream.now_ns)
    names = [catalogue.names(stream.coin(rank)) for rank in range(ASKED_RANK + 1)]
    figures |= _times("journal", lambda rank, at: journal.query(names[rank], at - WINDOW_NS, at + WINDOW_NS),
                      START_NS, stream.now_ns)
    journal.close()
    if sink is not None and database is not None:
        await_that("QuestDB to show all rows", lambda: database.rows(f"{QUERY_PREFIX}trades") == filled, 300, 0.5)
        figures |= _times("questdb", lambda rank, at: sink.read(names[rank], at - WINDOW_NS, at + WINDOW_NS, catalogue),
                          START_NS, stream.now_ns)
        sink.close()
    return figures


QUERY_PREFIX = "query_"


def _sink(database: Database) -> Any:
    plugin = load_plugins(Config()).sinks["questdb"]
    database.clear(*(QUERY_PREFIX + name for name in ("candles_5m", "candles_1m", "trades")))
    sink = plugin.create(plugin.options(addr=database.addr, table_prefix=QUERY_PREFIX, request_timeout_ms=60_000))
    sink.open()
    return sink


def _write(sink: Any, batches: list[TradeBatch], catalogue: Catalogue) -> None:
    if not batches:
        return
    batch = TradeBatch.concat(batches)
    result = sink.write(batch, catalogue)
    assert result.accepted == len(batch), f"QuestDB took {result.accepted} of {len(batch)}: {result.refused[:1]}"


_compacted_at: dict[int, int] = {}


def _add(store: Recent, batch: TradeBatch) -> None:
    """Add a batch as the collector does, compacting once a second of simulated time."""
    store.add(batch)
    now_ns = int(batch.received_at[-1])
    if now_ns - _compacted_at.get(id(store), 0) >= COMPACT_S * NS_PER_S:
        _compacted_at[id(store)] = now_ns
        store.compact()


def fill(store: Recent, stream: Trades, trades: int) -> int:
    """Fill memory with so many trades, as the collector does; return their number."""
    filled = 0
    for batch in stream.batches(trades):
        _add(store, batch)
        filled += len(batch)
    return filled


def _times(name: str, ask: Callable[[int, int], TradeBatch], first_ns: int, last_ns: int) -> dict[str, float]:
    """Ask for windows spread over the time; the first tenth warms up. Returns medians, the worst and the rows."""
    figures: dict[str, float] = {}
    for suffix, rank in (("", ASKED_RANK), ("_busiest", BUSIEST_RANK)):
        first, last = max(first_ns, START_NS) + WINDOW_NS, last_ns - WINDOW_NS
        taken, rows = [], 0
        for number in range(ROUNDS):
            at = first + (last - first) * (number * 7 % ROUNDS) // ROUNDS
            for repeat in range(2):  # the first one brings the window's pages in, the second is what is asked for
                began = time.perf_counter()
                batch = ask(rank, at)
                took = (time.perf_counter() - began) * 1000
                if repeat:
                    taken.append(took)
            rows += len(batch)
        figures |= {f"{name}{suffix}_ms": median(taken), f"{name}{suffix}_max_ms": max(taken),
                    f"{name}{suffix}_rows": rows / ROUNDS}
    return figures


def _recent_alone(minutes: int) -> dict[str, Any]:
    catalogue = Catalogue()
    stream = Trades(catalogue, START_NS, RATE)
    store = Recent(minutes)
    assert len(catalogue) == 2 * COINS
    for batch in stream.batches(RATE):  # warms the generator up
        del batch
    gc.collect()
    before = usage_of_self()
    filled = fill(store, stream, RATE * 60 * minutes)
    gc.collect()
    return {"trades": filled, "rss_mb": (usage_of_self() - before) / 1e6, "nbytes_mb": store.nbytes / 1e6,
            "minutes": minutes}


def usage_of_self() -> int:
    """Return this process's resident bytes."""
    import os

    return usage(os.getpid()).rss_bytes


if __name__ == "__main__":
    assert sys.argv[1] == "recent"
    json.dump(_recent_alone(int(sys.argv[2])), sys.stdout)
