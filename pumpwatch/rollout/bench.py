"""Benchmark a sink: send made-up trades at a fixed rate, as a drain would."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Sink
from pumpwatch.model import NO_SEQUENCE, Instrument, TradeBatch
from pumpwatch.store.rejected_rows import store_all

EXCHANGE, MARKET_TYPE = "bench", "spot"
INSTRUMENTS = 500
FLUSH_S = 1.0  # as `drain.flush_ms` by default
BATCH_ROWS = 100_000  # most rows of a batch, as `drain.catch_up_rows` by default
KEEPS_UP_S = 2.0  # a sink whose last answer comes later than this after the last trade has not kept up
WARM_UP = 5000  # trades that are sent before the measurement
BURST = 150_000  # trades that arrive within one second


@dataclass(frozen=True, slots=True)
class Load:
    """One step of a bench: `rate` trades a second for `seconds`."""

    rate: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of one step.

    rate: trades a second until the sink's last answer. writing_rate: trades a second of writing time, the most that the sink
    could take. late_s: the time from the last trade to the last answer. cpu_percent (of a core) and rss_bytes: of this process.
    """

    load: Load
    trades: int
    rejected: int
    rate: float
    writing_rate: float
    batches: int
    p50_ms: float
    p99_ms: float
    late_s: float
    cpu_percent: float
    rss_bytes: int

    @property
    def behind(self) -> bool:
        """Return whether the last answer came more than KEEPS_UP_S after the last trade was offered."""
        return self.late_s > KEEPS_UP_S

    def as_row(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {"offered_per_s": self.load.rate, "seconds": self.load.seconds, "trades": self.trades, "rejected": self.rejected,
                "taken_per_s": round(self.rate, 1), "could_take_per_s": round(self.writing_rate, 1), "batches": self.batches,
                "p50_ms": round(self.p50_ms, 1), "p99_ms": round(self.p99_ms, 1), "late_s": round(self.late_s, 2),
                "cpu_percent": round(self.cpu_percent, 1), "rss_bytes": self.rss_bytes, "behind": self.behind}


def bench_catalogue() -> Catalogue:
    """Return the instruments of a bench: B0USDT, B1USDT, ... of an exchange `bench`."""
    catalogue = Catalogue()
    for number in range(INSTRUMENTS):
        catalogue.add((EXCHANGE, MARKET_TYPE), Instrument(symbol=f"B{number}USDT", base=f"B{number}", quote="USDT"))
    return catalogue


def made_up(rows: int, first_id: int, now_ns: int, over_s: float) -> TradeBatch:
    """Return `rows` trades of the last `over_s` seconds with ids from `first_id`."""
    draw = np.random.default_rng(first_id)
    timestamp = now_ns - int(over_s * 1e9) + np.sort(draw.integers(0, max(1, int(over_s * 1e9)), rows))
    return TradeBatch(
        timestamp=timestamp, instrument=draw.integers(0, INSTRUMENTS, rows).astype(np.int32),
        price=np.round(draw.lognormal(3, 2, rows), 6), quantity=np.round(draw.lognormal(0, 2, rows), 5) + 0.00001,
        side=draw.integers(0, 2, rows).astype(np.uint8), trade_id=np.arange(first_id, first_id + rows, dtype=np.int64),
        sequence_number=np.full(rows, NO_SEQUENCE, np.int64), received_at=timestamp + 3_000_000, flags=np.zeros(rows, np.uint8))


def measure(sink: Sink, catalogue: Catalogue, load: Load, first_id: int, progress: Callable[[int], None] = lambda trades: None,
            sleep: Callable[[float], None] = time.sleep) -> Measured:
    """Send one load to an open sink and return the measured result. Raises ServiceUnavailable if the sink stops answering.

    Each second the trades of that second are sent, in batches of at most BATCH_ROWS. While the sink is slower than the load, the
    backlog is sent in larger batches, as a drain does.
    """
    total = round(load.rate * load.seconds)
    times: list[float] = []
    sent = rejected = 0
    began, cpu = time.monotonic(), time.process_time()
    while sent < total:
        due = min(total, int((time.monotonic() - began) // FLUSH_S * FLUSH_S * load.rate))
        if sent >= due:
            sleep(max(0.0, ((time.monotonic() - began) // FLUSH_S + 1) * FLUSH_S - (time.monotonic() - began)))
            continue
        rows = min(due - sent, BATCH_ROWS)
        batch = made_up(rows, first_id + sent, time.time_ns(), FLUSH_S)
        started = time.monotonic()
        rejected += len(store_all(lambda part: sink.write(part, catalogue), batch))
        times.append((time.monotonic() - started) * 1000)
        sent += rows
        progress(sent)
    took = time.monotonic() - began
    if not times:
        raise ServiceUnavailable("the load has no trades", "give a larger --rate or more --seconds")
    p50_ms, p99_ms = np.percentile(times, (50, 99)).tolist()
    return Measured(load, sent, rejected, sent / took, sent / (sum(times) / 1000), len(times), p50_ms, p99_ms,
                    max(0.0, took - load.seconds), 100 * (time.process_time() - cpu) / took, _rss_bytes())


def _rss_bytes() -> int:
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
