"""The store of candles in one SQLite file, `market_data.sqlite3`.

The candles of a series and a block's time (candle_blocks.py) are rows of `candles`, or one blob of `blocks`, never both. New
ones are rows. `pack` makes a block of the rows of a time that is over. A later candle of that time changes the block.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache

from pumpwatch.clock import NS_PER_S
from pumpwatch.market.candle_blocks import BLOCK_NS, pack, unpack
from pumpwatch.market.candle_columns import DTYPES, CandleColumns, Series
from pumpwatch.market.interfaces import CandleStore, Coverage, Flaw
from pumpwatch.market.intervals import INTERVALS_NS, interval_ns
from pumpwatch.market.market_file import FILE_NAME, MarketFile
from pumpwatch.market.store_check import check
from pumpwatch.model import Int64

BULK = 100  # so many new candles of a block whose time is over become a block at once
STEP_S = 0.02  # pack and remove_before hold the writer's lock about so long at a time
DECODED_BLOCKS = 128  # kept in memory by what they are made of: 6 MB
_MOST_S = 2**40  # seconds; beyond any candle's time
_COLUMNS = ("timestamp, open, high, low, close, volume, quote_volume, taker_buy_volume, trades, complete, origin")
_ROWS = f"SELECT {_COLUMNS} FROM candles WHERE series = ? AND interval = ? AND timestamp >= ? AND timestamp < ?"
_LAST_ROWS = f"{_ROWS} ORDER BY timestamp DESC LIMIT ?"
_BLOCKS = "SELECT start, data FROM blocks WHERE series = ? AND interval = ? AND start > ? AND start < ?"
_OF_MANY = "series IN (SELECT value FROM json_each(?))"
_ROWS_OF_MANY = (f"SELECT {_COLUMNS}, series FROM candles WHERE {_OF_MANY} AND interval = ? AND timestamp >= ?"
                 " AND timestamp < ?")
_BLOCKS_OF_MANY = f"SELECT series, start, data FROM blocks WHERE {_OF_MANY} AND interval = ? AND start > ? AND start < ?"
_LAST_BLOCK = f"{_BLOCKS} ORDER BY start DESC LIMIT 1"
_LAST_START = "SELECT max(start) FROM blocks WHERE interval = ?"
_SERIES = "SELECT id, exchange, market_type, symbol FROM series"
_MARK = "SELECT value FROM marks WHERE name = ?"
_BLOCK = "SELECT data FROM blocks WHERE series = ? AND interval = ? AND start = ?"
_INSERT = f"INSERT OR REPLACE INTO candles (series, interval, {_COLUMNS}) VALUES ({', '.join('?' * 13)})"
_DELETE_ROWS = "DELETE FROM candles WHERE series = ? AND interval = ? AND timestamp >= ? AND timestamp < ?"
READS = ((_LAST_ROWS, 5), (_BLOCKS, 4), (_LAST_BLOCK, 4), (_ROWS_OF_MANY, 4), (_BLOCKS_OF_MANY, 4),
         (_LAST_START, 1), (_SERIES, 0), (_MARK, 1))  # what readers ask, which note nothing; and the number of values

Block = tuple[int, int]  # id of the series, start in ns


class SqliteCandleStore(CandleStore):
    """The candles of a data folder. Every method blocks shortly and raises StorageError where the file cannot be used.

    `path` is the file, or the folder that it is in. With `read_only` it creates nothing, changes nothing, and never makes a
    writer wait. Raises NewerError, a ConfigError, where a newer version wrote the file.
    """

    def __init__(self, path: Path, read_only: bool = False, busy_ms: int | None = None) -> None:
        self.file = MarketFile(path / FILE_NAME if path.is_dir() else path, read_only, busy_ms)
        self._ids: dict[Series, int] = {}
        self._decoded: LRUCache[tuple[bytes, str, int], CandleColumns] = LRUCache(DECODED_BLOCKS)

    def write(self, interval: str, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None = None,
              removed: Sequence[tuple[Series, int]] = ()) -> None:
        """Store candles and marks in one transaction; see CandleStore.

        Of candles with the same series and time the last one counts. A candle that is written and removed is written.
        Raises ValueError where a time is not the start of an interval.
        """
        step = interval_ns(interval)
        if (rows.timestamp % step).any():
            raise ValueError(f"a candle does not begin at the start of its interval {interval}")
        with self.transaction():
            self._write(interval, self._numbers(series), rows, removed)
            self.file.connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", list((marks or {}).items()))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make every write inside one transaction; see CandleStore."""
        try:
            with self.file.writing("write"):
                yield
        except BaseException:
            self._ids.clear()  # some of them may have been rolled back
            raise

    def snapshot(self) -> AbstractContextManager[None]:
        """Make every read inside see the same state."""
        return self.file.reading("read")

    def _numbers(self, series: Sequence[Series]) -> Int64:
        """Return the id of each series; new ones get one."""
        if any(name not in self._ids for name in series):
            self.file.connection.executemany(
                "INSERT INTO series (exchange, market_type, symbol) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", series)
            self._read_ids()
        return np.array([self._ids[name] for name in series], np.int64)

    def _read_ids(self) -> None:
        self._ids = {(exchange, market_type, symbol): number for number, exchange, market_type, symbol
                     in self.file.rows(_SERIES)}

    def _id(self, series: Series) -> int | None:
        if series not in self._ids:
            self._read_ids()
        return self._ids.get(series)

    def _write(self, interval: str, numbers: Int64, rows: CandleColumns, removed: Sequence[tuple[Series, int]]) -> None:
        number, rows, groups = _sorted(interval, numbers, rows)
        gone, seconds = self._gone(interval, removed), INTERVALS_NS[interval] // NS_PER_S
        blocks = self._blocks_among(interval, {*groups, *gone})
        self.file.connection.executemany(
            "DELETE FROM candles WHERE series = ? AND interval = ? AND timestamp = ?",
            [(key[0], seconds, at // NS_PER_S) for key, times in gone.items() if key not in blocks for at in times])
        over_ns = int(rows.timestamp.max()) + INTERVALS_NS[interval] - BLOCK_NS[interval] if len(rows) else 0
        plain = np.ones(len(rows), np.bool_)
        for key in {**groups, **dict.fromkeys(blocks)}:
            place = groups.get(key, slice(0, 0))
            if key in blocks:
                self._write_block(interval, key, merged(blocks[key], rows.take(place), gone.get(key, ())))
            elif place.stop - place.start >= BULK and key[1] <= over_ns:
                self._rows_to_block(interval, key, rows.take(place))
            else:
                continue
            plain[place] = False
        self.file.connection.executemany(_INSERT, _tuples(number[plain], seconds, rows.take(plain)))

    def _gone(self, interval: str, removed: Sequence[tuple[Series, int]]) -> dict[Block, list[int]]:
        gone: dict[Block, list[int]] = {}
        for name, at in removed:
            number = self._id(name)
            if number is not None:
                gone.setdefault((number, at // BLOCK_NS[interval] * BLOCK_NS[interval]), []).append(at)
        return gone

    def _blocks_among(self, interval: str, keys: Iterable[Block]) -> dict[Block, CandleColumns]:
        """Return the stored blocks among these."""
        seconds = INTERVALS_NS[interval] // NS_PER_S
        last = self.file.rows(_LAST_START, (seconds,))[0][0]
        found = {}
        for number, start_ns in keys:
            if last is not None and start_ns <= last * NS_PER_S:
                for (data,) in self.file.rows(_BLOCK, (number, seconds, start_ns // NS_PER_S)):
                    found[number, start_ns] = unpack(data, interval, start_ns)
        return found

    def _write_block(self, interval: str, key: Block, rows: CandleColumns) -> None:
        number, start_s, seconds = key[0], key[1] // NS_PER_S, INTERVALS_NS[interval] // NS_PER_S
        run = self.file.connection.execute
        run("DELETE FROM blocks WHERE series = ? AND interval = ? AND start = ?", (number, seconds, start_s))
        if len(rows):
            run("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?)", (
                number, seconds, start_s, int(rows.timestamp[0]) // NS_PER_S, int(rows.timestamp[-1]) // NS_PER_S, len(rows),
                pack(rows, interval)))

    def _rows_to_block(self, interval: str, key: Block, new: CandleColumns) -> None:
        """Make a block of the rows of its time and of new candles."""
        seconds = INTERVALS_NS[interval] // NS_PER_S
        span = (key[0], seconds, key[1] // NS_PER_S, (key[1] + BLOCK_NS[interval]) // NS_PER_S)
        old = _columns(self.file.rows(f"{_ROWS} ORDER BY timestamp", span))
        self.file.connection.execute(_DELETE_ROWS, span)
        self._write_block(interval, key, merged(old, new))

    def read(self, series: Series, interval: str, from_ns: int, to_ns: int, limit: int | None = None) -> CandleColumns:
        """Return the candles of a series in ascending order, the last `limit` of them. Every `rows.series` is 0."""
        interval_ns(interval)
        with self.file.reading("read"):
            number = self._id(series)
            return CandleColumns.empty() if number is None else self._read(number, interval, from_ns, to_ns, limit)

    def read_many(self, series: Sequence[Series], interval: str, from_ns: int, to_ns: int) -> CandleColumns:
        """Return the candles of several series, by series and time. `rows.series` are places in `series`."""
        interval_ns(interval)
        seconds, block_s = INTERVALS_NS[interval] // NS_PER_S, BLOCK_NS[interval] // NS_PER_S
        from_s, to_s = _seconds(from_ns, to_ns)
        with self.file.reading("read"):
            if any(name not in self._ids for name in series):
                self._read_ids()
            places = {self._ids[name]: place for place, name in enumerate(series) if name in self._ids}
            if from_s >= to_s or not places:
                return CandleColumns.empty()
            numbers = str(list(places))
            found = list(zip(*self.file.rows(_ROWS_OF_MANY, (numbers, seconds, from_s, to_s)), strict=True))
            parts = [_as_columns([places[number] for number in found[-1]], found[:-1])] if found else []
            last = self.file.rows(_LAST_START, (seconds,))[0][0]
            if last is not None and last > from_s - block_s:
                for number, start, data in self.file.rows(_BLOCKS_OF_MANY, (numbers, seconds, from_s - block_s, to_s)):
                    part = self._inside(data, interval, start, from_s, to_s)
                    parts.append(replace(part, series=np.full(len(part), places[number], np.int32)))
        rows = CandleColumns.concat(parts)
        return rows.take(np.lexsort((rows.timestamp, rows.series)))

    def _read(self, number: int, interval: str, from_ns: int, to_ns: int, limit: int | None) -> CandleColumns:
        seconds, block_s = INTERVALS_NS[interval] // NS_PER_S, BLOCK_NS[interval] // NS_PER_S
        from_s, to_s = _seconds(from_ns, to_ns)
        if from_s >= to_s or limit == 0:
            return CandleColumns.empty()
        most = -1 if limit is None else min(limit, _MOST_S)
        parts = [_columns(self.file.rows(_LAST_ROWS, (number, seconds, from_s, to_s, most)))]
        span = (number, seconds, from_s - block_s, to_s)
        if limit is None:
            parts += [self._inside(data, interval, start, from_s, to_s) for start, data in self.file.rows(_BLOCKS, span)]
        else:
            count, before = 0, to_s
            while count < limit and (found := self.file.rows(_LAST_BLOCK, (*span[:3], before))):
                before, data = found[0]
                parts.append(self._inside(data, interval, before, from_s, to_s))
                count += len(parts[-1])
        rows = CandleColumns.concat(parts)
        order = np.argsort(rows.timestamp, kind="stable")
        return rows.take(order if limit is None else order[-limit:])

    def _inside(self, data: bytes, interval: str, start_s: int, from_s: int, to_s: int) -> CandleColumns:
        key = (data, interval, start_s)  # a block that was written again has other bytes
        rows = self._decoded.get(key)
        if rows is None:
            rows = self._decoded[key] = unpack(data, interval, start_s * NS_PER_S)
        first, last = np.searchsorted(rows.timestamp, (from_s * NS_PER_S, to_s * NS_PER_S))
        return rows.take(slice(int(first), int(last)))

    def series(self) -> list[Series]:
        """Return every series that has had a candle."""
        with self.file.errors("read"):
            self._read_ids()
        return list(self._ids)

    def marks(self) -> dict[str, str]:
        """Return the remembered marks."""
        with self.file.errors("read"):
            return dict(self.file.rows("SELECT name, value FROM marks"))

    def mark(self, name: str) -> str:
        """Return a remembered mark, an empty text without one."""
        with self.file.errors("read"):
            return next((str(value) for value, in self.file.rows(_MARK, (name,))), "")

    def coverage(self, interval: str) -> dict[Series, Coverage]:
        """Return the part of each series that is stored."""
        seconds = interval_ns(interval) // NS_PER_S
        with self.file.reading("read"):
            found = self.file.rows(
                "SELECT exchange, market_type, symbol, min(first), max(last), sum(candles) FROM ("
                " SELECT series, min(first) AS first, max(last) AS last, sum(candles) AS candles FROM blocks WHERE interval = ?"
                " GROUP BY series UNION ALL SELECT series, min(timestamp), max(timestamp), count(*) FROM candles"
                " WHERE interval = ? GROUP BY series) JOIN series ON id = series GROUP BY series", (seconds, seconds))
        return {(exchange, market_type, symbol): Coverage(first * NS_PER_S, last * NS_PER_S, candles)
                for exchange, market_type, symbol, first, last, candles in found}

    def pack(self, interval: str, before_ns: int) -> int:
        """Make blocks of the rows of times that were over at `before_ns`, in short transactions; return the number of blocks."""
        return self._in_steps(interval, before_ns // BLOCK_NS[interval] * BLOCK_NS[interval], self._pack_series)

    def _pack_series(self, interval: str, number: int, before_ns: int, until_s: float) -> tuple[int, bool]:
        seconds, block_s = INTERVALS_NS[interval] // NS_PER_S, BLOCK_NS[interval] // NS_PER_S
        starts = self.file.rows("SELECT DISTINCT timestamp / ? * ? FROM candles WHERE series = ? AND interval = ?"
                                " AND timestamp < ?", (block_s, block_s, number, seconds, before_ns // NS_PER_S))
        for done, (start,) in enumerate(starts):
            if done and time.monotonic() >= until_s:
                return done, False
            self._rows_to_block(interval, (number, start * NS_PER_S), CandleColumns.empty())
        return len(starts), True

    def remove_before(self, interval: str, before_ns: int) -> int:
        """Remove candles that began before a time, in short transactions, and return their number."""
        interval_ns(interval)
        return self._in_steps(interval, before_ns, self._remove_series)

    def _remove_series(self, interval: str, number: int, before_ns: int, until_s: float) -> tuple[int, bool]:
        seconds, before_s = INTERVALS_NS[interval] // NS_PER_S, max(min(-(-before_ns // NS_PER_S), _MOST_S), -_MOST_S)
        block_s, removed = BLOCK_NS[interval] // NS_PER_S, 0
        run = self.file.connection.execute
        cut = self.file.rows(_BLOCKS, (number, seconds, before_s - block_s, before_s))
        for start, data in cut:
            rows = unpack(data, interval, start * NS_PER_S)
            kept = rows.take(rows.timestamp >= before_s * NS_PER_S)
            removed += len(rows) - len(kept)
            self._write_block(interval, (number, start * NS_PER_S), kept)
        whole = "FROM blocks WHERE series = ? AND interval = ? AND start <= ?"
        removed += self.file.rows(f"SELECT coalesce(sum(candles), 0) {whole}", (number, seconds, before_s - block_s))[0][0]
        run(f"DELETE {whole}", (number, seconds, before_s - block_s))
        removed += run(_DELETE_ROWS, (number, seconds, -_MOST_S, before_s)).rowcount
        return int(removed), True

    def _in_steps(self, interval: str, before_ns: int, work: Callable[[str, int, int, float], tuple[int, bool]]) -> int:
        """Do a piece of work for each series, in transactions of about STEP_S. It returns a count, and whether that was all."""
        self.series()
        waiting, done = sorted(self._ids.values()), 0
        while waiting:
            with self.file.writing("write"):
                until = time.monotonic() + STEP_S
                while waiting and time.monotonic() < until:
                    count, all_done = work(interval, waiting[-1], before_ns, until)
                    done += count
                    if all_done:
                        waiting.pop()
            time.sleep(0.0001)  # another writer may begin
        return done

    def check(self) -> list[Flaw]:
        """Return what is wrong with the stored candles: doubles, the order of prices, unknown series, the file itself."""
        return check(self.file)

    def close(self) -> None:
        """Close the store."""
        self.file.close()


def merged(old: CandleColumns, new: CandleColumns, gone: Sequence[int] = ()) -> CandleColumns:
    """Return the candles of one series with `new` in place of those of the same time, in ascending order, without those gone."""
    if len(gone):
        old = old.take(~np.isin(old.timestamp, np.array(gone, np.int64)))
    rows = CandleColumns.concat([old, new])
    order = np.argsort(rows.timestamp, kind="stable")
    times = rows.timestamp[order]
    return rows.take(order[np.append(times[1:] != times[:-1], True)] if len(rows) else order)


def _seconds(*times_ns: int) -> list[int]:
    """Return times in whole seconds, rounded up, within those that a candle may have: a range of them holds the same candles."""
    return [max(min(-(-at // NS_PER_S), _MOST_S), -_MOST_S) for at in times_ns]


def _sorted(interval: str, numbers: Int64, rows: CandleColumns) -> tuple[Int64, CandleColumns, dict[Block, slice]]:
    """Return ids and candles by series and time, the last one of each time, and the place of each series and block."""
    number = numbers[rows.series]
    order = np.lexsort((rows.timestamp, number))
    number, rows = number[order], rows.take(order)
    if len(rows):
        last = np.append((rows.timestamp[1:] != rows.timestamp[:-1]) | (number[1:] != number[:-1]), True)
        number, rows = number[last], rows.take(last)
    start = rows.timestamp // BLOCK_NS[interval] * BLOCK_NS[interval]
    firsts = np.flatnonzero(np.append(True, (number[1:] != number[:-1]) | (start[1:] != start[:-1]))[:len(rows)])
    ends = np.append(firsts[1:], len(rows))
    return number, rows, {(id_, at): slice(first, end) for id_, at, first, end in zip(
        number[firsts].tolist(), start[firsts].tolist(), firsts.tolist(), ends.tolist(), strict=False)}


def _tuples(numbers: Int64, seconds: int, rows: CandleColumns) -> Iterable[tuple[Any, ...]]:
    trades = [None if count < 0 else count for count in rows.trades.tolist()]
    floats = (rows.open, rows.high, rows.low, rows.close, rows.volume, rows.quote_volume, rows.taker_buy_volume)
    return zip(numbers.tolist(), itertools.repeat(seconds), (rows.timestamp // NS_PER_S).tolist(),
               *(column.tolist() for column in floats), trades, rows.complete.tolist(), rows.origin.tolist(), strict=False)


def _columns(found: Sequence[tuple[Any, ...]]) -> CandleColumns:
    """Return rows of the table as columns."""
    if not found:
        return CandleColumns.empty()
    return _as_columns([0] * len(found), list(zip(*found, strict=True)))


def _as_columns(series: Sequence[int], found: Sequence[Sequence[Any]]) -> CandleColumns:
    timestamp, *floats, trades, complete, origin = found
    counts = [-1 if count is None else count for count in trades]
    columns = (series, np.array(timestamp, np.int64) * NS_PER_S, *floats, counts, complete, origin)
    return CandleColumns(*(np.array(column, dtype) for column, dtype in zip(columns, DTYPES, strict=True)))
