"""The interfaces of the market data: a store of candles, and a cache.

Another store must pass the tests of `tests/market/store_contract.py`. Methods may be called from any thread, one at a time per
object. Times are int nanoseconds since 1970, UTC, and ranges are [from_ns, to_ns).
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
    """The stored part of a series at one interval."""

    first_ns: int
    last_ns: int
    candles: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """A fault in a store. kind: duplicate, order, ohlc, continuity, series, file."""

    kind: str
    series: Series | None
    interval: str
    timestamp_ns: int
    detail: str


class CandleStore(ABC):
    """A store of candles. `write` stores candles and marks in one transaction: after a kill both are stored, or neither."""

    @abstractmethod
    def write(self, interval: str, series: Sequence[Series], rows: CandleColumns, marks: dict[str, str] | None = None,
              removed: Sequence[tuple[Series, int]] = ()) -> None:
        """Store candles, replacing those of the same series and time, and the marks (name -> value).

        `rows.series` are places in `series`. removed: candles (series, timestamp) to delete. Raises StorageError.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """Put every write inside into one transaction: after an error or a kill all of them are stored, or none.

        Reads inside see the writes inside. Raises StorageError.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[object]:
        """Make every read inside see the same state, whatever others write meanwhile. Raises StorageError."""

    @abstractmethod
    def read(self, series: Series, interval: str, from_ns: int, to_ns: int, limit: int | None = None) -> CandleColumns:
        """Return the last `limit` candles of a series in the range (None: all), ascending. Every `rows.series` is 0."""

    @abstractmethod
    def read_many(self, series: Sequence[Series], interval: str, from_ns: int, to_ns: int) -> CandleColumns:
        """Return the candles of several series, sorted by series and time. `rows.series` are places in `series`."""

    @abstractmethod
    def series(self) -> list[Series]:
        """Return every series that has had a candle."""

    @abstractmethod
    def marks(self) -> dict[str, str]:
        """Return the stored marks."""

    def mark(self, name: str) -> str:
        """Return a stored mark; an empty text if there is none."""
        return self.marks().get(name, "")

    @abstractmethod
    def coverage(self, interval: str) -> dict[Series, Coverage]:
        """Return the stored part of each series."""

    @abstractmethod
    def remove_before(self, interval: str, before_ns: int) -> int:
        """Remove candles that began before a time, and return their number."""

    @abstractmethod
    def check(self) -> list[Flaw]:
        """Return the flaws of the stored candles: duplicates, inconsistent prices, unknown series, a damaged file."""

    @abstractmethod
    def close(self) -> None:
        """Close the store."""


class Cache(Protocol):
    """Keeps values for a while, within limits of age and bytes."""

    def get(self, key: str) -> tuple[Any, int] | None:
        """Return a value and its time (ns); None if it is unknown or too old."""

    def put(self, key: str, value: Any, at_ns: int) -> None:
        """Keep a value with its time, in place of an older one."""

    def drop(self, key: str) -> None:
        """Forget a value."""

    def figures(self) -> dict[str, float]:
        """Return hits, misses, entries, bytes, evictions, and hit_age_s, the sum of the ages of all hits."""
