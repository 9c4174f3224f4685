"""Candles from trades: the builder beside pandas' groupby, and a pass over a journal in a process of its own, with its memory."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pumpwatch.clock import FakeClock
from pumpwatch.market.candle_builder import candles_of
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.journal_follower import JournalFollower
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

START_NS = 28_000_000 * MINUTE_NS
BUILT, OF, FOLLOWED, WATCHED = 500_000, 5000, 750_000, 5712
COMMITTED = 5000  # trades at a time


def candle_building(folder: Path, repeats: int) -> dict[str, Any]:
    """Return the best CPU in µs a trade of the builder, of pandas and of a pass, the pass's time, and its growth of memory."""
    batch = batch_of(BUILT, instruments=OF, start_ns=START_NS, step_ns=MINUTE_NS // BUILT)
    figures: dict[str, Any] = {"builder_us": _us(lambda: candles_of(batch), repeats), "pandas_us": _us(_pandas(batch), repeats)}
    clock, catalogue = FakeClock(START_NS), catalogue_of(WATCHED // 2)
    journal = Journal(folder, catalogue, clock, Stats())
    journal.open()
    trades = batch_of(FOLLOWED, instruments=WATCHED, start_ns=START_NS, step_ns=MINUTE_NS // FOLLOWED)
    for first in range(0, FOLLOWED, COMMITTED):
        journal.commit(trades.take(slice(first, first + COMMITTED)))
    journal.close()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return figures | pool.apply(_follow, (folder,))


def _us(work: Callable[[], object], repeats: int) -> float:
    best_s = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - began)
    return best_s / BUILT * 1e6


def _pandas(batch: TradeBatch) -> Callable[[], object]:
    import pandas as pd

    def build() -> object:
        frame = pd.DataFrame({"series": batch.instrument, "minute": batch.timestamp // MINUTE_NS, "price": batch.price,
                              "volume": batch.quantity, "quote": batch.price * batch.quantity})
        return frame.groupby(["series", "minute"], sort=True).agg(
            open=("price", "first"), high=("price", "max"), low=("price", "min"), close=("price", "last"),
            volume=("volume", "sum"), quote=("quote", "sum"), trades=("price", "size"))

    return build


def _follow(folder: Path) -> dict[str, float]:
    store, clock = SqliteCandleStore(folder), FakeClock(START_NS)
    clock.advance(120)
    before_kb = _peak_kb()
    cpu, began = time.process_time(), time.perf_counter()
    done = JournalFollower(folder, store, clock).run()
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    store.close()
    return {"pass_s": took_s, "pass_cpu_s": cpu_s, "pass_us": cpu_s / FOLLOWED * 1e6, "pass_candles": done.candles,
            "pass_mb": (_peak_kb() - before_kb) / 1024}


def _peak_kb() -> int:
    """Return this process's peak of resident memory; getrusage would include that of the process it was forked from."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1])
