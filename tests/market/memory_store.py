"""A store of candles in memory, which can refuse to write as a full disk does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from pumpwatch.errors import StorageError
from pumpwatch.market.candle_columns import DTYPES, CandleColumns, Series
from pumpwatch.market.interfaces import CandleStore, Coverage, Flaw


class MemoryStore(CandleStore):
    """Candles by (series, interval, timestamp). refuses_at: the write (from 0) that fails, once."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Series, str, int], tuple] = {}
        self.remembered: dict[str, str] = {}
        self.writes, self.refuses_at = 0, -1

    def write(self, interval: str, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None = None,
              removed: Sequence[tuple[Series, int]] = ()) -> None:
        self.writes += 1
        if self.writes - 1 == self.refuses_at:
            raise StorageError("the disk is full")
        for name, at in removed:
            self.rows.pop((name, interval, at), None)
        for row in zip(*(column.tolist() for column in rows.columns()), strict=True):
            self.rows[series[row[0]], interval, row[1]] = row[1:]
        self.remembered |= marks or {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        before = dict(self.rows), dict(self.remembered)
        try:
            yield
        except BaseException:
            self.rows, self.remembered = before
            raise

    def snapshot(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self, series: Series, interval: str, from_ns: int, to_ns: int, limit: int | None = None) -> CandleColumns:
        found = self.read_many([series], interval, from_ns, to_ns)
        return found if limit is None else found.take(slice(max(0, len(found) - limit), None))

    def read_many(self, series: Sequence[Series], interval: str, from_ns: int, to_ns: int) -> CandleColumns:
        rows = [(place, *self.rows[key]) for place, name in enumerate(series)
                for key in sorted(key for key in self.rows if key[:2] == (name, interval) and from_ns <= key[2] < to_ns)]
        return CandleColumns(*(np.array(column, dtype) for column, dtype in zip(
            zip(*rows, strict=True) if rows else [[]] * len(DTYPES), DTYPES, strict=True)))

    def series(self) -> list[Series]:
        return sorted({key[0] for key in self.rows})

    def marks(self) -> dict[str, str]:
        return dict(self.remembered)

    def coverage(self, interval: str) -> dict[Series, Coverage]:
        times: dict[Series, list[int]] = {}
        for name, of, at in self.rows:
            if of == interval:
                times.setdefault(name, []).append(at)
        return {name: Coverage(min(found), max(found), len(found)) for name, found in times.items()}

    def remove_before(self, interval: str, before_ns: int) -> int:
        old = [key for key in self.rows if key[1] == interval and key[2] < before_ns]
        for key in old:
            del self.rows[key]
        return len(old)

    def check(self) -> list[Flaw]:
        return []

    def close(self) -> None:
        """Keep everything: a test opens it again."""
