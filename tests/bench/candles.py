"""The store of candles: writing, reading and size, beside plain rows in SQLite and pandas' resample.

Two shapes are written: a history (100 series of 1,000 minutes, most of which become blocks) and live minutes (5,000 series of 20
minutes, all rows). Reads take the last 1,000 minutes of one series: warm from an open store; cold from one that was just opened,
after the kernel was told to forget the file. `large` is a store of `total` minutes.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.market.aggregate import aggregate
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.sqlite_store import SqliteCandleStore

START_NS = 1_795_046_400 * 10**9
WRITTEN, LAST, ALL = 100_000, 1000, (0, 2**62)
WARM, COLD = 300, 20
BATCH_MINUTES = 1440


def candles(folder: Path, total: int) -> dict[str, Any]:
    """Return seconds and CPU seconds of writing 100,000 candles, ms of reads at that size and at `total`, bytes a candle."""
    figures: dict[str, Any] = {"total": total}
    for shape, series, minutes in (("history", 100, 1000), ("live", 5000, 20)):
        rows, names = made(series, minutes), names_of(series)
        store = _store(folder / shape)
        figures |= _timed(f"write_{shape}", partial(store.write, "1m", names, rows))
        store.close()
        figures |= _timed(f"plain_{shape}", partial(plain, folder / f"{shape}.sqlite3", rows))
        figures[f"plain_{shape}_bytes"] = (folder / f"{shape}.sqlite3").stat().st_size / WRITTEN
    figures |= _reads("small", folder / "history", names_of(100))
    series = 200
    store = _store(folder / "large")
    for first in range(0, total // series, BATCH_MINUTES):
        store.write("1m", names_of(series), made(series, min(BATCH_MINUTES, total // series - first), first))
    store.close()
    figures |= _reads("large", folder / "large", names_of(series))
    figures["bytes_a_candle"] = (folder / "large" / FILE_NAME).stat().st_size / total
    figures["growth"] = figures["large_warm_ms_p99"] / figures["small_warm_ms_p99"]
    return figures | _aggregates()


def names_of(count: int) -> list[Series]:
    """Return the names of so many series."""
    return [("binance", "spot", f"C{number}USDT") for number in range(count)]


def made(series: int, minutes: int, first: int = 0) -> CandleColumns:
    """Return candles as they come, minute by minute. Volumes are sums of decimals, with the last bits that sums have."""
    draw, count = np.random.default_rng(first), series * minutes
    middle = 100 + np.cumsum(draw.normal(0, 0.05, (minutes, series)), axis=0).ravel()
    begin, end = np.round(middle, 2), np.round(middle + draw.normal(0, 0.05, count), 2)
    high = np.round(np.maximum(begin, end) + draw.exponential(0.03, count), 2)
    low = np.round(np.minimum(begin, end) - draw.exponential(0.03, count), 2)
    parts = np.round(draw.exponential(20, (3, count)), 3)
    volume = parts[0] + parts[1] + parts[2]
    return CandleColumns(
        np.tile(np.arange(series, dtype=np.int32), minutes),
        np.repeat(START_NS + (first + np.arange(minutes)) * MINUTE_NS, series),
        begin, high, low, end, volume, parts[0] * begin + parts[1] * end + parts[2] * low, parts[0] + parts[1],
        draw.poisson(30, count) + 3, np.ones(count, np.bool_), np.ones(count, np.uint8))


def plain(path: Path, rows: CandleColumns) -> None:
    """Store the rows with executemany in the plainest table that has a key."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE candles (series INTEGER, timestamp INTEGER, open REAL, high REAL, low REAL, close REAL,"
                       " volume REAL, quote_volume REAL, taker_buy_volume REAL, trades INTEGER, complete INTEGER, origin INTEGER,"
                       " PRIMARY KEY (series, timestamp)) WITHOUT ROWID")
    connection.execute("BEGIN")
    connection.executemany(f"INSERT OR REPLACE INTO candles VALUES ({', '.join('?' * 12)})",
                           zip(*(column.tolist() for column in rows.columns()), strict=True))
    connection.execute("COMMIT")
    connection.close()


def _store(folder: Path) -> SqliteCandleStore:
    folder.mkdir()
    return SqliteCandleStore(folder)


def _timed(name: str, work: Callable[[], object]) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return {f"{name}_s": time.perf_counter() - began, f"{name}_cpu_s": time.process_time() - cpu}


def _reads(name: str, folder: Path, names: list[Series]) -> dict[str, float]:
    cold = []
    for number in range(COLD):
        forget(folder / FILE_NAME)
        store = SqliteCandleStore(folder, read_only=True)
        cold.append(_read_ms(store, names[number * 7 % len(names)]))
        store.close()
    store = SqliteCandleStore(folder, read_only=True)
    asked = names[3]
    _read_ms(store, asked)
    cpu = time.process_time()
    warm = [_read_ms(store, asked) for _ in range(WARM)]
    cpu_ms = (time.process_time() - cpu) / WARM * 1000
    store.close()
    return {f"{name}_warm_cpu_ms": cpu_ms, f"{name}_cold_ms": max(cold), f"{name}_cold_ms_p50": float(np.median(cold)),
            f"{name}_warm_ms_p99": float(np.percentile(warm, 99)), f"{name}_warm_ms_p50": float(np.median(warm))}


def _read_ms(store: SqliteCandleStore, series: Series) -> float:
    began = time.perf_counter()
    found = store.read(series, "1m", *ALL, limit=LAST)
    took_ms = (time.perf_counter() - began) * 1000
    assert len(found) == LAST
    return took_ms


def forget(path: Path) -> None:
    """Ask the kernel to drop the file from its cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def _aggregates() -> dict[str, float]:
    """Return the time of the 5m candles of 100,000 minutes of one series, here and by pandas."""
    import pandas as pd

    rows = made(1, WRITTEN)
    frame = pd.DataFrame({"open": rows.open, "high": rows.high, "low": rows.low, "close": rows.close, "volume": rows.volume,
                          "quote_volume": rows.quote_volume, "taker_buy_volume": rows.taker_buy_volume, "trades": rows.trades},
                         index=pd.to_datetime(rows.timestamp, unit="ns"))
    how = {"open": "first", "high": "max", "low": "min", "close": "last"} | dict.fromkeys(frame.columns[4:], "sum")
    return (_timed("aggregate", lambda: aggregate(rows, "5m", 2**62))
            | _timed("pandas_resample", lambda: frame.resample("5min").agg(how)))
