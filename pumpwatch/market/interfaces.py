"""The interfaces of the market data: what a store of candles, a cache and a source of trades must offer.

Another store takes the tests of `tests/market/store_contract.py`. Every method may be called from any thread, one at a time for
each object. Times are int nanoseconds since 1970, UTC, and ranges are [from_ns, to_ns).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from pumpwatch.market.candle_columns import CandleColumns, Series


@dataclass(frozen=True, slots=True)
class Coverage:
    """The part of a series that a store has at one interval."""

    first_ns: int
    last_ns: int
    candles: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong in a store. kind: duplicate, order, ohlc, continuity, series, file."""

    kind: str
    series: Series | None
    interval: str
    timestamp_ns: int
    detail: str


class CandleStore(ABC):
    """A store of candles. `write` and its marks are one transaction: after a kill both are there, or neither."""

    @abstractmethod
    def write(self, interval: str, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None = None,
              removed: Sequence[tuple[Series, int]] = ()) -> None:
        """Store candles, replacing those of the same series and time, and remember the marks, a value for each name.

        `rows.series` are places in `series`. removed: candles (series, timestamp) to delete. Raises StorageError.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """Make every write inside one transaction: after an error or a kill all of them are there, or none.

        Reads inside see what was written inside. Raises StorageError.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[object]:
        """Make every read inside see the same state, whatever others write meanwhile. Raises StorageError."""

    @abstractmethod
    def read(self, series: Series, interval: str, from_ns: int, to_ns: int, limit: int | None = None) -> CandleColumns:
        """Return the candles of a series in ascending order, the last `limit` of them. Every `rows.series` is 0."""

    @abstractmethod
    def read_many(self, series: Sequence[Series], interval: str, from_ns: int, to_ns: int) -> CandleColumns:
        """Return the candles of several series, by series and time. `rows.series` are places in `series`."""

    @abstractmethod
    def series(self) -> list[Series]:
        """Return every series that has had a candle."""

    @abstractmethod
    def marks(self) -> dict[str, str]:
        """Return the remembered marks."""

    def mark(self, name: str) -> str:
        """Return a remembered mark, an empty text without one."""
        return self.marks().get(name, "")

    @abstractmethod
    def coverage(self, interval: str) -> dict[Series, Coverage]:
        """Return the part of each series that is stored."""

    @abstractmethod
    def remove_before(self, interval: str, before_ns: int) -> int:
        """Remove candles that began before a time, and return their number."""

    @abstractmethod
    def check(self) -> list[Flaw]:
        """Return what is wrong with the stored candles: doubles, the order of prices, unknown series, the file itself."""

    @abstractmethod
    def close(self) -> None:
        """Close the store."""


class Cache(Protocol):
    """Keeps answers for a while, within limits of age and bytes."""

    def get(self, key: str) -> tuple[Any, int] | None:
        """Return a value and the time (ns) when it was put there; None if it is unknown or too old."""

    def put(self, key: str, value: Any, at_ns: int) -> None:
        """Keep a value of that time, in place of an older one."""

    def drop(self, key: str) -> None:
        """Forget a value."""

    def figures(self) -> dict[str, float]:
        """Return hits, misses, entries, bytes, evictions, and the ages of all hits together (hit_age_s)."""
