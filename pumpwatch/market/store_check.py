"""The flaws that a store of candles may have, and the check that finds them.

Every block is unpacked: about a second for three million candles. Queries that read a whole table, as a check must, are not noted
as asked: an index would not help them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.market.candle_blocks import BLOCK_NS, unpack
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.interfaces import Flaw
from pumpwatch.market.intervals import INTERVALS_NS
from pumpwatch.market.market_file import MarketFile

_NAMES = {length // NS_PER_S: name for name, length in INTERVALS_NS.items()}
_BAD_ROW = ("high < low OR high < open OR high < close OR low > open OR low > close OR volume < 0 OR open IS NULL OR high IS NULL"
            " OR low IS NULL OR close IS NULL")
MOST = 1000  # flaws of a kind that are named


def check(file: MarketFile) -> list[Flaw]:
    """Return the flaws of the file's candles. Raises StorageError where the file is locked."""
    try:
        with file.reading("check"):
            found = [Flaw("file", None, "", 0, str(text)) for (text,) in file.rows("PRAGMA integrity_check(100)") if text != "ok"]
            found += [Flaw("series", None, "", 0, f"a row of {table} names an unknown series")
                      for table, *_ in file.rows("PRAGMA foreign_key_check")[:MOST]]
            names = {number: (exchange, market_type, symbol) for number, exchange, market_type, symbol
                     in file.rows("SELECT id, exchange, market_type, symbol FROM series")}
            inside = [*_row_flaws(file, names), *_double_flaws(file, names), *_block_flaws(file, names)]
            return found + sorted(inside, key=lambda flaw: (flaw.series or (), flaw.interval, flaw.timestamp_ns))
    except StorageError as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and not isinstance(error.__cause__, sqlite3.OperationalError):
            return [Flaw("file", None, "", 0, error.message)]
        raise


def candle_flaws(series: Series | None, interval: str, rows: CandleColumns) -> Iterator[Flaw]:
    """Yield the flaws of one series' candles: their order in time, their prices and volumes."""
    step = INTERVALS_NS[interval]
    for place in np.flatnonzero(np.diff(rows.timestamp) <= 0)[:MOST]:
        kind = "duplicate" if rows.timestamp[place + 1] == rows.timestamp[place] else "order"
        yield Flaw(kind, series, interval, int(rows.timestamp[place + 1]), "not after the candle before it")
    for place in np.flatnonzero(rows.timestamp % step)[:MOST]:
        yield Flaw("order", series, interval, int(rows.timestamp[place]), "not at the start of an interval")
    highest, lowest = np.fmax(rows.open, rows.close), np.fmin(rows.open, rows.close)
    good = (rows.high >= highest) & (rows.low <= lowest) & (rows.low <= rows.high) & ~(rows.volume < 0)
    for place in np.flatnonzero(~good)[:MOST]:
        yield Flaw("ohlc", series, interval, int(rows.timestamp[place]),
                   f"open {rows.open[place]} high {rows.high[place]} low {rows.low[place]} close {rows.close[place]}"
                   f" volume {rows.volume[place]}")


def _row_flaws(file: MarketFile, names: dict[int, Series]) -> Iterator[Flaw]:
    run = file.connection.execute
    rows = run(f"SELECT series, interval, timestamp, open, high, low, close, volume FROM candles WHERE {_BAD_ROW}"
               " LIMIT ?", (MOST,))
    for number, seconds, at, *figures in rows:
        first, high, low, last, volume = figures
        yield Flaw("ohlc", names.get(number), _NAMES.get(seconds, f"{seconds} s"), at * NS_PER_S,
                   f"open {first} high {high} low {low} close {last} volume {volume}")
    rows = run("SELECT series, interval, timestamp FROM candles WHERE timestamp % interval LIMIT ?", (MOST,))
    for number, seconds, at in rows:
        yield Flaw("order", names.get(number), _NAMES.get(seconds, f"{seconds} s"), at * NS_PER_S,
                   "not at the start of an interval")


def _double_flaws(file: MarketFile, names: dict[int, Series]) -> Iterator[Flaw]:
    """Yield the rows of a time that has a block."""
    for name, length in INTERVALS_NS.items():
        block_s = BLOCK_NS[name] // NS_PER_S
        rows = file.rows("SELECT DISTINCT c.series, b.start FROM candles c JOIN blocks b ON b.series = c.series AND"
                         " b.interval = c.interval AND b.start = c.timestamp / ? * ? WHERE c.interval = ? LIMIT ?",
                         (block_s, block_s, length // NS_PER_S, MOST))
        for number, start in rows:
            yield Flaw("duplicate", names.get(number), name, start * NS_PER_S, "candles are in a block and in rows")


def _block_flaws(file: MarketFile, names: dict[int, Series]) -> Iterator[Flaw]:
    for number, seconds, start, first, last, count, data in file.connection.execute(
            "SELECT series, interval, start, first, last, candles, data FROM blocks"):
        name, series = _NAMES.get(seconds, ""), names.get(number)
        try:
            rows = unpack(data, name, start * NS_PER_S)
        except (StorageError, KeyError) as error:
            yield Flaw("file", series, name or f"{seconds} s", start * NS_PER_S, str(error))
            continue
        told = (first * NS_PER_S, last * NS_PER_S, count)
        if (int(rows.timestamp[0]), int(rows.timestamp[-1]), len(rows)) != told or start * NS_PER_S % BLOCK_NS[name]:
            yield Flaw("file", series, name, start * NS_PER_S, "a block holds other candles than it says")
        yield from candle_flaws(series, name, rows)
